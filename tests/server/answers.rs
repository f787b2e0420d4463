//! What `/v1/completions` answers: texts, their log-probabilities and counts, the same as a session gives.

use crate::rig::{engine, tales};
use halfwarp::{engine::GenerateParams, sampler::SamplingParams};
use serde_json::{Value, json};

const PROMPT: &str = "Once upon a time";

fn greedy(extra: Value) -> Value {
    let mut body = json!({"model": "tales", "prompt": PROMPT, "max_tokens": 8, "temperature": 0});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[test]
fn an_answer_has_every_field_that_clients_read() {
    let answer = tales().complete(greedy(json!({})));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("x-request-id").is_some());
    let value = answer.ok();
    assert!(value["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!((&value["object"], &value["model"]), (&json!("text_completion"), &json!("tales")));
    assert!(value["created"].as_u64().unwrap() > 1_700_000_000);
    assert!(value["system_fingerprint"].as_str().unwrap().contains("CPU"));
    let choice = &value["choices"][0];
    assert_eq!(
        (&choice["index"], &choice["finish_reason"], &choice["logprobs"]),
        (&json!(0), &json!("length"), &Value::Null)
    );
    let usage = &value["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"], &usage["total_tokens"]),
        (&json!(4), &json!(8), &json!(12))
    );
    assert!(usage["prompt_tokens_details"]["cached_tokens"].is_u64());
}

