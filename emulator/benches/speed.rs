//! Warp instructions a second of the fp16 GEMV of `tests/kernels`, on one core: plain, with counters, and with all checks.
//!
//! That the checks find nothing is verified first; results are compared in `tests/whole_kernels`. `cargo bench -p cuda-emulator --bench speed` prints instructions a second ("elem/s").

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use cuda_emulator::{
    check::Checker,
    counters::Counters,
    device::Device,
    machine::{Launch, Machine, Settings},
    memory::Kind,
    numeric::half,
    program::Program,
};

const GEMV: &[u8] = include_bytes!("../tests/kernels/ptx/gemv_f16.sm_80.ptx");
const ROWS: u32 = 768;
const COLUMNS: u32 = 3072;

/// A machine with a matrix, and the launch of a kernel that does `ROWS_A_WARP` rows a warp.
fn setup(kernel: &str, rows_a_warp: u32, checks: bool) -> (Machine, Program, Launch) {
    let device = Device::for_arch(80).expect("the emulator knows compute capability 8.0");
    let mut m = Machine::new(Settings::new(device));
    if checks {
        Checker::new(Default::default()).watch(&mut m);
    }
    let program = m.load(GEMV).expect("the module loads");
    let mut buffer = |bytes: Vec<u8>| {
        let a = m.memory.allocate(bytes.len() as u64, Kind::Device).expect("there is room");
        a.write(a.base, &bytes);
        a.base
    };
    let weight = |i: u32| half::from_f32(((i * 37 % 101) as f32 - 50.0) / 512.0).to_le_bytes();
    let floats =
        |n: u32| (0..n).flat_map(|i| ((i * 13 % 29) as f32 / 29.0 - 0.5).to_le_bytes()).collect::<Vec<u8>>();
    let y = buffer(vec![0; 4 * ROWS as usize]);
    let w = buffer((0..ROWS * COLUMNS).flat_map(weight).collect());
    let (x, bias, residual) = (buffer(floats(COLUMNS)), buffer(floats(ROWS)), buffer(floats(ROWS)));
    let kernel = program.kernel(kernel).expect("the kernel exists");
    let mut params = vec![0; program.functions[kernel].param_bytes as usize];
    for (p, value) in program.functions[kernel].params.iter().zip([y, w, x, bias, residual]) {
        params[p.offset as usize..][..8].copy_from_slice(&value.to_le_bytes());
    }
    for (p, value) in program.functions[kernel].params[5..].iter().zip([ROWS, COLUMNS, COLUMNS]) {
        params[p.offset as usize..][..4].copy_from_slice(&value.to_le_bytes());
    }
    let grid = [ROWS.div_ceil(4 * rows_a_warp), 1, 1];
    let launch =
        Launch { kernel, grid, block: [128, 1, 1], dynamic_shared: 4 * COLUMNS, params, cooperative: false };
    (m, program, launch)
}

fn speed(c: &mut Criterion) {
    for (kernel, rows_a_warp) in [("gemv_f16_r1", 1), ("gemv_f16_r4", 4)] {
        let (mut m, program, launch) = setup(kernel, rows_a_warp, false);
        // The same memory layout: what it loads and allocates is the same.
        let (mut checked, _, _) = setup(kernel, rows_a_warp, true);
        m.watch.counters = Some(Box::new(Counters::default()));
        m.launch(&program, &launch).expect("the launch succeeds");
        checked.launch(&program, &launch).expect("the checks find nothing");
        let counters = m.watch.counters.take().expect("it counts");
        let instructions = counters.finish(&program, &launch).warp_instructions;
        let mut group = c.benchmark_group(kernel);
        group.throughput(Throughput::Elements(instructions));
        group.bench_function("bounds", |b| b.iter(|| m.launch(&program, &launch)));
        m.watch.counters = Some(Box::new(Counters::default()));
        group.bench_function("bounds and counters", |b| b.iter(|| m.launch(&program, &launch)));
        m.watch.counters = None;
        group.sample_size(10);
        group.bench_function("all checks", |b| b.iter(|| checked.launch(&program, &launch)));
    }
}

criterion_group!(benches, speed);
criterion_main!(benches);
