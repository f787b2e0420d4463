//! How to choose a token, and which values are valid.

use super::SamplingError;
use crate::family::GenerationConfig;
use std::fmt::Display;

/// Most tokens that a vocabulary may have: fixed-point weights of so many add up to less than 2^64.
pub const N_VOCAB_MAX: usize = 1 << 20;

/// How to choose a token. The default is greedy.
///
/// Applied in Hugging Face's order: `logit_bias`, `repetition_penalty`, `presence_penalty` and `frequency_penalty`,
/// `no_repeat_ngram_size`, `banned`; then, unless `temperature` is 0, `temperature`, `top_k`, `top_p`, `min_p`,
/// `typical_p`.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// Logits are divided by it; 0 takes the most likely token. At least 0.
    pub temperature: f32,
    /// Keeps the `top_k` most likely tokens, and those as likely as the last of them; 0 keeps all.
    pub top_k: usize,
    /// Keeps the most likely tokens whose probabilities first reach `top_p`; 1 keeps all. Above 0, at most 1.
    pub top_p: f32,
    /// Keeps tokens at least `min_p` times as likely as the most likely one; 0 keeps all. At most 1.
    pub min_p: f32,
    /// Keeps the tokens whose surprise is closest to the expected one, up to this mass; 1 keeps all. Above 0, at most 1.
    pub typical_p: f32,
    /// Divides the positive logits of tokens already seen, in the prompt too, and multiplies the negative ones; 1 does
    /// nothing. Above 0.
    pub repetition_penalty: f32,
    /// Subtracted from the logit of every token already generated. From -2 to 2.
    pub presence_penalty: f32,
    /// Subtracted from the logit of a token for each time it was generated. From -2 to 2.
    pub frequency_penalty: f32,
    /// No sequence of this many tokens occurs twice; 0 allows all.
    pub no_repeat_ngram_size: usize,
    /// Added to the logits of single tokens. Finite; biases of the same token add up.
    pub logit_bias: Vec<(u32, f32)>,
    /// Sequences of tokens that never occur: the last token is banned where the text ends with those before it.
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

impl SamplingParams {
    /// These with the values of a generation_config.json, where it has them, for a model of `n_vocab` tokens. Its `do_sample: false` is
    /// temperature 0. Fails where a value is out of range.
    pub fn with_values_of(self, config: &GenerationConfig, n_vocab: usize) -> Result<Self, SamplingError> {
        let greedy = config.do_sample.filter(|sample| !sample).map(|_| 0.0);
        let params = Self {
            temperature: greedy.or(config.temperature).unwrap_or(self.temperature),
            top_k: config.top_k.unwrap_or(self.top_k),
            top_p: config.top_p.unwrap_or(self.top_p),
            min_p: config.min_p.unwrap_or(self.min_p),
            typical_p: config.typical_p.unwrap_or(self.typical_p),
            repetition_penalty: config.repetition_penalty.unwrap_or(self.repetition_penalty),
            no_repeat_ngram_size: config.no_repeat_ngram_size.unwrap_or(self.no_repeat_ngram_size),
            ..self
        };
        params.check(n_vocab)?;
        Ok(params)
    }

    /// Whether logits are sampled from as they are: no bias, penalty or ban.
    pub(crate) fn leaves_logits_alone(&self) -> bool {
        self.repetition_penalty == 1.0
            && self.presence_penalty == 0.0
            && self.frequency_penalty == 0.0
            && self.no_repeat_ngram_size == 0
            && self.logit_bias.is_empty()
            && self.banned.is_empty()
    }

    /// Whether tokens are left out beside those that are banned.
    pub(super) fn filters(&self) -> bool {
        self.top_k > 0 || self.top_p < 1.0 || self.min_p > 0.0 || self.typical_p < 1.0
    }

    /// Refuses values out of range, for a model of `n_vocab` tokens.
    pub(super) fn check(&self, n_vocab: usize) -> Result<(), SamplingError> {
        check("n_vocab", n_vocab, (1..=N_VOCAB_MAX).contains(&n_vocab), format!("1 to {N_VOCAB_MAX}"))?;
        let numbers = [
            ("temperature", self.temperature, self.temperature >= 0.0, "at least 0"),
            ("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0, at most 1"),
            ("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "0 to 1"),
            (
                "typical_p",
                self.typical_p,
                self.typical_p > 0.0 && self.typical_p <= 1.0,
                "above 0, at most 1",
            ),
            ("repetition_penalty", self.repetition_penalty, self.repetition_penalty > 0.0, "above 0"),
            ("presence_penalty", self.presence_penalty, self.presence_penalty.abs() <= 2.0, "-2 to 2"),
            ("frequency_penalty", self.frequency_penalty, self.frequency_penalty.abs() <= 2.0, "-2 to 2"),
        ];
        for (name, found, in_range, expected) in numbers {
            check(name, found, in_range && found.is_finite(), expected)?;
        }
        let last_id = n_vocab - 1;
        for &(id, bias) in &self.logit_bias {
            check("a token of logit_bias", id, id as usize <= last_id, format!("0 to {last_id}"))?;
            check("a value of logit_bias", bias, bias.is_finite(), "a finite number")?;
        }
        for sequence in &self.banned {
            check("a banned sequence", "empty", !sequence.is_empty(), "at least one token")?;
            for &id in sequence {
                check("a banned token", id, id as usize <= last_id, format!("0 to {last_id}"))?;
            }
        }
        Ok(())
    }
}

fn check(
    name: &'static str,
    found: impl Display,
    in_range: bool,
    expected: impl Into<String>,
) -> Result<(), SamplingError> {
    if in_range {
        return Ok(());
    }
    Err(SamplingError::Parameter { name, found: found.to_string(), expected: expected.into() })
}
