//! How tokens are chosen and when a text ends: the arguments of `generate` and `repl`.

use super::{
    exit::{Failure, one_line},
    output::note,
};
use clap::builder::FalseyValueParser;
use halfwarp::{Source, engine::GenerateParams, sampler::SamplingParams};
use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
};

/// How tokens are chosen.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Sampling")]
pub struct SamplingArgs {
    /// Divides the logits; 0 always takes the likeliest token [default: 0.8]
    #[arg(long, visible_alias = "temp", value_name = "T", allow_negative_numbers = true,
        value_parser = parse_temperature)]
    pub temperature: Option<f32>,

    /// Keep the K likeliest tokens; 0 keeps all [default: 40]
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = parse_count)]
    pub top_k: Option<usize>,

    /// Keep the likeliest tokens whose probabilities first reach P; 1 keeps all [default: 0.95]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = parse_mass)]
    pub top_p: Option<f32>,

    /// Keep tokens at least P times as likely as the likeliest; 0 keeps all [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = parse_fraction)]
    pub min_p: Option<f32>,

    /// Keep the tokens whose surprise is closest to the expected one, up to this mass; 1 keeps all [default: 1]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = parse_mass)]
    pub typical_p: Option<f32>,

    /// Divide the positive logits of tokens that occurred, prompt included, and multiply the negative ones [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = parse_positive)]
    pub repetition_penalty: Option<f32>,

    /// Subtract from the logit of every token that was generated
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true, value_parser = parse_penalty)]
    pub presence_penalty: f32,

    /// Subtract from the logit of a token for each time it was generated
    #[arg(long, value_name = "X", default_value_t = 0.0, allow_negative_numbers = true, value_parser = parse_penalty)]
    pub frequency_penalty: f32,

    /// Never repeat a sequence of N tokens; 0 allows all [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    pub no_repeat_ngram_size: Option<usize>,

    /// Add BIAS to the logit of token ID; repeatable
    #[arg(long, value_name = "ID=BIAS", value_parser = parse_bias)]
    pub logit_bias: Vec<(u32, f32)>,

    /// Never write this word or phrase; repeatable
    #[arg(long, value_name = "WORD", allow_hyphen_values = true, value_parser = parse_word)]
    pub ban: Vec<String>,

    /// Never write any of the words or phrases in this file, one per line
    #[arg(long, value_name = "FILE")]
    pub ban_file: Option<PathBuf>,

    /// Seed of the random choices [default: a random one, shown by --stats and --json]
    #[arg(short, long, env = "HALFWARP_SEED", value_name = "N", allow_negative_numbers = true, value_parser = parse_seed)]
    pub seed: Option<u64>,
}

/// When a text ends.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Length")]
pub struct EndArgs {
    /// Generate at most N tokens [default: until the text ends or the context is full]
    #[arg(short = 'n', long, visible_alias = "n-predict", value_name = "N", allow_negative_numbers = true, value_parser = parse_count)]
    pub max_tokens: Option<usize>,

    /// Generate at least N tokens before the text may end by itself
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, value_parser = parse_count)]
    pub min_tokens: usize,

    /// End before this string, where \n, \r, \t and \\ stand for what they do elsewhere; repeatable
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = parse_stop)]
    pub stop: Vec<String>,

    /// End at this token; repeatable
    #[arg(long, value_name = "ID", allow_negative_numbers = true, value_parser = parse_id)]
    pub stop_token_id: Vec<u32>,

    /// Go on past the model's end-of-text token
    #[arg(long)]
    pub ignore_eos: bool,

    /// Use at most N tokens of the model's context, prompt included [default: all of it]
    #[arg(short, long, env = "HALFWARP_CTX_SIZE", value_name = "N", allow_negative_numbers = true, value_parser = parse_ctx_size)]
    pub ctx_size: Option<usize>,
}

/// What stands for values that are not given.
#[derive(Clone, Debug, clap::Args)]
pub struct ModelDefaults {
    /// Take the sampling values of the model's generation_config.json where none is given
    #[arg(long, env = "HALFWARP_MODEL_DEFAULTS", value_parser = FalseyValueParser::new(), help_heading = "Sampling")]
    model_defaults: bool,
}

impl ModelDefaults {
    /// `base`, or what the model at `source` makes of it where that was asked for. What the model asks for beside that is named.
    pub fn sampling(&self, base: SamplingParams, source: &Source) -> Result<SamplingParams, Failure> {
        if !self.model_defaults {
            return Ok(base);
        }
        let info = source.info()?;
        if info.generation.values().is_empty() {
            note(format_args!("note: the model has no sampling values of its own"));
        }
        if !info.generation.unserved.is_empty() {
            let names = one_line(&info.generation.unserved.join(", "));
            note(format_args!("note: not served, of generation_config.json: {names}"));
        }
        base.with_values_of(&info.generation, info.config.n_vocab)
            .map_err(|error| Failure::because("generation_config.json", error))
    }
}

/// How tokens are chosen where neither the command line nor the model says.
pub fn default_sampling() -> SamplingParams {
    SamplingParams { temperature: 0.8, top_k: 40, top_p: 0.95, ..SamplingParams::default() }
}

