//! Every field of config.json that changes the result is honoured or refused by name, and no size in it is trusted.

use halfwarp::{
    Config,
    config::{Activation, Attn, Mlp, Norm, Positions},
};
use serde_json::{Value, json};

fn gpt2() -> Value {
    json!({"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12})
}

#[track_caller]
fn parse(json: &Value) -> Config {
    halfwarp::family::parse_config(json.to_string().as_bytes()).unwrap_or_else(|e| panic!("{e}"))
}

/// The error of a config with `key` set to `value`.
#[track_caller]
fn refusal_with(key: &str, value: Value) -> String {
    let mut json = gpt2();
    json[key] = value;
    refusal(json.to_string().as_bytes())
}

#[track_caller]
fn refusal(text: &[u8]) -> String {
    halfwarp::family::parse_config(text).expect_err("it must be refused").to_string()
}

fn with(key: &str, value: Value) -> Config {
    let mut json = gpt2();
    json[key] = value;
    parse(&json)
}

#[test]
fn w14_sizes_are_limited_by_name() {
    for (key, value) in [
        ("n_head", json!(0)),
        ("n_layer", json!(0)),
        ("n_layer", json!(1u64 << 31)),
        ("n_positions", json!(1u64 << 40)),
        ("n_embd", json!(-768)),
        ("n_embd", json!(768.5)),
        ("n_embd", json!("768")),
        ("vocab_size", json!(u64::MAX)),
        ("vocab_size", json!(1e300)),
        ("n_inner", json!(0)),
        ("n_inner", json!([3072])),
    ] {
        let text = refusal_with(key, value.clone());
        assert!(text.contains(&format!("{key} is {value}, expected a whole number from 1 to ")), "{text}");
    }
}

#[test]
fn w14_the_width_must_be_a_multiple_of_the_heads() {
    assert_eq!(
        refusal_with("n_embd", json!(769)),
        "config.json: n_embd is 769, expected a multiple of n_head, 12"
    );
}

#[test]
fn w14_epsilon_must_be_finite_and_positive() {
    for value in [json!(0), json!(-1e-5), json!(1e39), json!(1e-60), json!("1e-5"), json!(true)] {
        let text = refusal_with("layer_norm_epsilon", value);
        assert!(text.contains("layer_norm_epsilon is "), "{text}");
    }
    // Python writes NaN and Infinity, which are not JSON; the text before them names the key.
    for value in ["NaN", "Infinity", "-Infinity"] {
        let text = refusal(format!("{{\n\"n_layer\": 12,\n\"layer_norm_epsilon\": {value}\n}}").as_bytes());
        assert!(text.contains("line 3") && text.contains("layer_norm_epsilon"), "{text}");
    }
}

#[test]
fn w14_deep_nesting_is_an_error() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for n in [200, 10_000, 1_000_000] {
            let text = format!("{{\"n_layer\":{}1{}}}", open.repeat(n), close.repeat(n));
            assert!(refusal(text.as_bytes()).contains("recursion limit"), "{n} of {open}");
        }
    }
}

#[test]
fn what_is_not_an_object_is_refused() {
    for (text, word) in [
        ("", "EOF"),
        ("[]", "a list"),
        ("3", "a number"),
        ("null", "null"),
        ("{", "EOF"),
        ("\u{0}", "line 1"),
    ] {
        assert!(refusal(text.as_bytes()).contains(word), "{text:?}: {}", refusal(text.as_bytes()));
    }
    assert!(refusal(b"{\"a\": \"\xff\"}").contains("config.json"));
    assert!(refusal(b"\xef\xbb\xbf{}").contains("config.json"));
}

#[test]
fn every_cut_of_a_config_is_refused() {
    let text = std::fs::read("tests/goldens/tiny-fp32/config.json").unwrap();
    let end = text.iter().rposition(|&b| b == b'}').unwrap();
    for len in 0..=end {
        assert!(halfwarp::family::parse_config(&text[..len]).is_err(), "cut to {len} bytes");
    }
}

