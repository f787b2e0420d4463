//! Pipelines as nvcc compiles them, in every order and under all checks.

use cuda_emulator::{
    check::{Checker, Options},
    device::Device,
    machine::{Argument, FaultKind, Machine, Order, Settings},
    memory::Kind,
};

const SM_80: &str = include_str!("transfers/pipelines.sm_80.ptx");
const SM_90: &str = include_str!("transfers/pipelines.sm_90.ptx");
const ORDERS: [Order; 5] =
    [Order::InOrder, Order::Random(1), Order::Random(2), Order::Random(3), Order::Random(4)];

fn machine(arch: u32, order: Order) -> Machine {
    let device = Device::for_arch(arch).expect("the emulator knows the architecture");
    let mut machine = Machine::new(Settings { order, patience: 3_000_000, ..Settings::new(device) });
    Checker::new(Options::default()).watch(&mut machine);
    machine
}

/// A buffer of these bytes in device memory: its address.
fn buffer(machine: &mut Machine, bytes: &[u8]) -> u64 {
    let buffer = machine.memory.allocate(bytes.len() as u64, Kind::Device).expect("there is room");
    buffer.write(buffer.base, bytes);
    buffer.base
}

fn contents(machine: &Machine, base: u64, bytes: usize) -> Vec<u32> {
    let mut words = vec![0; bytes / 4];
    let allocation = machine.memory.range(base, bytes as u64).expect("it was allocated");
    allocation.read(base, bytemuck::cast_slice_mut(&mut words));
    words
}

/// The sums that the kernel of this text gives for rows of four times `quads` columns, and those that it should.
fn column_sums(
    text: &str,
    (arch, order): (u32, Order),
    rows: usize,
    columns: usize,
) -> Result<(Vec<u32>, Vec<u32>), cuda_emulator::machine::Fault> {
    let mut m = machine(arch, order);
    let program = m.load(text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    let x: Vec<f32> = (0..rows * columns).map(|i| ((i * 7919) % 1009) as f32 / 64.0 - 3.0).collect();
    let expected =
        (0..columns).map(|c| (0..rows).fold(0.0, |sum: f32, t| sum + x[t * columns + c]).to_bits());
    let dx = buffer(&mut m, bytemuck::cast_slice(&x));
    let dy = buffer(&mut m, &vec![0xEE; 4 * columns]);
    let arguments =
        [Argument::U64(dy), Argument::U64(dx), Argument::U32(rows as u32), Argument::U32(columns as u32)];
    m.run(&program, "column_sums_f32", [1, 1, 1], [128, 1, 1], 0, &arguments)?;
    Ok((contents(&m, dy, 4 * columns), expected.collect()))
}

#[test]
fn four_stages_of_cp_async_add_up_every_column() {
    for (arch, text) in [(80, SM_80), (90, SM_90)] {
        for order in ORDERS {
            for (rows, columns) in [(1, 4), (2, 512), (3, 508), (9, 128), (17, 512)] {
                let (sums, expected) = column_sums(text, (arch, order), rows, columns)
                    .unwrap_or_else(|fault| panic!("{arch} {order:?} {rows} {columns}: {fault}"));
                assert_eq!(sums, expected, "{arch} {order:?} {rows} {columns}");
            }
        }
    }
}

#[test]
fn a_pipeline_that_waits_for_one_stage_too_few_or_not_at_a_barrier_is_found() {
    let changed = |from: &str, to: &str| {
        assert!(SM_80.contains(from), "the kernel has {from}");
        SM_80.replace(from, to)
    };
    for text in [changed("cp.async.wait_group 2;", "cp.async.wait_group 3;"), changed("bar.sync \t0;", "")] {
        for order in ORDERS {
            let fault = column_sums(&text, (80, order), 9, 512).expect_err("the kernel is wrong");
            assert_eq!(fault.kind, FaultKind::Finding, "{fault}");
        }
    }
}

fn tile_sums(text: &str, order: Order, blocks: u32) -> Result<(), cuda_emulator::machine::Fault> {
    let mut m = machine(90, order);
    let program = m.load(text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    let tiles = 23;
    let x: Vec<u32> = (0..tiles * 256).map(|i: u32| i.wrapping_mul(2_654_435_761)).collect();
    let dx = buffer(&mut m, bytemuck::cast_slice(&x));
    let out = buffer(&mut m, &vec![0; 4 * tiles as usize]);
    let arguments = [Argument::U64(out), Argument::U64(dx), Argument::U32(tiles)];
    m.run(&program, "tile_sums_u32", [blocks, 1, 1], [128, 1, 1], 0, &arguments)?;
    let expected: Vec<u32> =
        x.chunks(256).map(|tile| tile.iter().fold(0, |sum, &v| v.wrapping_add(sum))).collect();
    assert_eq!(contents(&m, out, 4 * tiles as usize), expected, "{order:?}");
    Ok(())
}

#[test]
fn a_warp_that_brings_tiles_and_three_that_add_them_up_agree_in_every_order() {
    for order in ORDERS {
        for blocks in [1, 3] {
            tile_sums(SM_90, order, blocks).unwrap_or_else(|fault| panic!("{order:?}: {fault}"));
        }
    }
}

#[test]
fn a_consumer_that_does_not_wait_for_its_tile_is_found() {
    // The second of the two waits is the consumers'.
    let (before, wait) = SM_90.rsplit_once("mbarrier.try_wait").expect("the kernel waits");
    let (_, after) = wait.split_once(';').expect("the instruction ends");
    let text = format!("{before}setp.ge.u32 p, 1, 0;{after}");
    for order in ORDERS {
        let fault = tile_sums(&text, order, 1).expect_err("nobody waits");
        assert_eq!(fault.kind, FaultKind::Finding, "{fault}");
    }
}
