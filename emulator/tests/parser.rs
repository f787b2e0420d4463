//! What the PTX parser makes of modules written by hand: one test per form. What it refuses, what it makes of the output of
//! nvcc and what it does with random text is in the files of `parser/`.

use cuda_emulator::ptx::ast::{Function, Init, Location, Module, Operand, RegId, Space, Type};
use cuda_emulator::ptx::parse;

#[path = "parser/random.rs"]
mod random;
#[path = "parser/refusals.rs"]
mod refusals;
#[path = "parser/samples.rs"]
mod samples;

/// The header that every module has; what follows starts on line 4.
const HEADER: &str = ".version 9.0\n.target sm_80\n.address_size 64\n";

fn module(text: &str) -> Module {
    parse(format!("{HEADER}{text}").as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// The kernel with this body, which starts on line 4.
fn kernel(body: &str) -> Function {
    module(&format!(".visible .entry k(.param .u64 a, .param .u32 n) {{ {body} }}")).functions.remove(0)
}

/// The operands of the last instruction of a kernel with this body.
fn operands(body: &str) -> Vec<Operand> {
    kernel(body).code.pop().expect("an instruction").operands
}

fn register(function: &Function, name: &str) -> Operand {
    let index = function.registers.iter().position(|register| register.name == name).expect(name);
    Operand::Register(RegId(index as u32))
}

fn symbol(name: &str) -> Operand {
    Operand::Symbol(name.to_string(), 0)
}

fn address(base: Operand, offset: i64) -> Operand {
    Operand::Address { base: Box::new(base), offset }
}

#[test]
fn header_gives_version_and_target() {
    let module =
        parse(b"// c\n/* d\n */ .version 8.7\n.target sm_90a, debug\n.address_size 64\n\0\0").unwrap();
    assert_eq!(module.version, (8, 7));
    assert_eq!(module.target, (90, "a".to_string()));
    assert_eq!(module.lines[3], ".target sm_90a, debug");
}

#[test]
fn instruction_has_guard_modifiers_operands_and_line() {
    let function = kernel(
        ".reg .pred %p<2>;\n.reg .b32 %r<4>;\n.reg .b64 %rd<2>;\n@!%p1 ld.global.nc.L2::128B.v4.u32 {%r0, %r1, _, %r3}, [%rd1+16];",
    );
    let code = &function.code[0];
    let Operand::Register(guard) = register(&function, "%p1") else { unreachable!() };
    assert_eq!(code.guard, Some((guard, true)));
    assert_eq!(code.opcode, "ld");
    assert_eq!(code.modifiers, ["global", "nc", "L2::128B", "v4", "u32"]);
    let r = |name| register(&function, name);
    assert_eq!(
        code.operands,
        [Operand::Vector(vec![r("%r0"), r("%r1"), Operand::Sink, r("%r3")]), address(r("%rd1"), 16)]
    );
    assert_eq!(code.line, 7);
}

#[test]
fn register_lists_and_ranges_declare_each_register() {
    let function = kernel(".reg .b32 c, %r<3>, $b; .reg.pred p;");
    let names: Vec<_> =
        function.registers.iter().map(|register| (register.name.as_str(), register.ty)).collect();
    assert_eq!(
        names,
        [
            ("c", Type::B32),
            ("%r0", Type::B32),
            ("%r1", Type::B32),
            ("%r2", Type::B32),
            ("$b", Type::B32),
            ("p", Type::Pred)
        ]
    );
}

#[test]
fn parameters_have_offsets_sizes_and_pointer_attributes() {
    let text = ".entry k(.param .u64 .ptr .global .align 1 a, .param .align 16 .b8 b[24], .param .u64 .ptr c, .param .f32 d)\n.maxntid 128, 2, 1\n.minnctapersm 2\n{ ret; }";
    let function = module(text).functions.remove(0);
    let params: Vec<_> = function
        .params
        .iter()
        .map(|param| (param.name.as_str(), param.ty, param.align, param.size))
        .collect();
    assert_eq!(
        params,
        [("a", Type::U64, 8, 8), ("b", Type::B8, 16, 24), ("c", Type::U64, 8, 8), ("d", Type::F32, 4, 4)]
    );
    assert_eq!(
        function.directives,
        [("maxntid".to_string(), vec![128, 2, 1]), ("minnctapersm".to_string(), vec![2])]
    );
    assert!(function.entry && !function.external);
}

#[test]
fn numbers_in_all_spellings() {
    let numbers = [
        ("5", Operand::Integer(5)),
        ("-5", Operand::Integer(-5)),
        ("0x1fU", Operand::Integer(31)),
        ("017", Operand::Integer(15)),
        ("0", Operand::Integer(0)),
        ("0U", Operand::Integer(0)),
        ("0b101", Operand::Integer(5)),
        ("0xFFFFFFFFFFFFFFFF", Operand::Integer(-1)),
        ("-9223372036854775808", Operand::Integer(i64::MIN)),
        ("~7", Operand::Integer(-8)),
        ("0f3F800000", Operand::F32(0x3f80_0000)),
        ("-0f3F800000", Operand::F32(0xbf80_0000)),
        ("0dBFF0000000000000", Operand::F64(0xbff0_0000_0000_0000)),
        ("1.5", Operand::F64(1.5_f64.to_bits())),
        ("-2.5e-3", Operand::F64((-2.5e-3_f64).to_bits())),
        ("1e10", Operand::F64(1e10_f64.to_bits())),
        ("WARP_SZ", Operand::Integer(32)),
    ];
    for (text, expected) in numbers {
        assert_eq!(operands(&format!("op {text};")), [expected], "{text}");
    }
}

#[test]
fn addresses_in_all_forms() {
    let body = ".reg .b64 r; .shared .b8 s[4]; op ";
    let r = Operand::Register(RegId(0));
    let forms = [
        ("[r]", address(r.clone(), 0)),
        ("[r+4]", address(r.clone(), 4)),
        ("[r+-4]", address(r.clone(), -4)),
        ("[r+8-12]", address(r.clone(), -4)),
        ("[s+8]", address(symbol("s"), 8)),
        ("[a+8]", address(symbol("a"), 8)),
        ("[16]", address(Operand::Integer(16), 0)),
        (
            "[r, {r, 5}]",
            address(Operand::List(vec![r.clone(), Operand::Vector(vec![r.clone(), Operand::Integer(5)])]), 0),
        ),
    ];
    for (text, expected) in forms {
        assert_eq!(operands(&format!("{body}{text};")), [expected], "{text}");
    }
}

#[test]
fn pairs_sinks_negations_specials_and_symbols() {
    let body = ".reg .pred p, q; .reg .b32 r; op p|q, r|_, !p, %tid.x, %laneid, %envreg31, a+4;";
    let (p, q, r) = (RegId(0), RegId(1), RegId(2));
    let pair = |a, b| Operand::Pair(Box::new(a), Box::new(b));
    let special = |name: &str| Operand::Special(name.to_string());
    let expected = [
        pair(Operand::Register(p), Operand::Register(q)),
        pair(Operand::Register(r), Operand::Sink),
        Operand::Negated(p),
        special("tid.x"),
        special("laneid"),
        special("envreg31"),
        Operand::Symbol("a".to_string(), 4),
    ];
    assert_eq!(operands(body), expected);
}

#[test]
fn registers_and_labels_of_blocks_are_their_own() {
    let block = "{ .reg .b32 low; @p bra L; mov.b32 low, 5; L: }";
    let function = kernel(&format!(".reg .pred p; {block} {block} bra L; L: ret;"));
    let lows: Vec<_> = function.registers.iter().filter(|register| register.name == "low").collect();
    assert_eq!(lows.len(), 2);
    let targets: Vec<_> = function
        .code
        .iter()
        .filter(|code| code.opcode == "bra")
        .map(|code| code.operands[0].clone())
        .collect();
    assert_eq!(targets, [symbol("L"), symbol("L'2"), symbol("L'3")]);
    assert_eq!((function.labels["L"], function.labels["L'2"], function.labels["L'3"]), (2, 4, 5));
    assert_eq!(function.code[1].operands[0], Operand::Register(RegId(1)));
    assert_eq!(function.code[3].operands[0], Operand::Register(RegId(2)));
}

#[test]
fn a_branch_goes_to_the_label_of_the_nearest_block_even_if_it_stands_later() {
    let function = kernel("L: { bra L; bra M; { bra L; } L: } M: ret;");
    let targets: Vec<_> = function.code[..3].iter().map(|code| code.operands[0].clone()).collect();
    assert_eq!(targets, [symbol("L'2"), symbol("M"), symbol("L'2")]);
    assert_eq!((function.labels["L"], function.labels["L'2"], function.labels["M"]), (0, 3, 3));
}

#[test]
fn names_of_the_module_stay_apart_from_those_of_its_functions() {
    let text = ".global .u32 x; .global .u32 L;\n.entry k(.param .u32 x) { op x; bra L; L: }\n.entry l() { { .shared .u32 x; op x; } op x; op L; }";
    let module = module(text);
    let names =
        |function: &Function| function.code.iter().map(|code| code.operands[0].clone()).collect::<Vec<_>>();
    let [k, l] = &module.functions[..] else { panic!() };
    assert_eq!((k.params[0].name.as_str(), k.labels["L'2"], l.variables[0].name.as_str()), ("x'2", 2, "x'2"));
    assert_eq!(names(k), [symbol("x'2"), symbol("L'2")]);
    assert_eq!(names(l), [symbol("x'2"), symbol("x"), symbol("L")]);
}

#[test]
fn call_blocks_have_variables_of_their_own() {
    let text = ".extern .func (.param .b32 r) f (.param .b32 x);\n.entry k() { .reg .b32 %r<2>;
        { .param .b32 param0; st.param.b32 [param0+0], %r0; .param .b32 ret0; call.uni (ret0), f, (param0); ld.param.b32 %r1, [ret0+0]; }
        { .param .b64 param0; st.param.b64 [param0+0], 1; } }";
    let module = module(text);
    let [f, k] = &module.functions[..] else { panic!() };
    assert!(f.external && !f.entry);
    assert_eq!((f.returns.len(), f.params.len()), (1, 1));
    let names: Vec<_> =
        k.variables.iter().map(|variable| (variable.name.as_str(), variable.space, variable.size)).collect();
    assert_eq!(
        names,
        [("param0", Space::Param, 4), ("ret0", Space::Param, 4), ("param0'2", Space::Param, 8)]
    );
    let list = |name| Operand::List(vec![symbol(name)]);
    assert_eq!(k.code[1].operands, [list("ret0"), symbol("f"), list("param0")]);
    assert_eq!(k.code[3].operands[0], address(symbol("param0'2"), 0));
}

#[test]
fn indirect_calls_name_a_prototype_and_branches_a_list() {
    let function = kernel(
        ".reg .b32 i; .reg .b64 f; .param .b32 x; p_1 : .callprototype (.param .b32 _) _ (.param .b32 _, .param .align 8 .b8 _[12]);
        call (x), f, (x), p_1; ts: .branchtargets L, M; brx.idx i, ts; L: M: ret;",
    );
    let (returns, params) = &function.prototypes["p_1"];
    assert_eq!(returns.iter().map(|v| v.size).collect::<Vec<_>>(), [4]);
    assert_eq!(params.iter().map(|v| (v.size, v.align)).collect::<Vec<_>>(), [(4, 4), (12, 8)]);
    let list = || Operand::List(vec![symbol("x")]);
    assert_eq!(function.code[0].operands, [list(), Operand::Register(RegId(1)), list(), symbol("p_1")]);
    assert_eq!(function.targets["ts"], ["L", "M"]);
    assert_eq!(function.code[1].operands[1], symbol("ts"));
}

#[test]
fn initial_values_of_all_kinds() {
    let text = ".global .align 4 .u32 a = 7; .const .align 4 .b8 b[8] = {1, 255, -1}; .global .f32 c[2] = {0f3F800000, -1.5};
        .global .u64 d[3] = {generic(a)+4, 9, a}; .global .f64 e = 0d3FF0000000000000; .global .s16 f[2][2] = {{1}, {-2, 3}};
        .global .align 8 .v2 .f32 g = {1.0, 2.0}; .global .u8 h[] = {1, 2, 3}; .extern .shared .align 16 .b8 i[];
        .global .align 1 .u8 j[10] = {1, 0XFF(generic(a)+4), 0xFF00(generic(a)+4), 0xFF0000(generic(a)+4), 0xFF000000(generic(a)+4),
        0xFF00000000(generic(a)+4), 0xFF0000000000(generic(a)+4), 0xFF000000000000(generic(a)+4), 0xFF00000000000000(generic(a)+4), 5};";
    let variables = module(text).variables;
    let bytes = |bytes: &[u8]| Init::Bytes(bytes.to_vec());
    let at = |name: &str, offset, generic| Init::Symbol { name: name.to_string(), offset, generic };
    let floats = [1.0_f32.to_le_bytes(), (-1.5_f32).to_le_bytes()].concat();
    let expected = [
        ("a", 4, vec![(0, bytes(&[7, 0, 0, 0]))]),
        ("b", 8, vec![(0, bytes(&[1, 255, 255]))]),
        ("c", 8, vec![(0, bytes(&floats))]),
        ("d", 24, vec![(0, at("a", 4, true)), (8, bytes(&9_u64.to_le_bytes())), (16, at("a", 0, false))]),
        ("e", 8, vec![(0, bytes(&1.0_f64.to_le_bytes()))]),
        ("f", 8, vec![(0, bytes(&[1, 0])), (4, bytes(&[254, 255, 3, 0]))]),
        ("g", 8, vec![(0, bytes(&[1.0_f32.to_le_bytes(), 2.0_f32.to_le_bytes()].concat()))]),
        ("h", 3, vec![(0, bytes(&[1, 2, 3]))]),
        ("i", 0, vec![]),
        ("j", 10, vec![(0, bytes(&[1])), (1, at("a", 4, true)), (9, bytes(&[5]))]),
    ];
    for (variable, (name, size, init)) in variables.iter().zip(&expected) {
        assert_eq!((variable.name.as_str(), variable.size, &variable.init), (*name, *size, init));
    }
    assert_eq!(variables.len(), expected.len());
    assert!(variables[8].external && variables[8].space == Space::Shared && variables[8].align == 16);
}

#[test]
fn a_body_takes_the_place_of_its_declaration() {
    let module = module(
        ".func (.param .b32 r) f (.param .b32 x);\n.entry k() { ret; }\n.func (.param .b32 r) f (.param .b32 x) { ret; }",
    );
    let found: Vec<_> = module.functions.iter().map(|f| (f.name.as_str(), f.external, f.line)).collect();
    assert_eq!(found, [("f", false, 6), ("k", false, 5)]);
}

#[test]
fn loc_gives_places_and_the_calls_around_them() {
    let function = kernel(
        "op;\n.loc 1 20 3\nop;\n.loc 2 50 1, function_name $L__f, inlined_at 1 20 3\nop;
        .loc 3 9 1, function_name $L__g, inlined_at 2 50 1\nop;\n.loc 1 0 3\nop;\n.loc 1 21 5\nop;",
    );
    let place = |file, line, column| Some(Location { file, line, column });
    let found: Vec<_> = function.code.iter().map(|code| (code.location, code.inlined)).collect();
    let expected = [
        (None, None),
        (place(1, 20, 3), None),
        (place(2, 50, 1), Some(0)),
        (place(3, 9, 1), Some(1)),
        (None, None),
        (place(1, 21, 5), None),
    ];
    assert_eq!(found, expected);
    let calls: Vec<_> =
        function.inlined.iter().map(|call| (call.function.as_str(), Some(call.at), call.outer)).collect();
    assert_eq!(calls, [("$L__f", place(1, 20, 3), None), ("$L__g", place(2, 50, 1), Some(0))]);
}

#[test]
fn files_and_debug_strings_are_kept_and_other_sections_passed_over() {
    let module = module(
        ".file 1 \"a b.cu\"\n.file 2 \"c.h\", 17, 99\n.section .debug_str {\n$L__i0:\n.b8 102\n.b8 0\n$L__i1: .b8 103, 104, 0\n}
        .section .debug_info { .b32 5 .b64 $L+4 { } .b8 \"x\" }",
    );
    assert_eq!((module.files[&1].as_str(), module.files[&2].as_str()), ("a b.cu", "c.h"));
    assert_eq!((module.strings["$L__i0"].as_str(), module.strings["$L__i1"].as_str()), ("f", "gh"));
}
