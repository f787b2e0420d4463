//! Answers as server-sent events.

use crate::{
    rig::{options, serve, tales},
    scripted::Scripted,
    watched::{FATAL, POISON, watched},
};
use halfwarp::{Engine, Tokenizer, scheduler::SchedulerOptions};
use serde_json::{Value, json};

const PROMPT: &str = "Once upon a time";

/// The texts of the chunks of a stream in which the model writes `script`.
fn texts_of(script: &[u32]) -> Vec<String> {
    let config = tales().scheduler().engine().config().clone();
    let backend = Scripted::new(config, script.to_vec(), None);
    let engine = Engine::new(Box::new(backend), Some(Tokenizer::bundled()), 512).unwrap();
    let rig = serve(engine, SchedulerOptions::default(), options());
    let body = json!({"prompt": PROMPT, "max_tokens": script.len(), "stream": true, "temperature": 0});
    let chunks = rig.complete(body).chunks();
    chunks.iter().map(|c| c["choices"][0]["text"].as_str().unwrap().to_string()).collect()
}

#[test]
fn s01_a_character_over_several_tokens_comes_in_one_chunk() {
    let script = Tokenizer::bundled().encode("😀").unwrap();
    assert!(script.len() > 1, "it is split over tokens");
    let texts = texts_of(&script);
    assert_eq!(texts.iter().filter(|text| !text.is_empty()).collect::<Vec<_>>(), ["😀"]);
    assert_eq!(texts_of(&script[..1]).concat(), "\u{fffd}", "half a character at the end is flushed as one");
}

/// 200 prompts, drawn with a seed each: the pieces of a stream are the whole answer, and so are its end and its counts.
#[test]
fn s02_streams_and_whole_answers_are_the_same_bytes() {
    for seed in 0..200 {
        let ids: Vec<u64> = (0..1 + seed % 40).map(|i| 3 + (seed * 131 + i * 977) % 4000).collect();
        let mut body = json!({"prompt": ids, "max_tokens": 6, "temperature": 0.9, "seed": seed});
        let whole = tales().complete(body.clone()).ok();
        body["stream"] = true.into();
        body["stream_options"] = json!({"include_usage": true});
        let chunks = tales().complete(body).chunks();
        let (usage, chunks) = chunks.split_last().unwrap();
        let text: String = chunks.iter().map(|c| c["choices"][0]["text"].as_str().unwrap()).collect();
        let choice = &whole["choices"][0];
        let reason = chunks.last().map(|chunk| &chunk["choices"][0]["finish_reason"]);
        assert_eq!(text, choice["text"].as_str().unwrap(), "seed {seed}");
        assert_eq!(reason, Some(&choice["finish_reason"]), "seed {seed}");
        for count in ["prompt_tokens", "completion_tokens", "total_tokens"] {
            assert_eq!(usage["usage"][count], whole["usage"][count], "seed {seed}, {count}");
        }
    }
}

#[test]
fn a_stream_is_the_answer_in_pieces() {
    let mut body =
        json!({"prompt": PROMPT, "max_tokens": 12, "temperature": 0, "n": 2, "logprobs": 2, "echo": true});
    let whole = tales().complete(body.clone()).ok();
    body["stream"] = json!(true);
    let chunks = tales().complete(body).chunks();
    for index in 0..2 {
        let own: Vec<&Value> =
            chunks.iter().map(|c| &c["choices"][0]).filter(|c| c["index"] == index).collect();
        let text: String = own.iter().map(|c| c["text"].as_str().unwrap()).collect();
        let expected = &whole["choices"][index];
        assert_eq!(text, *expected["text"].as_str().unwrap());
        for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
            let lists = own.iter().filter_map(|c| c["logprobs"][name].as_array());
            let list: Vec<Value> = lists.flatten().cloned().collect();
            assert_eq!(json!(list), expected["logprobs"][name], "{name}");
        }
        assert_eq!(own[own.len() - 1]["finish_reason"], "length");
        assert!(own[..own.len() - 1].iter().all(|c| c["finish_reason"].is_null()));
    }
    assert!(chunks.iter().all(|c| c["id"] == chunks[0]["id"] && c["object"] == "text_completion"));
    assert!(chunks.iter().all(|c| c.get("usage").is_none()));
}

#[test]
fn the_shape_of_vllms_benchmark_is_served() {
    let body = json!({"model": "tales", "prompt": PROMPT, "temperature": 0.0, "repetition_penalty": 1.0, "max_tokens": 10,
        "logprobs": null, "stream": true, "stream_options": {"include_usage": true}, "ignore_eos": true});
    let answer = tales().complete(body);
    assert_eq!(answer.header("cache-control"), Some("no-cache"));
    let mut chunks = answer.chunks();
    let last = chunks.pop().unwrap();
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(10)));
    assert!(chunks.iter().all(|c| c["usage"].is_null() && c.get("usage").is_some()));
    assert!(chunks.iter().any(|c| !c["choices"][0]["text"].as_str().unwrap().is_empty()));
}

#[test]
fn s03_a_stream_ends_with_done_or_with_an_error_never_both() {
    for token in [POISON, FATAL] {
        let (engine, _calls, permit) = watched(4 * 512);
        drop(permit);
        let rig = serve(engine, SchedulerOptions::default(), options());
        let good = rig.complete(json!({"prompt": PROMPT, "max_tokens": 5, "stream": true})).chunks();
        assert!(!good.is_empty());
        let events = rig.complete(json!({"prompt": [5, 6, token], "max_tokens": 5, "stream": true})).events();
        assert!(!events.iter().any(|event| event == "[DONE]"), "{events:?}");
        let last: Value = serde_json::from_str(&events[events.len() - 1]).unwrap();
        assert!(last["error"]["message"].is_string() && last["error"]["type"] == "server_error", "{last}");
    }
}

#[test]
fn an_error_after_some_tokens_ends_the_stream_there() {
    let eight =
        halfwarp::server::Limits { answer_time: std::time::Duration::from_millis(300), ..Default::default() };
    let (engine, _calls, permit) = watched(4 * 512);
    let rig = serve(engine, SchedulerOptions::default(), crate::rig::limited(eight));
    for _ in 0..5 {
        permit.send(()).unwrap();
    }
    let events = rig.complete(json!({"prompt": PROMPT, "max_tokens": 50, "stream": true})).events();
    drop(permit);
    assert!(events.len() > 1, "some tokens came before: {events:?}");
    let last: Value = serde_json::from_str(&events[events.len() - 1]).unwrap();
    assert_eq!(last["error"]["code"], "timeout");
}
