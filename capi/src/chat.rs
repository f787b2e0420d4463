//! Conversations.

use crate::{
    args::Args,
    guard::guard,
    handle,
    status::{Call, Failure},
    types::{hw_status::*, *},
};
use halfwarp::chat::{Ending, Template, TemplateError, message};
use std::ffi::c_char;

/// The tokens of a conversation, as the model was taught to read it: the prompt for an answer, or with `add_generation_prompt` 0
/// the conversation alone. `chat_template` is Jinja, a file's name or the text itself; NULL is the model's own. Special tokens in
/// messages are text, those that the template writes are ids. An answer ends at the model's own end-of-text tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hw_chat_tokenize(
    engine: hw_engine,
    chat_template: *const c_char,
    chat_template_len: usize,
    messages: *const hw_message,
    n_messages: usize,
    add_generation_prompt: i32,
    tokens: *mut u32,
    capacity: usize,
    n_tokens: *mut usize,
) -> hw_status {
    // SAFETY: the caller keeps the header's rules for pointers.
    let args = unsafe { Args::new() };
    guard("hw_chat_tokenize", || {
        let output = args.buffer("tokens", tokens, capacity, n_tokens)?;
        let messages = args.slice("messages", messages, n_messages)?;
        let given = match chat_template.is_null() {
            true => None,
            false => Some(args.text("chat_template", chat_template, chat_template_len)?),
        };
        let text = |name: &str, text: &hw_text| args.text(name, text.text, text.len);
        let messages = messages
            .iter()
            .map(|one| Ok(message(text("role", &one.role)?, text("content", &one.content)?)))
            .collect::<Call<Vec<_>>>()?;
        let folder = handle::folder(engine)?;
        let engine = handle::engine(engine)?;
        let template = Template::open(given, folder.as_deref())?;
        let ending = match add_generation_prompt {
            0 => Ending::AfterLastMessage,
            _ => Ending::BeforeAnswer,
        };
        output.write(&template.encode(&messages, ending, engine.tokenizer()?, usize::MAX)?)
    })
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Self {
        match error {
            TemplateError::Tokenizer(error) => error.into(),
            TemplateError::Missing => Self::new(HW_E_NO_TEMPLATE, error.to_string()),
            TemplateError::Format(_) => Self::new(HW_E_NOT_FOUND, error.to_string()),
            error => Self::bad_arg(error.to_string()),
        }
    }
}
