//! What a model weighs: parameters, bytes in memory, bytes that one token moves.

use halfwarp::{
    Weights,
    family::Role,
    weights::{Filled, StoredType},
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
    /// The elements of the matrices: `f32`, `f16` or `bf16`; `mixed` where they differ.
    pub dtype: &'static str,
}

impl Footprint {
    /// Counts `weights`.
    pub fn of(weights: &Weights) -> Self {
        let config = &weights.config;
        let mut sum = Self {
            n_params: 0,
            bytes: 0,
            bytes_per_token: 0,
            kv_bytes_per_token: config.kv_bytes_per_token() as u64,
            dtype: "",
        };
        let mut elements: Vec<StoredType> = Vec::new();
        for (slot, filled) in weights.tensors() {
            let (n_params, width) = match filled {
                Filled::Matrix(matrix) => {
                    elements.push(matrix.stored_type());
                    ((matrix.n_out() * matrix.n_in()) as u64, matrix.stored_type().width() as u64)
                }
                Filled::Vector(vector) => (vector.len() as u64, 4),
            };
            sum.n_params += n_params;
            sum.bytes += n_params * width;
            let row = config.n_embd as u64 * width;
            sum.bytes_per_token += match slot.role {
                Role::PositionEmbd => row,
                Role::TokenEmbd if config.tied => n_params * width + row,
                Role::TokenEmbd => row,
                _ => n_params * width,
            };
        }
        elements.dedup();
        sum.dtype = match *elements {
            [element] => element.name(),
            _ => "mixed",
        };
        sum
    }

    /// Bytes that decoding one token reads when it attends to `n_context` tokens.
    pub fn bytes_at(&self, n_context: f64) -> f64 {
        self.bytes_per_token as f64 + self.kv_bytes_per_token as f64 * n_context
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_model_is_counted_whole() {
        let footprint = Footprint::of(&Weights::bundled().unwrap());
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