impl SamplingArgs {
    /// The library's parameters, with `default` for what was not given, and a random seed.
    pub fn params(&self, default: &SamplingParams) -> SamplingParams {
        SamplingParams {
            temperature: self.temperature.unwrap_or(default.temperature),
            top_k: self.top_k.unwrap_or(default.top_k),
            top_p: self.top_p.unwrap_or(default.top_p),
            min_p: self.min_p.unwrap_or(default.min_p),
            typical_p: self.typical_p.unwrap_or(default.typical_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(default.repetition_penalty),
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            no_repeat_ngram_size: self.no_repeat_ngram_size.unwrap_or(default.no_repeat_ngram_size),
            logit_bias: self.logit_bias.clone(),
            seed: self.seed.unwrap_or_else(random_seed),
            ..SamplingParams::default()
        }
    }

    /// These, with `default` for what was not given.
    pub fn filled(&self, default: &SamplingParams) -> Self {
        let params = self.params(default);
        Self {
            temperature: Some(params.temperature),
            top_k: Some(params.top_k),
            top_p: Some(params.top_p),
            min_p: Some(params.min_p),
            typical_p: Some(params.typical_p),
            repetition_penalty: Some(params.repetition_penalty),
            no_repeat_ngram_size: Some(params.no_repeat_ngram_size),
            ..self.clone()
        }
    }

    /// The words that are never written.
    pub fn banned(&self) -> Result<Vec<String>, Failure> {
        let mut words = self.ban.clone();
        if let Some(path) = &self.ban_file {
            let text = std::fs::read_to_string(path).map_err(|e| Failure::because(path.display(), e))?;
            words.extend(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_string));
        }
        Ok(words)
    }
}

/// The library's parameters for a whole generation.
pub fn generate_params(
    sampling: &SamplingArgs,
    end: &EndArgs,
    default: &SamplingParams,
) -> Result<GenerateParams, Failure> {
    Ok(GenerateParams {
        sampling: sampling.params(default),
        max_tokens: end.max_tokens,
        min_tokens: end.min_tokens,
        stop: end.stop.clone(),
        stop_token_ids: end.stop_token_id.clone(),
        ignore_eos: end.ignore_eos,
        banned: sampling.banned()?,
        ..GenerateParams::default()
    })
}

/// A seed below 2^32, short enough to type again.
fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id()) >> 32
}

fn number(text: &str, expected: &str, accepts: impl Fn(f32) -> bool) -> Result<f32, String> {
    text.parse().ok().filter(|&x| accepts(x)).ok_or_else(|| format!("expected {expected}"))
}

/// Parses a temperature.
pub fn parse_temperature(text: &str) -> Result<f32, String> {
    number(text, "a number from 0 to 100", |x| (0.0..=100.0).contains(&x))
}

/// Parses a probability mass to keep.
pub fn parse_mass(text: &str) -> Result<f32, String> {
    number(text, "a number above 0, at most 1", |x| x > 0.0 && x <= 1.0)
}

/// Parses a share.
pub fn parse_fraction(text: &str) -> Result<f32, String> {
    number(text, "a number from 0 to 1", |x| (0.0..=1.0).contains(&x))
}

/// Parses a factor.
pub fn parse_positive(text: &str) -> Result<f32, String> {
    number(text, "a number above 0", |x| x > 0.0 && x.is_finite())
}

/// Parses a penalty.
pub fn parse_penalty(text: &str) -> Result<f32, String> {
    number(text, "a number from -2 to 2", |x| (-2.0..=2.0).contains(&x))
}

/// Parses a number of things.
pub fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "expected a whole number, 0 or more".into())
}

/// Parses a seed.
pub fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a whole number from 0 to {}", u64::MAX))
}

fn parse_id(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "expected a token id, a whole number from 0 to n_vocab - 1".into())
}

fn parse_bias(text: &str) -> Result<(u32, f32), String> {
    let (id, bias) = text.split_once('=').ok_or("expected ID=BIAS, such as 50256=-100")?;
    let id = id.parse().map_err(|_| format!("{id:?} is not a token id"))?;
    Ok((id, number(bias, "a bias from -100 to 100", |x| (-100.0..=100.0).contains(&x))?))
}

fn parse_word(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("expected a word".into()) } else { Ok(text.into()) }
}

/// Parses a context size.
pub fn parse_ctx_size(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a whole number above 0".into())
}

/// Parses a stop string.
pub fn parse_stop(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("expected at least one character".into()) } else { unescape(text) }
}

/// Replaces `\n`, `\r`, `\t` and `\\`.
fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('\\') => '\\',
                other => {
                    let found: String = other.into_iter().collect();
                    return Err(format!("\\{found} is no escape, expected \\n, \\r, \\t or \\\\"));
                }
            },
            c => c,
        });
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_replaced_and_unknown_ones_refused() {
        assert_eq!(parse_stop(r"a\n\t\\n").unwrap(), "a\n\t\\n");
        for bad in ["", r"\", r"\x", r"a\"] {
            assert!(parse_stop(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_the_range() {
        for bad in ["-1", "nan", "inf", "101", "", "x", "1e40"] {
            assert!(parse_temperature(bad).unwrap_err().contains("0 to 100"), "{bad:?}");
        }
        assert!(parse_mass("0").is_err() && parse_mass("1.0001").is_err() && parse_mass("1").is_ok());
        assert!(parse_bias("5=101").is_err() && parse_bias("-5=1").is_err() && parse_bias("5").is_err());
        assert_eq!(parse_bias("5=-100").unwrap(), (5, -100.0));
    }

    #[test]
    fn random_seeds_differ_and_fit_32_bits() {
        let (a, b) = (random_seed(), random_seed());
        assert!(a != b && a <= u32::MAX.into() && b <= u32::MAX.into());
    }
}
