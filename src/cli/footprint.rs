//! What a model weighs: parameters, bytes in memory, bytes that one token moves.

use halfwarp::{
    Weights,
    weights::{Elements, LayerNorm, Linear, Matrix},
};

/// Sizes of a model.
#[derive(Clone, Debug)]
pub struct Footprint {
    /// Parameters.
    pub n_params: u64,
    /// Bytes of all weights, as they lie in memory.
    pub bytes: u64,
    /// Bytes of weights that decoding one token reads: all but the embeddings of other tokens and positions.
    pub bytes_per_token: u64,
    /// Bytes of keys and values that one cached token takes, and that every later token reads.
    pub kv_bytes_per_token: u64,
    /// `f16` or `f32`: the elements of the matrices; `mixed` where they differ.
    pub dtype: &'static str,
}

impl Footprint {
    /// Counts `weights`.
    pub fn of(weights: &Weights) -> Self {
        let mut sum = Sum::default();
        for layer in &weights.h {
            sum.norm(&layer.ln_1);
            sum.linear(&layer.attn.c_attn);
            sum.linear(&layer.attn.c_proj);
            sum.norm(&layer.ln_2);
            sum.linear(&layer.mlp.c_fc);
            sum.linear(&layer.mlp.c_proj);
        }
        sum.norm(&weights.ln_f);
        sum.matrix(weights.lm_head.as_ref().unwrap_or(&weights.wte));
        let mut bytes_per_token = sum.bytes;
        for embedding in [&weights.wte, &weights.wpe] {
            bytes_per_token += row_bytes(embedding);
        }
        if weights.lm_head.is_some() {
            sum.matrix(&weights.wte);
        }
        sum.matrix(&weights.wpe);
        Self {
            n_params: sum.n_params,
            bytes: sum.bytes,
            bytes_per_token,
            kv_bytes_per_token: weights.config.kv_bytes_per_token() as u64,
            dtype: match (sum.any_f16, sum.any_f32) {
                (true, true) => "mixed",
                (true, false) => "f16",
                _ => "f32",
            },
        }
    }

    /// Bytes that decoding one token reads when it attends to `n_context` tokens.
    pub fn bytes_at(&self, n_context: f64) -> f64 {
        self.bytes_per_token as f64 + self.kv_bytes_per_token as f64 * n_context
    }
}

fn width(matrix: &Matrix) -> (usize, bool) {
    let elements = matrix.elements();
    (elements.width(), matches!(elements, Elements::F16(_)))
}

fn row_bytes(matrix: &Matrix) -> u64 {
    (matrix.cols() * width(matrix).0) as u64
}

#[derive(Default)]
struct Sum {
    n_params: u64,
    bytes: u64,
    any_f16: bool,
    any_f32: bool,
}

impl Sum {
    fn matrix(&mut self, matrix: &Matrix) {
        let (width, half) = width(matrix);
        let n = matrix.rows() as u64 * matrix.cols() as u64;
        self.n_params += n;
        self.bytes += n * width as u64;
        self.any_f16 |= half;
        self.any_f32 |= !half;
    }

    fn vector(&mut self, vector: &[f32]) {
        self.n_params += vector.len() as u64;
        self.bytes += 4 * vector.len() as u64;
    }

    fn linear(&mut self, linear: &Linear) {
        self.matrix(&linear.weight);
        self.vector(&linear.bias);
    }

    fn norm(&mut self, norm: &LayerNorm) {
        self.vector(&norm.weight);
        self.vector(&norm.bias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_model_is_counted_whole() {
        let footprint = Footprint::of(&Weights::bundled());
        let (v, n, c, l) = (4096u64, 512, 256, 6);
        let matrices = v * c + n * c + l * 12 * c * c;
        let vectors = l * (3 * c + c + 4 * c + c + 4 * c) + 2 * c;
        assert_eq!(footprint.n_params, matrices + vectors);
        assert_eq!(footprint.bytes, 2 * matrices + 4 * vectors);
        assert_eq!(footprint.bytes_per_token, footprint.bytes - 2 * (n * c) + 2 * (c + c));
        assert_eq!(footprint.kv_bytes_per_token, 2 * l * c * 4);
        assert_eq!(footprint.dtype, "f16");
    }
}
