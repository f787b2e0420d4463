//! What `halfwarp generate` leaves out of a text, where a text ends, and what it reports.

use super::harness::{Folder, command, commas, golden_ids, interrupt, run_args};
use serde_json::Value;

/// The greedy continuation of "Once upon a time" by `n` tokens, without what `flags` keep out.
fn greedy(n: &str, flags: &[&str]) -> Value {
    run_args([&["generate", "--temp", "0", "--json", "-n", n, "Once upon a time"], flags].concat()).json()
}

#[test]
fn greedy_text_of_the_whole_golden_is_the_reference() {
    let (prompt, expected) = (golden_ids("input_ids"), golden_ids("greedy_ids"));
    let n = expected.len().to_string();
    let flags = ["generate", "--temp", "0", "--ignore-eos", "--no-echo", "-n", &n, "--ids", &commas(&prompt)];
    let text = run_args(["tokenize", "--decode", &commas(&expected)]).ok();
    assert_eq!(run_args(flags).ok(), text);
}

#[test]
fn banned_words_are_not_written() {
    let text = greedy("24", &[])["text"].as_str().unwrap().to_string();
    let words: Vec<&str> = text.split(|c: char| !c.is_alphabetic()).filter(|w| w.len() > 3).collect();
    let (first, second) = (words[0], words.iter().find(|&&w| w != words[0]).unwrap());
    let banned = greedy("24", &["--ban", first, "--ban", second])["text"].as_str().unwrap().to_string();
    assert!(
        text.contains(first) && !banned.contains(first) && !banned.contains(second),
        "{text:?} {banned:?}"
    );

    let folder = Folder::new("ban-file");
    let list = folder.file("words");
    std::fs::write(&list, format!("{first}\n\n{second}\r\n")).unwrap();
    assert_eq!(greedy("24", &["--ban-file", list.to_str().unwrap()])["text"], banned);
    run_args(["generate", "--ban-file", "/no/such/file", "a"]).fails(1, &["/no/such/file"]);
    std::fs::write(&list, b"ab\xff").unwrap();
    run_args(["generate", "--ban-file", list.to_str().unwrap(), "a"]).fails(1, &["words", "UTF-8"]);
}

#[test]
fn a_stop_string_is_found_across_tokens() {
    let json = greedy("12", &[]);
    let text = json["text"].as_str().unwrap();
    let ids: Vec<u32> =
        json["token_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    let pieces = run_args(["tokenize", "--json", text]).json()["pieces"].as_array().unwrap().clone();
    assert!(pieces.len() > 4 && ids.len() == 12);
    // From the middle of the fourth token to the first character of the sixth.
    let before: String = pieces[..3].iter().map(|p| p.as_str().unwrap()).collect();
    let fourth = pieces[3].as_str().unwrap();
    let start = before.len() + fourth.len() / 2;
    let stop = &text[start..before.len() + fourth.len() + pieces[4].as_str().unwrap().len() + 1];
    let first = text.find(stop).unwrap();
    let stopped = greedy("12", &["--stop", stop]);
    assert_eq!(stopped["text"], text[..first], "{stop:?}");
    assert_eq!((&stopped["finish_reason"], &stopped["stop"]), (&"stop".into(), &stop.into()));
}

#[test]
fn the_fields_of_json_are_these() {
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let json = greedy("2", &["--logprobs", "1", "--echo"]);
    assert_eq!(
        keys(&json),
        "model device seed text token_ids prompt_ids finish_reason stop usage timings logprobs prompt_logprobs"
    );
    assert_eq!(keys(&json["usage"]), "prompt_tokens cached_tokens completion_tokens total_tokens");
    assert_eq!(
        keys(&json["timings"]),
        "load_ms prompt_ms prompt_per_second decode_ms decode_per_second decode_gigabytes_per_second"
    );
    assert_eq!(keys(&json["logprobs"][0]), "id token bytes logprob top_logprobs");
    assert_eq!(keys(&json["logprobs"][0]["top_logprobs"][0]), "id token bytes logprob");
    assert_eq!(json["stop"], Value::Null);
}

#[test]
fn seeds_repeat_in_json_too_and_others_differ() {
    let ids = |seed| {
        run_args(["generate", "--json", "-n", "24", "--seed", seed, "The"]).json()["token_ids"].clone()
    };
    assert_eq!(ids("5"), ids("5"));
    assert_ne!(ids("5"), ids("6"));
}

#[test]
fn every_output_that_cannot_be_written_is_an_error() {
    if !std::path::Path::new("/dev/full").exists() {
        return eprintln!("SKIPPED: no /dev/full");
    }
    for args in ["--help", "info", "man", "completions bash", "tokenize a", "generate -n 1 --json a"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command(args.split(' ')).stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args}: {stderr}");
        assert!(stderr.starts_with("error: cannot write to standard output: "), "{args}: {stderr}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_piped_repl_with_130() {
    use std::io::Write;
    // The context slides, so that these would go on for minutes.
    let args = ["repl", "--ignore-eos", "--context-shift", "-n", "1000000"];
    let mut child = command(args).stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"The").unwrap();
    interrupt(child);
}
