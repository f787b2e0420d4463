//! The counters against counts made by hand.

use cuda_emulator::{
    counters::{Class, Counters, Record, Totals, table},
    device::Device,
    machine::{Argument, Launch, Machine, Settings},
    memory::Kind,
    program::Program,
};

const VECTOR_ADD: &[u8] = include_bytes!("ptx/vector_add.ptx");

/// Runs a kernel of one-dimensional shape and gives its counts.
fn record(
    text: &[u8],
    kernel: &str,
    threads: usize,
    (grid, block): (u32, u32),
    arguments: impl Fn(&mut Machine) -> Vec<Argument>,
) -> Record {
    let device = Device::for_arch(80).expect("the emulator knows compute capability 8.0");
    let mut m = Machine::new(Settings { threads, ..Settings::new(device) });
    m.watch.counters = Some(Box::new(Counters::default()));
    let program: Program = m.load(text).expect("the module loads");
    let arguments = arguments(&mut m);
    m.run(&program, kernel, [grid, 1, 1], [block, 1, 1], 0, &arguments).expect("the launch succeeds");
    let kernel = program.kernel(kernel).expect("the kernel exists");
    let (grid, block) = ([grid, 1, 1], [block, 1, 1]);
    let launch = Launch { kernel, grid, block, dynamic_shared: 0, params: Vec::new(), cooperative: false };
    m.watch.counters.expect("it counts").finish(&program, &launch)
}

fn buffer(m: &mut Machine, bytes: u64) -> Argument {
    Argument::U64(m.memory.allocate(bytes, Kind::Device).expect("there is room").base)
}

#[test]
fn vector_add_is_counted_to_the_instruction_and_the_sector_by_any_number_of_threads() {
    for threads in [1, 3] {
        // 1000 elements: 31 full warps and one of 8 lanes; 10 instructions up to the branch, 11 in the body, one return.
        let r = record(VECTOR_ADD, "vector_add", threads, (8, 128), |m| {
            let mut all: Vec<_> = (0..3).map(|_| buffer(m, 4000)).collect();
            all.push(Argument::U32(1000));
            all
        });
        assert_eq!(r.warp_instructions, 32 * 22);
        // The branch runs in the 24 lanes that take it.
        assert_eq!(r.thread_instructions, 1024 * (9 + 1) + 24 + 1000 * 11);
        assert_eq!(
            (r.by_class[&Class::GlobalLoad], r.by_class[&Class::GlobalStore], r.by_class[&Class::Float32]),
            (64, 32, 32)
        );
        assert_eq!(
            (r.read.requests, r.read.sectors, r.read.bytes, r.read.distinct_bytes),
            (64, 2 * (31 * 4 + 1), 8000, 8000)
        );
        assert_eq!(
            (r.written.requests, r.written.sectors, r.written.bytes, r.written.distinct_bytes),
            (32, 125, 4000, 4000)
        );
        let text = table(&[r.clone(), r.clone()]);
        assert!(
            text.lines()
                .any(|l| l.starts_with("vector_add") && l.contains("8x1x1 x 128") && l.contains(" 2 ")),
            "{text}"
        );
        assert_eq!(Totals::of(&[r.clone(), r]).read.bytes, 16000);
    }
}

#[test]
fn a_request_counts_each_sector_once_wherever_its_lanes_are() {
    // Lane l reads 4 bytes at `stride * l`: all in one sector, one each, two lanes a sector, and one sector each.
    let text = |stride: u32| {
        format!(
            ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p) {{
             .reg .b32 %r<4>; .reg .b64 %rd<4>;
             ld.param.u64 %rd0, [p]; mov.u32 %r0, %tid.x;
             mul.wide.u32 %rd1, %r0, {stride}; add.s64 %rd2, %rd0, %rd1;
             ld.global.u32 %r1, [%rd2]; ret; }}"
        )
    };
    for (stride, sectors, distinct) in [(0, 1, 4), (4, 4, 128), (16, 16, 128), (32, 32, 128), (4096, 32, 128)]
    {
        let r = record(text(stride).as_bytes(), "k", 1, (1, 32), |m| vec![buffer(m, 1 << 18)]);
        let found = (r.read.requests, r.read.sectors, r.read.bytes, r.read.distinct_bytes);
        assert_eq!(found, (1, sectors, 128, distinct), "stride {stride}");
    }
}

#[test]
fn shared_wavefronts_follow_the_busiest_bank_of_each_phase() {
    let text = |stride: u32, ty: &str, regs: &str| {
        format!(
            ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k() {{
             .shared .align 16 .b8 s[16384];
             .reg .b32 %r<8>; .reg .b64 %rd<8>;
             mov.u32 %r0, %tid.x; mov.u32 %r2, s; mad.lo.s32 %r1, %r0, {stride}, %r2;
             ld.shared.{ty} {regs}, [%r1]; ret; }}"
        )
    };
    let quad = "{%r3, %r4, %r5, %r6}";
    let table = [
        // (stride, type, registers, wavefronts, ideal): 32 banks of four bytes.
        (4, "u32", "%r3", 1, 1),
        (0, "u32", "%r3", 1, 1),
        (8, "u32", "%r3", 2, 1),
        (128, "u32", "%r3", 32, 1),
        (132, "u32", "%r3", 1, 1),
        (2, "u16", "%r3", 1, 1),
        (8, "v2.u32", "{%r3, %r4}", 2, 2),
        (16, "v4.u32", quad, 4, 4),
        (0, "v4.u32", quad, 4, 4),
        (128, "v4.u32", quad, 32, 4),
        (144, "v4.u32", quad, 4, 4),
    ];
    for (stride, ty, regs, waves, ideal) in table {
        let r = record(text(stride, ty, regs).as_bytes(), "k", 1, (1, 32), |_| Vec::new());
        assert_eq!((r.shared.wavefronts, r.shared.ideal_wavefronts), (waves, ideal), "stride {stride} {ty}");
    }
}
