//! Every field of a request has a range, and what is outside it is refused by name before anything is computed.

use crate::rig::tales;
use serde_json::{Value, json};

const PROMPT: &str = "Once upon a time";

/// A request with these fields is refused, about `param`; its message.
#[track_caller]
fn refused(param: &str, fields: Value) -> String {
    let mut body = json!({"prompt": PROMPT, "max_tokens": 2});
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    tales().complete(body).fails(400, Some(param))
}

/// The next request gets the bytes that it always gets.
#[track_caller]
fn is_alive() {
    let answer = tales().complete(json!({"prompt": PROMPT, "max_tokens": 4, "temperature": 0})).ok();
    assert_eq!(answer["choices"][0]["text"], ", there was a");
}

/// Raw JSON, which may hold numbers that no value of ours can.
#[track_caller]
fn refused_raw(param: Option<&str>, fields: &str) -> String {
    tales().post("/v1/completions", format!("{{\"prompt\":\"a\",{fields}}}")).fails(400, param)
}

#[test]
fn p01_n_is_between_1_and_16() {
    for n in [json!(1_000_000), json!(0), json!(-1), json!(1.5), json!("2"), json!(9223372036854775808_u64)] {
        let message = refused("n", json!({"n": n}));
        assert!(message.contains("between 1 and 16") && message.contains(&n.to_string()), "{message}");
    }
    is_alive();
}

#[test]
fn p02_best_of_other_than_n_is_refused() {
    for fields in
        [json!({"best_of": 1_000_000}), json!({"n": 2, "best_of": 1}), json!({"best_of": 2, "stream": true})]
    {
        assert!(refused("best_of", fields).contains("best_of is not supported"));
    }
    tales().complete(json!({"prompt": PROMPT, "max_tokens": 1, "n": 2, "best_of": 2})).ok();
}

#[test]
fn p03_max_tokens_is_what_the_context_has_and_null_is_the_default() {
    assert!(
        refused("max_tokens", json!({"max_tokens": 2147483647})).contains("maximum context length is 512")
    );
    assert!(refused("max_tokens", json!({"max_tokens": -1})).contains("between 0 and"));
    assert!(refused_raw(Some("max_tokens"), "\"max_tokens\":1e400").contains("number out of range"));
    let answer = tales().complete(json!({"prompt": PROMPT, "max_tokens": null, "ignore_eos": true})).ok();
    assert_eq!(answer["usage"]["completion_tokens"], 16);
    let answer = tales().complete(json!({"prompt": PROMPT, "max_tokens": 0})).ok();
    assert_eq!(
        (&answer["choices"][0]["text"], &answer["choices"][0]["finish_reason"]),
        (&json!(""), &json!("length"))
    );
    is_alive();
}

#[test]
fn p04_logprobs_are_at_most_5() {
    for n in [6, 50257, 1_000_000_000] {
        let fields = json!({"logprobs": n, "echo": true, "prompt": vec![100; 400]});
        assert!(refused("logprobs", fields).contains("between 0 and 5"));
    }
}

#[test]
fn p05_an_empty_text_starts_from_the_first_token_and_an_empty_list_is_refused() {
    for prompt in [json!([]), json!([[]]), json!([[1], []])] {
        assert!(refused("prompt", json!({"prompt": prompt})).contains("empty"));
    }
    let fields = json!({"max_tokens": 4, "temperature": 0});
    let texts = [json!(""), json!([""]), json!(null)].map(|prompt| {
        let mut body = fields.clone();
        body["prompt"] = prompt;
        tales().complete(body).ok()["choices"][0]["text"].clone()
    });
    assert!(texts.iter().all(|text| *text == texts[0] && text.is_string()), "{texts:?}");
    assert_eq!(tales().complete(fields).ok()["choices"][0]["text"], texts[0]);
}

#[test]
fn p06_token_ids_are_those_of_the_vocabulary() {
    for (prompt, found) in [
        (json!([4096]), "token id 4096 out of range 0..=4095"),
        (json!([-1]), "token id -1 out of range 0..=4095"),
        (json!([4294967296_u64]), "token id 4294967296 out of range"),
        (json!([1.5]), "not 1.5"),
        (json!([1, "a"]), "not \"a\""),
        (json!(["a", 1]), "not 1"),
        (json!([[1], [9999]]), "token id 9999"),
        (json!([[1], "a"]), "lists of token ids, like its first entry, not \"a\""),
        (json!(["a", [1]]), "strings, like its first entry, not a list of 1"),
        (json!({"a": 1}), "an object"),
        (json!(7), "not 7"),
    ] {
        let message = refused("prompt", json!({"prompt": prompt}));
        assert!(message.contains(found), "{message}");
    }
    is_alive();
}

