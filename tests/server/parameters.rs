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
    assert!(refused_raw(None, "\"max_tokens\":1e400").contains("number out of range"));
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
        (json!([[1], "a", [9999]]), "token id 9999"),
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
    refused("stop", json!({"stop": ["a", "b", "c", "d", "e"]}));
    refused("stop", json!({"stop": [""]}));
    refused("stop", json!({"stop": ""}));
    refused("stop", json!({"stop": [1]}));
    assert!(refused("stop", json!({"stop": "x".repeat(1 << 20)})).contains("1 to 1024 bytes"));
    let plain = json!({"prompt": PROMPT, "max_tokens": 24, "temperature": 0});
    let whole = tales().complete(plain.clone()).ok()["choices"][0]["text"].as_str().unwrap().to_string();
    let stop = "e girl na";
    let expected = &whole[..whole.find(stop).expect("the bundled model writes it")];
    let mut body = plain;
    body["stop"] = json!(["never", stop]);
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
        ("top_p", json!(0)),
        ("top_p", json!(1.0001)),
        ("top_k", json!(-1)),
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
    for name in ["seed", "top_k", "min_tokens", "max_tokens", "logprobs"] {
        let message = refused(name, json!({name: -5}));
        assert!(message.contains("between 0 and"), "{message}");
    }
    // Nobody's parameter: ignored, as OpenAI ignores it.
    tales().complete(json!({"prompt": PROMPT, "max_tokens": 1, "n_discard": -1})).ok();
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (param, value) in [
        ("suffix", json!("the end")),
        ("response_format", json!({"type": "json_object"})),
        ("guided_json", json!({})),
        ("use_beam_search", json!(true)),
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
    assert!(tales().post("/v1/completions", &deep).fails(400, None).contains("recursion limit"));
    let long_key = format!("{{\"{}\": 1}}", "k".repeat(1 << 20));
    assert!(tales().post("/v1/completions", long_key).fails(400, None).contains("key of 1048576 bytes"));
    assert!(refused_raw(None, "\"n\":1,\"n\":2").contains("\"n\" occurs twice"));
    assert!(refused_raw(None, "\"logit_bias\":{\"5\":1,\"5\":2}").contains("occurs twice"));
    for bad in ["", "{}{}", "{\"n\":1} x", "[]", "null", "{\"prompt\":\"\\ud83d\"}"] {
        tales().post("/v1/completions", bad).fails(400, None);
    }
    is_alive();
}
