//! `build/constants.rs`: what it reads of a header of constants, and what it refuses.

#[path = "../../build/constants.rs"]
mod read;

use halfwarp::backend::cuda::images::constants;
use read::{Reason, Refused};

/// The value of `expression`, where THREE is 3 and LARGE 0x80000000.
fn value(expression: &str) -> Result<u32, Reason> {
    let text = format!(
        "constexpr uint32_t THREE = 3;\nconstexpr uint32_t LARGE = 0x80000000u;\nconstexpr uint32_t X = {expression};\n"
    );
    read::read("test.h", &text).map(|constants| constants["X"]).map_err(|refused| refused.reason)
}

fn overflows(operation: &str) -> Result<u32, Reason> {
    Err(Reason::Overflows { operation: operation.into() })
}

#[test]
fn products_bind_before_sums_and_sums_before_shifts() {
    assert_eq!(value("2 + 3 * 4"), Ok(14));
    assert_eq!(value("2 * 3 + 4"), Ok(10));
    assert_eq!(value("1 << 2 + 3"), Ok(32));
    assert_eq!(value("64 >> 1 + 2 * 2"), Ok(2));
    assert_eq!(value("1 + 2 << 3"), Ok(24));
    assert_eq!(value("17 - 9 % 4 + 8 / 3"), Ok(18));
    assert_eq!(value("7 * THREE+1"), Ok(22));
}

#[test]
fn operators_of_one_level_go_from_left_to_right() {
    assert_eq!(value("20 - 5 - 3"), Ok(12));
    assert_eq!(value("100 / 10 / 5"), Ok(2));
    assert_eq!(value("100 / 10 * 5"), Ok(50));
    assert_eq!(value("100 % 7 * 3"), Ok(6));
    assert_eq!(value("1 << 2 << 3"), Ok(32));
}

#[test]
fn parentheses_bind_first() {
    assert_eq!(value("(2 + 3) * 4"), Ok(20));
    assert_eq!(value("20 - (5 - (3 - 1))"), Ok(17));
    assert_eq!(value("((THREE))"), Ok(3));
}

#[test]
fn literals_are_decimal_or_hexadecimal() {
    assert_eq!(value("0"), Ok(0));
    assert_eq!(value("2147483647"), Ok(i32::MAX as u32));
    assert_eq!(value("4294967295u"), Ok(u32::MAX));
    assert_eq!(value("0xffFFffff"), Ok(u32::MAX));
    assert_eq!(value("0x10U"), Ok(16));
    // Octal, binary, long, floating, separated, and what is no number.
    for word in ["010", "0b1", "1l", "1ull", "2147483648", "0x100000000", "0x", "1e3", "3x"] {
        assert_eq!(value(word), Err(Reason::NotALiteral(word.into())));
    }
    assert_eq!(value("1.5"), Err(Reason::Unexpected { found: Some('.'), expected: "an operator or `;`" }));
    assert_eq!(value("1'000"), Err(Reason::Unexpected { found: Some('\''), expected: "an operator or `;`" }));
}

#[test]
fn a_name_that_is_not_defined_above_is_refused() {
    assert_eq!(value("FOUR"), Err(Reason::UnknownName("FOUR".into())));
    assert_eq!(value("X + 1"), Err(Reason::UnknownName("X".into())), "its own");
    assert_eq!(value("sizeof(float)"), Err(Reason::UnknownName("sizeof".into())));
}

#[test]
fn division_by_zero_is_refused() {
    assert_eq!(value("1 / 0"), Err(Reason::DividesByZero));
    assert_eq!(value("1 % (THREE - 3)"), Err(Reason::DividesByZero));
}

#[test]
fn what_does_not_fit_is_refused() {
    assert_eq!(value("2 - THREE"), overflows("2 - 3"));
    assert_eq!(value("LARGE * 2"), overflows("2147483648 * 2"));
    assert_eq!(value("LARGE + LARGE"), overflows("2147483648 + 2147483648"));
    assert_eq!(value("LARGE << 1"), overflows("2147483648 << 1"));
    assert_eq!(value("1 << 32"), overflows("1 << 32"));
    assert_eq!(value("1 >> 32"), overflows("1 >> 32"));
}

