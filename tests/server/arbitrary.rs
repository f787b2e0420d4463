//! Whatever a body holds, the answer is a text or an error that names what is wrong: never a failure of the server's.

use crate::rig::tales;
use proptest::{
    collection::{hash_map, vec},
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};
use serde_json::{Map, Value, json};

const NAMES: [&str; 26] = [
    "model",
    "prompt",
    "n",
    "best_of",
    "stream",
    "stream_options",
    "logprobs",
    "echo",
    "stop",
    "seed",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "stop_token_ids",
    "ignore_eos",
    "min_tokens",
    "suffix",
    "response_format",
    "user",
    "messages",
    "zzz",
];

fn any_value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        select(vec![-1_i64, 0, 1, 2, 5, 16, 17, 4095, 4096, 1 << 32, i64::MAX, i64::MIN])
            .prop_map(Value::from),
        select(vec![0.0, 0.5, 1.0, 2.0, -0.1, 1e-45, 1e300]).prop_map(Value::from),
    ];
    let leaf = prop_oneof![
        4 => number,
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        2 => select(vec!["", "a", "tales", "text", "\u{0}", "<|endoftext|>", "中🐻", "50"]).prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        let key = select(vec!["50", "4096", "-1", "include_usage", "type", "role", "content"]);
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            hash_map(key, inner, 0..4).prop_map(|map| map
                .into_iter()
                .map(|(k, v)| (k.to_string(), v))
                .collect::<Map<_, _>>()
                .into()),
        ]
    })
}

#[test]
fn any_object_is_answered_or_refused_by_name() {
    let body = (
        hash_map(select(NAMES.to_vec()), any_value(), 0..5),
        select(vec![json!(0), json!(2), json!(-1), json!("x"), json!(1e9)]),
    );
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let check = |(fields, max_tokens): (std::collections::HashMap<&str, Value>, Value)| {
        let mut body: Map<String, Value> =
            fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        body.insert("max_tokens".into(), max_tokens);
        for path in ["/v1/completions", "/v1/chat/completions", "/tokenize", "/detokenize"] {
            let answer = tales().post(path, Value::from(body.clone()));
            prop_assert!(
                [200, 400, 404].contains(&answer.status),
                "{path}: {} {}",
                answer.status,
                answer.text()
            );
            if answer.status != 200 {
                prop_assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
            }
        }
        Ok(())
    };
    runner.run(&body, check).unwrap();
}

#[test]
fn any_bytes_are_answered_or_refused() {
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let bytes = vec(select(b"{}[]\":,0123456789.eE-+ntrufalsp\\ \x00\xff\xc3\n".to_vec()), 0..40);
    let check = |bytes: Vec<u8>| {
        let mut connection = crate::client::Connection::open(tales().address);
        let length = bytes.len().to_string();
        connection.send(crate::client::request(
            "POST",
            "/v1/completions",
            &[("Content-Length", &length)],
            "",
        ));
        connection.send(&bytes);
        let answer = connection.answer().expect("an answer");
        prop_assert!([200, 400].contains(&answer.status), "{} {}", answer.status, answer.text());
        Ok(())
    };
    runner.run(&bytes, check).unwrap();
}