#[test]
fn texts_are_those_of_a_session_whatever_the_form_of_the_prompt() {
    let engine = engine();
    let params = GenerateParams { max_tokens: Some(8), ..GenerateParams::default() };
    let expected = engine.session().generate_with(PROMPT, &params, |_| {}).unwrap().text;
    let ids = engine.tokenizer().unwrap().encode(PROMPT).unwrap();
    for prompt in [json!(PROMPT), json!([PROMPT]), json!(ids), json!([ids])] {
        assert_eq!(tales().complete(greedy(json!({"prompt": prompt}))).ok()["choices"][0]["text"], expected);
    }
    let both = tales().complete(greedy(json!({"prompt": [PROMPT, "The old king"], "n": 2}))).ok();
    let choices = both["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    assert!(choices.iter().enumerate().all(|(i, c)| c["index"] == i));
    assert_eq!((&choices[0]["text"], &choices[1]["text"]), (&json!(expected), &json!(expected)));
    assert_ne!(choices[2]["text"], expected);
    assert_eq!(
        (&both["usage"]["prompt_tokens"], &both["usage"]["completion_tokens"]),
        (&json!(7), &json!(32))
    );
}

#[test]
fn a_seed_gives_the_same_answers_and_each_of_n_is_its_own() {
    let body = greedy(json!({"temperature": 1, "seed": 7, "n": 4, "top_k": 50, "top_p": 0.9}));
    let texts = |value: Value| -> Vec<String> {
        let choices = value["choices"].as_array().unwrap().iter();
        choices.map(|c| c["text"].as_str().unwrap().to_string()).collect()
    };
    let first = texts(tales().complete(body.clone()).ok());
    assert_eq!(first, texts(tales().complete(body).ok()));
    assert!((1..4).any(|i| first[i] != first[0]), "{first:?}");
    let sampling = SamplingParams {
        temperature: 1.0,
        seed: 7,
        top_k: 50,
        top_p: 0.9,
        choice: 2,
        ..SamplingParams::default()
    };
    let params = GenerateParams { sampling, max_tokens: Some(8), ..GenerateParams::default() };
    assert_eq!(first[2], engine().session().generate_with(PROMPT, &params, |_| {}).unwrap().text);
}

#[test]
fn echo_with_logprobs_scores_the_prompt_as_lm_eval_reads_it() {
    let ids =
        tales().scheduler().engine().tokenizer().unwrap().encode("The old king sat on his chair.").unwrap();
    let body = json!({"model": "tales", "prompt": [ids], "max_tokens": 1, "logprobs": 1, "echo": true, "temperature": 0, "seed": 1234});
    let choice = tales().complete(body.clone()).ok()["choices"][0].clone();
    let logprobs = &choice["logprobs"];
    let lists = ["tokens", "token_logprobs", "top_logprobs", "text_offset"];
    for name in lists {
        assert_eq!(logprobs[name].as_array().unwrap().len(), ids.len() + 1, "{name}");
    }
    assert_eq!((&logprobs["token_logprobs"][0], &logprobs["top_logprobs"][0]), (&Value::Null, &Value::Null));
    for i in 1..=ids.len() {
        let own = logprobs["token_logprobs"][i].as_f64().unwrap();
        let top = logprobs["top_logprobs"][i].as_object().unwrap();
        assert!(own <= 0.0 && top.len() <= 2);
        assert_eq!(
            top[logprobs["tokens"][i].as_str().unwrap()].as_f64(),
            Some(own),
            "the token itself is there"
        );
    }
    let text = choice["text"].as_str().unwrap();
    assert!(text.starts_with("The old king sat on his chair."));
    let tokens: String = logprobs["tokens"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
    assert_eq!(tokens, text);
    let offset = logprobs["text_offset"][3].as_u64().unwrap() as usize;
    assert!(text[offset..].starts_with(logprobs["tokens"][3].as_str().unwrap()));

    let mut none_new = body;
    none_new["max_tokens"] = json!(0);
    let shorter = tales().complete(none_new).ok()["choices"][0]["logprobs"].clone();
    let first = |value: &Value| value["token_logprobs"].as_array().unwrap()[..ids.len()].to_vec();
    assert_eq!(first(&shorter), first(logprobs));
    assert_eq!(shorter["tokens"].as_array().unwrap().len(), ids.len());
}

#[test]
fn tokens_that_are_no_text_have_names_of_their_own() {
    let tokenizer = tales().scheduler().engine().tokenizer().unwrap();
    let ids = tokenizer.encode("中🐻").unwrap();
    let body = json!({"prompt": ids, "max_tokens": 0, "echo": true, "logprobs": 0});
    let choice = tales().complete(body).ok()["choices"][0].clone();
    assert_eq!(choice["text"], "中🐻");
    let logprobs = &choice["logprobs"];
    assert!(logprobs["tokens"][0].as_str().unwrap().starts_with("bytes:\\xe4"), "{logprobs}");
    assert_eq!(logprobs["text_offset"][0], 0);
}

#[test]
fn a_text_goes_on_past_its_end_where_asked_to() {
    let eos = tales().scheduler().engine().config().eos_token_ids[0];
    let body = |extra: Value| {
        let mut body = greedy(json!({"logit_bias": {eos.to_string(): 100}, "max_tokens": 4}));
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        tales().complete(body).ok()
    };
    let ended = body(json!({}));
    assert_eq!(
        (&ended["choices"][0]["finish_reason"], &ended["usage"]["completion_tokens"]),
        (&json!("stop"), &json!(1))
    );
    let ignored = body(json!({"ignore_eos": true}));
    assert_eq!(
        (&ignored["choices"][0]["finish_reason"], &ignored["usage"]["completion_tokens"]),
        (&json!("length"), &json!(4))
    );
    assert_eq!(body(json!({"min_tokens": 2}))["usage"]["completion_tokens"], 3);
}

#[test]
fn penalties_change_what_is_likely() {
    let plain = tales().complete(greedy(json!({"max_tokens": 60}))).ok();
    for extra in
        [json!({"presence_penalty": 2}), json!({"frequency_penalty": 2}), json!({"repetition_penalty": 1.5})]
    {
        let mut body = greedy(extra);
        body["max_tokens"] = json!(60);
        assert_ne!(tales().complete(body).ok()["choices"][0]["text"], plain["choices"][0]["text"]);
    }
}

#[test]
fn another_model_does_not_exist_and_none_is_the_one_that_is_served() {
    let answer = tales().complete(greedy(json!({"model": "gpt-4"})));
    assert!(answer.fails(404, Some("model")).contains("served: tales"));
    assert_eq!(answer.json()["error"]["code"], "model_not_found");
    assert_eq!(tales().complete(greedy(json!({"model": null}))).ok()["model"], "tales");
}
