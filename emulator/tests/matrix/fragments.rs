//! `wmma`: matrices of small whole numbers in memory, their products in memory, exact in every type.

use crate::lab::{Lab, random};
use crate::list;
use cuda_emulator::numeric::half;

type Shape = (usize, usize, usize);

/// A type: its name, bytes, registers of A and B by shape, and how a small whole number is written in it.
struct Type {
    name: &'static str,
    bytes: usize,
    registers: [[usize; 2]; 3],
    write: fn(i32) -> u32,
}

const SHAPES: [Shape; 3] = [(16, 16, 16), (32, 8, 16), (8, 32, 16)];

const TYPES: [Type; 4] = [
    Type { name: "f16", bytes: 2, registers: [[8; 2]; 3], write: |x| u32::from(half::from_f32(x as f32)) },
    Type {
        name: "bf16",
        bytes: 2,
        registers: [[4, 4], [8, 2], [2, 8]],
        write: |x| (x as f32).to_bits() >> 16,
    },
    Type { name: "s8", bytes: 1, registers: [[2, 2], [4, 1], [1, 4]], write: |x| u32::from(x as u8) },
    Type {
        name: "u8",
        bytes: 1,
        registers: [[2, 2], [4, 1], [1, 4]],
        write: |x| u32::from(x.unsigned_abs() as u8),
    },
];

/// Words that hold elements one after another.
fn pack(elements: &[u32], bytes: usize) -> Vec<u32> {
    let per_word = 4 / bytes;
    elements
        .chunks(per_word)
        .map(|c| c.iter().enumerate().fold(0, |w, (i, x)| w | x << (8 * bytes * i)))
        .collect()
}

fn at(words: &[u32], bytes: usize, index: usize) -> u32 {
    let per_word = 4 / bytes;
    words[index / per_word] >> (8 * bytes * (index % per_word)) & (u32::MAX >> (32 - 8 * bytes))
}

/// One case: a product of matrices with padded rows or columns, in global or shared memory or behind generic addresses.
struct Case {
    shape: usize,
    ty: usize,
    half_sums: bool,
    layouts: [&'static str; 3],
    space: &'static str,
}

impl Case {
    fn sum(&self) -> (&'static str, usize) {
        match (TYPES[self.ty].bytes, self.half_sums) {
            (1, _) => ("s32", 8),
            (_, true) => ("f16", 4),
            _ => ("f32", 8),
        }
    }

    fn size(&self) -> usize {
        if self.half_sums { 2 } else { 4 }
    }

    /// Rows, columns, layout and elements from one line to the next of A, B, C.
    fn matrices(&self) -> [(usize, usize, &'static str, usize); 3] {
        let (m, n, k) = SHAPES[self.shape];
        let pad = |i: usize| [16, 32, 16][i];
        let sizes = [(m, k), (k, n), (m, n)];
        std::array::from_fn(|i| {
            let (rows, columns) = sizes[i];
            let length = if self.layouts[i] == "row" { columns } else { rows };
            // Multiples of 16 elements keep every row at 16 bytes, whatever the type.
            (rows, columns, self.layouts[i], usize::next_multiple_of(length, 16) + pad(i))
        })
    }

    fn lines(&self, words: [usize; 2]) -> String {
        let (m, n, k) = SHAPES[self.shape];
        let (ty, (sum, sums)) = (&TYPES[self.ty], self.sum());
        let (shape, [na, nb]) = (format!("m{m}n{n}k{k}"), ty.registers[self.shape]);
        let [(.., sa), (.., sb), (.., sc)] = self.matrices();
        let [la, lb, lc] = self.layouts;
        let kind = if sum == "f32" { "f" } else { "r" };
        let (a, b, c, d) = (list("r", 10, na), list("r", 20, nb), list(kind, 30, sums), list(kind, 40, sums));
        let (prologue, space, [pa, pb, pc], pd) = match self.space {
            "shared" => (self.to_shared(words), ".shared", ["%r4", "%r5", "%r6"], "%rd0"),
            "generic" => (self.pointers(words), "", ["%rd1", "%rd11", "%rd12"], "%rd0"),
            _ => (self.pointers(words), ".global", ["%rd1", "%rd11", "%rd12"], "%rd0"),
        };
        let name = ty.name;
        let types = if name == "f16" { format!("{sum}.{sum}") } else { format!("{sum}.{name}.{name}.{sum}") };
        format!(
            "{prologue}wmma.load.a.sync.aligned.{la}.{shape}{space}.{name} {a}, [{pa}], {sa};\n\
             wmma.load.b.sync.aligned.{lb}.{shape}{space}.{name} {b}, [{pb}], {sb};\n\
             wmma.load.c.sync.aligned.{lc}.{shape}{space}.{sum} {c}, [{pc}], {sc};\n\
             wmma.mma.sync.aligned.{la}.{lb}.{shape}.{types} {d}, {a}, {b}, {c};\n\
             wmma.store.d.sync.aligned.{lc}.{shape}.global.{sum} [{pd}], {d}, {sc};\n"
        )
    }

    fn pointers(&self, [a, b]: [usize; 2]) -> String {
        format!("add.s64 %rd11, %rd1, {};\nadd.s64 %rd12, %rd1, {};\n", 4 * a, 4 * (a + b))
    }

    /// Copies everything to shared memory, a word a lane at a time.
    fn to_shared(&self, [a, b]: [usize; 2]) -> String {
        let copy: String = (0..96)
            .map(|i| {
                format!("ld.global.u32 %r7, [%rd63+{}];\nst.shared.u32 [%r8+{}], %r7;\n", 128 * i, 128 * i)
            })
            .collect();
        format!(
            "mov.u32 %r4, s;\nmul.lo.u32 %r8, %r0, 4;\nadd.u32 %r8, %r8, %r4;\n{copy}bar.sync 0;\n\
             add.u32 %r5, %r4, {};\nadd.u32 %r6, %r4, {};\n",
            4 * a,
            4 * (a + b)
        )
    }

    fn check(&self, seed: u64) {
        let (ty, write_sum) = (&TYPES[self.ty], self.write_sum());
        let matrices = self.matrices();
        let random = random(seed, 3 * 64 * 64);
        let small =
            |i: usize| if ty.name == "u8" { (random[i] % 8) as i32 } else { (random[i] % 16) as i32 - 8 };
        let lines = |i: usize| if matrices[i].2 == "row" { matrices[i].0 } else { matrices[i].1 };
        let numbers: [Vec<i32>; 3] =
            std::array::from_fn(|i| (0..lines(i) * matrices[i].3).map(|j| small(4096 * i + j)).collect());
        let [a, b] =
            [0, 1].map(|i| pack(&numbers[i].iter().map(|&x| (ty.write)(x)).collect::<Vec<_>>(), ty.bytes));
        let c = pack(&numbers[2].iter().map(|&x| write_sum(x)).collect::<Vec<_>>(), self.size());
        let lab = Lab::new(self.lines([a.len(), b.len()])).module(".shared .align 32 .b8 s[12288];");
        let (words, mut x) = (c.len(), [a, b, c].concat());
        x.resize(96 * 32, 0);
        let y = lab.run(&x, words);
        let index = |i: usize, row: usize, column: usize| match matrices[i] {
            (_, _, "row", stride) => row * stride + column,
            (.., stride) => column * stride + row,
        };
        let (m, n, k) = SHAPES[self.shape];
        for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
            let products = (0..k).map(|k| numbers[0][index(0, row, k)] * numbers[1][index(1, k, column)]);
            let at_d = index(2, row, column);
            let want = write_sum(numbers[2][at_d] + products.sum::<i32>());
            assert_eq!(at(&y, self.size(), at_d), want, "{}at {row}, {column}", lab.lines);
        }
    }

