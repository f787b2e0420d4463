//! Texts that are not PTX, or that the parser does not know: the error names the line and what is wrong.

use super::HEADER;
use cuda_emulator::ptx::{Error, parse};

fn refusal(text: &str) -> Error {
    match parse(format!("{HEADER}{text}").as_bytes()) {
        Ok(_) => panic!("parsed: {text}"),
        Err(error) => error,
    }
}

/// Each text begins on line 4; the line of the error and a part of its message.
fn check(cases: &[(&str, u32, &str)]) {
    for (text, line, message) in cases {
        let error = refusal(text);
        assert!(error.message.contains(message), "{text}: {error}");
        assert_eq!(error.line, *line, "{text}: {error}");
        assert_eq!(error.text, format!("{HEADER}{text}").lines().nth(*line as usize - 1).unwrap());
    }
}

#[test]
fn message_has_line_and_text() {
    let error = refusal(".entry k() {\n\tmov.u32 %r1, 5;\n}");
    assert_eq!(error.to_string(), "line 5: %r1 is not a register declared here: `mov.u32 %r1, 5;`");
}

#[test]
fn headers() {
    let cases = [
        ("", "expected .version, found the end of the text"),
        (".target sm_80", "expected .version"),
        (".version 9\n.target sm_80\n.address_size 64", "expected a version like 9.0"),
        (".version 9.0\n.address_size 64", "expected .target"),
        (".version 9.0\n.target compute_80\n.address_size 64", "expected a target like sm_80"),
        (".version 9.0\n.target sm_a\n.address_size 64", "expected a target like sm_80"),
        (".version 9.0\n.target sm_80, map_f64_to_f32\n.address_size 64", "map_f64_to_f32 is not supported"),
        (".version 9.0\n.target sm_80\n.address_size 32", "addresses of 32 bits are not supported"),
        (".version 9.0\n.target sm_80\n.entry k() { }", "expected .address_size, found .entry"),
    ];
    for (text, message) in cases {
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(error.message.contains(message), "{text}: {error}");
    }
}

#[test]
fn characters_strings_and_comments() {
    check(&[
        ("\n#", 5, "unexpected character '#'"),
        (".entry k() {\n é }", 5, "unexpected character 'é'"),
        ("\n/* a\n b", 5, "comment is not closed"),
        (".file 1 \"a\n\"", 4, "string is not closed"),
        (".entry k() { mov.u32 %, 5; }", 4, "% alone is not a name"),
        (".entry k() { mov. u32; }", 4, "expected a name after the dot"),
        (".entry k() { mov.a:: u32; }", 4, "expected a name after the dot"),
        (".entry k() { ret;\0 }", 4, "unexpected character"),
    ]);
}

#[test]
fn numbers() {
    for number in [
        "0x",
        "0b2",
        "08",
        "5u",
        "1a",
        "0f3F80000",
        "0f3F8000000",
        "0d3FF",
        "1.5x",
        "1e",
        "18446744073709551616",
        "0x1FFFFFFFFFFFFFFFF",
    ] {
        check(&[(
            &format!(".entry k() {{\nop {number};\n}}"),
            5,
            &format!("{number} is not a number of 64 bits"),
        )]);
    }
    check(&[
        (".global .u32 x[1.5];", 4, "expected an integer"),
        (".entry k() .maxntid 4294967296 { }", 4, "4294967296 is not between 0 and 4294967295"),
        (".entry k() .maxntid -1 { }", 4, "-1 is not between 0 and 4294967295"),
        (
            ".entry k() { op [16+0xFFFFFFFFFFFFFFFF]; }",
            4,
            "the offset 18446744073709551615 has more than 64 bits",
        ),
        (".entry k() { op ~1.5; }", 4, "expected an integer after ~"),
    ]);
}

#[test]
fn sizes() {
    check(&[
        (".global .u32 x[1152921504606846976];", 4, "an array cannot have 1152921504606846976 elements"),
        (".global .u32 x[1048576][1048576];", 4, "more than 1099511627776 bytes"),
        (".global .u32 x[1048576][1048576][1048576][1048576] = {};", 4, "more than 1099511627776 bytes"),
        (".global .b8 x[][1048576][1048576][1048576] = {};", 4, "more than 1099511627776 bytes"),
        (".global .u32 x[0];", 4, "an array cannot have 0 elements"),
        (".global .u32 x[-1];", 4, "an array cannot have -1 elements"),
        (".global .u32 x[];", 4, "x has no size"),
        (".shared .u32 x[];", 4, "x has no size"),
        (".entry k(.param .b8 x[]) { }", 4, "x has no size"),
        (".global .u32 x[1][1][1][1][1][1][1][1][1];", 4, "more than 8 dimensions"),
        (".global .align 3 .u32 x;", 4, "the alignment 3 is not a power of two"),
        (".global .align 0 .u32 x;", 4, "the alignment 0 is not a power of two"),
        (".entry k() {\n.reg .b32 %r<4000000000>;\n}", 5, "more registers than its text could use"),
    ]);
}

