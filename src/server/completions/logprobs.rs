//! Log-probabilities as both APIs write them.

use super::super::model::Model;
use crate::sampler::TokenLogprobs;
use serde_json::{Map, Value, json};

/// What stands for a probability of 0, which JSON has no logarithm of; vLLM's and OpenAI's number.
const LOWEST: f32 = -9999.0;

/// The tokens of a text with their log-probabilities, in the shape of completions: four lists of one entry for each token.
#[derive(Default)]
pub struct TokenLists {
    tokens: Vec<String>,
    token_logprobs: Vec<Value>,
    top_logprobs: Vec<Value>,
    text_offset: Vec<usize>,
}

impl TokenLists {
    /// Appends a token. `offset` is the number of characters before it, and grows by the token's own.
    pub fn push(&mut self, model: &Model, id: u32, logprobs: Option<&TokenLogprobs>, offset: &mut usize) {
        self.tokens.push(token_name(model, id));
        self.text_offset.push(*offset);
        *offset += n_chars(model, id);
        self.token_logprobs.push(logprobs.map_or(Value::Null, |l| logprob(l.logprob)));
        self.top_logprobs.push(logprobs.map_or(Value::Null, |l| {
            let mut top: Map<String, Value> =
                l.top.iter().map(|&(id, l)| (token_name(model, id), logprob(l))).collect();
            // The token itself is always among them, as OpenAI has it.
            top.entry(token_name(model, id)).or_insert_with(|| logprob(l.logprob));
            top.into()
        }));
    }

    /// The lists as JSON.
    pub fn into_json(self) -> Value {
        json!({
            "tokens": self.tokens,
            "token_logprobs": self.token_logprobs,
            "top_logprobs": self.top_logprobs,
            "text_offset": self.text_offset,
        })
    }
}

/// A token with its log-probabilities, in the shape of chat.
pub fn token_entry(model: &Model, id: u32, logprobs: &TokenLogprobs) -> Value {
    let entry = |id: u32, l: f32| json!({"token": token_name(model, id), "logprob": logprob(l), "bytes": token_bytes(model, id)});
    let mut value = entry(id, logprobs.logprob);
    value["top_logprobs"] = logprobs.top.iter().map(|&(id, l)| entry(id, l)).collect();
    value
}

fn logprob(value: f32) -> Value {
    f64::from(value.max(LOWEST)).into()
}

fn token_bytes(model: &Model, id: u32) -> Option<&[u8]> {
    model.tokenizer().ok()?.token_bytes(id).ok()
}

/// The token's text; where its bytes are not a text, `bytes:` and what they are, as OpenAI writes them, so that no two tokens have
/// the same name.
fn token_name(model: &Model, id: u32) -> String {
    let Some(bytes) = token_bytes(model, id) else { return format!("token_id:{id}") };
    match str::from_utf8(bytes) {
        Ok(text) => text.to_string(),
        Err(_) => bytes.iter().fold("bytes:".to_string(), |name, byte| name + &format!("\\x{byte:02x}")),
    }
}

/// Characters that begin in the token.
fn n_chars(model: &Model, id: u32) -> usize {
    let is_special = model.tokenizer().is_ok_and(|t| t.is_special(id));
    let bytes = token_bytes(model, id).filter(|_| !is_special).unwrap_or_default();
    bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}
