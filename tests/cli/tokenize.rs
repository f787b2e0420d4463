//! `halfwarp tokenize`.

use super::harness::{Folder, repository, run_args, run_with_input};

#[test]
fn ids_and_pieces_are_shown() {
    let text = run_args(["tokenize", "Once upon a"]).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[1].ends_with("\" upon\""), "{text}");
}

#[test]
fn decoding_the_ids_gives_the_text_back() {
    let story = "He said: \"Héllo 🙂\"\n\tand left.";
    let json = run_args(["tokenize", "--json", story]).json();
    let ids = run_args(["tokenize", "--ids", story]).ok();
    assert_eq!(json["count"], json["ids"].as_array().unwrap().len());
    assert_eq!(json["pieces"].as_array().unwrap().len(), json["count"]);
    assert_eq!(run_args(["tokenize", "--decode", ids.trim()]).ok(), format!("{story}\n"));
}

#[test]
fn the_text_is_taken_as_it_is() {
    let ids = |input: &[u8]| run_with_input("tokenize --ids", input).ok();
    assert_ne!(ids(b"a\n"), ids(b"a"));
    assert_eq!(ids(b""), "\n");
    // Text that looks like a special token is not one.
    assert_ne!(ids(b"<|endoftext|>"), "0\n");
}

#[test]
fn the_tokenizer_file_alone_is_enough() {
    let folder = Folder::new("tokenizer-only");
    std::fs::copy(repository("models/tales/tokenizer.json"), folder.file("tokenizer.json")).unwrap();
    let ids = |model: &[&str]| run_args([&["tokenize", "--ids", "Once upon"], model].concat()).ok();
    assert_eq!(ids(&["--model", folder.0.to_str().unwrap()]), ids(&[]));
}

#[test]
fn ids_outside_the_vocabulary_are_refused() {
    run_args(["tokenize", "--decode", "4096"]).fails(1, &["4096"]);
}

#[test]
fn a_file_that_is_not_utf8_is_refused() {
    let folder = Folder::new("not-utf8");
    let path = folder.file("text");
    std::fs::write(&path, b"abc\xff").unwrap();
    run_args(["tokenize", "--file", path.to_str().unwrap()]).fails(1, &["text", "0xff", "offset 3"]);
    run_args(["tokenize", "--file", "/no/such/file"]).fails(1, &["/no/such/file"]);
}

#[test]
fn a_part_of_a_character_is_shown_as_its_bytes() {
    assert!(run_args(["tokenize", "中"]).ok().contains(r#"b"\xe4""#));
    let bytes = run_args(["tokenize", "--json", "中"]).json()["bytes"].clone();
    let flat: Vec<u8> = bytes
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|token| token.as_array().unwrap().iter().map(|b| b.as_u64().unwrap() as u8))
        .collect();
    assert_eq!(flat, "中".as_bytes());
}
