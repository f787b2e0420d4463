//! A prompt that does not fit is an error; a text that fills the context ends there.

use crate::rig::tales;
use serde_json::json;

#[test]
fn x01_a_prompt_beyond_the_context_is_refused_with_both_numbers() {
    let answer = tales().complete(json!({"prompt": vec![100; 513], "max_tokens": 0}));
    let message = answer.fails(400, Some("prompt"));
    assert_eq!(message, "this model's maximum context length is 512 tokens; the prompt has 513");
    assert_eq!(answer.json()["error"]["code"], "context_length_exceeded");
}

#[test]
fn x02_a_prompt_and_an_answer_beyond_the_context_are_refused_with_all_numbers() {
    let answer = tales().complete(json!({"prompt": vec![100; 500], "max_tokens": 13}));
    let message = answer.fails(400, Some("max_tokens"));
    for number in ["512", "500", "13"] {
        assert!(message.contains(number), "{message}");
    }
    assert_eq!(answer.json()["error"]["code"], "context_length_exceeded");
    tales().complete(json!({"prompt": vec![100; 500], "max_tokens": 12})).ok();
}

#[test]
fn x03_a_text_that_fills_the_context_ends_with_length() {
    let ids: Vec<u32> = (100..580).collect();
    let body = json!({"prompt": ids, "max_tokens": 32, "ignore_eos": true, "stream": true,
        "stream_options": {"include_usage": true}});
    let chunks = tales().complete(body).chunks();
    let text: String = chunks.iter().filter_map(|c| c["choices"][0]["text"].as_str()).collect();
    assert!(!text.is_empty());
    let usage = &chunks[chunks.len() - 1]["usage"];
    assert_eq!((&usage["completion_tokens"], &usage["total_tokens"]), (&json!(32), &json!(512)));
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "length");
}
