//! Special tokens by name, as transformers finds them, and which of them a tokenizer puts before a text.

use super::{
    TokenizerError,
    files::{read_object_if_there, text_of},
};
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

/// The special tokens of the model in `folder` by name: the class's own, over them those of tokenizer_config.json, and over them
/// those of special_tokens_map.json, which counts only where the former does not list the added tokens.
pub fn special_tokens(folder: &Path) -> Result<Map<String, Value>, TokenizerError> {
    let config = read_object_if_there(folder, "tokenizer_config.json")?;
    let map = read_object_if_there(folder, "special_tokens_map.json")?;
    // What is wrong with config.json is the model's to say.
    let model = read_object_if_there(folder, "config.json").unwrap_or_default();
    let model_type = model.get("model_type").cloned().unwrap_or_default();
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

/// A token's text.
fn content(token: &Value) -> Option<Value> {
    text_of(token).map(Value::from)
}

/// The special tokens that a post-processor puts before a text, by id. Those that it puts behind one end nothing here.
pub fn prefix(processor: &Value) -> Result<Vec<u32>, String> {
    let id = |id: &Value| {
        let number = id.as_u64().and_then(|id| u32::try_from(id).ok());
        number.ok_or_else(|| format!("a token's id is {id}, expected 0..2^32"))
    };
    let mut ids = Vec::new();
    match processor["type"].as_str() {
        Some("TemplateProcessing") => {
            let pieces = processor["single"].as_array().into_iter().flatten();
            for piece in pieces.take_while(|piece| piece["Sequence"].is_null()) {
                let name = piece["SpecialToken"]["id"].as_str().unwrap_or_default();
                let listed = processor["special_tokens"][name]["ids"].as_array();
                ids.extend(listed.into_iter().flatten().map(id).collect::<Result<Vec<_>, _>>()?);
            }
        }
        Some("BertProcessing" | "RobertaProcessing") => ids.push(id(&processor["cls"][1])?),
        Some("Sequence") => {
            for part in processor["processors"].as_array().into_iter().flatten() {
                ids.extend(prefix(part)?);
            }
        }
        _ => {}
    }
    Ok(ids)
}

/// Whether the files say that a text begins with the first token; none where they do not say.
pub fn adds_bos(folder: &Path) -> Result<Option<bool>, TokenizerError> {
    let config = read_object_if_there(folder, "tokenizer_config.json")?;
    Ok(config.get("add_bos_token").and_then(Value::as_bool))
}
