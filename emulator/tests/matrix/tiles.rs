//! `ldmatrix`, `stmatrix`, `movmatrix`: the matrix of register `i` has the element `100 i + 10 r + c` in row `r`, column `c`.

use crate::lab::Lab;
use crate::{each, list};

fn element(matrix: usize, row: usize, column: usize) -> u32 {
    (100 * matrix + 10 * row + column) as u32
}

/// What lane `lane` holds of a matrix: two elements of row `lane / 4`, or of that column.
fn held(matrix: usize, lane: usize, transposed: bool) -> u32 {
    let (g, t) = (lane / 4, lane % 4);
    let at = |i| if transposed { element(matrix, 2 * t + i, g) } else { element(matrix, g, 2 * t + i) };
    at(0) | at(1) << 16
}

/// Row `r` of matrix `i` lies at 16 bytes times this: scattered over shared memory.
fn place(matrix: usize, row: usize) -> usize {
    (8 * matrix + row) * 5 % 64
}

/// Shared memory with the four matrices, in words.
fn memory() -> Vec<u32> {
    let mut words = vec![0xdead_beef; 256];
    for (matrix, row) in (0..4).flat_map(|i| (0..8).map(move |r| (i, r))) {
        for w in 0..4 {
            words[4 * place(matrix, row) + w] =
                element(matrix, row, 2 * w) | element(matrix, row, 2 * w + 1) << 16;
        }
    }
    words
}

/// `x`: 256 words for shared memory, then each lane's row address.
fn inputs() -> Vec<u32> {
    let mut x = memory();
    x.extend((0..32).map(|lane| 16 * place(lane / 8, lane % 8) as u32));
    x
}

const SHARED: &str = ".shared .align 16 .b8 s[1024];";

/// Copies `x` to shared memory and puts the address of the lane's row in `%r9`, and its generic address in `%rd9`.
fn fill() -> String {
    let address = "mov.u32 %r5, s;\nmul.lo.u32 %r6, %r0, 4;\nadd.u32 %r6, %r5, %r6;\n";
    let stores: String =
        (0..8).map(|i| format!("st.shared.u32 [%r6+{}], %r{};\n", 128 * i, 20 + i)).collect();
    let row = "ld.global.u32 %r9, [%rd63+1024];\nadd.u32 %r9, %r9, %r5;\n\
               cvta.shared.u64 %rd8, s;\nmul.wide.u32 %rd7, %r9, 1;\nadd.s64 %rd9, %rd8, %rd7;\n";
    // `s` may begin anywhere in the window: its generic address less its offset, plus the row's offset.
    let base = "mul.wide.u32 %rd6, %r5, 1;\nsub.s64 %rd9, %rd9, %rd6;\nbar.sync 0;\n";
    format!("{address}{}{stores}{row}{base}", each("ld", "r", 20, 0, 8))
}

#[test]
fn ldmatrix_gives_each_lane_two_elements_of_every_matrix() {
    for (n, transposed, generic) in [1, 2, 4]
        .into_iter()
        .flat_map(|n| [(n, false, false), (n, true, false), (n, true, true), (n, false, true)])
    {
        let trans = if transposed { ".trans" } else { "" };
        let (space, address) = if generic { ("", "%rd9") } else { (".shared", "%r9") };
        let load =
            format!("ldmatrix.sync.aligned.m8n8.x{n}{trans}{space}.b16 {}, [{address}];\n", list("r", 40, n));
        let y = Lab::new(fill() + &load + &each("st", "r", 40, 0, n)).module(SHARED).run(&inputs(), 32 * n);
        for (matrix, lane) in (0..n).flat_map(|i| (0..32).map(move |lane| (i, lane))) {
            let want = held(matrix, lane, transposed);
            assert_eq!(y[32 * matrix + lane], want, "{load} matrix {matrix}, lane {lane}");
        }
    }
}

#[test]
fn stmatrix_writes_the_rows_that_lanes_name() {
    for (n, transposed) in [1, 2, 4].into_iter().flat_map(|n| [(n, false), (n, true)]) {
        let trans = if transposed { ".trans" } else { "" };
        // Registers as `ldmatrix` would give them; shared memory zero.
        let mut x = vec![0; 256];
        x.extend((0..32).map(|lane| 16 * place(lane / 8, lane % 8) as u32));
        x.extend((0..4).flat_map(|i| (0..32).map(move |lane| held(i, lane, transposed))));
        let store = format!(
            "stmatrix.sync.aligned.m8n8.x{n}{trans}.shared.b16 [%r9], {};\nbar.sync 0;\n",
            list("r", 40, n)
        );
        let back: String =
            (0..8).map(|i| format!("ld.shared.u32 %r{}, [%r6+{}];\n", 20 + i, 128 * i)).collect();
        let lines = fill() + &each("ld", "r", 40, 9, n) + &store + &back + &each("st", "r", 20, 0, 8);
        let y = Lab::new(lines).module(SHARED).run(&x, 256);
        let mut want = vec![0; 256];
        for (matrix, row) in (0..n).flat_map(|i| (0..8).map(move |r| (i, r))) {
            let at = 4 * place(matrix, row);
            want[at..at + 4].copy_from_slice(&memory()[at..at + 4]);
        }
        assert_eq!(y, want, "{store}");
    }
}

#[test]
fn movmatrix_transposes_a_register() {
    let x: Vec<u32> = (0..32).map(|lane| held(2, lane, false)).collect();
    let y =
        Lab::new("movmatrix.sync.aligned.m8n8.trans.b16 %r3, %r2;\nst.global.u32 [%rd2], %r3;").run(&x, 32);
    assert_eq!(y, (0..32).map(|lane| held(2, lane, true)).collect::<Vec<_>>());
}