#[test]
fn p07_logit_bias_is_of_tokens_that_exist_within_100() {
    for bias in [
        json!({"191222": -100}),
        json!({"abc": 1}),
        json!({"-1": 1}),
        json!({"50": 1e9}),
        json!({"50": "1"}),
        json!([1]),
    ] {
        refused("logit_bias", json!({"logit_bias": bias}));
    }
    let all: serde_json::Map<_, _> = (0..4096).map(|id| (id.to_string(), json!(-100))).collect();
    assert!(refused("logit_bias", json!({"logit_bias": all})).contains("4096 tokens, expected at most 1024"));
    let bias = json!({"logit_bias": {"100": 100}, "prompt": PROMPT, "max_tokens": 3, "temperature": 0, "logprobs": 0});
    let tokens = tales().complete(bias).ok()["choices"][0]["logprobs"]["tokens"].clone();
    assert!(tokens[0] == tokens[1] && tokens[1] == tokens[2], "{tokens}");
}

#[test]
fn p08_stop_tokens_are_those_of_the_vocabulary() {
    assert!(
        refused("stop_token_ids", json!({"stop_token_ids": [151645]}))
            .contains("151645 out of range 0..=4095")
    );
    refused("stop_token_ids", json!({"stop_token_ids": vec![1; 65]}));
    refused("stop_token_ids", json!({"stop_token_ids": 5}));
}

