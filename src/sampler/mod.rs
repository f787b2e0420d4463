//! Logits to a token: Hugging Face's processors in Hugging Face's order, and a counter-based generator.
//!
//! Called by [`crate::engine`] once a token. The random number of a token depends on (seed, choice, position) alone, so
//! a seed gives the same text on every run, in any batch and on any machine. Everything is computed in f64; ties go to
//! the lowest id. Tested in `tests/sampling/`, against Hugging Face's own results too.
//!
//! How a token is drawn, for whoever wants the same bits from another device: token `i` that is left has the weight
//! `w = e^((score - max) / temperature)`, as `numbers::exp` computes it, and the integer weight `round(w * 2^44)`. With
//! `x` the 64 bits of [`philox::token_bits`] for position `history.tokens.len()`, and `sum` the sum of the integer
//! weights, the token is the first, by id, at which their running sum exceeds `floor(x * sum / 2^64)`. `kernels/sample.cu` does so.

mod draw;
mod error;
mod filters;
mod logprobs;
mod numbers;
mod params;
mod penalties;
pub mod philox;

pub use draw::Draw;
pub use error::SamplingError;
pub use logprobs::TokenLogprobs;
#[cfg(feature = "cuda")]
pub(crate) use params::N_VOCAB_MAX;
pub use params::SamplingParams;

use filters::{Filter, max_score};
use numbers::{any_bad, max_of, sum_of};

/// What a token follows.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// The prompt's tokens and those generated, in order.
    pub tokens: &'a [u32],
    /// How many of them are the prompt's.
    pub n_prompt: usize,
}

/// Chooses tokens; keeps the memory that it needs between calls.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: SamplingParams,
    n_vocab: usize,
    /// Logits after penalties, `[V]`; minus infinity where a token is banned.
    scores: Vec<f64>,
    /// Zeros between calls, `[V]`.
    counts: Vec<u32>,
    filter: Filter,
}

impl Sampler {
    /// A sampler for a model of `n_vocab` tokens. Fails where a parameter is out of range.
    pub fn new(params: SamplingParams, n_vocab: usize) -> Result<Self, SamplingError> {
        params.check(n_vocab)?;
        let filter = Filter::new(&params, n_vocab);
        Ok(Self { params, n_vocab, scores: vec![0.0; n_vocab], counts: vec![0; n_vocab], filter })
    }

    /// The token that follows `history`. Those in `suppressed` are not chosen.
    pub fn sample(
        &mut self,
        logits: &[f32],
        history: History<'_>,
        suppressed: &[u32],
    ) -> Result<u32, SamplingError> {
        let position = history.tokens.len();
        self.check(logits, position)?;
        let greedy = self.params.temperature == 0.0;
        if greedy && suppressed.is_empty() && self.params.leaves_logits_alone() {
            let max = max_of(logits, f32::NEG_INFINITY);
            return first(logits, max, f32::NEG_INFINITY, position);
        }
        let max = self.score(logits, history, suppressed)?;
        if greedy {
            return first(&self.scores, max, f64::NEG_INFINITY, position);
        }
        let bits = philox::token_bits(self.params.seed, self.params.choice, position as u64);
        Ok(self.filter.draw(&self.params, &self.scores, max, bits))
    }

    /// The tokens that [`sample`](Self::sample) could choose and their probabilities, by id.
    pub fn distribution(
        &mut self,
        logits: &[f32],
        history: History<'_>,
        suppressed: &[u32],
    ) -> Result<Vec<(u32, f64)>, SamplingError> {
        self.check(logits, history.tokens.len())?;
        let max = self.score(logits, history, suppressed)?;
        if self.params.temperature == 0.0 {
            return Ok(vec![(first(&self.scores, max, f64::NEG_INFINITY, history.tokens.len())?, 1.0)]);
        }
        let kept = self.filter.keep(&self.params, &self.scores, max);
        let all = sum_of(kept.len(), |i| kept[i].weight);
        Ok(kept.iter().map(|c| (c.id, c.weight / all)).collect())
    }

    fn check(&self, logits: &[f32], position: usize) -> Result<(), SamplingError> {
        if logits.len() != self.n_vocab {
            return Err(SamplingError::Length { found: logits.len(), n_vocab: self.n_vocab });
        }
        if any_bad(logits) {
            return Err(SamplingError::NonFinite { position });
        }
        Ok(())
    }

    /// Fills `scores` and returns the largest.
    fn score(
        &mut self,
        logits: &[f32],
        history: History<'_>,
        suppressed: &[u32],
    ) -> Result<f64, SamplingError> {
        for (score, &logit) in self.scores.iter_mut().zip(logits) {
            // Plus zero: -0 becomes 0, so that equal scores have equal bits.
            *score = f64::from(logit) + 0.0;
        }
        penalties::apply(&self.params, history, suppressed, &mut self.scores, &mut self.counts);
        let max = max_score(&self.scores);
        if max == f64::NEG_INFINITY {
            return Err(SamplingError::AllBanned { position: history.tokens.len() });
        }
        Ok(max)
    }
}

/// The lowest id whose score is `max`.
fn first<T: Copy + PartialEq>(
    scores: &[T],
    max: T,
    banned: T,
    position: usize,
) -> Result<u32, SamplingError> {
    match scores.iter().position(|&score| score == max) {
        Some(id) if max != banned => Ok(id as u32),
        _ => Err(SamplingError::AllBanned { position }),
    }
}
