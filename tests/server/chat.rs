//! Conversations: what a template makes of them, and what comes back.

use crate::rig::{Rig, engine, options, serve_with, tales};
use halfwarp::{
    chat::{Ending, Template},
    engine::GenerateParams,
    scheduler::SchedulerOptions,
};
use serde_json::{Value, json};
use std::sync::OnceLock;

const TEMPLATE: &str = "{% for m in messages %}\n{% if m.role == 'system' and not loop.first %}{{ raise_exception('system comes first') }}{% endif %}\n{{ m['role'].upper() + ': ' + m['content'].strip() }}<|endoftext|>\n{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}";

fn rig() -> &'static Rig {
    static RIG: OnceLock<Rig> = OnceLock::new();
    RIG.get_or_init(|| serve_with(engine(), SchedulerOptions::default(), options(), Some(TEMPLATE)))
}

fn chat(rig: &Rig, body: Value) -> crate::client::Answer {
    rig.post("/v1/chat/completions", body)
}

fn hello() -> Value {
    json!({"model": "tales", "messages": [{"role": "user", "content": " Hello "}], "max_tokens": 6, "temperature": 0})
}

#[test]
fn a_base_model_without_a_template_says_what_to_do() {
    let message = chat(tales(), hello()).fails(400, None);
    assert!(message.contains("--chat-template") && message.contains("/v1/completions"), "{message}");
}

#[test]
fn a_conversation_becomes_the_prompt_that_the_template_writes() {
    let value = chat(rig(), hello()).ok();
    let engine = engine();
    let mut ids = engine.tokenizer().unwrap().encode_with_special("USER: Hello<|endoftext|>").unwrap();
    ids.extend(engine.tokenizer().unwrap().encode("\nASSISTANT:").unwrap());
    let params = GenerateParams { max_tokens: Some(6), ..GenerateParams::default() };
    let expected = engine.session().generate_with(ids.clone(), &params, |_| {}).unwrap().text;
    let message = &value["choices"][0]["message"];
    assert_eq!((&message["role"], &message["content"]), (&json!("assistant"), &json!(expected)));
    assert_eq!(
        (&value["object"], &value["usage"]["prompt_tokens"]),
        (&json!("chat.completion"), &json!(ids.len()))
    );
    let mut parts = hello();
    parts["messages"][0]["content"] =
        json!([{"type": "text", "text": " Hel"}, {"type": "text", "text": "lo "}]);
    assert_eq!(chat(rig(), parts).ok()["choices"][0]["message"]["content"], expected);
}

fn user(content: &str) -> [Value; 1] {
    [json!({"role": "user", "content": content})]
}

/// The ids of a prompt that `TEMPLATE` would write.
fn ids_of(text: &str) -> Vec<u32> {
    engine().tokenizer().unwrap().encode_with_special(text).unwrap()
}

#[test]
fn a_prompt_ends_where_the_request_says() {
    let messages = [user(" Hello ")[0].clone(), json!({"role": "assistant", "content": " Once upon a "})];
    let template = Template::given(TEMPLATE, None).unwrap();
    let tokenizer = tales().scheduler().engine().tokenizer().unwrap();
    for (ending, text) in [
        (Ending::BeforeAnswer, "USER: Hello<|endoftext|>\nASSISTANT: Once upon a<|endoftext|>\nASSISTANT:"),
        (Ending::AfterLastMessage, "USER: Hello<|endoftext|>\nASSISTANT: Once upon a<|endoftext|>\n"),
        (Ending::InLastMessage, "USER: Hello<|endoftext|>\nASSISTANT: Once upon a"),
    ] {
        assert_eq!(
            template.encode(&messages, ending, tokenizer, usize::MAX).unwrap(),
            ids_of(text),
            "{ending:?}"
        );
    }
    // One that keeps spaces keeps those of the message that goes on.
    let plain = Template::given("{{ messages[0].content }}END", None).unwrap();
    let ids = plain.encode(&user(" Hello "), Ending::InLastMessage, tokenizer, usize::MAX).unwrap();
    assert_eq!(ids, ids_of(" Hello "));
    let none = Template::given("{{ messages[0].role }}", None).unwrap();
    assert!(none.encode(&user("Hello"), Ending::InLastMessage, tokenizer, usize::MAX).is_err());

    let body = |extra: Value| {
        let mut body = hello();
        body["messages"] = json!(messages);
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let n_prompt = |extra: Value| chat(rig(), body(extra)).ok()["usage"]["prompt_tokens"].clone();
    let goes_on = "USER: Hello<|endoftext|>\nASSISTANT: Once upon a";
    assert_eq!(n_prompt(json!({"continue_final_message": true})), ids_of(goes_on).len());
    assert_eq!(
        n_prompt(json!({"add_generation_prompt": false})),
        ids_of(&format!("{goes_on}<|endoftext|>\n")).len()
    );
    let both = json!({"continue_final_message": true, "add_generation_prompt": true});
    chat(rig(), body(both)).fails(400, Some("continue_final_message"));

    let extra = |echo: bool| json!({"continue_final_message": true, "echo": echo, "stop": ["e"], "include_stop_str_in_output": true, "max_tokens": 100});
    let content = |value: &Value| value["choices"][0]["message"]["content"].as_str().unwrap().to_string();
    let answer = content(&chat(rig(), body(extra(false))).ok());
    assert!(answer.ends_with('e') && !answer[..answer.len() - 1].contains('e'), "{answer}");
    assert_eq!(content(&chat(rig(), body(extra(true))).ok()), format!(" Once upon a {answer}"));
    let mut streamed = body(extra(true));
    streamed["stream"] = json!(true);
    let chunks = chat(rig(), streamed).chunks();
    let text: String = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, format!(" Once upon a {answer}"));
}

