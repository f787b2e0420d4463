//! `halfwarp repl`, piped and on a terminal.
//!
//! The terminal is a pseudo-terminal that `tests/cli/terminal.py` makes; without python3 these tests are skipped, unless
//! `HALFWARP_TEST_REQUIRE_ALL=1` says that they must run.

use super::harness::{Folder, Run, command, run_args, run_with_input};
use std::{io::Write, process::Stdio};

/// What a person sees who does `steps` (tests/cli/terminal.py) in `halfwarp repl` with `args`, and the exit code.
/// `None`, with a line that says so, where there is no python3.
fn on_terminal(folder: &Folder, args: &[&str], steps: &[(&str, &str)]) -> Option<Run> {
    if cfg!(not(unix)) {
        return skipped("no pseudo-terminals");
    }
    let script = super::harness::repository("tests/cli/terminal.py");
    let repl = command(["repl"].iter().chain(args));
    let mut python = std::process::Command::new("python3");
    python.arg(script).arg(repl.get_program()).args(repl.get_args());
    for (name, value) in repl.get_envs() {
        if value.is_none() {
            python.env_remove(name);
        }
    }
    python.env("XDG_DATA_HOME", &folder.0).env("TERM", "xterm").current_dir(&folder.0);
    python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match python.spawn() {
        Ok(child) => child,
        Err(error) => return skipped(&format!("python3: {error}")),
    };
    let steps = serde_json::to_vec(steps).expect("steps are text");
    child.stdin.take().expect("input is piped").write_all(&steps).expect("python3 reads the steps");
    let run = Run::from(child.wait_with_output().expect("python3 ends"));
    assert_eq!(run.stderr, "", "seen so far:\n{}", run.stdout);
    Some(run)
}

/// Says so where the test harness does not swallow it, or fails where nothing may be skipped.
fn skipped(why: &str) -> Option<Run> {
    assert!(std::env::var_os("HALFWARP_TEST_REQUIRE_ALL").is_none_or(|v| v != "1"), "{why}");
    let _ = writeln!(std::io::stderr(), "SKIPPED: a test of the REPL on a terminal: {why}");
    None
}

/// Keys for Ctrl-C and Ctrl-D.
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

#[test]
fn a_text_grows_and_its_cache_is_kept() {
    let folder = Folder::new("repl-grows");
    let steps = [
        ("> ", "Once upon a time\r"),
        ("seed 3]", "The dog\r"),
        ("seed 3]", "/show\r"),
        ("text, ", "/save story.txt\r"),
        ("bytes to story.txt", CTRL_D),
    ];
    let args = ["--seed", "3", "-n", "8", "--stats"];
    let Some(run) = on_terminal(&folder, &args, &steps) else { return };
    assert_eq!(run.code, Some(0), "{}", run.stdout);
    let cached: Vec<usize> = run
        .stdout
        .lines()
        .filter_map(|line| line.split_once(" new and ")?.1.split_once(" cached")?.0.parse().ok())
        .collect();
    // 4 tokens of the prompt and 8 of the answer, of which the last was never fed.
    assert_eq!(cached, [0, 11], "{}", run.stdout);
    let text = std::fs::read_to_string(folder.file("story.txt")).unwrap();
    assert!(text.starts_with("Once upon a time") && text.contains("\nThe dog"), "{text:?}");
    let history = std::fs::read_to_string(folder.file("halfwarp/history")).unwrap();
    assert!(history.contains("Once upon a time\nThe dog\n"), "{history:?}");
}

#[test]
fn both_turns_together_are_one_greedy_text() {
    let folder = Folder::new("repl-greedy");
    let steps = [("> ", "Once upon\r"), ("\n> ", "\r"), ("\n> ", "/save a\r"), ("bytes to a", "/exit\r")];
    let Some(run) = on_terminal(&folder, &["--temp", "0", "-n", "6"], &steps) else { return };
    assert_eq!(run.code, Some(0), "{}", run.stdout);
    let expected = run_args(["generate", "--temp", "0", "-n", "12", "Once upon"]).ok();
    assert_eq!(std::fs::read_to_string(folder.file("a")).unwrap(), expected);
}