#[test]
fn initial_values() {
    check(&[
        (".global .u8 x[2] = {1,\n256};", 5, "256 is not a value of U8"),
        (".global .s8 x = -129;", 4, "-129 is not a value of S8"),
        (".global .f32 x = 1;", 4, "an integer is not a value of F32"),
        (".global .u32 x = 1.5;", 4, "expected an integer"),
        (".global .f16 x = 1.5;", 4, "a number is not a value of F16"),
        (".global .u32 x[2] = {1, 2, 3};", 4, "more than 2 elements"),
        (".global .u32 x[2][2] = {1, 2, 3, 4};", 4, "expected {, found 1"),
        (".global .u32 x = {1};", 4, "expected a number, found {"),
        (".global .u32 y; .global .u32 x = y;", 4, "the address of y is not a value of U32"),
        (".global .u64 x = y;", 4, "y is not declared"),
        (".global .u64 x = generic(x+4);", 4, "expected ), found +"),
        (".extern .global .u32 x = 4;", 4, "x cannot have an initial value here"),
        (".shared .u32 x = 4;", 4, "x cannot have an initial value here"),
        (".entry k() { .local .u32 x = 4; }", 4, "x cannot have an initial value here"),
        (".global .u8 x[8] = {0xFF(x), 0xFF00(x)};", 4, "only 2 of the 8 bytes of an address"),
        (".global .u8 x[8] = {0xFF(x), 5};", 4, "only 1 of the 8 bytes of an address"),
        (".global .u8 x[8] = {0xFF00(x)};", 4, "byte 1 of an address does not follow"),
        (".global .u8 x[8] = {0xFF(x), 0xFF00(x+1)};", 4, "byte 1 of an address does not follow"),
        (".global .u8 x[8] = {0xF0(x)};", 4, "the mask 0xf0 does not give a U8"),
        (".global .u16 x[8] = {0xFF(x)};", 4, "the mask 0xff does not give a U16"),
    ]);
}

#[test]
fn names_that_are_not_declared_here() {
    check(&[
        (".entry k() {\nbra L;\n}", 5, "L is not declared"),
        (".entry k() {\nbra L; { L: } }", 5, "L is declared in another block only"),
        (".entry k() { { .reg .b32 r; }\nop r; }", 5, "r is not declared"),
        (".entry k() { { .shared .b32 s; }\nop [s]; }", 5, "s is declared in another block only"),
        (".entry k() {\nop s; .shared .b32 s; }", 5, "s is used before its declaration"),
        (".entry k() {\n{ op s; } .shared .b32 s; }", 5, "s is used before its declaration"),
        (
            ".entry k() { { .shared .b32 s; }\nop s; } .global .b32 s;",
            5,
            "s is declared in another block only",
        ),
        (".entry k() { ts:\n.branchtargets L; }", 5, "L is not declared"),
        (".entry k() { op %tidx; }", 4, "%tidx is not a register declared here"),
        (".entry k() { op %envreg32; }", 4, "%envreg32 is not a register declared here"),
        (".entry k() { op %tid.q; }", 4, "expected .x, .y, .z or .w, found .q"),
        (".entry k() { .reg .b32 r; op r.x; }", 4, "parts of registers (.x) are not supported"),
        (".entry k() { .reg .b32 %r<3>; op %r3; }", 4, "%r3 is not a register declared here"),
        (".entry k() { .reg .b32 %r<3>; op %r01; }", 4, "%r01 is not a register declared here"),
        (".entry k() { .shared .b32 s; op !s; }", 4, "s is not a register declared here"),
        (".entry k() { .reg .b32 r;\n@r ret; }", 5, "the guard is not a predicate"),
        (".entry k() {\n@p ret; }", 5, "p is not a register declared here"),
    ]);
}

