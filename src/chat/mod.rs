//! [`Template`]: what makes one prompt of a conversation, as the model was trained to read it.
//!
//! Templates are Jinja, from the model's chat_template.jinja or tokenizer_config.json, or the user's; they see what transformers
//! shows them. A template is a program of whoever made the model: it runs on a stack of its own, its work is counted
//! (`environment.rs`), and it sees the conversation alone. The special tokens that it writes become their ids; what a message
//! spells stays text, by itself and together with what the template writes around it (`cover.rs`). Tested in `tests/chat/`.

mod cover;
mod environment;
mod error;
mod methods;
mod python;
mod rewrite;

pub use error::TemplateError;

use crate::{
    Tokenizer,
    format::{exists, read_text},
    tokenizer::{Watch, read_object_if_there, special_tokens},
};
use cover::Cover;
use environment::Source;
use serde_json::{Map, Value};
use std::path::Path;

/// A chat template.
pub struct Template {
    source: Source,
    /// The names of special tokens, and what they are called in the vocabulary.
    tokens: Map<String, Value>,
}

/// Where the prompt of a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Where the answer begins.
    BeforeAnswer,
    /// After the last message.
    AfterLastMessage,
    /// In the last message, which goes on.
    InLastMessage,
}

/// A message, as the OpenAI API has it: `role` and `content`, and what else a template may read.
pub fn message(role: &str, content: &str) -> Value {
    serde_json::json!({"role": role, "content": content})
}

impl Template {
    /// The template that the user gave, or else that of the model in `folder`; a model without a folder has none.
    pub fn open(given: Option<&str>, folder: Option<&Path>) -> Result<Self, TemplateError> {
        match given {
            Some(file_or_text) => Self::given(file_or_text, folder),
            None => folder.map_or(Ok(None), Self::find)?.ok_or(TemplateError::Missing),
        }
    }

    /// The template of the model in `folder`, if it has one.
    pub fn find(folder: &Path) -> Result<Option<Self>, TemplateError> {
        let config = read_object_if_there(folder, "tokenizer_config.json")?;
        let file = folder.join("chat_template.jinja");
        let text = if exists(&file)? {
            Some(utf8(&file, read_text(&file)?)?)
        } else {
            template_text(&config).map(str::to_string)
        };
        text.map(|text| Self::new(&text, special_tokens(folder)?)).transpose()
    }

    /// A template that the user gave: a file, or the text itself, for the model in `folder`.
    pub fn given(file_or_text: &str, folder: Option<&Path>) -> Result<Self, TemplateError> {
        let tokens = folder.map_or(Ok(Map::new()), special_tokens)?;
        if file_or_text.contains(['{', '\n']) {
            return Self::new(file_or_text, tokens);
        }
        let path = Path::new(file_or_text);
        if !exists(path)? {
            let problem = "no such file, and not the text of a template either".to_string();
            return Err(TemplateError::File { file: file_or_text.into(), problem });
        }
        Self::new(&utf8(path, read_text(path)?)?, tokens)
    }

    fn new(text: &str, tokens: Map<String, Value>) -> Result<Self, TemplateError> {
        Ok(Self { source: Source::parse(text)?, tokens })
    }

    /// The token that ends an answer, as the template's author calls it.
    pub fn eos_token(&self) -> Option<&str> {
        self.tokens.get("eos_token")?.as_str().filter(|text| !text.is_empty())
    }

    /// The id of [`eos_token`](Self::eos_token), which ends an answer beside the model's own.
    pub fn eos_token_id(&self, tokenizer: &Tokenizer) -> Option<u32> {
        tokenizer.id_of(self.eos_token()?)
    }

    /// The ids of the conversation `messages`, each of a `role` and a `content`, whose prompt has at most `n_max` bytes.
    pub fn encode(
        &self,
        messages: &[Value],
        ending: Ending,
        tokenizer: &Tokenizer,
        n_max: usize,
    ) -> Result<Vec<u32>, TemplateError> {
        self.encode_watched(messages, ending, tokenizer, n_max, &Watch::PATIENT)
    }

    /// [`encode`](Self::encode), while it is wanted and not too much.
    pub(crate) fn encode_watched(
        &self,
        messages: &[Value],
        ending: Ending,
        tokenizer: &Tokenizer,
        n_max: usize,
        watch: &Watch,
    ) -> Result<Vec<u32>, TemplateError> {
        // Two writings: in the first nothing but special tokens is covered, so that the template sees what was said; in the
        // second all that was said is, so that what is left is the template's own.
        let mut cover = Cover::new(tokenizer, self.source.constants());
        let light = self.write(&cover.special_in(messages), ending)?;
        let prompt = cover.lift(&light);
        if prompt.len() > n_max {
            return Err(TemplateError::TooLong { n_bytes: prompt.len() });
        }
        let full = self.write(&cover.all_of(messages), ending)?;
        let ids = |text: &str| -> Vec<u32> { tokenizer.special_in(text).map(|(_, id)| id).collect() };
        let text = if cover.lift(&full) == prompt {
            full
        } else if ids(&light) == ids(&full) {
            light
        } else {
            return Err(TemplateError::Ambiguous);
        };
        Ok(tokenizer.encode_parts(&text, |part| cover.lift(part), watch)?)
    }

    /// What the template writes.
    fn write(&self, messages: &[Value], ending: Ending) -> Result<String, TemplateError> {
        let last = messages.last().and_then(|last| last["content"].as_str()).unwrap_or_default();
        let mut context = self.tokens.clone();
        context.insert("messages".into(), messages.into());
        context.insert("tools".into(), Value::Null);
        context.insert("documents".into(), Value::Null);
        context.insert("add_generation_prompt".into(), (ending == Ending::BeforeAnswer).into());
        let mut text = self.source.render(context)?;
        if ending == Ending::InLastMessage {
            let end = end_of_last(&text, last).ok_or(TemplateError::NotContinued)?;
            text.truncate(end);
        }
        Ok(text)
    }
}

/// Where in `text` the content of its last message ends, as transformers finds it: a template may have trimmed it.
fn end_of_last(text: &str, content: &str) -> Option<usize> {
    let start = text.rfind(content.trim())?;
    let whole = content.trim_start();
    Some(start + if text[start..].starts_with(whole) { whole.len() } else { content.trim().len() })
}

fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String, TemplateError> {
    String::from_utf8(bytes).map_err(|error| TemplateError::File {
        file: path.display().to_string(),
        problem: format!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to()),
    })
}

/// One template, or that called "default" of several.
fn template_text(config: &Map<String, Value>) -> Option<&str> {
    match config.get("chat_template")? {
        Value::String(text) => Some(text),
        Value::Array(list) => list.iter().find(|one| one["name"] == "default")?["template"].as_str(),
        _ => None,
    }
}
