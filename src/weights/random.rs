//! Random weights of any shape, for benchmarks and tests: speed does not depend on the values.

use super::{Filling, Matrix, Weights};
use crate::{
    Config,
    family::{Layout, Param, Slot, gpt2},
};
use half::f16;
use std::convert::Infallible;

impl Weights {
    /// A model of shape `config` with fp16 matrices in memory of its own, as GPT-2 lays them out: weights about as a GPT-2
    /// is initialised (mean 0, standard deviation 0.02; norms around 1), the same for the same `seed`.
    pub fn random(config: Config, seed: u64) -> Self {
        let mut random = Random(seed);
        let slots = (gpt2::FAMILY.slots)(&config, Layout::InOut);
        let Ok(weights) = Self::fill(config, slots, |slot| Ok::<_, Infallible>(random.filling(slot)));
        weights
    }
}

/// SplitMix64, by Steele, Lea and Flood.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Mean 0, standard deviation 0.02: the sum of the four 16-bit parts of one draw, near enough to a normal.
    fn weight(&mut self) -> f32 {
        let z = self.next();
        let sum = (z & 0xffff) + (z >> 16 & 0xffff) + (z >> 32 & 0xffff) + (z >> 48);
        (sum as f32 / 65536.0 - 2.0) * (0.02 * 1.732_050_8)
    }

    /// fp16.
    fn matrix(&mut self, layout: Layout, n_out: usize, n_in: usize) -> Matrix {
        let values = (0..n_out * n_in).map(|_| f16::from_f32(self.weight())).collect();
        Matrix::from_f16(layout, n_out, n_in, values)
    }

    /// fp32, of values that fp16 has.
    fn vector(&mut self, mean: f32, len: usize) -> Vec<f32> {
        (0..len).map(|_| f16::from_f32(mean + self.weight()).to_f32()).collect()
    }

    fn filling(&mut self, slot: &Slot) -> Filling {
        match (slot.n_in, slot.param) {
            (Some(n_in), _) => Filling::Matrix(self.matrix(slot.layout, slot.part.len(), n_in)),
            (None, Param::Weight) => Filling::Vector(self.vector(1.0, slot.part.len())),
            (None, Param::Bias) => Filling::Vector(self.vector(0.0, slot.part.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Elements;

    #[test]
    fn random_weights_have_the_stated_spread() {
        let matrix = Random(7).matrix(Layout::OutIn, 300, 100);
        let Elements::F16(values) = matrix.elements() else { panic!("random matrices are fp16") };
        let mean = values.iter().map(|v| v.to_f64()).sum::<f64>() / 30000.0;
        let spread = (values.iter().map(|v| v.to_f64().powi(2)).sum::<f64>() / 30000.0).sqrt();
        // Five standard errors: 0.02 / √30000 for the mean, about 0.02 / √60000 for the spread.
        assert!(mean.abs() < 6e-4, "mean {mean}");
        assert!((spread - 0.02).abs() < 5e-4, "standard deviation {spread}");
    }
}