#[test]
fn p09_stop_strings_are_few_and_short_and_never_show() {
    assert!(refused("stop", json!({"stop": vec!["a"; 17]})).contains("17 strings, expected at most 16"));
    refused("stop", json!({"stop": [""]}));
    refused("stop", json!({"stop": ""}));
    refused("stop", json!({"stop": [1]}));
    assert!(refused("stop", json!({"stop": "x".repeat(1 << 20)})).contains("1 to 1024 bytes"));
    let plain = json!({"prompt": PROMPT, "max_tokens": 24, "temperature": 0});
    let whole = tales().complete(plain.clone()).ok()["choices"][0]["text"].as_str().unwrap().to_string();
    let stop = "e girl na";
    let expected = &whole[..whole.find(stop).expect("the bundled model writes it")];
    let mut body = plain;
    // As many as there may be: the last one counts.
    body["stop"] = (0..15).map(|i| json!(format!("never {i}"))).chain([json!(stop)]).collect();
    let choice = tales().complete(body.clone()).ok()["choices"][0].clone();
    assert_eq!((&choice["text"], &choice["finish_reason"]), (&json!(expected), &json!("stop")));
    body["stream"] = json!(true);
    let chunks = tales().complete(body).chunks();
    let text: String = chunks.iter().map(|c| c["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(text, expected);
}

#[test]
fn p10_numbers_outside_their_range_are_refused_and_tiny_temperatures_are_greedy() {
    for (param, bad) in [
        ("temperature", json!(-1)),
        ("temperature", json!(2.1)),
        ("temperature", json!("1")),
        ("top_p", json!(-0.1)),
        ("top_p", json!(1.0001)),
        ("top_k", json!(-2)),
        ("top_k", json!(1.5)),
        ("typical_p", json!(0)),
        ("no_repeat_ngram_size", json!(513)),
        ("repeat_penalty", json!(0)),
        ("min_p", json!(1.5)),
        ("repetition_penalty", json!(0)),
        ("presence_penalty", json!(2.1)),
        ("frequency_penalty", json!(-2.1)),
    ] {
        let message = refused(param, json!({param: bad}));
        assert!(message.contains(param) && message.contains(&bad.to_string()), "{message}");
    }
    assert!(refused_raw(None, "\"temperature\":NaN").contains("JSON"));
    let text = |t: f64| {
        let body = json!({"prompt": PROMPT, "max_tokens": 8, "temperature": t});
        tales().complete(body).ok()["choices"][0]["text"].clone()
    };
    assert_eq!(text(1e-45), text(0.0));
    is_alive();
}

#[test]
fn p11_prompts_times_answers_are_bounded() {
    let message = refused("prompt", json!({"prompt": vec!["a"; 10_000]}));
    assert!(message.contains("10000 prompts") && message.contains("at most 64"), "{message}");
    refused("n", json!({"prompt": vec!["a"; 16], "n": 16, "max_tokens": 500}));
    is_alive();
}

#[test]
fn p12_a_prompt_larger_than_the_body_limit_is_refused_unread() {
    let body = json!({"prompt": "\n".repeat(3 << 20)});
    assert!(tales().complete(body).fails(413, None).contains("larger than 2097152 bytes"));
    let body = json!({"prompt": "a ".repeat((1 << 20) - 100)});
    assert!(tales().complete(body).fails(400, Some("prompt")).contains("maximum context length"));
    is_alive();
}

#[test]
fn p13_negative_numbers_are_refused() {
    for (name, low) in
        [("top_k", -1), ("min_tokens", 0), ("max_tokens", 0), ("logprobs", 0), ("n_predict", -1)]
    {
        let message = refused(name, json!({name: -5}));
        assert!(message.contains(&format!("between {low} and")), "{message}");
    }
    refused_raw(Some("seed"), "\"seed\":-9223372036854775809");
    refused_raw(Some("seed"), "\"seed\":18446744073709551616");
    // Nobody's parameter: ignored, as OpenAI ignores it.
    tales().complete(json!({"prompt": PROMPT, "max_tokens": 1, "n_discard": -1})).ok();
}

/// The text that these fields give.
#[track_caller]
fn text_of(fields: Value) -> String {
    let mut body = json!({"prompt": PROMPT, "max_tokens": 12, "temperature": 1, "seed": 3});
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    tales().complete(body).ok()["choices"][0]["text"].as_str().unwrap().to_string()
}

#[test]
fn numbers_mean_what_clients_mean_by_them() {
    // OpenAI's least seed, and a seed for each number.
    let seeds = [i64::MIN, -1, 0, 1].map(|seed| text_of(json!({"seed": seed})));
    assert!((1..4).all(|i| seeds[i] != seeds[0]), "{seeds:?}");
    assert_eq!(seeds[1], text_of(json!({"seed": u64::MAX})), "the same 64 bits");
    assert_eq!(text_of(json!({"top_k": -1})), text_of(json!({"top_k": 0})));
    assert_eq!(text_of(json!({"top_p": 0})), text_of(json!({"temperature": 0})));
    let floats =
        json!({"max_tokens": 4.0, "seed": 3.0, "top_k": 50.0, "n": 1.0, "best_of": 1, "min_tokens": 1.0});
    assert_eq!(text_of(floats), text_of(json!({"max_tokens": 4, "top_k": 50})));
    let message = refused("min_tokens", json!({"min_tokens": 3, "max_tokens": 2}));
    assert!(message.contains("min_tokens is 3") && message.contains("max_tokens, 2"), "{message}");
}

#[test]
fn what_the_library_has_is_served_under_the_names_that_clients_use() {
    let plain = text_of(json!({}));
    for fields in [
        json!({"typical_p": 0.2}),
        json!({"temperature": 0, "max_tokens": 60, "no_repeat_ngram_size": 2}),
        json!({"bad_words": [plain.split_whitespace().next().unwrap()]}),
    ] {
        assert_ne!(text_of(fields.clone()), plain, "{fields}");
    }
    let greedy = json!({"temperature": 0, "max_tokens": 60, "repeat_penalty": 1.5});
    let same = json!({"temperature": 0, "n_predict": 60, "max_tokens": null, "repetition_penalty": 1.5});
    assert_eq!(text_of(greedy), text_of(same));
    assert_eq!(
        text_of(json!({"n_predict": -1, "max_tokens": null, "stop": ["."]})),
        text_of(json!({"max_tokens": 400, "stop": ["."]})),
        "-1 is as many as the context holds"
    );
    refused("repeat_last_n", json!({"repeat_last_n": 64, "repeat_penalty": 1.1}));
    text_of(json!({"repeat_last_n": 64}));

    let with_stop = text_of(json!({"max_tokens": 200, "stop": ["."], "include_stop_str_in_output": true}));
    assert_eq!(with_stop, text_of(json!({"max_tokens": 200, "stop": ["."]})) + ".");
    let body = json!({"prompt": PROMPT, "max_tokens": 200, "seed": 3, "stop": ".",
        "include_stop_str_in_output": true, "stream": true});
    let chunks = tales().complete(body).chunks();
    let streamed: String = chunks.iter().map(|c| c["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(streamed, with_stop);

    let ids: Vec<u32> = (100..700).collect();
    for (limit, n_prompt) in [(json!(5), 5), (json!(-1), 500)] {
        let body = json!({"prompt": ids, "max_tokens": 12, "truncate_prompt_tokens": limit, "seed": 3});
        let cut = tales().complete(body).ok();
        assert_eq!(cut["usage"]["prompt_tokens"], n_prompt);
        assert_eq!(
            cut["choices"][0]["text"],
            text_of(json!({"prompt": ids[600 - n_prompt..]})),
            "its end is kept"
        );
    }
    for limit in [json!(0), json!(-2), json!(513), json!("all")] {
        refused("truncate_prompt_tokens", json!({"truncate_prompt_tokens": limit}));
    }
}

#[test]
fn fields_that_nobody_knows_are_allowed_and_named() {
    let plain = json!({"prompt": PROMPT, "max_tokens": 1, "user": "me", "metadata": {"a": "b"}});
    assert_eq!(tales().complete(plain.clone()).header("x-ignored-fields"), None);
    let mut body = plain;
    body["n_discard"] = json!(-1);
    body["a,b\r\n\u{1b}é"] = json!({"deep": [[[{"a": 1, "b": []}]]]});
    // Far deeper than a field that counts may be.
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = body.to_string().replace("[[[{\"a\":1,\"b\":[]}]]]", &deep);
    let answer = tales().post("/v1/completions", text);
    answer.ok();
    assert_eq!(answer.header("x-ignored-fields"), Some("a\\u{2c}b\\r\\n\\u{1b}\\u{e9}, n_discard"));
    let many: String = (0..300).map(|i| format!("\"f{i}\":0,")).collect();
    tales().post("/v1/completions", format!("{{{many}\"n\":1}}")).fails(400, None);
}

#[test]
fn defaults_of_clients_ask_for_nothing() {
    let body = json!({"prompt": PROMPT, "max_tokens": 1, "suffix": null, "tools": [], "tool_choice": "none",
        "length_penalty": 1.0, "use_beam_search": false, "skip_special_tokens": true, "grammar": "",
        "mirostat": 0, "dry_multiplier": 0.0, "xtc_probability": 0.0, "lora": [], "chat_template_kwargs": {},
        "response_format": {"type": "text"}, "spaces_between_special_tokens": true, "n_keep": 0});
    tales().complete(body).ok();
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (param, value) in [
        ("suffix", json!("the end")),
        ("response_format", json!({"type": "json_object"})),
        ("guided_json", json!({})),
        ("use_beam_search", json!(true)),
        ("tools", json!([{"type": "function"}])),
        ("allowed_token_ids", json!([5])),
        ("chat_template_kwargs", json!({"enable_thinking": false})),
        ("skip_special_tokens", json!(false)),
        ("grammar", json!("root ::= \"a\"")),
        ("json_schema", json!({"type": "object"})),
        ("mirostat", json!(2)),
        ("dry_multiplier", json!(0.8)),
        ("xtc_probability", json!(0.5)),
        ("lora", json!([{"id": 0, "scale": 0.5}])),
        ("images", json!(["..."])),
    ] {
        assert!(refused(param, json!({param: value})).contains("not supported"));
    }
    for (param, value) in [("echo", json!(1)), ("stream", json!("true")), ("ignore_eos", json!("no"))] {
        assert!(refused(param, json!({param: value})).contains("true or false"));
    }
    refused("stream_options", json!({"stream_options": {"include_usage": true}}));
}

#[test]
fn h04_json_that_is_deep_double_or_goes_on_is_refused() {
    let deep = "[".repeat(100_000);
    assert!(tales().post("/v1/completions", &deep).fails(400, None).contains("not a JSON object"));
    let prompt = format!("{{\"prompt\":{deep}{}}}", "]".repeat(100_000));
    assert!(tales().post("/v1/completions", prompt).fails(400, Some("prompt")).contains("recursion limit"));
    let wide = format!("{{\"prompt\":[{}1]}}", "1,".repeat(140_000));
    assert!(tales().post("/v1/completions", wide).fails(400, Some("prompt")).contains("140000 values"));
    let long_key = format!("{{\"{}\": 1}}", "k".repeat(1 << 20));
    assert!(tales().post("/v1/completions", long_key).fails(400, None).contains("key of 1048576 bytes"));
    assert!(refused_raw(None, "\"n\":1,\"n\":2").contains("\"n\" occurs twice"));
    assert!(refused_raw(Some("logit_bias"), "\"logit_bias\":{\"5\":1,\"5\":2}").contains("occurs twice"));
    for bad in ["", "{}{}", "{\"n\":1} x", "[]", "null", "{\"prompt\":\"a\",}"] {
        tales().post("/v1/completions", bad).fails(400, None);
    }
    tales().post("/v1/completions", "{\"prompt\":\"\\ud83d\"}").fails(400, Some("prompt"));
    is_alive();
}
