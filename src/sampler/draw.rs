//! [`Draw`]: what a device needs to know to draw a text's tokens itself.

use super::{SamplingError, SamplingParams};

/// How the tokens of one text are drawn, for a backend that draws them on its device: the same tokens as
/// [`Sampler`](super::Sampler) draws. It belongs to one text, which only grows.
#[derive(Clone, Debug)]
pub struct Draw {
    params: SamplingParams,
    n_choices: usize,
    n_prompt: usize,
    suppressed: Vec<u32>,
    suppressed_until: usize,
    has_simple_bias: bool,
}

impl Draw {
    /// Draws among the first `n_choices` tokens of the vocabulary, for a text that begins with a prompt of `n_prompt`. Fails
    /// where a parameter is out of range.
    pub fn new(params: SamplingParams, n_choices: usize, n_prompt: usize) -> Result<Self, SamplingError> {
        params.check(n_choices)?;
        let mut ids: Vec<u32> = params.logit_bias.iter().map(|&(id, _)| id).collect();
        ids.sort_unstable();
        let has_simple_bias = ids.windows(2).all(|pair| pair[0] != pair[1]);
        let (suppressed, suppressed_until) = (Vec::new(), 0);
        Ok(Self { params, n_choices, n_prompt, suppressed, suppressed_until, has_simple_bias })
    }

    /// Chooses none of `ids` before `n_tokens` tokens were generated.
    pub fn suppress(mut self, ids: Vec<u32>, n_tokens: usize) -> Self {
        self.suppressed = ids;
        self.suppressed_until = self.n_prompt.saturating_add(n_tokens);
        self
    }

    /// How tokens are chosen; every value is in range.
    pub fn params(&self) -> &SamplingParams {
        &self.params
    }

    /// Tokens below this one can be chosen.
    pub fn n_choices(&self) -> usize {
        self.n_choices
    }

    /// Tokens of the prompt.
    pub fn n_prompt(&self) -> usize {
        self.n_prompt
    }

    /// Tokens that are not chosen before position [`suppressed_until`](Self::suppressed_until).
    pub fn suppressed(&self) -> &[u32] {
        &self.suppressed
    }

    /// The position from which on no token is suppressed.
    pub fn suppressed_until(&self) -> usize {
        self.suppressed_until
    }

    /// Whether a token's score depends on its own logit, bias and count alone, and its chance on the scores' order and sums: what a
    /// device can do by itself. Several biases of one token are rounded one after another, which it cannot.
    pub fn is_simple(&self) -> bool {
        let p = &self.params;
        p.typical_p == 1.0 && p.no_repeat_ngram_size == 0 && p.banned.is_empty() && self.has_simple_bias
    }

    /// Whether tokens are suppressed at `position`.
    pub fn suppresses(&self, position: usize) -> bool {
        position < self.suppressed_until && !self.suppressed.is_empty()
    }
}