#[test]
fn activations_are_honoured_or_refused() {
    for (name, activation) in [
        ("gelu_new", Activation::GeluTanh),
        ("gelu_pytorch_tanh", Activation::GeluTanh),
        ("gelu_fast", Activation::GeluTanh),
        ("gelu", Activation::GeluErf),
        ("relu", Activation::Relu),
    ] {
        assert_eq!(with("activation_function", json!(name)).mlp.activation, activation);
    }
    for name in ["silu", "quick_gelu", "GELU", ""] {
        let text = refusal_with("activation_function", json!(name));
        assert!(text.contains("activation_function") && text.contains("expected gelu_new"), "{text}");
    }
    assert_eq!(with("activation_function", json!(null)).mlp.activation, Activation::GeluTanh);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (key, value) in [
        ("add_cross_attention", json!(true)),
        ("is_encoder_decoder", json!(true)),
        ("model_type", json!("gpt_neo")),
        ("model_type", json!("llama")),
        ("model_type", json!("openai-gpt")),
        ("quantization_config", json!({"quant_method": "gptq", "bits": 4})),
        ("pruned_heads", json!({"0": [1, 2]})),
        ("position_embedding_type", json!("rope")),
    ] {
        let text = refusal_with(key, value);
        assert!(
            text.contains(&format!("config.json: {key} is ")) && text.contains("not supported"),
            "{text}"
        );
    }
}

#[test]
fn harmless_values_of_unsupported_fields_are_accepted() {
    for (key, value) in [
        ("add_cross_attention", json!(false)),
        ("quantization_config", json!(null)),
        ("pruned_heads", json!({})),
        ("reorder_and_upcast_attn", json!(true)),
        ("attn_pdrop", json!(0.1)),
        ("gradient_checkpointing", json!(false)),
        ("position_embedding_type", json!("absolute")),
        ("task_specific_params", json!({"text-generation": {"do_sample": true}})),
        ("use_cache", json!(false)),
        ("dtype", json!("float32")),
    ] {
        assert_eq!(with(key, value), parse(&gpt2()), "{key}");
    }
}

#[test]
fn switches_must_be_true_or_false() {
    for key in [
        "scale_attn_weights",
        "scale_attn_by_inverse_layer_idx",
        "tie_word_embeddings",
        "add_cross_attention",
    ] {
        assert_eq!(
            refusal_with(key, json!("false")),
            format!("config.json: {key} is \"false\", expected true or false")
        );
    }
    let plain = parse(&gpt2()).attn.scale;
    let by_layer = with("scale_attn_by_inverse_layer_idx", json!(true)).attn.scale;
    assert!(with("scale_attn_weights", json!(false)).attn.scale.iter().all(|&scale| scale == 1.0));
    assert!(plain.iter().zip(by_layer).enumerate().all(|(i, (a, b))| a / (i + 1) as f32 == b));
    assert!(!with("tie_word_embeddings", json!(false)).tied);
}

#[test]
fn the_attention_scale_follows_both_switches() {
    let mut json = gpt2();
    assert_eq!(parse(&json).attn.scale[3], 0.125);
    json["scale_attn_by_inverse_layer_idx"] = json!(true);
    assert_eq!(parse(&json).attn.scale[3], 0.125 / 4.0);
    json["scale_attn_weights"] = json!(false);
    assert_eq!(parse(&json).attn.scale[3], 1.0 / 4.0);
}

#[test]
fn defaults_are_those_of_gpt2_where_model_type_says_gpt2() {
    let config = parse(&json!({"model_type": "gpt2"}));
    let expected = Config {
        n_vocab: 50257,
        n_ctx: 1024,
        n_embd: 768,
        n_layer: 12,
        attn: Attn { n_head: 12, head_dim: 64, scale: vec![0.125; 12] },
        mlp: Mlp { n_inner: 3072, activation: Activation::GeluTanh },
        norm: Norm { eps: 1e-5 },
        positions: Positions::Learned,
        has_bias: true,
        tied: true,
        bos_token_id: Some(50256),
        eos_token_ids: vec![50256],
    };
    assert_eq!(config, expected);
    for key in ["n_embd", "n_head", "n_layer"] {
        let mut json = gpt2();
        json["model_type"] = json!(null);
        json[key] = json!(null);
        assert_eq!(refusal(json.to_string().as_bytes()), format!("config.json: {key} is missing"));
    }
}

