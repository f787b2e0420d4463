//! The stop matcher against a search of the whole text.

#[path = "../fuzz/bodies/stop.rs"]
#[expect(dead_code, reason = "only its parts are used here")]
mod whole_text;

use halfwarp::stop::StopMatcher;
use proptest::prelude::*;
use std::time::Instant;
use whole_text::{feed, oracle};

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| s.to_string()).collect()
}

#[test]
fn a_stop_string_split_over_three_pieces_leaks_nothing() {
    let mut matcher = StopMatcher::new(&strings(&["\nUser:"]));
    assert_eq!(matcher.push("Hi\nUs"), ("Hi".into(), None));
    assert_eq!(matcher.push("er"), ("".into(), None));
    assert_eq!(matcher.push(": and more"), ("".into(), Some(0)));
}

#[test]
fn held_text_comes_back_when_it_is_no_stop_string() {
    let mut matcher = StopMatcher::new(&strings(&["aab"]));
    assert_eq!(matcher.push("aa"), ("".into(), None));
    assert_eq!(matcher.push("a"), ("a".into(), None));
    assert_eq!(matcher.push("c"), ("aac".into(), None));
    assert_eq!(matcher.push("aa"), ("".into(), None));
    assert_eq!(matcher.finish(), "aa");
}

#[test]
fn the_first_complete_stop_string_wins_and_the_longest_of_those() {
    assert_eq!(feed(&strings(&["xabcd"]), &strings(&["abcd", "bc"])), ("xa".into(), Some(1)));
    assert_eq!(feed(&strings(&["xabc"]), &strings(&["bc", "abc"])), ("x".into(), Some(1)));
    assert_eq!(feed(&strings(&["\n\n"]), &strings(&["\n\n", "\n"])), ("".into(), Some(1)));
    assert_eq!(feed(&strings(&["b"]), &strings(&["b", "b"])), ("".into(), Some(0)));
}

#[test]
fn stop_strings_end_and_begin_at_whole_characters() {
    // 文 and 斆 share their first two bytes, e6 96.
    let stops = strings(&["文章。"]);
    assert_eq!(feed(&strings(&["一篇", "斆", "文", "章。"]), &stops), ("一篇斆".into(), Some(0)));
    assert_eq!(feed(&strings(&["文", "章，"]), &stops), ("文章，".into(), None));
}

#[test]
fn without_stop_strings_text_passes_at_once() {
    let mut matcher = StopMatcher::new(&strings(&["", ""]));
    assert!(matcher.stops().is_empty());
    assert_eq!(matcher.push("abc"), ("abc".into(), None));
    assert_eq!(matcher.finish(), "");
}

/// P09: a stop string of a megabyte that nearly matches for ever.
#[test]
fn long_stop_strings_take_linear_time() {
    let n = 1 << 20;
    let stops = vec!["a".repeat(n) + "b", "ab".repeat(n / 2)];
    let start = Instant::now();
    let mut matcher = StopMatcher::new(&stops);
    let mut n_out = 0;
    for _ in 0..2 * n {
        let (text, which) = matcher.push("a");
        assert_eq!(which, None);
        n_out += text.len();
    }
    assert_eq!(n_out, n);
    assert_eq!(matcher.push("b").1, Some(0));
    let seconds = start.elapsed().as_secs_f64();
    assert!(seconds < 2.0, "{seconds} s");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_give_what_the_whole_text_gives(
        pieces in prop::collection::vec("[ab文斆é]{0,4}", 0..12),
        stops in prop::collection::vec("[ab文斆é]{1,5}", 0..4),
    ) {
        prop_assert_eq!(feed(&pieces, &stops), oracle(&pieces.concat(), &stops));
    }
}