#[test]
fn lines_on_a_terminal_break_between_words_and_the_text_stays_as_it_is() {
    let folder = Folder::new("repl-wrap");
    let steps = [("> ", "Once upon\r"), ("\n> ", "/save a\r"), ("bytes to a", "/exit\r")];
    let Some(run) = on_terminal(&folder, &["--temp", "0", "-n", "150"], &steps) else { return };
    let expected = run_args(["generate", "--temp", "0", "-n", "150", "Once upon"]).ok();
    assert_eq!(std::fs::read_to_string(folder.file("a")).unwrap(), expected);
    let (_, rest) = run.stdout.split_once("Once upon\n").unwrap();
    let (answer, _) = rest.split_once("\n[as many tokens").unwrap();
    let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
    assert_eq!(words(answer), words(&expected)[2..], "no word is broken");
    // The terminal has 120 columns.
    let lines: Vec<&str> = answer.lines().collect();
    assert!(lines.len() > 3 && lines.iter().all(|line| line.len() < 120), "{lines:?}");
}

#[test]
fn ctrl_c_stops_the_answer_and_keeps_the_session() {
    let folder = Folder::new("repl-ctrl-c");
    let steps = [
        ("> ", "/set context-shift on\r"),
        ("context-shift on", "/set ignore-eos on\r"),
        ("ignore-eos on", "/set max-tokens 1000000\r"),
        ("max-tokens 1000000", "The cat\r"),
        ("going on with the last 256", CTRL_C),
        ("[stopped", "/show\r"),
        ("are out of it", CTRL_C),
        ("Ctrl-C again", CTRL_C),
    ];
    let Some(run) = on_terminal(&folder, &[], &steps) else { return };
    assert_eq!(run.code, Some(130), "{}", run.stdout);
}

#[test]
fn a_full_context_stops_with_a_notice_and_loses_nothing() {
    let folder = Folder::new("repl-full");
    let steps = [
        ("> ", "The cat\r"),
        ("[the context of 24 tokens is full", "and the dog\r"),
        ("typed 4 more", "/save a\r"),
        ("bytes to a", "/set context-shift on\r"),
        ("context-shift on", "and the dog\r"),
        ("going on with the last 12", "/reset\r"),
        ("is empty", "/exit\r"),
    ];
    let args = ["--ignore-eos", "-c", "24", "-n", "99", "--seed", "1"];
    let Some(run) = on_terminal(&folder, &args, &steps) else { return };
    assert_eq!(run.code, Some(0), "{}", run.stdout);
    assert!(run.stdout.contains("/set context-shift on"), "the notice says what to do");
    let text = std::fs::read_to_string(folder.file("a")).unwrap();
    assert!(text.starts_with("The cat") && !text.contains("and the dog"), "{text:?}");
}

#[test]
fn a_saved_text_is_not_overwritten_unasked_and_can_be_loaded() {
    let folder = Folder::new("repl-load");
    let steps = [
        ("> ", "/save a\r"),
        ("error: a: the text is empty", "Once upon\r"),
        ("[as many tokens as were asked for", "/save a\r"),
        ("bytes to a", "/save a\r"),
        ("error: a: it exists; /save -f a replaces it", "/save -f a\r"),
        ("bytes to a", "/load none\r"),
        ("error: none: ", "/reset\r"),
        ("the text is empty", "/load a\r"),
        ("tokens of a", "/save b\r"),
        ("bytes to b", "/exit\r"),
    ];
    let Some(run) = on_terminal(&folder, &["--temp", "0", "-n", "6"], &steps) else { return };
    assert_eq!(run.code, Some(0), "{}", run.stdout);
    let [a, b] = ["a", "b"].map(|name| std::fs::read_to_string(folder.file(name)).unwrap());
    assert!(a.starts_with("Once upon") && a == b, "{a:?}, {b:?}");
}

