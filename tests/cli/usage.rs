//! Wrong usage, help, and the environment.

use super::harness::{command, run, run_args};

#[test]
fn values_out_of_range_name_the_flag_the_value_and_the_range() {
    for (flag, value, expected) in [
        ("--temperature", "-1", "from 0 to 100"),
        ("--temperature", "nan", "from 0 to 100"),
        ("--top-k", "-1", "0 or more"),
        ("--top-p", "0", "above 0, at most 1"),
        ("--top-p", "1.0001", "above 0, at most 1"),
        ("--min-p", "-0.1", "from 0 to 1"),
        ("--typical-p", "2", "above 0, at most 1"),
        ("--repetition-penalty", "0", "above 0"),
        ("--presence-penalty", "2.1", "from -2 to 2"),
        ("--frequency-penalty", "-2.1", "from -2 to 2"),
        ("--no-repeat-ngram-size", "-1", "0 or more"),
        ("--logit-bias", "5", "ID=BIAS"),
        ("--logit-bias", "5=101", "from -100 to 100"),
        ("--max-tokens", "-1", "0 or more"),
        ("--min-tokens", "x", "0 or more"),
        ("--seed", "-1", "from 0 to"),
        ("--stop", "", "at least one character"),
        ("--ban", " ", "a word"),
        ("--stop-token-id", "-1", "token id"),
        ("--ctx-size", "0", "above 0"),
        ("--threads", "0", "1..=1024"),
        ("--device", "tpu", "auto, cpu, cuda or cuda:N"),
        ("--load", "no", "map, read"),
    ] {
        let run = run_args(["generate", flag, value, "x"]);
        let all = run.stderr.clone();
        assert!(all.contains(expected), "{flag} {value}: {all}");
        let found = format!("'{value}'");
        run.fails(2, if value.is_empty() { &[] } else { std::slice::from_ref(&flag) });
        assert!(value.is_empty() || all.contains(&found), "{all}");
    }
}

#[test]
fn the_wrong_command_line_exits_with_2() {
    run("").fails_with_usage();
    run("write").fails(2, &["write"]);
    run("generate --no-such-flag").fails(2, &["--no-such-flag"]);
    run("generate a b").fails(2, &["'b'"]);
    run("generate --ids 1 text").fails(2, &["cannot be used with"]);
    run("generate --logprobs 1").fails(2, &["required"]);
}

impl super::harness::Run {
    /// Help on standard error, because no command was given.
    #[track_caller]
    fn fails_with_usage(self) {
        assert_eq!(self.code, Some(2));
        assert!(self.stderr.contains("Usage: halfwarp"), "{}", self.stderr);
        assert_eq!(self.stdout, "");
    }
}

#[test]
fn help_has_examples_and_exit_codes() {
    let help = run("--help").ok();
    assert!(help.contains("Examples:") && help.contains("130"), "{help}");
    for command in ["generate", "repl", "eval", "tokenize", "logits", "info"] {
        assert!(help.contains(command));
        let help = run(&format!("{command} --help")).ok();
        assert!(help.contains("Examples:") && help.contains("HALFWARP_MODEL"), "{help}");
    }
    assert_eq!(run("--version").ok(), concat!("halfwarp ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_environment_sets_what_the_command_line_does_not() {
    let json = |args: &[&str]| {
        let output = command(args).env("HALFWARP_SEED", "77").output().unwrap();
        super::harness::Run::from(output).json()
    };
    assert_eq!(json(&["generate", "-n", "1", "--json", "a"])["seed"], 77);
    assert_eq!(json(&["generate", "-n", "1", "--json", "a", "--seed", "78"])["seed"], 78);
    let output = command(["generate", "a"]).env("HALFWARP_DEVICE", "tpu").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_empty_variable_is_unset_and_an_argument_beats_one_that_conflicts() {
    let with = |args: &[&str], name: &str, value: &str| {
        super::harness::Run::from(command(args).env(name, value).output().unwrap())
    };
    for name in ["HALFWARP_MODEL", "HALFWARP_SEED", "HALFWARP_DEVICE", "HALFWARP_CTX_SIZE", "HALFWARP_LOAD"] {
        with(&["generate", "-n", "1", "a"], name, "").ok();
    }
    let bench = ["bench", "--random", "1x1x64", "-p", "0", "-n", "1", "-r", "1", "--no-warmup"];
    assert!(with(&bench, "HALFWARP_MODEL", "no/such/model").ok().contains("1x1x64"));
    let both: Vec<&str> = bench.into_iter().chain(["-m", "tales"]).collect();
    with(&both, "HALFWARP_MODEL", "no/such/model").fails(2, &["--random", "cannot be used with"]);
}

#[test]
fn the_names_that_other_programs_use_work_too() {
    let expected = run("generate --temperature 0 -n 5 Once").ok();
    assert_eq!(run("generate --temp 0 --n-predict 5 -p Once").ok(), expected);
    assert_eq!(run("generate --temp 0 --n-predict 5 --prompt Once").ok(), expected);
    run("generate -p a b").fails(2, &["cannot be used with"]);
}

#[test]
fn the_manual_names_the_variables() {
    let page = run("man generate").ok();
    for name in ["HALFWARP_MODEL", "HALFWARP_DEVICE", "HALFWARP_SEED"] {
        assert!(page.contains(name), "{name} is not in the manual");
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    run("generate --device cuda:99 a").fails(1, &["no CUDA device"]);
}

#[test]
fn a_model_that_is_not_there_is_an_error_with_its_path() {
    run("generate --model no/such/model a").fails(1, &["no/such/model"]);
}
