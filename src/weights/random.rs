//! Random weights of any shape, for benchmarks and tests: speed does not depend on the values.

use super::{Attention, Layer, LayerNorm, Linear, Matrix, Mlp, Weights};
use crate::Config;
use half::f16;

impl Weights {
    /// A model of shape `config` with fp16 matrices in memory of its own: weights about as a GPT-2 is initialised
    /// (mean 0, standard deviation 0.02; LayerNorm weights around 1), the same for the same `seed`.
    pub fn random(config: Config, seed: u64) -> Self {
        let (c, f) = (config.n_embd, config.n_inner);
        let mut random = Random(seed);
        Self {
            wte: random.matrix(config.n_vocab, c),
            wpe: random.matrix(config.n_ctx, c),
            h: (0..config.n_layer).map(|_| random.layer(c, f)).collect(),
            ln_f: random.norm(c),
            lm_head: (!config.tie_word_embeddings).then(|| random.matrix(config.n_vocab, c)),
            config,
        }
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

    fn matrix(&mut self, rows: usize, cols: usize) -> Matrix {
        Matrix::from_f16(rows, cols, (0..rows * cols).map(|_| f16::from_f32(self.weight())).collect())
    }

    /// fp32, of values that fp16 has.
    fn vector(&mut self, mean: f32, len: usize) -> Vec<f32> {
        (0..len).map(|_| f16::from_f32(mean + self.weight()).to_f32()).collect()
    }

    fn norm(&mut self, width: usize) -> LayerNorm {
        LayerNorm { weight: self.vector(1.0, width), bias: self.vector(0.0, width) }
    }

    fn linear(&mut self, n_in: usize, n_out: usize) -> Linear {
        Linear { weight: self.matrix(n_in, n_out), bias: self.vector(0.0, n_out) }
    }

    fn layer(&mut self, c: usize, f: usize) -> Layer {
        Layer {
            ln_1: self.norm(c),
            attn: Attention { c_attn: self.linear(c, 3 * c), c_proj: self.linear(c, c) },
            ln_2: self.norm(c),
            mlp: Mlp { c_fc: self.linear(c, f), c_proj: self.linear(f, c) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Elements;

    #[test]
    fn random_weights_have_the_stated_spread() {
        let matrix = Random(7).matrix(300, 100);
        let Elements::F16(values) = matrix.elements() else { panic!("random matrices are fp16") };
        let mean = values.iter().map(|v| v.to_f64()).sum::<f64>() / 30000.0;
        let spread = (values.iter().map(|v| v.to_f64().powi(2)).sum::<f64>() / 30000.0).sqrt();
        // Five standard errors: 0.02 / √30000 for the mean, about 0.02 / √60000 for the spread.
        assert!(mean.abs() < 6e-4, "mean {mean}");
        assert!((spread - 0.02).abs() < 5e-4, "standard deviation {spread}");
    }
}