#[test]
fn a_template_sees_who_speaks() {
    let rig = serve_with(engine(), SchedulerOptions::default(), options(), Some("{{ messages[0].name }}:"));
    let n_prompt = |name: &str| {
        let messages =
            json!([{"role": "user", "content": "a", "name": name, "tool_calls": [], "audio": null}]);
        chat(&rig, json!({"messages": messages, "max_tokens": 1})).ok()["usage"]["prompt_tokens"].clone()
    };
    for name in ["Tom", "The old king"] {
        assert_eq!(n_prompt(name), ids_of(&format!("{name}:")).len());
    }
}

#[test]
fn a_stream_begins_with_the_role_and_ends_with_the_reason() {
    let mut body = hello();
    let whole = chat(rig(), body.clone()).ok()["choices"][0]["message"]["content"].clone();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let mut chunks = chat(rig(), body).chunks();
    let usage = chunks.pop().unwrap();
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(6)));
    let delta = |i: usize| &chunks[i]["choices"][0]["delta"];
    assert_eq!(*delta(0), json!({"role": "assistant", "content": ""}));
    let text: String = chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, *whole.as_str().unwrap());
    let last = &chunks[chunks.len() - 1];
    assert_eq!((&last["object"], delta(chunks.len() - 1)), (&json!("chat.completion.chunk"), &json!({})));
    assert_eq!(last["choices"][0]["finish_reason"], "length");
}

#[test]
fn log_probabilities_come_with_each_token() {
    let mut body = hello();
    body["logprobs"] = json!(true);
    body["top_logprobs"] = json!(20);
    let content = chat(rig(), body.clone()).ok()["choices"][0]["logprobs"]["content"].clone();
    assert_eq!(content.as_array().unwrap().len(), 6);
    let first = &content[0];
    assert_eq!(first["top_logprobs"].as_array().unwrap().len(), 20);
    assert_eq!(first["top_logprobs"][0]["token"], first["token"], "the likeliest is taken");
    assert_eq!(first["bytes"], json!(first["token"].as_str().unwrap().as_bytes()));
    body["stream"] = json!(true);
    let chunks = chat(rig(), body).chunks();
    let streamed = chunks.iter().filter_map(|c| c["choices"][0]["logprobs"]["content"].as_array());
    assert_eq!(json!(streamed.flatten().collect::<Vec<_>>()), content);
}

#[test]
fn an_answer_may_fill_the_context_and_the_newer_name_of_its_length_counts() {
    let mut body = hello();
    body["max_completion_tokens"] = json!(2);
    assert_eq!(chat(rig(), body.clone()).ok()["usage"]["completion_tokens"], 2);
    body["messages"][0]["content"] = json!("the ".repeat(490));
    body.as_object_mut().unwrap().remove("max_completion_tokens");
    body.as_object_mut().unwrap().remove("max_tokens");
    body["ignore_eos"] = json!(true);
    let value = chat(rig(), body.clone()).ok();
    assert_eq!(
        (&value["usage"]["total_tokens"], &value["choices"][0]["finish_reason"]),
        (&json!(512), &json!("length"))
    );
    body["messages"][0]["content"] = json!("the ".repeat(600));
    assert!(chat(rig(), body).fails(400, Some("messages")).contains("maximum context length is 512"));
}

