//! The fields of a config.json, read one by one so that every error names its key.
//!
//! Called by the families. `null` counts as absent, as in Hugging Face's files. Where
//! a key stands twice the last one counts, as in Python's reader. Tested in `tests/malformed_config.rs`.

use super::ConfigProblem;
use serde_json::{Map, Value};

/// Limits on sizes, far above any model and far below what overflows: checked before anything is allocated.
pub mod limit {
    /// Tokens in a vocabulary.
    pub const VOCAB: usize = 1 << 24;
    /// Positions.
    pub const CTX: usize = 1 << 20;
    /// Width of the residual stream.
    pub const EMBD: usize = 1 << 16;
    /// Heads of a layer.
    pub const HEAD: usize = 1 << 12;
    /// Layers.
    pub const LAYER: usize = 1 << 10;
    /// Width of an MLP.
    pub const INNER: usize = 1 << 20;
}

/// A JSON object.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Parses `text`. Nesting is limited to 128 levels by the JSON parser.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigProblem> {
        match serde_json::from_slice(text) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(other) => Err(ConfigProblem::NotAnObject { found: kind(&other) }),
            Err(e) => Err(ConfigProblem::Json { near: near(text, &e), message: e.to_string() }),
        }
    }

    /// The object itself.
    pub fn into_json(self) -> Map<String, Value> {
        self.0
    }

    /// Whether `key` is there and not `null`.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    /// A size from 1 to `limit`, under the first of `names` or one of its aliases.
    pub fn size(
        &self,
        names: &[&'static str],
        limit: usize,
        default: Option<usize>,
    ) -> Result<usize, ConfigProblem> {
        let mut found: Option<(&'static str, usize)> = None;
        for &key in names {
            let Some(value) = self.get(key) else { continue };
            let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
            let size = size.filter(|n| (1..=limit).contains(n));
            let size =
                size.ok_or_else(|| invalid(key, value, format!("a whole number from 1 to {limit}")))?;
            match found {
                Some((other, other_value)) if other_value != size => {
                    return Err(ConfigProblem::Disagree {
                        key: other,
                        value: other_value,
                        other: key,
                        other_value: size,
                    });
                }
                _ => found = Some((key, size)),
            }
        }
        let key = names.first().copied().unwrap_or_default();
        found.map(|(_, size)| size).or(default).ok_or(ConfigProblem::Missing { key })
    }

    /// `true` or `false`.
    pub fn flag(&self, key: &'static str, default: bool) -> Result<bool, ConfigProblem> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| invalid(key, value, "true or false".into()))
    }

    /// A finite number above zero, as fp32.
    pub fn positive(&self, key: &'static str, default: f32) -> Result<f32, ConfigProblem> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let number = value.as_f64().map(|v| v as f32).filter(|v| v.is_finite() && *v > 0.0);
        number.ok_or_else(|| invalid(key, value, "a finite number above zero in fp32".into()))
    }

    /// A number from 0 to `limit`, where it is there.
    pub fn share(&self, key: &'static str, limit: f32) -> Result<Option<f32>, ConfigProblem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().map(|v| v as f32).filter(|v| (0.0..=limit).contains(v));
        number.map(Some).ok_or_else(|| invalid(key, value, format!("a number from 0 to {limit}")))
    }

    /// A whole number from 0 on, where it is there.
    pub fn count(&self, key: &'static str) -> Result<Option<usize>, ConfigProblem> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
        number.map(Some).ok_or_else(|| invalid(key, value, "a whole number, 0 or more".into()))
    }

    /// A string.
    pub fn text(&self, key: &'static str, default: &'static str) -> Result<&str, ConfigProblem> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_str().ok_or_else(|| invalid(key, value, "a string".into()))
    }

    /// What `key` holds, shortened, unless it is absent, `null`, `{}` or `[]`.
    pub fn non_empty(&self, key: &str) -> Option<String> {
        let value = self.get(key)?;
        let empty =
            value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
        (!empty).then(|| shorten(value))
    }

    /// One token id or a list of them; `null` means none. Ids of `n_vocab` and above can never occur and are left out:
    /// Chinese GPT-2s with 21,128 tokens carry GPT-2's 50256 along.
    pub fn ids(
        &self,
        key: &'static str,
        n_vocab: usize,
        default: Option<u32>,
    ) -> Result<Vec<u32>, ConfigProblem> {
        let wrong = |value: &Value| invalid(key, value, "a token id, a list of them or null".into());
        let id = |value: &Value| {
            let id = value.as_i64().ok_or_else(|| wrong(value))?;
            Ok(u32::try_from(id).ok().filter(|&id| (id as usize) < n_vocab))
        };
        match self.0.get(key) {
            None => Ok(default.into_iter().collect()),
            Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(values)) => {
                let ids: Result<Vec<_>, _> = values.iter().map(id).collect();
                Ok(ids?.into_iter().flatten().collect())
            }
            Some(value) => Ok(id(value)?.into_iter().collect()),
        }
    }
}

fn invalid(key: &str, value: &Value, expected: String) -> ConfigProblem {
    ConfigProblem::Invalid { key: key.into(), found: shorten(value), expected }
}

/// `value` as JSON, at most 60 characters of it.
fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The 40 bytes up to where the parser stopped: they name the key of a value that is not JSON, such as `NaN`.
fn near(text: &[u8], error: &serde_json::Error) -> String {
    let line = text.split(|&b| b == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let end = error.column().min(line.len());
    String::from_utf8_lossy(&line[end.saturating_sub(40)..end]).trim().into()
}
