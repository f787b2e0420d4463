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

    /// The ids of the conversation `messages`, each of a `role` and a `content`, up to where the answer begins.
    pub fn encode(&self, messages: &[Value], tokenizer: &Tokenizer) -> Result<Vec<u32>, TemplateError> {
        let marks = Marks::new(tokenizer);
        let messages: Vec<Value> = messages.iter().map(|message| marks.hide(message)).collect();
        let mut context = self.tokens.clone();
        context.insert("messages".into(), messages.into());
        context.insert("add_generation_prompt".into(), true.into());
        let template = self.environment.get_template("chat").map_err(jinja)?;
        let text = template.render(Serde(&context)).map_err(jinja)?;
        Ok(tokenizer.encode_parts(&text, |part| marks.show(part))?)
    }
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

/// Special tokens that clients spell out, hidden under names that no text has until the template has written its own.
struct Marks(Vec<(String, String)>);

impl Marks {
    fn new(tokenizer: &Tokenizer) -> Self {
        use std::hash::{BuildHasher, RandomState};
        let salt = RandomState::new().hash_one("mark");
        let mark =
            |(i, piece): (usize, &str)| (piece.to_string(), format!("\u{f8ff}{salt:016x}.{i}\u{f8ff}"));
        let mut pairs: Vec<_> = tokenizer.special_pieces().enumerate().map(mark).collect();
        // One that contains another comes first.
        pairs.sort_by_key(|(piece, _)| std::cmp::Reverse(piece.len()));
        Self(pairs)
    }

    fn hide(&self, message: &Value) -> Value {
        let mut message = message.clone();
        for value in message.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
            if let Value::String(text) = value {
                self.0.iter().for_each(|(piece, mark)| *text = text.replace(piece, mark));
            }
        }
        message
    }

    fn show(&self, text: &str) -> String {
        self.0.iter().fold(text.to_string(), |text, (piece, mark)| text.replace(mark, piece))
    }
}
