//! [`Template`]: what makes one prompt of a conversation, as the model was trained to read it.
//!
//! Templates are Jinja, from the model's tokenizer_config.json or chat_template.jinja, or the user's. A template is a program of
//! whoever made the model: its steps are counted, and it sees the conversation alone. The special tokens that it writes become
//! their ids; those that a client has spelled out in a message stay text.

use crate::{Tokenizer, tokenizer::TokenizerError};
use minijinja::{Environment, ErrorKind, syntax::SyntaxConfig, value::Serde};
use serde_json::{Map, Value, json};
use std::{io::Read, path::Path};

/// Most bytes of a file with a template.
const FILE_LEN_MAX: u64 = 16 << 20;
/// Steps that a template may take.
const FUEL: u64 = 10_000_000;

/// A chat template.
pub struct Template {
    environment: Environment<'static>,
    /// `bos_token` and `eos_token`, which templates write.
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

/// Why there is no template, or no prompt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// A file that cannot be read.
    #[error("{file}: {error}")]
    File {
        /// The file.
        file: String,
        /// Why.
        error: String,
    },
    /// The template is no Jinja, or failed.
    #[error("the chat template: {0}")]
    Jinja(String),
    /// The prompt is longer than it may be.
    #[error("the chat template makes a prompt of {n_bytes} bytes")]
    TooLong {
        /// Its length.
        n_bytes: usize,
    },
    /// The last message cannot go on.
    #[error("the chat template does not write the last message as it is, so that it cannot be continued")]
    NotContinued,
    /// The prompt cannot be tokenized.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl Template {
    /// The template of the model in `folder`, if it has one.
    pub fn find(folder: &Path) -> Result<Option<Self>, TemplateError> {
        let config = match read(&folder.join("tokenizer_config.json"))? {
            None => Value::Null,
            Some(text) => serde_json::from_str(&text).map_err(|error| TemplateError::File {
                file: "tokenizer_config.json".into(),
                error: error.to_string(),
            })?,
        };
        let text = match read(&folder.join("chat_template.jinja"))? {
            Some(text) => Some(text),
            None => template_text(&config["chat_template"]).map(str::to_string),
        };
        text.map(|text| Self::new(text, &config)).transpose()
    }

    /// A template that the user gave: a file, or the text itself, for the model in `folder`.
    pub fn given(file_or_text: &str, folder: Option<&Path>) -> Result<Self, TemplateError> {
        let config = match folder {
            Some(folder) => read(&folder.join("tokenizer_config.json"))?.unwrap_or_default(),
            None => String::new(),
        };
        // Without it the template does without names of tokens.
        let config = serde_json::from_str(&config).unwrap_or_default();
        let is_text = file_or_text.contains(['{', '\n']);
        let text = if is_text { None } else { read(Path::new(file_or_text))? };
        if text.is_none() && !is_text {
            let error = "no such file, and not the text of a template either".to_string();
            return Err(TemplateError::File { file: file_or_text.into(), error });
        }
        Self::new(text.unwrap_or_else(|| file_or_text.into()), &config)
    }

    fn new(text: String, config: &Value) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        // As transformers sets them.
        environment.set_syntax(
            SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(jinja)?,
        );
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: String| {
            jiff::fmt::strtime::format(&format, &jiff::ZonedDateTime::now())
                .map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
        });
        environment.add_template_owned("chat", text).map_err(jinja)?;
        let token = |name: &str| match &config[name] {
            Value::String(text) => json!(text),
            Value::Object(token) => token.get("content").cloned().unwrap_or_default(),
            _ => json!(""),
        };
        let names = ["bos_token", "eos_token", "pad_token", "unk_token"];
        let tokens = names.iter().map(|&name| (name.to_string(), token(name))).collect();
        Ok(Self { environment, tokens })
    }

    /// The token that ends an answer, as the template's author calls it.
    pub fn eos_token(&self) -> Option<&str> {
        self.tokens.get("eos_token")?.as_str().filter(|text| !text.is_empty())
    }

    /// The ids of the conversation `messages`, each of a `role` and a `content`, whose prompt has at most `n_max` bytes.
    pub fn encode(
        &self,
        messages: &[Value],
        ending: Ending,
        tokenizer: &Tokenizer,
        n_max: usize,
    ) -> Result<Vec<u32>, TemplateError> {
        let marks = Marks::new(tokenizer);
        let messages: Vec<Value> = messages.iter().map(|message| marks.hide(message)).collect();
        let last = messages.last().and_then(|last| last["content"].as_str()).unwrap_or_default().to_string();
        let mut context = self.tokens.clone();
        context.insert("messages".into(), messages.into());
        context.insert("add_generation_prompt".into(), (ending == Ending::BeforeAnswer).into());
        let template = self.environment.get_template("chat").map_err(jinja)?;
        let mut text = template.render(Serde(&context)).map_err(jinja)?;
        if ending == Ending::InLastMessage {
            let end = end_of_last(&text, &last).ok_or(TemplateError::NotContinued)?;
            text.truncate(end);
        }
        if text.len() > n_max {
            return Err(TemplateError::TooLong { n_bytes: text.len() });
        }
        Ok(tokenizer.encode_parts(&text, |part| marks.show(part))?)
    }
}

