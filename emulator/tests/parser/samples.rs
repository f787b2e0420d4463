//! What nvcc writes for `tests/ptx/forms.cu`, in both of its dialects, held against a reading of the text by lines.

use cuda_emulator::ptx::ast::{Function, Init, Module, Operand};
use cuda_emulator::ptx::parse;
use std::collections::HashSet;

const SAMPLES: [(&str, &str); 4] = [
    ("75", include_str!("../ptx/forms.75.ptx")),
    ("90", include_str!("../ptx/forms.90.ptx")),
    ("100", include_str!("../ptx/forms.100.ptx")),
    ("plain", include_str!("../ptx/forms.plain.ptx")),
];

fn sample(name: &str) -> Module {
    let (_, text) = SAMPLES.iter().find(|(sample, _)| *sample == name).unwrap();
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn function<'m>(module: &'m Module, name: &str) -> &'m Function {
    module.functions.iter().find(|function| function.name == name).unwrap()
}

/// The bodies of functions, without comments, in order.
fn bodies(text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().map(|line| line.split("//").next().unwrap()).collect();
    let text = lines.join("\n");
    text.split("\n{\n").skip(1).map(|rest| rest.split("\n}").next().unwrap().to_string()).collect()
}

/// What stands between each `directive` of a body and the semicolon after it.
fn directives<'t>(body: &'t str, directive: &str) -> Vec<&'t str> {
    let starts =
        body.match_indices(directive).filter(|(at, _)| body[..*at].ends_with([' ', '\t', '\n', '{', ';']));
    starts.map(|(at, _)| body[at + directive.len()..].split(';').next().unwrap()).collect()
}

/// Registers of a declaration like ` .b32 %r<5>` or ` .f16 low,high`.
fn registers(declaration: &str) -> usize {
    match declaration.split_once('<') {
        Some((_, count)) => count.trim_end_matches('>').parse().unwrap(),
        None => declaration.split(',').count(),
    }
}

#[test]
fn every_instruction_register_and_label_is_found() {
    for (name, text) in SAMPLES {
        let module = sample(name);
        let bodies = bodies(text);
        let functions: Vec<_> = module.functions.iter().filter(|function| !function.external).collect();
        assert_eq!(functions.len(), bodies.len(), "{name}");
        for body in &bodies {
            let not_code = [".reg", ".shared", ".local", ".param", ".callprototype", ".pragma"];
            let declarations: usize =
                not_code.iter().map(|directive| directives(body, directive).len()).sum();
            let instructions = body.matches(';').count() - declarations;
            let declared: usize = directives(body, ".reg").into_iter().map(registers).sum();
            let labels =
                body.lines().filter(|line| line.trim_end().ends_with(':') && !line.contains(' ')).count();
            let found = |function: &&&Function| {
                (function.code.len(), function.registers.len(), function.labels.len())
                    == (instructions, declared, labels)
            };
            assert!(
                functions.iter().any(|function| found(&function)),
                "{name}: {instructions} {declared} {labels} in {body}"
            );
        }
    }
}

/// All symbols in an operand.
fn symbols<'o>(operand: &'o Operand, found: &mut Vec<&'o str>) {
    match operand {
        Operand::Symbol(name, _) => found.push(name),
        Operand::Address { base, .. } => symbols(base, found),
        Operand::Vector(parts) | Operand::List(parts) => parts.iter().for_each(|part| symbols(part, found)),
        _ => {}
    }
}

#[test]
fn every_symbol_names_something() {
    for (name, _) in SAMPLES {
        let module = sample(name);
        let global: HashSet<_> = module
            .functions
            .iter()
            .map(|f| &f.name)
            .chain(module.variables.iter().map(|v| &v.name))
            .collect();
        for function in &module.functions {
            let variables =
                function.returns.iter().chain(&function.params).chain(&function.variables).map(|v| &v.name);
            let own: Vec<_> =
                variables.chain(function.labels.keys()).chain(function.prototypes.keys()).collect();
            let unique: HashSet<_> = own.iter().copied().collect();
            assert_eq!(own.len(), unique.len(), "{name}: a name of {} is not unique", function.name);
            let mut used = Vec::new();
            function
                .code
                .iter()
                .for_each(|code| code.operands.iter().for_each(|operand| symbols(operand, &mut used)));
            for symbol in used {
                assert!(
                    unique.contains(&symbol.to_string()) || global.contains(&symbol.to_string()),
                    "{name}: {symbol}"
                );
            }
        }
    }
}