    fn write_sum(&self) -> fn(i32) -> u32 {
        match self.sum().0 {
            "f16" => |x| u32::from(half::from_f32(x as f32)),
            "f32" => |x| (x as f32).to_bits(),
            _ => |x| x as u32,
        }
    }
}

#[test]
fn wmma_multiplies_matrices_of_every_shape_type_and_layout() {
    let mut seed = 0;
    for (shape, ty) in (0..3).flat_map(|s| (0..4).map(move |t| (s, t))) {
        for (i, space) in ["global", "shared", "generic", "global"].into_iter().enumerate() {
            let layout = |bit: usize| if i >> bit & 1 == 0 { "row" } else { "col" };
            for half_sums in [false, true] {
                seed += 1;
                if half_sums && ty != 0 {
                    continue;
                }
                Case { shape, ty, half_sums, layouts: [layout(0), layout(1), layout(i % 2)], space }
                    .check(seed);
            }
        }
    }
}

/// `wmma.mma` is more than one product here: none may see the results of another.
#[test]
fn results_of_wmma_may_go_where_the_inputs_were() {
    let loads = "wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {%r10,%r11,%r12,%r13,%r14,%r15,%r16,%r17}, [%rd1];\n\
                 wmma.load.b.sync.aligned.col.m16n16k16.global.f16 {%r20,%r21,%r22,%r23,%r24,%r25,%r26,%r27}, [%rd1];\n\
                 wmma.load.c.sync.aligned.row.m16n16k16.global.f16 {%r30,%r31,%r32,%r33}, [%rd1];\n";
    let x: Vec<u32> = random(9, 128).iter().map(|x| x & 0x3fff_3fff).collect();
    let run = |d: usize| {
        let d = list("r", d, 4);
        let lines = format!(
            "{loads}wmma.mma.sync.aligned.row.col.m16n16k16.f16.f16 {d}, {}, {}, {};\n\
             wmma.store.d.sync.aligned.row.m16n16k16.global.f16 [%rd0], {d};\n",
            list("r", 10, 8),
            list("r", 20, 8),
            list("r", 30, 4)
        );
        Lab::new(lines).run(&x, 128)
    };
    let apart = run(40);
    for d in [10, 12, 20, 22, 30, 29, 31] {
        assert_eq!(run(d), apart, "D from %r{d}");
    }
}

/// Without a stride, rows follow one another.
#[test]
fn the_default_stride_is_the_length_of_a_row_or_column() {
    for (shape, [rows, columns]) in [("m16n16k16", [16, 16]), ("m32n8k16", [32, 16]), ("m8n32k16", [8, 16])] {
        for (layout, stride) in [("row", columns), ("col", rows)] {
            let run = |stride: &str| {
                let registers = list("r", 10, 8);
                let load = format!(
                    "wmma.load.a.sync.aligned.{layout}.{shape}.global.f16 {registers}, [%rd1]{stride};\n"
                );
                Lab::new(load + &crate::each("st", "r", 10, 0, 8)).run(&random(10, 512), 256)
            };
            assert_eq!(run(""), run(&format!(", {stride}")), "{shape} {layout}");
        }
    }
}