/// Where in `text` the content of its last message ends, as transformers finds it: a template may have trimmed it.
fn end_of_last(text: &str, content: &str) -> Option<usize> {
    let start = text.rfind(content.trim())?;
    let whole = content.trim_start();
    Some(start + if text[start..].starts_with(whole) { whole.len() } else { content.trim().len() })
}

fn jinja(error: minijinja::Error) -> TemplateError {
    TemplateError::Jinja(error.to_string())
}

/// The text of a file, if there is one.
fn read(path: &Path) -> Result<Option<String>, TemplateError> {
    let failed = |error: String| TemplateError::File { file: path.display().to_string(), error };
    if !path.is_file() {
        return Ok(None);
    }
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut text = String::new();
    file.take(FILE_LEN_MAX + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > FILE_LEN_MAX {
        return Err(failed(format!("larger than {FILE_LEN_MAX} bytes")));
    }
    Ok(Some(text))
}

/// One template, or that called "default" of several.
fn template_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(list) => list.iter().find(|one| one["name"] == "default")?["template"].as_str(),
        _ => None,
    }
}

/// Special tokens that clients spell out, hidden under marks that no text has until the template has written its own.
///
/// A mark is a salt and the token's id in characters for private use: no filter of a template changes them, no vocabulary has them.
struct Marks<'a> {
    tokenizer: &'a Tokenizer,
    salt: String,
}

/// Planes of characters for private use: those of the salt, and those of an id.
const PLANES: [u32; 2] = [0xf_0000, 0x10_0000];

/// The character of 16 bits in a plane.
fn private(plane: u32, bits: u64) -> Option<char> {
    char::from_u32(plane | (bits & 0xffff) as u32)
}

impl<'a> Marks<'a> {
    fn new(tokenizer: &'a Tokenizer) -> Self {
        use std::hash::{BuildHasher, RandomState};
        let salt = RandomState::new().hash_one("mark");
        Self {
            tokenizer,
            salt: [0, 16, 32].iter().filter_map(|shift| private(PLANES[0], salt >> shift)).collect(),
        }
    }

    fn hide(&self, message: &Value) -> Value {
        let mut message = message.clone();
        for value in message.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
            if let Value::String(text) = value {
                *text = self.hide_in(text);
            }
        }
        message
    }

    fn hide_in(&self, text: &str) -> String {
        let (mut hidden, mut end) = (String::with_capacity(text.len()), 0);
        for (place, id) in self.tokenizer.special_in(text) {
            hidden.extend([&text[end..place.start], &self.salt]);
            hidden.extend([id >> 16, id].iter().filter_map(|&half| private(PLANES[1], half.into())));
            end = place.end;
        }
        hidden + &text[end..]
    }

    fn show(&self, text: &str) -> String {
        let mut parts = text.split(&self.salt);
        let mut shown = parts.next().unwrap_or_default().to_string();
        for part in parts {
            let mut rest = part.chars();
            let half = |c: Option<char>| Some(u32::from(c?) & 0xffff);
            let id = half(rest.next()).zip(half(rest.next())).map(|(high, low)| high << 16 | low);
            match id.and_then(|id| self.tokenizer.piece(id).ok()) {
                Some(piece) => shown.extend([piece, rest.as_str()]),
                // A mark that the template took apart.
                None => shown.push_str(part),
            }
        }
        shown
    }
}
