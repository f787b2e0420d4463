//! What goes before a prompt, by the tokenizer's own settings.

use halfwarp::{Tokenizer, tokenizer::TokenizerError};
use serde_json::{Value, json};
use std::fs;

/// The bundled tokenizer with another post-processor, in a folder with this tokenizer_config.json.
fn with(post_processor: &Value, config: &Value) -> Result<Tokenizer, TokenizerError> {
    let mut json: Value = serde_json::from_slice(&fs::read("models/tales/tokenizer.json").unwrap()).unwrap();
    json["post_processor"] = post_processor.clone();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    Tokenizer::open(folder.path())
}

/// A processor that puts token 5 before a text and token 6 behind it.
fn template() -> Value {
    let token = |name: &str, id: u32| (name.to_string(), json!({"id": name, "ids": [id], "tokens": [name]}));
    let piece = |name: &str| json!({"SpecialToken": {"id": name, "type_id": 0}});
    let special: serde_json::Map<String, Value> = [token("<s>", 5), token("</s>", 6)].into_iter().collect();
    json!({
        "type": "TemplateProcessing",
        "single": [piece("<s>"), {"Sequence": {"id": "A", "type_id": 0}}, piece("</s>")],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": special,
    })
}

#[test]
fn a_post_processor_begins_a_prompt_and_never_ends_it() {
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
    let sequence = json!({"type": "Sequence", "processors": [byte_level, template()]});
    let bert = json!({"type": "BertProcessing", "sep": ["</s>", 6], "cls": ["<s>", 5]});
    for processor in [template(), sequence, bert] {
        let tokenizer = with(&processor, &json!({})).unwrap();
        assert_eq!(tokenizer.prompt(vec![7, 8]), [5, 7, 8], "{processor}");
        assert_eq!(tokenizer.prompt(vec![5, 8]), [5, 8], "a prompt that begins so already");
        assert_eq!(tokenizer.prompt(vec![]), [5]);
        assert_eq!(tokenizer.encode("a").unwrap().len(), 1, "a text alone is no prompt");
    }
    for processor in [Value::Null, byte_level] {
        assert_eq!(with(&processor, &json!({})).unwrap().prompt(vec![7]), [7]);
    }
}

#[test]
fn tokenizer_config_has_the_last_word() {
    let tokenizer = with(&Value::Null, &json!({})).unwrap();
    let eos = tokenizer.id_of("<|endoftext|>").unwrap();
    let adds = |value: bool| json!({"add_bos_token": value, "bos_token": {"content": "<|endoftext|>"}});
    assert_eq!(with(&Value::Null, &adds(true)).unwrap().prompt(vec![7]), [eos, 7]);
    assert_eq!(with(&Value::Null, &adds(false)).unwrap().prompt(vec![7]), [7]);
    // The class's own name, where the file has none.
    let class = json!({"add_bos_token": true, "tokenizer_class": "GPT2Tokenizer"});
    assert_eq!(with(&Value::Null, &class).unwrap().prompt(vec![7]), [eos, 7]);
    let mut processor = template();
    processor["special_tokens"]["<s>"]["ids"] = json!([eos]);
    assert_eq!(with(&processor, &adds(true)).unwrap().prompt(vec![7]), [eos, 7], "once");
    assert_eq!(with(&processor, &adds(false)).unwrap().prompt(vec![7]), [7]);
}

#[test]
fn a_first_token_that_the_vocabulary_lacks_is_refused() {
    let bert = json!({"type": "BertProcessing", "sep": ["</s>", 6], "cls": ["<s>", 99999]});
    let error = with(&bert, &json!({})).unwrap_err();
    assert!(matches!(error, TokenizerError::OutOfRange { id: 99999, .. }), "{error}");
}
