//! Chat templates: what they write, whose special tokens are whose, and what a hostile one can do.

mod hostile;
mod names;
mod special;

use halfwarp::{
    Source, Tokenizer,
    chat::{Ending, Template, TemplateError},
};
use serde_json::{Value, json};

fn tokenizer() -> Tokenizer {
    Source::Bundled.tokenizer().unwrap().unwrap()
}

/// What `template` writes of `messages`, special tokens left out.
fn write(template: &Template, messages: &[Value], tokenizer: &Tokenizer) -> Result<String, TemplateError> {
    let ids = template.encode(messages, Ending::BeforeAnswer, tokenizer, usize::MAX)?;
    Ok(tokenizer.decode(&ids).unwrap())
}

/// A folder with a tokenizer_config.json.
fn folder(config: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    folder
}

#[test]
fn templates_write_what_transformers_writes() {
    let table: Value = serde_json::from_str(include_str!("cases.json")).unwrap();
    let (tokenizer, folder) = (tokenizer(), folder(&table["tokens"]));
    let messages = table["messages"].as_array().unwrap();
    let mut wrong = Vec::new();
    let cases = table["cases"].as_array().unwrap();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let template = Template::given(case["template"].as_str().unwrap(), Some(folder.path()));
        let written = template.and_then(|template| write(&template, messages, &tokenizer));
        let is_right = match (&written, &case["text"]) {
            (Ok(written), Value::String(text)) => written == text,
            (Err(_), Value::Null) => true,
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{name}: {written:?}, expected {}", case["text"]));
        }
    }
    assert!(cases.len() > 40 && wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_error_names_the_template_and_what_is_wrong() {
    for (text, expected) in [
        ("{% for %}", "syntax error"),
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("\u{f0001}\n", "private use"),
    ] {
        let error = Template::given(text, None).and_then(|t| write(&t, &[], &tokenizer())).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = Template::given("no/such/file", None).err().unwrap().to_string();
    assert!(error.contains("no/such/file"), "{error}");
    let long = "x\n".repeat(200_000);
    assert!(Template::given(&long, None).err().unwrap().to_string().contains("400000 bytes"));
}

#[test]
fn a_template_with_a_percent_or_a_string_that_never_ends_is_no_trouble() {
    for (text, expected) in [
        ("{{ 5 % 3 }}% {{ '%' }}{# ", None),
        ("100%{% if true %}%{% endif %}{{ '%' ~ '%%' % () }}\n", Some("100%%%%")),
        ("{{ '", None),
        ("{{ '%s' % ", None),
        ("{{ '%s' % ( }}\n", None),
        ("{% generation", None),
        ("{{ '%s%%' % messages[0]['content'].upper()[0:2] }}!\n", Some("AB%!")),
        ("{{ '%s' % ('%s' % 'é') }}\n", Some("é")),
    ] {
        let messages = [json!({"role": "user", "content": "abc"})];
        let written = Template::given(text, None).and_then(|t| write(&t, &messages, &tokenizer()));
        assert_eq!(written.ok().as_deref(), expected, "{text}");
    }
}
