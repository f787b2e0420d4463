//! A model, a backend and its cache, and comparison to the bit.

use halfwarp::{
    Weights,
    backend::{
        Backend,
        cpu::{CpuBackend, simd::Isa},
    },
    batch::{Batch, Rows},
    cache::KvCache,
};
use std::sync::Arc;

/// Two layers, three heads of 24, 640 positions, a vocabulary of 517: no size a multiple of another's tile.
pub fn model() -> Arc<Weights> {
    let json = br#"{"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 2, "n_head": 3,
        "n_embd": 72, "n_positions": 640, "vocab_size": 517, "layer_norm_epsilon": 1e-5}"#;
    Arc::new(Weights::random(halfwarp::family::parse_config(json).unwrap(), 11))
}

pub struct Rig {
    pub backend: Box<dyn Backend>,
    pub cache: KvCache,
}

impl Rig {
    pub fn new(weights: &Arc<Weights>, n_threads: usize) -> Self {
        Self::with_isa(weights, n_threads, Isa::best())
    }

    pub fn with_isa(weights: &Arc<Weights>, n_threads: usize, isa: Isa) -> Self {
        Self::of(Box::new(CpuBackend::with_isa(weights.clone(), Some(n_threads), isa)))
    }

    pub fn of(mut backend: Box<dyn Backend>) -> Self {
        let cache = backend.new_cache(4096).unwrap();
        Self { backend, cache }
    }

    /// All rows that the batch asks for.
    pub fn forward(&mut self, batch: &Batch) -> Vec<f32> {
        let logits = self.backend.forward(batch, &mut self.cache).unwrap();
        (0..logits.n_rows()).flat_map(|row| logits.row(row).unwrap()).copied().collect()
    }

    /// Logits of every position of `ids`, in one call.
    pub fn all(&mut self, ids: &[u32]) -> Vec<f32> {
        self.chunked(ids, ids.len())
    }

    /// The same, `len` tokens a call.
    pub fn chunked(&mut self, ids: &[u32], len: usize) -> Vec<f32> {
        let seq = self.cache.open();
        let y = ids.chunks(len).flat_map(|ids| self.forward(&Batch::one(seq, ids, Rows::All))).collect();
        self.cache.release(seq).unwrap();
        y
    }
}

/// The first difference of two lists of logits in their bits. NaN differs from everything.
pub fn difference(ours: &[f32], expected: &[f32]) -> Option<String> {
    if ours.len() != expected.len() {
        return Some(format!("{} logits, expected {}", ours.len(), expected.len()));
    }
    let at = (0..ours.len()).find(|&i| ours[i].is_nan() || ours[i].to_bits() != expected[i].to_bits())?;
    Some(format!("logit {at} is {:e} ({:#010x}), expected {:e}", ours[at], ours[at].to_bits(), expected[at]))
}

#[track_caller]
pub fn assert_same(ours: &[f32], expected: &[f32], what: &str) {
    if let Some(difference) = difference(ours, expected) {
        panic!("{what}: {difference}");
    }
}

/// Steps of a linear congruence: the same for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }

    /// Token ids of [`model`].
    pub fn tokens(&mut self, n: usize) -> Vec<u32> {
        (0..n).map(|_| self.below(517) as u32).collect()
    }
}
