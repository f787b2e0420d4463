//! Whole kernels under the checks: clean as compiled, and caught without any one of their barriers, waits, fences, releases or acquires.

use cuda_emulator::{
    check::{Checker, Options},
    device::Device,
    machine::{Argument, Fault, Machine, Order, Settings},
    memory::Kind,
};
use std::{path::Path, time::Instant};

fn ptx(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/kernels/ptx/{name}.sm_80.ptx"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A launch: buffers of so many bytes, of which the last ones hold numbers; then 32-bit arguments.
struct Case {
    file: &'static str,
    kernel: &'static str,
    grid: [u32; 3],
    block: u32,
    shared: u32,
    /// Bytes of each buffer, and whether the host writes it.
    buffers: &'static [(u64, bool)],
    /// Which buffer each pointer is, or a number.
    arguments: &'static [Result<usize, u32>],
}

const CASES: [Case; 4] = [
    Case {
        file: "gemv_f16",
        kernel: "gemv_f16_r4",
        grid: [3, 1, 1],
        block: 128,
        shared: 4 * 768,
        buffers: &[(4 * 40, true), (2 * 40 * 768, true), (4 * 768, true), (4 * 40, true)],
        arguments: &[Ok(0), Ok(1), Ok(2), Ok(3), Ok(0), Err(40), Err(768), Err(768)],
    },
    Case {
        file: "layernorm",
        kernel: "layernorm_block_f32",
        grid: [2, 1, 1],
        block: 96,
        shared: 0,
        buffers: &[(4 * 400, false), (4 * 400, true), (4 * 200, true), (4 * 200, true)],
        arguments: &[Ok(0), Ok(1), Ok(2), Ok(3), Err(200), Err(0x3727_c5ac)],
    },
    Case {
        file: "persistent_mlp",
        kernel: "persistent_mlp_f32",
        grid: [3, 1, 1],
        block: 128,
        shared: 0,
        buffers: &[
            (4 * 48, true),
            (4 * 100, false),
            (4 * 2 * 4800, true),
            (4 * 200, true),
            (4 * 2 * 4800, true),
            (4 * 96, true),
            (4, true),
        ],
        arguments: &[Ok(0), Ok(1), Ok(2), Ok(3), Ok(4), Ok(5), Ok(6), Err(2), Err(48), Err(100)],
    },
    Case {
        file: "gemm_f16",
        kernel: "gemm_bias_gelu_f16",
        grid: [1, 1, 1],
        block: 128,
        shared: 0,
        buffers: &[(2 * 64 * 64, false), (2 * 64 * 256, true), (2 * 256 * 64, true), (4 * 64, true)],
        arguments: &[Ok(0), Ok(1), Ok(2), Ok(3), Err(64), Err(64), Err(256), Err(256), Err(64)],
    },
];

fn run(case: &Case, text: &str, order: Order, checked: bool) -> Result<f64, Fault> {
    let device = Device::for_arch(80).expect("the emulator knows compute capability 8.0");
    let settings = Settings { order, patience: 2_000_000, strict: checked, ..Settings::new(device) };
    let mut m = Machine::new(settings);
    if checked {
        Checker::new(Options::default()).watch(&mut m);
    }
    let program = m.load(text.as_bytes()).unwrap_or_else(|e| panic!("{}: {e}", case.file));
    let bases: Vec<u64> = case
        .buffers
        .iter()
        .map(|&(bytes, written)| {
            let buffer = m.memory.allocate(bytes, Kind::Device).expect("there is room");
            if written {
                buffer.write(buffer.base, &vec![0; bytes as usize]);
            }
            buffer.base
        })
        .collect();
    let function = &program.functions[program.kernel(case.kernel).expect("the kernel is there")];
    let sizes: Vec<u32> = function.params.iter().map(|p| p.size).collect();
    assert_eq!(sizes.len(), case.arguments.len(), "arguments of {}", case.kernel);
    let argument = |a: &Result<usize, u32>| match *a {
        Ok(buffer) => Argument::U64(bases[buffer]),
        Err(number) => Argument::U32(number),
    };
    let arguments: Vec<Argument> = case.arguments.iter().map(argument).collect();
    let start = Instant::now();
    m.run(&program, case.kernel, case.grid, [case.block, 1, 1], case.shared, &arguments)?;
    Ok(start.elapsed().as_secs_f64())
}

/// The lines of a kernel's body.
fn body(text: &str, kernel: &str) -> std::ops::Range<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let start =
        lines.iter().position(|l| l.contains(&format!(".entry {kernel}("))).expect("the kernel is there");
    let end = lines[start..].iter().position(|l| l.starts_with('}')).expect("the kernel ends");
    start..start + end
}

