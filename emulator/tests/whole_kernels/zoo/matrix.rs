//! Moves of 8x8 matrices between registers and shared memory.

use crate::{
    harness::{ALL, FROM_90, args, on, shape},
    numbers::Random,
};

/// What lane `lane` holds of a matrix of 8 rows of 8: two elements of a row or, transposed, of a column.
fn held(matrix: &[u16], lane: usize, transposed: bool) -> u32 {
    let (r, c) = (lane / 4, lane % 4 * 2);
    let at = |i: usize| if transposed { matrix[8 * (c + i) + r] } else { matrix[8 * r + c + i] };
    u32::from(at(0)) | u32::from(at(1)) << 16
}

fn elements(random: &mut Random, n: usize) -> Vec<u16> {
    (0..n).map(|_| random.u32() as u16).collect()
}

#[test]
fn ldmatrix_gives_each_lane_two_elements_of_a_row_or_of_a_column() {
    on(&ALL, "zoo_matrix", |gpu| {
        let x = elements(&mut Random(1), 256);
        let (dx, y) = (gpu.upload(&x), gpu.output::<u32>(14 * 32));
        gpu.launch("load_matrices", shape(1, 32), args![y, dx]);
        let want: Vec<u32> = [(1, false), (2, false), (4, false), (1, true), (2, true), (4, true)]
            .into_iter()
            .flat_map(|(count, transposed)| (0..count).map(move |m| (m, transposed)))
            .flat_map(|(m, t)| (0..32).map(move |lane| (m, t, lane)))
            .map(|(m, t, lane)| held(&x[64 * m..][..64], lane, t))
            .collect();
        assert_eq!(gpu.read(y), want);
    });
}

#[test]
fn movmatrix_transposes() {
    on(&ALL, "zoo_matrix", |gpu| {
        let x = elements(&mut Random(2), 64);
        let (dx, y) = (gpu.upload(&x), gpu.output::<u16>(64));
        gpu.launch("transpose_matrix", shape(1, 32), args![y, dx]);
        assert_eq!(gpu.read(y), (0..64).map(|i| x[i % 8 * 8 + i / 8]).collect::<Vec<_>>());
    });
}

#[test]
fn stmatrix_is_the_inverse_of_ldmatrix() {
    on(&FROM_90, "zoo_stmatrix", |gpu| {
        let matrices = elements(&mut Random(3), 256);
        let registers: Vec<u32> =
            (0..128).map(|i| held(&matrices[64 * (i / 32)..][..64], i % 32, false)).collect();
        let (dx, y) = (gpu.upload(&registers), gpu.output::<u16>(6 * 256));
        gpu.launch("store_matrices", shape(1, 32), args![y, dx]);
        let mut want = vec![0u16; 6 * 256];
        for (i, (count, transposed)) in
            [(1, false), (2, false), (4, false), (1, true), (2, true), (4, true)].into_iter().enumerate()
        {
            for e in 0..64 * count {
                let (m, r, c) = (e / 64, e / 8 % 8, e % 8);
                let from = if transposed { 8 * c + r } else { 8 * r + c };
                want[256 * i + e] = matrices[64 * m + from];
            }
        }
        assert_eq!(gpu.read(y), want);
    });
}