#[test]
fn mistakes_are_told_and_the_session_goes_on() {
    let folder = Folder::new("repl-mistakes");
    let steps = [
        ("> ", "/foo\r"),
        ("error: there is no command /foo", "/set top-p 7\r"),
        ("a number above 0, at most 1", "/set temperature abc\r"),
        ("error: temperature is \"abc\", expected a number from 0 to 100", "/set logit-bias 4096=1\r"),
        ("logit-bias [(4096, 1.0)]", "The\r"),
        ("4096", "/set logit-bias\r"),
        ("logit-bias none", "/save /no/such/folder/x\r"),
        ("error: /no/such/folder/x", "/show\r"),
        ("text, 0 tokens", "/bye\r"),
    ];
    let Some(run) = on_terminal(&folder, &[], &steps) else { return };
    assert_eq!(run.code, Some(0), "{}", run.stdout);
}

#[test]
fn text_of_several_lines_is_one_input() {
    let folder = Folder::new("repl-lines");
    let steps = [
        ("> ", "\"\"\"One\r"),
        ("One", "two\"\"\"\r"),
        ("\n> ", "three\\\r"),
        ("three", "four\r"),
        ("\n> ", "/save a\r"),
        ("bytes to a", CTRL_D),
    ];
    let Some(run) = on_terminal(&folder, &["-n", "0"], &steps) else { return };
    assert_eq!(run.code, Some(0), "{}", run.stdout);
    assert_eq!(std::fs::read_to_string(folder.file("a")).unwrap(), "One\ntwo\nthree\nfour\n");
}

#[test]
fn piped_input_is_one_text_and_only_its_continuation_is_written() {
    let run = run_with_input("repl --seed 1 -n 12", b"Once upon\na time\n");
    assert_eq!(run.stderr, "");
    let expected = run_args(["generate", "--seed", "1", "-n", "12", "--no-echo", "Once upon\na time"]).ok();
    assert_eq!(run.ok(), expected);
    run_with_input("repl", b"a\xff").fails(1, &["standard input", "0xff", "offset 1"]);
    run_with_input("repl -c 2", b"The cat sat").fails(1, &["2 tokens", "typed"]);
    run_with_input("repl --top-p 7", b"a").fails(2, &["--top-p"]);
    run_with_input("repl --ban-file /no/such/file", b"a").fails(1, &["/no/such/file"]);
}

#[test]
fn a_full_context_is_told_when_input_is_piped() {
    let run = run_with_input("repl --ignore-eos -c 16 -n 100", b"The cat");
    assert!(
        run.stderr.contains("the context of 16 tokens is full") && run.stderr.contains("--context-shift")
    );
    assert!(!run.ok().is_empty());
    let run = run_with_input("repl --ignore-eos -c 16 -n 30 --context-shift --stats", b"The cat");
    assert_eq!(run.stderr.matches("going on with the last 8").count(), 2, "{}", run.stderr);
    assert!(!run.ok().is_empty());
}

#[test]
fn a_model_without_a_tokenizer_is_refused() {
    let model = super::harness::repository("tests/goldens/tiny-fp32");
    let args = format!("repl --model {}", model.display());
    run_with_input(&args, b"a").fails(1, &["no tokenizer"]);
}

#[test]
fn a_conversation_goes_on_from_message_to_message() {
    let folder = Folder::new("repl-chat");
    let template = "{% for m in messages %}[{{ m.role }} {{ m.content | trim }}]{% endfor %}<|endoftext|>";
    let steps = [
        ("> ", "One\r"),
        ("seed 3]", "Two\r"),
        ("seed 3]", "/show\r"),
        ("text, ", "/load x\r"),
        ("a conversation", "/reset\r"),
        ("is empty", "/show\r"),
        ("text, 0 tokens", CTRL_D),
    ];
    let args =
        ["--seed", "3", "-n", "4", "--stats", "--chat", "--system", "Sys", "--chat-template", template];
    let Some(run) = on_terminal(&folder, &args, &steps) else { return };
    assert_eq!(run.code, Some(0), "{}", run.stdout);
    assert!(run.stdout.contains("[system Sys][user One][assistant "), "{}", run.stdout);
    assert!(run.stdout.contains("][user Two]"), "{}", run.stdout);
}