/// What takes the place of a line, if it synchronises.
fn without(line: &str) -> Option<String> {
    let line = line.trim();
    if ["bar.sync", "barrier.sync", "bar.warp.sync", "membar", "fence", "cp.async.wait"]
        .iter()
        .any(|op| line.starts_with(op))
    {
        return Some(String::new());
    }
    let weaker = line
        .replace(".release.", ".relaxed.")
        .replace(".acquire.", ".relaxed.")
        .replace(".acq_rel.", ".relaxed.");
    (weaker != line).then_some(weaker)
}

#[test]
fn kernels_are_clean_as_compiled() {
    for case in &CASES {
        for order in [Order::InOrder, Order::Random(1), Order::Random(2)] {
            run(case, &ptx(case.file), order, true)
                .unwrap_or_else(|f| panic!("{}, {order:?}: {f}", case.kernel));
        }
    }
}

/// Kernels and lines that nobody misses: the barrier that protects the memory of a sum from the next sum, after the last sum; and the wait
/// for groups of copies of which only empty ones are left.
const UNNEEDED: [(&str, usize); 2] = [("layernorm_block_f32", 322), ("gemm_bias_gelu_f16", 691)];

#[test]
fn every_barrier_wait_release_and_acquire_is_missed() {
    let (mut mutants, mut survivors) = (0, Vec::new());
    for case in &CASES {
        let text = ptx(case.file);
        let lines: Vec<&str> = text.lines().collect();
        for at in body(&text, case.kernel) {
            let Some(instead) = without(lines[at]) else { continue };
            let mut mutant = lines.clone();
            mutant[at] = &instead;
            let mutant = mutant.join("\n");
            let caught = |order| match run(case, &mutant, order, true) {
                Ok(_) => false,
                Err(fault) => {
                    println!("{} without line {}: {fault}", case.kernel, at + 1);
                    true
                }
            };
            let found = [Order::InOrder, Order::Random(1), Order::Random(2)].map(caught);
            if found != [true; 3] {
                survivors.push((case.kernel, at + 1));
            }
            mutants += 1;
        }
    }
    assert_eq!(survivors, UNNEEDED, "lines that nobody misses");
    assert!(mutants >= 12, "{mutants} mutants");
}

#[test]
#[ignore = "measures"]
fn checks_cost_less_than_five_times_the_run() {
    let case = Case {
        grid: [1000, 1, 1],
        buffers: &[(4 * 16000, true), (2 * 16000 * 768, true), (4 * 768, true), (4 * 16000, true)],
        arguments: &[Ok(0), Ok(1), Ok(2), Ok(3), Ok(0), Err(16000), Err(768), Err(768)],
        ..CASES[0]
    };
    let best = |checked: bool| {
        (0..3)
            .map(|_| run(&case, &ptx(case.file), Order::InOrder, checked).expect("it is clean"))
            .fold(f64::MAX, f64::min)
    };
    let (plain, checked) = (best(false), best(true));
    println!("gemv_f16_r4, 16000 x 768: {plain:.3} s, checked {checked:.3} s, {:.2} times", checked / plain);
    assert!(checked < 5.0 * plain, "{checked} s checked, {plain} s without");
}
