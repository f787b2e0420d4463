//! What the server tells about itself, and the tokenizer on its own.

use crate::{
    client::ask,
    rig::{engine, options, serve, tales},
};
use halfwarp::{scheduler::SchedulerOptions, server::ServerOptions};
use serde_json::{Value, json};

#[test]
fn models_are_listed_with_their_shape_and_found_by_name() {
    let list = tales().get("/v1/models").ok();
    assert_eq!(
        (&list["object"], &list["data"][0]["object"], &list["data"][0]["id"]),
        (&json!("list"), &json!("model"), &json!("tales"))
    );
    let expected = json!({"n_vocab": 4096, "n_ctx_train": 512, "n_embd": 256, "n_params": 5_919_744, "size": 11_839_488});
    assert_eq!(list["data"][0]["meta"], expected);
    assert_eq!(tales().get("/v1/models/tales").ok(), list["data"][0]);
    tales().get("/v1/models/gpt-4").fails(404, Some("model"));
}

#[test]
fn a_model_answers_to_each_of_its_names() {
    let names = ["first", "org/second"].map(String::from).into();
    let rig = serve(engine(), SchedulerOptions::default(), ServerOptions { model_names: names, ..options() });
    assert_eq!(rig.get("/v1/models").ok()["data"].as_array().unwrap().len(), 2);
    assert_eq!(rig.get("/v1/models/org/second").ok()["id"], "org/second");
    for name in ["first", "org/second"] {
        assert_eq!(rig.complete(json!({"model": name, "max_tokens": 1})).ok()["model"], name);
    }
    assert_eq!(rig.complete(json!({"max_tokens": 1})).ok()["model"], "first");
}

#[test]
fn text_becomes_tokens_and_tokens_text_in_both_dialects() {
    let ids = tales().scheduler().engine().tokenizer().unwrap().encode("Hello 中!<|endoftext|>").unwrap();
    for name in ["content", "prompt"] {
        let value = tales().post("/tokenize", json!({name: "Hello 中!<|endoftext|>"})).ok();
        assert_eq!(
            (&value["tokens"], &value["count"], &value["max_model_len"]),
            (&json!(ids), &json!(ids.len()), &json!(512))
        );
    }
    let pieces = tales().post("/tokenize", json!({"content": "Hello 中", "with_pieces": true})).ok();
    assert_eq!(pieces["tokens"][0], json!({"id": ids[0], "piece": "Hello"}));
    assert!(pieces["tokens"].as_array().unwrap().iter().any(|t| t["piece"].is_array()), "{pieces}");
    let text = tales().post("/detokenize", json!({"tokens": ids})).ok();
    assert_eq!(
        (&text["content"], &text["prompt"]),
        (&json!("Hello 中!<|endoftext|>"), &json!("Hello 中!<|endoftext|>"))
    );

    let tokens = |extra: Value| {
        let mut body = json!({"content": "a<|endoftext|>"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        tales().post("/tokenize", body).ok()["tokens"].as_array().unwrap().clone()
    };
    assert!(tokens(json!({})).len() > 2, "special tokens are text");
    assert_eq!(tokens(json!({"parse_special": true})).len(), 2);
    // The bundled tokenizer puts nothing before a text.
    assert_eq!(tokens(json!({"add_special": true})), tokens(json!({"add_special_tokens": false})));
    tales().post("/tokenize", json!({"content": "a", "parse_special": 1})).fails(400, Some("parse_special"));

    tales().post("/tokenize", json!({})).fails(400, Some("content"));
    tales().post("/tokenize", json!({"content": 5})).fails(400, Some("content"));
    tales()
        .post("/tokenize", json!({"content": "a ".repeat(500_000), "with_pieces": true}))
        .fails(400, Some("content"));
    tales().post("/detokenize", json!({})).fails(400, Some("tokens"));
    for bad in [json!([4096]), json!([-1]), json!(["a"])] {
        tales().post("/detokenize", json!({"tokens": bad})).fails(400, Some("tokens"));
    }
}

#[test]
fn metrics_count_what_happened_under_vllms_names() {
    let rig = serve(engine(), SchedulerOptions::default(), options());
    rig.complete(json!({"prompt": "Once upon a time", "max_tokens": 5, "ignore_eos": true, "n": 2})).ok();
    rig.complete(json!({"prompt": "a", "n": 99})).fails(400, Some("n"));
    // The step that ends a text tells its client first, and counts then.
    let started = std::time::Instant::now();
    let answer = loop {
        let answer = rig.get("/metrics");
        let is_counted = answer.text().contains("num_requests_running{model_name=\"tales\"} 0\n");
        if is_counted || started.elapsed().as_secs() > 5 {
            break answer;
        }
    };
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"));
    for (line, value) in [
        ("num_requests_running{model_name=\"tales\"}", "0"),
        ("num_requests_waiting{model_name=\"tales\"}", "0"),
        ("kv_cache_usage_perc{model_name=\"tales\"}", "0.0"),
        ("prompt_tokens_total{model_name=\"tales\"}", "8"),
        ("generation_tokens_total{model_name=\"tales\"}", "10"),
        ("request_success_total{model_name=\"tales\",finished_reason=\"length\"}", "2"),
        ("requests_cancelled_total{model_name=\"tales\"}", "0"),
        ("time_to_first_token_seconds_count{model_name=\"tales\"}", "2"),
        ("inter_token_latency_seconds_count{model_name=\"tales\"}", "8"),
        ("e2e_request_latency_seconds_count{model_name=\"tales\"}", "2"),
        ("request_queue_time_seconds_count{model_name=\"tales\"}", "2"),
        ("request_prefill_time_seconds_count{model_name=\"tales\"}", "2"),
        ("request_decode_time_seconds_count{model_name=\"tales\"}", "2"),
    ] {
        assert!(text.contains(&format!("\nhalfwarp:{line} {value}\n")), "{line} {value} in {text}");
    }
    assert!(!text.contains("Once upon"), "no prompt in it");
}

#[test]
fn head_requests_are_answered_without_a_body() {
    let mut connection = crate::client::Connection::open(tales().address);
    connection.send(crate::client::request("HEAD", "/health", &[], ""));
    assert_eq!(connection.head().unwrap().status, 200);
    connection.send(crate::client::request("GET", "/health", &[], ""));
    connection.answer().unwrap().ok();
    ask(tales().address, "GET", "/health", &[], "").ok();
}