/// Of two literals without a suffix, C makes an `int`: a bit more, and `>>` would bring in ones.
#[test]
fn numbers_have_the_types_of_c() {
    assert_eq!(value("2147483647 + 1"), overflows("2147483647 + 1"));
    assert_eq!(value("1 << 31 >> 4"), overflows("1 << 31"));
    assert_eq!(value("1 << 31u"), overflows("1 << 31"), "a shift has its left operand's type");
    assert_eq!(value("1u << 31 >> 4"), Ok(1 << 27));
    assert_eq!(value("2147483647 + 1u"), Ok(1 << 31));
    assert_eq!(value("THREE << 31"), overflows("3 << 31"));
    assert_eq!(value("LARGE >> 30"), Ok(2));
}

#[test]
fn expressions_that_are_not_whole_are_refused() {
    let unexpected = |found, expected| Err(Reason::Unexpected { found, expected });
    assert_eq!(value(""), unexpected(None, "a number, a name or `(`"));
    assert_eq!(value("1 +"), unexpected(None, "a number, a name or `(`"));
    assert_eq!(value("(1 + 2"), unexpected(None, "an operator or `)`"));
    assert_eq!(value("1)"), unexpected(Some(')'), "an operator or `;`"));
    assert_eq!(value("1 2"), unexpected(Some('2'), "an operator or `;`"));
    assert_eq!(value("-1"), unexpected(Some('-'), "a number, a name or `(`"));
    assert_eq!(value("~1"), unexpected(Some('~'), "a number, a name or `(`"));
    assert_eq!(value("1 | 2"), unexpected(Some('|'), "an operator or `;`"));
    assert_eq!(value("1 < 2"), unexpected(Some('<'), "an operator or `;`"));
}

#[test]
fn lines_other_than_comments_and_constants_are_refused() {
    for line in [
        "constexpr uint64_t A = 1;",
        "constexpr uint32_t A = 1",
        "constexpr uint32_t A;",
        "constexpr uint32_t A[2] = {1, 2};",
        "constexpr uint32_t 1A = 1;",
        "static constexpr uint32_t A = 1;",
        "#define A 1",
        "#include \"common.cuh\"",
        "/* A */",
        "// A \\",
    ] {
        let refused = read::read("test.h", line).unwrap_err();
        assert_eq!(refused.reason, Reason::NotAConstant, "{line}");
    }
    let twice = "constexpr uint32_t A = 1;\nconstexpr uint32_t A = 1;";
    assert_eq!(read::read("test.h", twice).unwrap_err().reason, Reason::DefinedTwice("A".into()));
}

#[test]
fn a_refusal_names_file_line_and_text() {
    let text = "#pragma once\n\n// Words.\nconstexpr uint32_t A = B + 1;  // more\n";
    let refused: Refused = read::read("layout.h", text).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "layout.h:4: `constexpr uint32_t A = B + 1;  // more`: B is not defined above"
    );
}

#[test]
fn every_constant_of_the_header_reaches_rust() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/layout.h");
    let text = std::fs::read_to_string(path).unwrap();
    let read = read::read("layout.h", &text).unwrap();
    assert_eq!(read.len(), text.matches("constexpr uint32_t").count() - 1, "the comment above them has one");
    for (name, value) in [
        ("STEP_PAGES", constants::STEP_PAGES),
        ("PLAN_PAGES", constants::PLAN_PAGES),
        ("CHUNK_LEN", constants::CHUNK_LEN),
        ("ATTENTION_STEP_BYTES", constants::ATTENTION_STEP_BYTES),
        ("MARK_SEEN", constants::MARK_SEEN),
    ] {
        assert_eq!(read[name], value, "{name}");
    }
}
