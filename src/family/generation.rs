//! generation_config.json: how a model's makers end and sample its texts. Names are those of Hugging Face's
//! `GenerationConfig`; of fields of other decoding methods only the names are known.

use super::{ConfigError, ConfigProblem, Fields};
use serde_json::Value;

/// What a generation_config.json asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    /// Any of these ends a text, beside those of config.json.
    pub eos_token_ids: Vec<u32>,
    /// False: the likeliest token is always taken.
    pub do_sample: Option<bool>,
    /// Divides the logits.
    pub temperature: Option<f32>,
    /// Keeps this many of the likeliest tokens; 0 keeps all.
    pub top_k: Option<usize>,
    /// Keeps the likeliest tokens whose probabilities first reach this.
    pub top_p: Option<f32>,
    /// Keeps tokens at least this many times as likely as the likeliest.
    pub min_p: Option<f32>,
    /// Keeps the tokens whose surprise is closest to the expected one, up to this mass.
    pub typical_p: Option<f32>,
    /// Divides the positive logits of tokens that occurred, and multiplies the negative ones.
    pub repetition_penalty: Option<f32>,
    /// Never repeats a sequence of this many tokens; 0 allows all.
    pub no_repeat_ngram_size: Option<usize>,
    /// The names of the other fields that would change a text.
    pub unserved: Vec<String>,
}

/// Fields on which no text depends, beside those whose names begin with an underscore.
const SILENT: &[&str] = &[
    "bos_token_id",
    "cache_config",
    "cache_implementation",
    "decoder_start_token_id",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_logits",
    "output_scores",
    "pad_token_id",
    "return_dict_in_generate",
    "transformers_version",
    "use_cache",
];
/// Fields that change nothing where they are 1; the others are off where they are null, false, 0 or empty.
const OFF_AT_ONE: &[&str] =
    &["encoder_repetition_penalty", "guidance_scale", "length_penalty", "num_beam_groups", "num_beams"];

/// Whether a field that is not read would change a text.
fn matters(name: &str, value: &Value) -> bool {
    let number = value.as_f64();
    let is_off = match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => number == Some(0.0) || number == Some(1.0) && OFF_AT_ONE.contains(&name),
    };
    !is_off && !SILENT.contains(&name) && !name.starts_with('_')
}

impl GenerationConfig {
    /// Parses the bytes of a generation_config.json, for a vocabulary of `n_vocab` tokens.
    pub fn parse(text: &[u8], n_vocab: usize) -> Result<Self, ConfigError> {
        Self::read(text, n_vocab).map_err(|problem| ConfigError { file: "generation_config.json", problem })
    }

    fn read(text: &[u8], n_vocab: usize) -> Result<Self, ConfigProblem> {
        let fields = Fields::parse(text)?;
        let config = Self {
            eos_token_ids: fields.ids("eos_token_id", n_vocab, None)?,
            do_sample: fields.has("do_sample").then(|| fields.flag("do_sample", true)).transpose()?,
            temperature: fields.share("temperature", 100.0)?,
            top_k: fields.count("top_k")?,
            top_p: fields.share("top_p", 1.0)?,
            min_p: fields.share("min_p", 1.0)?,
            typical_p: fields.share("typical_p", 1.0)?,
            repetition_penalty: fields.share("repetition_penalty", 100.0)?,
            no_repeat_ngram_size: fields.count("no_repeat_ngram_size")?,
            unserved: Vec::new(),
        };
        let is_read =
            |name: &str| name == "eos_token_id" || config.values().iter().any(|(read, _)| *read == name);
        let others =
            fields.into_json().into_iter().filter(|(name, value)| !is_read(name) && matters(name, value));
        Ok(Self { unserved: others.map(|(name, _)| name).collect(), ..config })
    }

    /// The sampling values that are set, under their names.
    pub fn values(&self) -> Vec<(&'static str, String)> {
        let show = |value: Option<f32>| value.map(|value| value.to_string());
        let count = |value: Option<usize>| value.map(|value| value.to_string());
        [
            ("do_sample", self.do_sample.map(|value| value.to_string())),
            ("temperature", show(self.temperature)),
            ("top_k", count(self.top_k)),
            ("top_p", show(self.top_p)),
            ("min_p", show(self.min_p)),
            ("typical_p", show(self.typical_p)),
            ("repetition_penalty", show(self.repetition_penalty)),
            ("no_repeat_ngram_size", count(self.no_repeat_ngram_size)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}
