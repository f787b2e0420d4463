//! No text makes the parser panic, overflow its stack or take long: it parses or is refused.

use cuda_emulator::ptx::parse;
use proptest::prelude::*;
use std::time::{Duration, Instant};

const VALID: &str = include_str!("../ptx/forms.plain.ptx");

/// Pieces of PTX, so that random texts get past the header and into all parts of the parser.
const PIECES: [&str; 64] = [
    ".entry",
    ".func",
    ".visible",
    ".extern",
    " k",
    " f",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "<",
    ">",
    ",",
    ";",
    ":",
    "=",
    "@",
    "!",
    "|",
    "+",
    "-",
    "~",
    ".param",
    ".reg",
    ".shared",
    ".local",
    ".global",
    ".const",
    " .b8",
    " .b32",
    " .u64",
    " .f32",
    " .pred",
    ".align",
    ".v2",
    ".ptr",
    " x",
    " y",
    " %r",
    " %p",
    "_",
    " 0",
    " 1",
    " 7",
    " 0xFF",
    " 0f3F800000",
    " 1.5",
    " 18446744073709551615",
    " -9223372036854775808",
    " mov",
    " generic",
    ".loc",
    ".file",
    " \"s\"",
    ".section",
    ".debug_str",
    " function_name",
    " inlined_at",
    ".callprototype",
    ".branchtargets",
    ".maxntid",
    "\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = parse(&[super::HEADER.as_bytes(), &bytes].concat());
    }

    #[test]
    fn random_pieces_do_not_panic(pieces in proptest::collection::vec(0..PIECES.len(), 0..60), body in any::<bool>()) {
        let text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        let start = if body { ".entry k(.param .u64 a) { .reg .b32 %r<3>; .reg .pred %p; .shared .b32 x; L: " } else { "" };
        let _ = parse(format!("{}{start}{text}", super::HEADER).as_bytes());
    }

    #[test]
    fn random_changes_do_not_panic(changes in proptest::collection::vec((0..VALID.len(), 0..12_usize, 0..PIECES.len()), 1..6)) {
        let mut bytes = VALID.as_bytes().to_vec();
        for (at, length, piece) in changes {
            let at = at.min(bytes.len());
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, PIECES[piece].bytes());
        }
        if let Err(error) = parse(&bytes) {
            let text = String::from_utf8_lossy(&bytes);
            prop_assert_eq!(text.lines().nth(error.line as usize - 1).unwrap_or_default(), error.text);
        }
    }

    #[test]
    fn a_text_that_is_cut_off_does_not_panic(length in 0..VALID.len()) {
        let _ = parse(&VALID.as_bytes()[..length]);
    }
}

/// A megabyte of what could be slow: each takes time linear in its length, so a second leaves room for a busy machine, and one try of five for a very busy one.
#[test]
fn long_texts_of_one_form_are_fast() {
    let repeat = |start: &str, piece: &str, end: &str| {
        format!("{}{start}{}{end}", super::HEADER, piece.repeat(1_000_000 / piece.len()))
    };
    let nested = format!("{}{}", "{ bra L; ".repeat(250), "} ".repeat(250));
    let texts = [
        repeat(".entry k() { .reg .b32 %r<900000>; ", "mov.b32 %r8, %r9; ", "}"),
        repeat(".entry k() { ", "{ .reg .b32 a; bra L; L: .param .b32 p; ld.b32 a, [p]; } ", "}"),
        repeat(".entry k() { ", &nested, "L: }"),
        repeat(".entry k() { ", "bra L; ", "L: }"),
        repeat(".global .b8 x[1000000] = {", "7, ", "7};"),
        repeat(".global .u32 x = 0", "+1", ";"),
        repeat(".entry k() { op ", "1, ", "1; }"),
        repeat("", "/* */ // \n", ""),
        repeat(".entry k() { ", ".loc 1 2 3, function_name f, inlined_at 1 2 3\n", "}"),
    ];
    for text in texts {
        let timed = || {
            let start = Instant::now();
            let parsed = parse(text.as_bytes());
            (parsed, start.elapsed())
        };
        let (mut parsed, mut taken) = timed();
        for _ in 0..4 {
            if taken < Duration::from_secs(1) {
                break;
            }
            (parsed, taken) = timed();
        }
        let head: String = text.chars().skip(super::HEADER.len()).take(60).collect();
        assert!(parsed.is_ok(), "{head}: {}", parsed.unwrap_err().message);
        assert!(taken < Duration::from_secs(1), "{head}: {taken:?}");
    }
}
