//! The special tokens that a template can name, as transformers finds them.

use super::TemplateError;
use crate::format::{exists, read_text};
use serde_json::{Map, Value};
use std::path::Path;

/// What a tokenizer's class calls its special tokens where the files do not say.
struct Class {
    /// Name of the class, without `Fast`.
    name: &'static str,
    /// `model_type` of models that use it.
    model_types: &'static [&'static str],
    tokens: &'static [(&'static str, &'static str)],
}

const ENDOFTEXT: &str = "<|endoftext|>";

/// Source: the constructors of transformers 5's tokenizers.
const CLASSES: &[Class] = &[
    Class {
        name: "GPT2Tokenizer",
        model_types: &["gpt2"],
        tokens: &[("bos_token", ENDOFTEXT), ("eos_token", ENDOFTEXT), ("unk_token", ENDOFTEXT)],
    },
    Class {
        name: "Qwen2Tokenizer",
        model_types: &["qwen2", "qwen3"],
        tokens: &[("eos_token", ENDOFTEXT), ("unk_token", ENDOFTEXT), ("pad_token", ENDOFTEXT)],
    },
    Class {
        name: "LlamaTokenizer",
        model_types: &["llama", "mistral"],
        tokens: &[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")],
    },
    Class {
        name: "GemmaTokenizer",
        model_types: &["gemma", "gemma2", "gemma3", "gemma3_text"],
        tokens: &[
            ("bos_token", "<bos>"),
            ("eos_token", "<eos>"),
            ("unk_token", "<unk>"),
            ("pad_token", "<pad>"),
            ("mask_token", "<mask>"),
        ],
    },
    Class {
        name: "GPTNeoXTokenizer",
        model_types: &["gpt_neox"],
        tokens: &[
            ("bos_token", ENDOFTEXT),
            ("eos_token", ENDOFTEXT),
            ("unk_token", ENDOFTEXT),
            ("pad_token", "<|padding|>"),
        ],
    },
    Class {
        name: "BertTokenizer",
        model_types: &[],
        tokens: &[
            ("unk_token", "[UNK]"),
            ("sep_token", "[SEP]"),
            ("pad_token", "[PAD]"),
            ("cls_token", "[CLS]"),
            ("mask_token", "[MASK]"),
        ],
    },
];

/// The names that templates see.
const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// Further tokens, in a list.
const ADDITIONAL: &str = "additional_special_tokens";

/// The special tokens of the model in `folder` by name: the class's own, over them special_tokens_map.json, over them
/// tokenizer_config.json, or the two the other way round where the latter does not list the added tokens.
pub fn special_tokens(folder: &Path) -> Result<Map<String, Value>, TemplateError> {
    let config = read_object(folder, "tokenizer_config.json")?;
    let map = read_object(folder, "special_tokens_map.json")?;
    let model_type = read_object(folder, "config.json")?.get("model_type").cloned().unwrap_or_default();
    let class_name = config.get("tokenizer_class").and_then(Value::as_str);
    let class = CLASSES.iter().find(|class| match class_name {
        Some(name) => name.trim_end_matches("Fast") == class.name,
        None => class.model_types.iter().any(|&name| model_type == name),
    });
    let mut tokens: Map<String, Value> = class
        .map_or(&[][..], |class| class.tokens)
        .iter()
        .map(|&(name, text)| (name.into(), text.into()))
        .collect();
    let is_complete = config.contains_key("added_tokens_decoder");
    let files = if is_complete { [None, Some(&config)] } else { [Some(&config), Some(&map)] };
    for file in files.into_iter().flatten() {
        for name in NAMES.into_iter().chain([ADDITIONAL]) {
            match file.get(name) {
                None => {}
                Some(Value::Null) => drop(tokens.remove(name)),
                Some(Value::Array(list)) => {
                    tokens.insert(name.into(), list.iter().filter_map(content).collect());
                }
                Some(token) => tokens.extend(content(token).map(|text| (name.to_string(), text))),
            }
        }
    }
    Ok(tokens)
}

/// A token's text, alone or in an object with what else is said of it.
fn content(token: &Value) -> Option<Value> {
    match token {
        Value::String(_) => Some(token.clone()),
        Value::Object(token) => token.get("content").filter(|text| text.is_string()).cloned(),
        _ => None,
    }
}

/// The JSON object of a file; empty where there is no such file.
pub fn read_object(folder: &Path, name: &str) -> Result<Map<String, Value>, TemplateError> {
    let path = folder.join(name);
    if !exists(&path)? {
        return Ok(Map::new());
    }
    let failed = |problem: String| TemplateError::File { file: path.display().to_string(), problem };
    match serde_json::from_slice(&read_text(&path)?) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(failed("not a JSON object".into())),
        Err(error) => Err(failed(error.to_string())),
    }
}
