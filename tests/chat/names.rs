//! The special tokens that a template can name.

use super::{folder, tokenizer, write};
use halfwarp::chat::Template;
use serde_json::{Value, json};

/// What a template sees of `bos_token`, `eos_token` and two more in a folder of these files.
fn seen(files: &[(&str, Value)]) -> String {
    let folder = folder(&json!({}));
    for (name, value) in files {
        std::fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    let text = "{{ bos_token is defined and bos_token }} {{ eos_token }} {{ pad_token is defined and pad_token }} {{ cls_token }}{{ sep_token }}{{ mask_token }}{{ unk_token }}{{ additional_special_tokens }}\n";
    write(&Template::given(text, Some(folder.path())).unwrap(), &[], &tokenizer()).unwrap()
}

#[test]
fn a_class_has_tokens_of_its_own() {
    let gpt2 = ("config.json", json!({"model_type": "gpt2"}));
    // DialoGPT-medium's tokenizer_config.json says nothing else.
    let config = ("tokenizer_config.json", json!({"model_max_length": 1024}));
    let folder = folder(&config.1);
    std::fs::write(folder.path().join("config.json"), gpt2.1.to_string()).unwrap();
    let text = "{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}\n";
    let template = Template::given(text, Some(folder.path())).unwrap();
    assert_eq!(template.eos_token(), Some("<|endoftext|>"));
    let tokenizer = tokenizer();
    let messages = [json!({"role": "user", "content": "a"}), json!({"role": "user", "content": "b"})];
    let ids =
        template.encode(&messages, halfwarp::chat::Ending::BeforeAnswer, &tokenizer, usize::MAX).unwrap();
    assert_eq!(ids, tokenizer.encode_with_special("a<|endoftext|>b<|endoftext|>").unwrap());

    let class = |name: &str| ("tokenizer_config.json", json!({"tokenizer_class": name}));
    assert_eq!(seen(&[class("LlamaTokenizerFast")]), "<s> </s> False <unk>");
    assert_eq!(seen(&[class("Qwen2Tokenizer"), gpt2.clone()]), "False   ");
    assert_eq!(seen(&[class("BertTokenizer")]), "False  [PAD] [CLS][SEP][MASK][UNK]");
    assert_eq!(seen(&[class("PreTrainedTokenizerFast"), gpt2]), "False  False ");
}

#[test]
fn files_say_more_than_classes() {
    let map = json!({"bos_token": {"content": "<m>", "lstrip": true}, "sep_token": "S", "additional_special_tokens": ["x", {"content": "y"}]});
    let map = ("special_tokens_map.json", map);
    let config = |decoder: bool| {
        let mut config = json!({"tokenizer_class": "LlamaTokenizer", "bos_token": "<c>", "pad_token": null});
        if decoder {
            config["added_tokens_decoder"] = json!({});
        }
        ("tokenizer_config.json", config)
    };
    assert_eq!(seen(&[map.clone(), config(false)]), "<m> </s> False S<unk>['x', 'y']");
    assert_eq!(seen(&[map.clone(), config(true)]), "<c> </s> False <unk>");
    let gemma = ("config.json", json!({"model_type": "gemma3_text"}));
    assert_eq!(seen(&[gemma, map]), "<m> <eos> <pad> S<mask><unk>['x', 'y']");
}

#[test]
fn a_broken_file_is_named() {
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let folder = folder(&json!({"chat_template": "a"}));
        std::fs::write(folder.path().join(name), "{").unwrap();
        let error = Template::find(folder.path()).err().unwrap().to_string();
        assert!(error.contains(name), "{error}");
    }
    let folder = folder(&json!({}));
    std::fs::create_dir(folder.path().join("chat_template.jinja")).unwrap();
    let error = Template::find(folder.path()).err().unwrap().to_string();
    assert!(error.contains("chat_template.jinja") && error.contains("directory"), "{error}");
}
