//! `halfwarp eval`.

use super::harness::{repository, run_args, run_with_input};

#[test]
fn a_text_gets_a_perplexity_with_its_error() {
    let story = repository("tests/texts/story.txt");
    let story = story.to_str().unwrap();
    let run = run_args(["eval", story, "--limit", "60"]);
    assert_eq!(run.stderr, "", "no progress bar where nobody looks");
    let text = run.ok();
    assert!(text.contains("perplexity") && text.contains('±') && text.contains("59 tokens"), "{text}");
    let json = run_args(["eval", story, "--limit", "60", "--json"]).json();
    let (mean, perplexity) = (json["nats_per_token"].as_f64().unwrap(), json["perplexity"].as_f64().unwrap());
    assert!((mean.exp() - perplexity).abs() < 1e-9 * perplexity);
    let bits = mean / std::f64::consts::LN_2 * 59.0 / json["n_bytes"].as_f64().unwrap();
    assert!((json["bits_per_byte"].as_f64().unwrap() - bits).abs() < 1e-9);
}

#[test]
fn bytes_are_those_of_the_scored_text() {
    // "é" and the emoji are several tokens with parts of characters; the first token, "Once", is not scored.
    let text = "Once é 🙂!";
    let json: serde_json::Value =
        serde_json::from_str(&run_with_input("eval - --json", text.as_bytes()).ok()).unwrap();
    assert_eq!(json["n_bytes"], text.len() - "Once".len());
}

#[test]
fn what_cannot_be_scored_is_refused() {
    run_with_input("eval -", b"").fails(1, &["0 tokens", "2 or more"]);
    run_with_input("eval - --window 513", b"a b c").fails(1, &["513", "512"]);
    run_with_input("eval - --window 8 --stride 9", b"a b c").fails(1, &["8", "9", "stride"]);
    run_args(["eval", "/no/such/file"]).fails(1, &["/no/such/file"]);
    run_args(["eval"]).fails(2, &["required"]);
}
