//! The files of a model beside config.json and the weights: its tokenizer's, its chat templates, and defaults for generation.
//!
//! `convert` carries them, downloads fetch them, `info` lists them. Tested in `tests/convert.rs`.

use crate::format::{FormatError, exists};
use std::{fs, path::Path};

/// Those in the model's folder itself.
const FILES: &[&str] = &[
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
];

/// The folder of the chat templates beside the first.
pub(crate) const TEMPLATES: &str = "additional_chat_templates";

/// Whether `name`, a path in a model's folder, is that of such a file.
pub(crate) fn is_extra_file(name: &str) -> bool {
    match name.split_once('/') {
        Some((TEMPLATES, template)) => is_template(template),
        _ => FILES.contains(&name),
    }
}

fn is_template(name: &str) -> bool {
    name.ends_with(".jinja") && !name.starts_with('.') && !name.contains(['/', '\\'])
}

/// The names of those that are in `folder`. A link into nowhere is there: reading it says what is wrong.
pub(crate) fn extra_files(folder: &Path) -> Result<Vec<String>, FormatError> {
    let mut names = Vec::new();
    for name in FILES {
        if exists(&folder.join(name))? {
            names.push(String::from(*name));
        }
    }
    let templates = folder.join(TEMPLATES);
    if exists(&templates)? {
        let io = |source| FormatError::Io { path: templates.clone(), source };
        for entry in fs::read_dir(&templates).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            names.extend(
                name.to_str().filter(|name| is_template(name)).map(|name| format!("{TEMPLATES}/{name}")),
            );
        }
    }
    names.sort();
    Ok(names)
}
