//! A chat template of any content, over a conversation: an error in words, or ids, none of them special but those it writes.
//!
//! Input: what the user says, a NUL, the template.

use halfwarp::{
    Tokenizer,
    chat::{Ending, Template, message},
};

/// Returns whether the template makes a prompt, or why not.
pub fn run(data: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(data);
    let Some((content, template)) = text.split_once('\0') else { return Err("no template".into()) };
    // A text that could be a file's name is none.
    let template = format!("{template}{{#\n#}}");
    let tokenizer = Tokenizer::bundled();
    let messages = [message("system", "<|endoftext|>"), message("user", content), message("assistant", "b")];
    for ending in [Ending::BeforeAnswer, Ending::InLastMessage] {
        let ids = Template::given(&template, None)
            .and_then(|template| template.encode(&messages, ending, &tokenizer, 1 << 20))
            .map_err(|error| error.to_string())?;
        let n_special = ids.iter().filter(|&&id| tokenizer.is_special(id)).count();
        assert!(
            n_special == 0 || template.contains('<') || template.contains('\\'),
            "{n_special} from nowhere"
        );
    }
    Ok(())
}
