//! Prompts that are read in another way than as plain text: conversations, and text with special tokens.

use super::exit::Failure;
use halfwarp::{
    Source, Tokenizer,
    chat::{Ending, Template, TemplateError, message},
};
use serde_json::Value;

/// How prompts are read.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Prompt")]
pub struct ChatArgs {
    /// Read special tokens that are spelled out in the prompt, such as <|endoftext|>, as such [default: they are text]
    #[arg(long, conflicts_with = "chat")]
    pub special: bool,

    /// Take the prompt for a message of a conversation and write the answer to it
    #[arg(long)]
    pub chat: bool,

    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub system: Option<String>,

    /// Chat template in Jinja: a file, or the text itself [default: the model's own]
    #[arg(long, env = "HALFWARP_CHAT_TEMPLATE", value_name = "FILE_OR_TEXT")]
    pub chat_template: Option<String>,
}

impl ChatArgs {
    /// The conversation that is to be had, where one is.
    pub fn conversation(&self, source: &Source) -> Result<Option<Conversation>, Failure> {
        if !self.chat {
            return Ok(None);
        }
        let template = Template::open(self.chat_template.as_deref(), source.folder())?;
        let messages = self.system.iter().map(|text| message("system", text)).collect();
        Ok(Some(Conversation { template, messages }))
    }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        let way_out = match &error {
            TemplateError::Missing => ": leave --chat out, or give one with --chat-template",
            _ => "",
        };
        Self::Message(format!("{error}{way_out}"))
    }
}

/// What was said, and how the model reads it.
pub struct Conversation {
    template: Template,
    messages: Vec<Value>,
}

impl Conversation {
    /// The token that ends an answer, as the template's author calls it.
    pub fn eos_token_id(&self, tokenizer: &Tokenizer) -> Option<u32> {
        self.template.eos_token_id(tokenizer)
    }

    /// Adds what somebody says.
    pub fn push(&mut self, role: &str, content: &str) {
        self.messages.push(message(role, content));
    }

    /// Adds a part of the model's answer.
    pub fn answer(&mut self, text: &str) {
        match self.messages.last_mut().filter(|last| last["role"] == "assistant") {
            Some(last) => {
                last["content"] = format!("{}{text}", last["content"].as_str().unwrap_or_default()).into()
            }
            None => self.push("assistant", text),
        }
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Takes back all messages but the first `n`.
    pub fn truncate(&mut self, n: usize) {
        self.messages.truncate(n);
    }

    /// The prompt for an answer.
    pub fn prompt(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, TemplateError> {
        self.template.encode(&self.messages, Ending::BeforeAnswer, tokenizer, usize::MAX)
    }
}
