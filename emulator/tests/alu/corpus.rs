//! The arithmetic that the compiler emits for the test kernels lowers, every instruction of it.

use cuda_emulator::{
    isa::Isa,
    memory::GlobalMemory,
    program::{Options, Program},
    ptx,
};
use std::{collections::BTreeSet, path::Path};

/// Opcodes that are not arithmetic, whose families have tests of their own.
const OTHERS: [&str; 46] = [
    "activemask",
    "atom",
    "bar",
    "barrier",
    "bra",
    "brkpt",
    "brx",
    "call",
    "clusterlaunchcontrol",
    "cp",
    "createpolicy",
    "cvta",
    "discard",
    "elect",
    "exit",
    "fence",
    "getctarank",
    "griddepcontrol",
    "isspacep",
    "ld",
    "ldmatrix",
    "ldu",
    "mapa",
    "match",
    "mbarrier",
    "membar",
    "mma",
    "movmatrix",
    "multimem",
    "nanosleep",
    "pmevent",
    "prefetch",
    "prefetchu",
    "red",
    "redux",
    "ret",
    "setmaxnreg",
    "shfl",
    "st",
    "stmatrix",
    "suld",
    "tcgen05",
    "trap",
    "vote",
    "wgmma",
    "wmma",
];

fn modules(folder: &str) -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    paths.filter(|path| path.extension().is_some_and(|e| e == "ptx")).collect()
}

#[test]
fn every_arithmetic_instruction_of_the_compiled_kernels_lowers() {
    let paths = [modules("kernels/ptx"), modules("ptx")].concat();
    assert!(paths.len() > 50, "found {} modules", paths.len());
    let mut spellings = BTreeSet::new();
    for path in paths {
        let text = std::fs::read(&path).expect("the module can be read");
        let mut module = ptx::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for function in &mut module.functions {
            // A mov of an address or special register is not arithmetic either; special registers have tests of their own.
            function.code.retain(|i| !OTHERS.contains(&i.opcode.as_str()) && !special_move(i));
            spellings.extend(function.code.iter().map(|i| format!("{}.{}", i.opcode, i.modifiers.join("."))));
        }
        let mut memory = GlobalMemory::new(1 << 30);
        let options = Options { isa: Isa::Baseline, jitter: None, arch: 120 };
        if let Err(error) = Program::load(&module, &mut memory, options) {
            panic!("{}: {error}", path.display());
        }
    }
    assert!(spellings.len() > 200, "found {} spellings", spellings.len());
}

fn special_move(i: &ptx::ast::Instruction) -> bool {
    i.opcode == "mov"
        && matches!(i.operands.get(1), Some(ptx::ast::Operand::Special(_) | ptx::ast::Operand::Symbol(..)))
}
