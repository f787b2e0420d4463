//! Reference logits, and how far others are from them.

use halfwarp::Weights;
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

/// Logits of Hugging Face transformers in float64 on the stored weights: see `tests/goldens/README.md`.
pub struct Golden {
    pub name: &'static str,
    pub ids: Vec<u32>,
    /// `[T, V]`.
    pub logits: Vec<f32>,
    /// The greedy continuation of `ids`.
    pub greedy: Vec<u32>,
    /// The best logit minus the second, at each step of it.
    pub margin: Vec<f32>,
}

pub const NAMES: [&str; 3] = ["tiny-fp32", "odd-fp16", "tales"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

/// The model that a golden was made with.
pub fn weights(name: &str) -> Weights {
    let folder = match name {
        "tales" => Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tales"),
        _ => folder(name),
    };
    Weights::open(&folder).unwrap()
}

impl Golden {
    pub fn open(name: &'static str) -> Self {
        let bytes = std::fs::read(folder(name).join("expected.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let words = |name: &str| -> Vec<u32> {
            let data = tensors.tensor(name).unwrap().data();
            data.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect()
        };
        let floats = |name: &str| words(name).into_iter().map(f32::from_bits).collect();
        Self {
            name,
            ids: words("input_ids"),
            logits: floats("logits"),
            greedy: words("greedy_ids"),
            margin: floats("margin"),
        }
    }

    pub fn n_vocab(&self) -> usize {
        self.logits.len() / self.ids.len()
    }
}

/// How far logits are from the reference. Computed in float64 on log-softmax, which has no arbitrary offset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Distance {
    /// Largest difference of a log-probability, over the reference's 100 likeliest tokens.
    pub e_abs: f64,
    /// Squared difference over squared reference, of logits centred on their mean.
    pub nmse: f64,
    /// Kullback-Leibler divergence from the reference, mean over the positions.
    pub kld_mean: f64,
    /// Its largest.
    pub kld_max: f64,
    /// Positions where another token is the likeliest and no near tie excuses it.
    pub top1_misses: usize,
    /// Difference of the mean negative log-likelihood of the prompt's own tokens.
    pub d_ppl: f64,
}

impl Distance {
    /// From the reference to `logits`, `[T, V]`.
    pub fn new(golden: &Golden, logits: &[f32]) -> Self {
        assert_eq!(logits.len(), golden.logits.len(), "{}: one row of logits a token", golden.name);
        let n_vocab = golden.n_vocab();
        let n_tokens = golden.ids.len();
        let mut distance = Self::default();
        let (mut error, mut norm, mut nll) = (0.0, 0.0, 0.0);
        for t in 0..n_tokens {
            let (ours, reference) =
                (&logits[t * n_vocab..][..n_vocab], &golden.logits[t * n_vocab..][..n_vocab]);
            let (l, l_ref) = (log_softmax(ours), log_softmax(reference));
            let mut order: Vec<usize> = (0..n_vocab).collect();
            order.sort_by(|&a, &b| l_ref[b].total_cmp(&l_ref[a]));
            let e_abs = largest(order.iter().take(100).map(|&v| (l[v] - l_ref[v]).abs()));
            distance.e_abs = largest([distance.e_abs, e_abs]);
            let kld: f64 = (0..n_vocab).map(|v| l_ref[v].exp() * (l_ref[v] - l[v])).sum();
            assert!(kld.is_nan() || kld > -1e-12, "{}: negative divergence {kld:e}", golden.name);
            distance.kld_mean += kld / n_tokens as f64;
            distance.kld_max = largest([distance.kld_max, kld]);
            let best = (0..n_vocab).max_by(|&a, &b| l[a].total_cmp(&l[b])).unwrap();
            let tie = l_ref[order[0]] - l_ref[best] < 2.0 * e_abs && e_abs < 1e-3;
            distance.top1_misses += usize::from(best != order[0] && !tie);
            for (z, z_ref) in centred(ours).zip(centred(reference)) {
                error += (z - z_ref) * (z - z_ref);
                norm += z_ref * z_ref;
            }
            if let Some(&next) = golden.ids.get(t + 1) {
                nll += (l_ref[next as usize] - l[next as usize]) / (n_tokens - 1) as f64;
            }
        }
        distance.nmse = error / norm;
        distance.d_ppl = nll.abs();
        distance
    }

    /// Whether every measure is within `gate`.
    pub fn within(&self, gate: &Distance) -> bool {
        self.e_abs <= gate.e_abs
            && self.nmse <= gate.nmse
            && self.kld_mean <= gate.kld_mean
            && self.kld_max <= gate.kld_max
            && self.top1_misses <= gate.top1_misses
            && self.d_ppl <= gate.d_ppl
    }
}

/// The largest, where NaN is larger than anything.
fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |a, b| if b <= a { a } else { b })
}

fn log_softmax(z: &[f32]) -> Vec<f64> {
    let max = z.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b as f64));
    let sum = z.iter().map(|&v| (v as f64 - max).exp()).sum::<f64>().ln();
    z.iter().map(|&v| v as f64 - max - sum).collect()
}

fn centred(z: &[f32]) -> impl Iterator<Item = f64> {
    let mean = z.iter().map(|&v| v as f64).sum::<f64>() / z.len() as f64;
    z.iter().map(move |&v| v as f64 - mean)
}
