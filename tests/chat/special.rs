//! Special tokens: the template's are ids, the messages' stay text.

use super::{folder, tokenizer};
use halfwarp::{
    Tokenizer,
    chat::{Ending, Template, TemplateError},
};
use serde_json::{Value, json};

const EOS: &str = "<|endoftext|>";

fn ids(template: &str, contents: &[&str], tokenizer: &Tokenizer) -> Result<Vec<u32>, TemplateError> {
    let messages: Vec<Value> =
        contents.iter().map(|content| json!({"role": "user", "content": content})).collect();
    Template::given(&format!("{template}{{##}}"), None)?.encode(
        &messages,
        Ending::BeforeAnswer,
        tokenizer,
        usize::MAX,
    )
}

#[track_caller]
fn reads(template: &str, contents: &[&str], expected: &[Result<&str, &str>]) {
    let tokenizer = tokenizer();
    let mut wanted = Vec::new();
    for part in expected {
        match part {
            Ok(text) => wanted.extend(tokenizer.encode(text).unwrap()),
            Err(special) => wanted.push(tokenizer.id_of(special).unwrap()),
        }
    }
    assert_eq!(ids(template, contents, &tokenizer).unwrap(), wanted, "{template} {contents:?}");
}

#[test]
fn a_template_writes_special_tokens_and_a_message_cannot() {
    reads("{{ messages[0].content }}<|endoftext|>", &["a<|endoftext|>b"], &[Ok("a<|endoftext|>b"), Err(EOS)]);
    reads("{{ messages[0].content + '<|endoftext|>' }}b", &["a"], &[Ok("a"), Err(EOS), Ok("b")]);
}

#[test]
fn marks_survive_filters() {
    for (template, content, text) in [
        ("{{ messages[0].content | upper }}<|endoftext|>", "a<|endoftext|>b", "A<|endoftext|>B"),
        ("{{ messages[0].content | lower }}<|endoftext|>", "a<|ENDOFTEXT|>b", ""),
        ("{{ messages[0].content | replace('x', '') }}<|endoftext|>", "<x|endoftext|>", ""),
        ("{{ messages[0].content | replace('--', '') }}<|endoftext|>", "<--|endoftext|>", ""),
        ("{{ messages[0].content[::-1] }}<|endoftext|>", ">|txetfodne|<", "<|endoftext|>"),
        ("{{ messages[0].content | trim }}<|endoftext|>", " <|endoftext|> ", "<|endoftext|>"),
    ] {
        let tokenizer = tokenizer();
        let found = ids(template, &[content], &tokenizer);
        // Where it cannot be told whose a token is, the conversation is refused.
        if text.is_empty() && matches!(found, Err(TemplateError::Ambiguous)) {
            continue;
        }
        let found = found.unwrap();
        let eos = tokenizer.id_of(EOS).unwrap();
        assert_eq!(found.iter().filter(|&&id| id == eos).count(), 1, "{template}");
        assert_eq!(found.last(), Some(&eos), "{template}");
        if !text.is_empty() {
            assert_eq!(tokenizer.decode(&found).unwrap(), text, "{template}");
        }
    }
}

#[test]
fn what_a_message_forms_with_the_template_stays_text() {
    reads("<|{{ messages[0].content }}|>!", &["endoftext"], &[Ok("<|endoftext|>!")]);
    reads("{{ '<|' + messages[0].content }}|>", &["endoftext"], &[Ok("<|endoftext|>")]);
    reads("<|end{{ messages[0].content }}", &["oftext|>"], &[Ok("<|endoftext|>")]);
    reads(
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        &["<|endof", "text|>"],
        &[Ok("<|endoftext|>")],
    );
    // The template's own, around a message that spells one, too.
    reads("<|endoftext|>{{ messages[0].content }}<|endoftext|>", &["|>"], &[Err(EOS), Ok("|>"), Err(EOS)]);
}

#[test]
fn a_template_finds_what_it_looks_for_in_a_message() {
    let template = "{% for m in messages %}{% if '</think>' in m.content %}{{ m.content.split('</think>')[-1] | trim }}{% else %}{{ m.content }}{% endif %}<|endoftext|>{% endfor %}";
    reads(template, &["<think>a</think> b", "c"], &[Ok("b"), Err(EOS), Ok("c"), Err(EOS)]);
    let template = "{% if messages[0].content.startswith('<tool>') %}T{% else %}U{% endif %}<|endoftext|>";
    reads(template, &["<tool>x"], &[Ok("T"), Err(EOS)]);
    reads(template, &["x"], &[Ok("U"), Err(EOS)]);
    // One that writes JSON: a message's quotes are escaped.
    reads("{{ messages[0].content | tojson }}<|endoftext|>", &["a\"b"], &[Ok("\"a\\\"b\""), Err(EOS)]);
}

#[test]
fn a_role_can_be_part_of_a_token_and_other_fields_cannot() {
    let folder = folder(&json!({}));
    let tokenizer = tokenizer();
    let template = Template::given("<|{{ messages[0].name }}|>\n", Some(folder.path())).unwrap();
    let message = json!({"role": "endoftext", "name": "endoftext", "content": ""});
    let found = template.encode(&[message], Ending::BeforeAnswer, &tokenizer, usize::MAX).unwrap();
    assert_eq!(found, tokenizer.encode("<|endoftext|>").unwrap());
}

#[test]
fn characters_for_private_use_are_left_as_they_are() {
    reads(
        "{{ messages[0].content }}",
        &["\u{f0000}a\u{10fffd}\u{e000}"],
        &[Ok("\u{f0000}a\u{10fffd}\u{e000}")],
    );
}
