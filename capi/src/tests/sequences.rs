//! Sequences of calls: those of the fuzz target's corpus, and changed copies of them.

use std::path::Path;

#[path = "../../../fuzz/bodies/calls.rs"]
mod body;
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[test]
fn calls_corpus_and_changed_copies_pass() {
    replay::run_corpus(Path::new("../fuzz/corpus/calls"), 6, 200, |data| _ = body::run(data));
}

/// The corpus does what it says: each call of it succeeds.
#[test]
fn good_sequences_of_the_corpus_are_carried_out() {
    for (name, n_calls) in [("good_texts", 6), ("good_session", 7), ("good_generate", 4), ("good_fork", 6)] {
        let data = std::fs::read(format!("../fuzz/corpus/calls/{name}")).unwrap();
        assert_eq!(body::run(&data), n_calls, "{name}");
    }
}