#[test]
fn initial_values_are_those_of_the_source() {
    for (name, _) in SAMPLES {
        let module = sample(name);
        let init = |variable: &str| {
            module.variables.iter().find(|v| v.name == variable).map(|v| v.init.clone()).unwrap()
        };
        let bytes = |init: &[(usize, Init)]| match init {
            [(0, Init::Bytes(bytes))] => bytes.clone(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(bytes(&init("coefficients")), [1.5_f32, -2.0, 0.25, 1e-3].map(f32::to_le_bytes).concat());
        assert_eq!(bytes(&init("grid")), [1.0_f64, 2.0, 3.0, -4.0, 5.5, 6.0].map(f64::to_le_bytes).concat());
        assert_eq!(bytes(&init("offsets")), [-1_i16, 2, -3].map(i16::to_le_bytes).concat());
        let address = |name: &str, offset, generic| Init::Symbol { name: name.to_string(), offset, generic };
        assert_eq!(
            init("table"),
            [(0, address("_Z5twicef", 0, false)), (8, address("_Z6squaref", 0, false))]
        );
        let record = [
            (0, address("$str", 0, true)),
            (8, Init::Bytes(3_u64.to_le_bytes().to_vec())),
            (16, address("counter", 4, true)),
        ];
        assert_eq!(init("record"), record);
        assert_eq!(init("packed"), [(0, Init::Bytes(vec![1])), (1, address("counter", 0, true))]);
    }
}

#[test]
fn kernels_have_their_bounds_and_sizes() {
    for (name, _) in SAMPLES {
        let module = sample(name);
        let everything = function(&module, "everything");
        // One dialect writes `128`, the other `128, 1, 1`.
        let directives: Vec<_> =
            everything.directives.iter().map(|(name, values)| (name.as_str(), values[0])).collect();
        assert_eq!(directives, [("maxntid", 128), ("minnctapersm", 2)]);
        assert_eq!(everything.params.iter().map(|param| param.size).collect::<Vec<_>>(), [8, 8, 24, 4]);
        assert!(everything.entry);
        let bump = function(&module, "_Z4bump5Blocki");
        assert_eq!((bump.params[0].size, bump.variables[0].size), (24, 24));
        assert_eq!(everything.prototypes.len(), 1);
        assert!(function(&module, "vprintf").external);
    }
}

#[test]
fn places_lead_through_inlined_functions_to_the_source() {
    for name in ["75", "90", "100"] {
        let module = sample(name);
        let everything = function(&module, "everything");
        // `halve` inside of `quarter`: both calls are known, the outer one in the kernel.
        let multiply = everything.code.iter().find(|code| {
            let name = code.inlined.and_then(|call| module.strings.get(&everything.inlined[call].function));
            name.is_some_and(|name| name.contains("halve"))
        });
        let multiply = multiply.unwrap_or_else(|| panic!("{name}: no instruction of halve"));
        let inner = &everything.inlined[multiply.inlined.unwrap()];
        let outer = &everything.inlined[inner.outer.unwrap()];
        assert!(
            module.strings[&outer.function].contains("quarter"),
            "{name}: {:?}",
            module.strings[&outer.function]
        );
        let line = |call: u32| include_str!("../ptx/forms.cu").lines().nth(call as usize - 1).unwrap();
        assert!(line(multiply.location.unwrap().line).contains("float halve("));
        assert!(line(inner.at.line).contains("float quarter("));
        assert!(line(outer.at.line).contains("quarter(pair.y)"));
        assert_eq!((outer.outer, module.files[&outer.at.file].as_str()), (None, "forms.cu"));
    }
    assert!(
        sample("plain")
            .functions
            .iter()
            .all(|function| function.code.iter().all(|code| code.location.is_none()))
    );
}
