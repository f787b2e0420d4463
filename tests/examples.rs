//! The examples, which cargo builds beside the tests, do what they say.

use std::{env, process::Command};

/// What an example writes to standard output.
#[track_caller]
fn run(example: &str, args: &[&str]) -> String {
    let exe = env::current_exe().expect("the test has a path");
    let folder = exe.parent().and_then(|folder| folder.parent()).expect("tests are in target/PROFILE/deps");
    let program = folder.join("examples").join(format!("{example}{}", env::consts::EXE_SUFFIX));
    // Cargo builds them with the tests unless only some of those were asked for.
    let output =
        Command::new(&program).args(args).env_remove("HALFWARP_MODEL").output().unwrap_or_else(|error| {
            panic!("{}: {error}; run cargo build --examples, or cargo test without --test", program.display())
        });
    assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a text")
}

#[test]
fn the_streaming_example_continues_its_prompt() {
    let text = run("stream", &["The little dog"]);
    assert!(text.starts_with("The little dog") && text.len() > 40 && text.ends_with('\n'), "{text:?}");
    assert!(run("stream", &[]).starts_with("Once upon a time"));
}

#[test]
fn the_scoring_example_finds_a_story_likelier_than_its_words_in_another_order() {
    let perplexity = |text: &str| {
        let out = run("score", &[text]);
        let (tokens, last) = out.trim_end().rsplit_once('\n').unwrap();
        let (perplexity, n) = last.strip_prefix("perplexity ").unwrap().split_once(" over ").unwrap();
        assert_eq!(format!("{} tokens", tokens.lines().count()), n);
        let logprobs =
            tokens.lines().map(|line| line.split_whitespace().next().unwrap().parse::<f64>().unwrap());
        let mean = logprobs.sum::<f64>() / tokens.lines().count() as f64;
        let perplexity: f64 = perplexity.parse().unwrap();
        // Written with three decimals.
        assert!(((-mean).exp() / perplexity - 1.0).abs() < 1e-3, "{out}");
        perplexity
    };
    let story = perplexity("Once upon a time there was a little girl.");
    let shuffled = perplexity("Girl there a upon. little once was time a");
    assert!(10.0 * story < shuffled, "{story} and {shuffled}");
}

#[test]
fn the_batch_example_writes_for_each_prompt_what_it_gives_alone() {
    let prompts = ["Once upon a time", "The little dog", "In the morning", "Mia and Tom", "A cat", "One day"];
    let alone: String = prompts.iter().map(|prompt| run("stream", &[prompt])).collect();
    assert_eq!(run("batch", &prompts), alone);
}
