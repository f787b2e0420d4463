//! Log-probabilities as both APIs write them.

use super::super::model::Model;
use crate::{sampler::TokenLogprobs, tokenizer::Detokenizer};
use serde_json::{Map, Value, json};
use std::sync::Arc;

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
    /// Appends a token that stands at `place`.
    pub fn push(&mut self, model: &Model, id: u32, logprobs: Option<&TokenLogprobs>, place: Place) {
        self.text_offset.push(place.offset);
        self.token_logprobs.push(logprobs.map_or(Value::Null, |l| logprob(l.logprob)));
        self.top_logprobs.push(logprobs.map_or(Value::Null, |l| top_logprobs(model, id, l, &place.name)));
        self.tokens.push(place.name);
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

/// The likeliest tokens by name, no two of one name. Token `id` is always among them, as OpenAI has it, under the name that it has in
/// the text.
fn top_logprobs(model: &Model, id: u32, logprobs: &TokenLogprobs, name: &str) -> Value {
    let mut top = Map::new();
    for &(other, l) in &logprobs.top {
        let of_other = || Some(token_name(model, other)).filter(|own| own != name && !top.contains_key(own));
        let key = match other == id {
            true => name.to_string(),
            false => of_other().unwrap_or_else(|| format!("token_id:{other}")),
        };
        top.insert(key, logprob(l));
    }
    top.entry(name).or_insert_with(|| logprob(logprobs.logprob));
    top.into()
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

/// The token's text; where its bytes are not a text, `bytes:` and what they are, as OpenAI writes them; where it is a word or a part of
/// one, as the vocabulary spells it. So no two tokens have the same name, unless the vocabulary has one twice.
fn token_name(model: &Model, id: u32) -> String {
    let Some(bytes) = token_bytes(model, id) else { return format!("token_id:{id}") };
    match (model.tokenizer().map(|t| (t.is_byte_level(), t.piece(id))), str::from_utf8(bytes)) {
        (Ok((false, Ok(piece))), _) => piece.to_string(),
        (_, Ok(text)) => text.to_string(),
        (_, Err(_)) => bytes.iter().fold("bytes:".to_string(), |name, byte| name + &format!("\\x{byte:02x}")),
    }
}

/// A prompt as its author wrote it, whose tokens would not give it back.
pub struct Told {
    text: String,
    /// Bytes up to the end of what each token stands for, the last one's at the end of the text.
    ends: Vec<usize>,
}

impl Told {
    /// `text`, whose tokens end at `ends`, of which the prompt has the last `n_tokens`. Tokens in front of them have no text.
    pub fn new(mut text: String, mut ends: Vec<usize>, n_tokens: usize) -> Self {
        let n_cut = ends.len().saturating_sub(n_tokens);
        let start = n_cut.checked_sub(1).map_or(0, |last| ends[last]);
        text.drain(..start);
        ends.drain(..n_cut);
        ends.iter_mut().for_each(|end| *end -= start);
        if let Some(last) = ends.last_mut() {
            *last = text.len();
        }
        ends.splice(0..0, std::iter::repeat_n(0, n_tokens - ends.len()));
        Self { text, ends }
    }

    /// What token `i` stands for, with the spaces before it.
    fn token(&self, i: usize) -> &str {
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[i].max(start)]
    }
}

/// What a token is in its text.
pub struct Place {
    /// What it is called.
    pub name: String,
    /// The number of characters before it.
    offset: usize,
    /// The text of a prompt's token, where its author wrote it otherwise than the vocabulary.
    pub told: Option<String>,
}

/// Walks over a text, token by token.
#[derive(Clone)]
pub struct Walk {
    detokenizer: Detokenizer,
    n_chars: usize,
    told: Option<Arc<Told>>,
    /// Tokens of the prompt that are behind it.
    n_prompt: usize,
}

impl Walk {
    /// A walk over what follows the prompt `ids`, or over the prompt too, where it is echoed.
    pub fn new(model: &Model, ids: &[u32], echo: bool, told: Option<Arc<Told>>) -> Self {
        let last = ids.last().filter(|_| !echo);
        let after = |id: &u32| Detokenizer::after(model.tokenizer().ok()?, &[*id]).ok();
        Self { detokenizer: last.and_then(after).unwrap_or_default(), n_chars: 0, told, n_prompt: 0 }
    }

    /// The prompt as its author wrote it, where its tokens say something else.
    pub fn told(&self) -> Option<&str> {
        self.told.as_ref().map(|told| told.text.as_str())
    }

    /// The next token.
    pub fn next(&mut self, model: &Model, id: u32, is_prompt: bool) -> Place {
        // A character that has begun is before the token that goes on with it.
        let offset = self.n_chars + usize::from(self.detokenizer.is_within_character());
        let tokenizer = model.tokenizer().ok();
        let text = tokenizer.and_then(|t| self.detokenizer.push(t, id).ok()).unwrap_or_default();
        let told = self.told.as_ref().filter(|_| is_prompt).map(|told| told.token(self.n_prompt).to_string());
        self.n_prompt += usize::from(is_prompt);
        let text = told.clone().unwrap_or(text);
        self.n_chars += text.chars().count();
        let is_name = !text.is_empty() && tokenizer.is_some_and(|t| !t.is_byte_level());
        Place { name: if is_name { text } else { token_name(model, id) }, offset, told }
    }
}
