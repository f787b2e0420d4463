//! Log-probabilities of a token and of the likeliest ones.

use super::{filters::top_k, numbers::log_sum_exp};

/// Log-probabilities of a token and of the likeliest ones, from the model's own logits: before temperature, penalties
/// and bans, as vLLM reports them.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// Of the token itself, natural logarithm.
    pub logprob: f32,
    /// The likeliest tokens, most likely first; ties by lowest id.
    pub top: Vec<(u32, f32)>,
}

impl TokenLogprobs {
    /// The log-softmax of `logits`, `[V]`, at `token` and at the `n_top` largest, computed in f64. A token beyond the
    /// vocabulary has minus infinity.
    pub fn new(logits: &[f32], token: u32, n_top: usize) -> Self {
        let log_sum = log_sum_exp(logits);
        let logprob = |logit: f64| (logit - log_sum) as f32;
        let mut top = Vec::new();
        if n_top > 0 {
            top_k(logits.len(), |i| f64::from(logits[i]), n_top, &mut top);
            top.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
            top.truncate(n_top);
        }
        let own = logits.get(token as usize).map_or(f64::NEG_INFINITY, |&logit| f64::from(logit));
        Self { logprob: logprob(own), top: top.iter().map(|c| (c.id, logprob(c.score))).collect() }
    }
}
