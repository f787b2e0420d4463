//! `mma` of `.f64`: a chain of fused multiply-adds, as PTX prescribes its precision, here in the order of k.

use crate::numeric::{Round, double};

/// A 64-bit register of a warp: the value of each lane.
pub type Doubles = [f64; 32];

/// `mma.sync` of `.f64`, for `.m8n8k4`, `.m16n8k4`, `.m16n8k8` and `.m16n8k16`: `d = a * b + c`. Registers stand as in
/// [`super::layout`], one element to each; `m` and `k` are those of the shape. A, B, C and D take `m * k / 32`, `k / 4`, `m / 4`
/// and `m / 4` registers; missing ones count as zeros.
pub fn multiply_f64(
    m: usize,
    k: usize,
    a: &[Doubles],
    b: &[Doubles],
    c: &[Doubles],
    round: Round,
) -> [Doubles; 4] {
    let down = m / 8;
    let a_at = |row: usize, k: usize| at(a, row / 8 + k / 4 * down, row % 8 * 4 + k % 4);
    let b_at = |k: usize, column: usize| at(b, k / 4, column * 4 + k % 4);
    let mut d = [[0.0; 32]; 4];
    for (register, lanes) in d.iter_mut().enumerate().take(m / 4) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            let (row, column) = (register / 2 * 8 + lane / 4, lane % 4 * 2 + register % 2);
            *sum = at(c, register, lane);
            for k in 0..k {
                *sum = double::fma(a_at(row, k), b_at(k, column), *sum, round);
            }
        }
    }
    d
}

fn at(registers: &[Doubles], register: usize, lane: usize) -> f64 {
    registers.get(register).map_or(0.0, |lanes| lanes[lane])
}