#[test]
fn bad_conversations_and_what_is_not_supported_are_refused() {
    for (param, name, value) in [
        ("messages", "messages", json!([])),
        ("messages", "messages", json!("hello")),
        ("messages", "messages", json!(["hello"])),
        ("messages", "messages", json!([{"role": "user"}])),
        ("messages", "messages", json!([{"role": "cook", "content": "a"}])),
        ("messages", "messages", json!([{"role": "user", "content": [{"type": "image_url"}]}])),
        ("messages", "messages", json!([{"role": "assistant", "content": "a", "tool_calls": [{"id": "1"}]}])),
        (
            "messages",
            "messages",
            json!([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]),
        ),
        ("messages", "messages", json!(vec![json!({"role": "user", "content": "a"}); 513])),
        ("tools", "tools", json!([{"type": "function"}])),
        ("response_format", "response_format", json!({"type": "json_schema"})),
        ("top_logprobs", "top_logprobs", json!(3)),
        ("top_logprobs", "top_logprobs", json!(21)),
        ("n", "n", json!(17)),
        ("max_completion_tokens", "max_completion_tokens", json!(-1)),
    ] {
        let mut body = hello();
        body[name] = value;
        chat(rig(), body).fails(400, Some(param));
    }
    let exception = json!([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]);
    let mut body = hello();
    body["messages"] = exception;
    assert!(chat(rig(), body).fails(400, Some("messages")).contains("system comes first"));
}

#[test]
fn a_template_knows_the_date() {
    let tokenizer = tales().scheduler().engine().tokenizer().unwrap();
    let written = |format: &str| {
        let template = Template::given(&format!("{{{{ strftime_now('{format}') }}}}"), None).unwrap();
        let ids = template.encode(&user("a"), Ending::BeforeAnswer, tokenizer, usize::MAX);
        ids.map(|ids| tokenizer.decode(&ids).unwrap())
    };
    let date = written("%Y-%m-%d %d %b").unwrap();
    let [year, month, day] = date[..10].split('-').collect::<Vec<_>>()[..] else { panic!("{date}") };
    assert!((2026..2100).contains(&year.parse().unwrap()) && (1..=12).contains(&month.parse().unwrap()));
    assert!(date[10..].starts_with(&format!(" {day} ")) && date.len() == 17, "{date}");
    assert!(written("%").is_err());
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    let text = "{% for i in range(9999) %}{% for j in range(9999) %}{{ i }}{% endfor %}{% endfor %}";
    let tokenizer = tales().scheduler().engine().tokenizer().unwrap();
    let template = Template::given(text, None).unwrap();
    let error = template.encode(&user("a"), Ending::BeforeAnswer, tokenizer, usize::MAX).unwrap_err();
    assert!(error.to_string().contains("fuel"), "{error}");
    assert!(Template::given("{% for %}", None).is_err() && Template::given("no/such/file", None).is_err());
}

#[test]
fn a_model_folder_brings_its_own_template() {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, value: Value| std::fs::write(folder.path().join(name), value.to_string()).unwrap();
    assert!(Template::find(folder.path()).unwrap().is_none());
    let tokens = json!({"eos_token": {"content": "<|endoftext|>"}, "bos_token": "<|endoftext|>"});
    write("tokenizer_config.json", tokens.clone());
    assert!(Template::find(folder.path()).unwrap().is_none(), "a base model");
    let mut config = tokens;
    config["chat_template"] = json!([{"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ bos_token }}yes"}]);
    write("tokenizer_config.json", config);
    let template = Template::find(folder.path()).unwrap().unwrap();
    assert_eq!(template.eos_token(), Some("<|endoftext|>"));
    let tokenizer = tales().scheduler().engine().tokenizer().unwrap();
    assert_eq!(
        template.encode(&[], Ending::BeforeAnswer, tokenizer, usize::MAX).unwrap(),
        tokenizer.encode_with_special("<|endoftext|>yes").unwrap()
    );
    write("tokenizer_config.json", json!("{"));
    std::fs::write(folder.path().join("tokenizer_config.json"), "{").unwrap();
    assert!(Template::find(folder.path()).is_err());
}