#[test]
fn aliases_are_read_and_must_agree() {
    let config = parse(&json!({"model_type": "gpt2", "hidden_size": 64, "num_attention_heads": 4,
        "num_hidden_layers": 3, "max_position_embeddings": 128}));
    assert_eq!((config.n_embd, config.attn.n_head, config.n_layer, config.n_ctx), (64, 4, 3, 128));
    assert_eq!(refusal_with("hidden_size", json!(64)), "config.json: n_embd is 768, but hidden_size is 64");
    // Old files have n_ctx, alone or beside n_positions, which then has the say.
    assert_eq!(parse(&json!({"model_type": "gpt2", "n_ctx": 512})).n_ctx, 512);
    assert_eq!(with("n_ctx", json!(512)).n_ctx, 1024);
}

#[test]
fn token_ids_may_be_one_several_or_none() {
    assert_eq!(with("eos_token_id", json!(7)).eos_token_ids, [7]);
    assert_eq!(with("eos_token_id", json!([7, 9])).eos_token_ids, [7, 9]);
    assert_eq!(with("eos_token_id", json!(null)).eos_token_ids, [0; 0]);
    assert_eq!(with("bos_token_id", json!(null)).bos_token_id, None);
    // An id outside the vocabulary can never occur.
    assert_eq!(with("eos_token_id", json!([50257, 3])).eos_token_ids, [3]);
    assert_eq!(with("bos_token_id", json!(-1)).bos_token_id, None);
    for value in [json!("7"), json!(7.5), json!([[7]])] {
        assert!(refusal_with("eos_token_id", value).contains("eos_token_id is "));
    }
}

/// The fields that set each of these apart from GPT-2, as their config.json has them.
#[test]
fn configs_of_the_family_are_read() {
    let distilgpt2 = parse(&json!({"_num_labels": 1, "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256, "embd_pdrop": 0.1,
        "eos_token_id": 50256, "id2label": {"0": "LABEL_0"}, "initializer_range": 0.02, "label2id": {"LABEL_0": 0},
        "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 6,
        "n_positions": 1024, "resid_pdrop": 0.1, "summary_activation": null, "summary_first_dropout": 0.1,
        "task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 50257}));
    assert_eq!(distilgpt2.n_layer, 6);

    let cerebras = parse(
        &json!({"model_type": "gpt2", "activation_function": "gelu", "n_embd": 768, "n_head": 12,
        "n_inner": 3072, "n_layer": 10, "n_positions": 2048, "vocab_size": 50257, "layer_norm_epsilon": 1e-05,
        "scale_attn_weights": true, "scale_attn_by_inverse_layer_idx": false, "reorder_and_upcast_attn": false}),
    );
    assert_eq!((cerebras.mlp.activation, cerebras.n_ctx), (Activation::GeluErf, 2048));

    let rinna = parse(&json!({"model_type": "gpt2", "activation_function": "gelu_fast", "bos_token_id": 2,
        "eos_token_id": 3, "n_ctx": 1024, "n_embd": 2048, "n_head": 16, "n_inner": 8192, "n_layer": 24,
        "n_positions": 1024, "scale_attn_by_inverse_layer_idx": false, "vocab_size": 44928}));
    assert_eq!((rinna.mlp.activation, rinna.bos_token_id), (Activation::GeluTanh, Some(2)));

    // Chinese GPT-2: BERT's vocabulary, no id of its own that ends a text.
    let chinese =
        parse(&json!({"activation_function": "gelu_new", "model_type": "gpt2", "n_ctx": 1024, "n_embd": 768,
        "n_head": 12, "n_layer": 12, "n_positions": 1024, "output_past": true,
        "tokenizer_class": "BertTokenizer", "vocab_size": 21128}));
    assert_eq!((chinese.bos_token_id, chinese.eos_token_ids.len()), (None, 0));
}

#[test]
fn a_nanogpt_config_means_what_nanogpt_computes() {
    let json = json!({"block_size": 256, "vocab_size": 65, "n_layer": 6, "n_head": 6, "n_embd": 384, "dropout": 0.2,
        "bias": false});
    let config = parse(&json);
    assert_eq!(config.mlp.activation, Activation::GeluErf);
    assert_eq!((config.n_ctx, config.mlp.n_inner), (256, 1536));
    assert_eq!((config.bos_token_id, config.eos_token_ids.len()), (None, 0));
    let mut json = json;
    json["bias"] = json!("no");
    assert!(refusal(json.to_string().as_bytes()).contains("bias is \"no\""));
}