#[test]
fn names_that_are_declared_twice() {
    check(&[
        (".global .u32 x;\n.global .u32 x;", 5, "x is declared twice"),
        (".global .u32 x;\n.func x();", 5, "x is declared twice"),
        (".func x();\n.global .u32 x;", 5, "x is declared twice"),
        (".extern .global .u32 x;\n.global .u64 x;", 5, "x was declared on line 4 with another type"),
        (".func f() { }\n.func f() { }", 5, "f has a body on line 4, too"),
        (
            ".func f(.param .u32 a);\n.func f(.param .u64 a) { }",
            5,
            "f was declared on line 4 with other parameters",
        ),
        (".func f();\n.func (.param .u32 a) f() { }", 5, "f was declared on line 4 with other parameters"),
        (".entry f();\n.func f() { }", 5, "f was declared on line 4 with other parameters"),
        (".extern .func f()\n{ }", 4, "f is .extern and has a body"),
        (".entry k(.param .u32 a,\n.param .u32 a) { }", 5, "a is declared twice in this block"),
        (".entry k(.param .u32 a) {\n.reg .u32 a; }", 5, "a is declared twice in this block"),
        (".entry k() { .reg .u32 %r<20>;\n.reg .u32 %r12; }", 5, "%r12 is declared twice in this block"),
        (".entry k() { .reg .u32 %r12;\n.reg .u32 %r<20>; }", 5, "%r12 is declared twice in this block"),
        (".entry k() { .reg .u32 %r1<3>;\n.reg .u32 %r<12>; }", 5, "%r10 is declared twice in this block"),
        (".entry k() { .reg .u32 %r<12>;\n.reg .u32 %r1<3>; }", 5, "%r10 is declared twice in this block"),
        (".entry k() { .reg .u32 %r<12>;\n.reg .u32 %r<5>; }", 5, "%r0 is declared twice in this block"),
        (".entry k() { L:\nL: }", 5, "L is declared twice in this block"),
    ]);
}

#[test]
fn statements_and_directives() {
    check(&[
        ("ret;", 4, "expected a directive, found ret"),
        (".alias f, g;", 4, "the directive .alias is not supported here"),
        (".visible .alias f, g;", 4, "the directive .alias is not supported here"),
        (".local .u32 x;", 4, "the directive .local is not supported here"),
        (
            ".global .attribute(.managed) .u32 x;",
            4,
            "attributes of variables, like .managed, are not supported",
        ),
        (".global .pred x;", 4, "a predicate can only be a register"),
        (".global .v3 .u32 x;", 4, "expected a type, found .v3"),
        (".global .u32 x", 4, "expected ;, found the end of the text"),
        (".entry k(.global .u32 x) { }", 4, "expected .param or .reg, found .global"),
        (".entry k()\n.fast\n{ }", 5, "the directive .fast of a function is not supported"),
        (".entry k() .maxntid { }", 4, "expected a number, found {"),
        (".entry k() { .global .u32 x; }", 4, "the directive .global is not supported in a function"),
        (".entry k() { .reg .v2 .b32 r; }", 4, "vectors of registers are not supported"),
        (".entry k() { .reg .b32 %r<1.5>; }", 4, "expected an integer"),
        (".entry k() {\nret;", 5, "the body of k is not closed"),
        (".entry k() { { }", 4, "the body of k is not closed"),
        (".entry k() { } }", 4, "expected a directive, found }"),
        (".entry k() { ) }", 4, "expected a statement, found )"),
        (".entry k() { ; }", 4, "expected a statement, found ;"),
        (".entry k() { 5: }", 4, "expected a statement, found 5"),
        (".entry k() { mov.u32\n}", 5, "expected an operand, found }"),
        (".entry k() { op 1, ; }", 4, "expected an operand, found ;"),
        (".entry k() { op 1 2; }", 4, "expected ;, found 2"),
        (".entry k() { op {}; }", 4, "expected an operand, found }"),
        (".entry k() { op [1; }", 4, "expected ], found ;"),
        (".entry k() { op [%tid.x]; }", 4, "expected a register, a variable or an integer as address"),
        (".entry k() { .reg .b64 r; op [r-4]; }", 4, "expected ], found -"),
        (".entry k() { .reg .pred p; @p { } }", 4, "expected an instruction, found {"),
        (".entry k() { .loc 1 2; }", 4, "expected a number, found ;"),
        (".entry k() { p: .callprototype f; }", 4, "expected _, found f"),
        (".section .debug_str { x: .b8 300 }", 4, "300 is not a byte"),
        (".section .debug_str { .b32 5 }", 4, "expected a label, .b8 or }"),
        (".section .debug_info { { }", 4, "the section .debug_info is not closed"),
    ]);
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    let deep = |open: &str| open.repeat(100_000);
    check(&[
        (&format!(".entry k() {{ {}", deep("{ ")), 4, "more than 256 blocks in each other"),
        (&format!(".entry k() {{ op {}", deep("{ ")), 4, "more than 4 braces in each other"),
        (&format!(".entry k() {{ op {}", deep("( ")), 4, "more than 4 braces in each other"),
        (&format!(".entry k() {{ op {}", deep("[1, ")), 4, "more than 4 braces in each other"),
        (&format!(".entry k() {{ op {}", deep("! ")), 4, "expected a register"),
        (&format!(".entry k() {{ op {}", deep("~ ")), 4, "expected a number"),
        (&format!(".global .u32 x = {}", deep("{ ")), 4, "expected a number"),
        (&format!(".section .debug_info {}", deep("{ ")), 4, "is not closed"),
    ]);
}
