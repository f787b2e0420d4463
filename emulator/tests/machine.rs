//! The machine under the driver: launches, their order, and what stops them.

use cuda_emulator::{
    check::{Checker, Options},
    device::Device,
    machine::{Argument, FaultKind, Machine, Order, Settings},
    memory::Kind,
};

const VECTOR_ADD: &[u8] = include_bytes!("ptx/vector_add.ptx");

fn machine(order: Order) -> Machine {
    let device = Device::for_arch(80).expect("the emulator knows compute capability 8.0");
    Machine::new(Settings { order, ..Settings::new(device) })
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[test]
fn vector_add_adds_with_a_tail() {
    for (order, threads) in
        [(Order::InOrder, 1), (Order::InOrder, 3), (Order::Random(1), 1), (Order::Random(2), 2)]
    {
        let mut m = machine(order);
        m.settings.threads = threads;
        let program = m.load(VECTOR_ADD).expect("the module loads");
        let n = 1000;
        let buffers: Vec<_> =
            (0..3).map(|_| m.memory.allocate(4 * n, Kind::Device).expect("there is room")).collect();
        let value = |i: u64, k: u64| (i * k) as f32 * 0.5;
        for i in 0..n {
            buffers[1].write(buffers[1].base + 4 * i, &value(i, 3).to_le_bytes());
            buffers[2].write(buffers[2].base + 4 * i, &value(i, 7).to_le_bytes());
        }
        let pointers = buffers.iter().map(|b| Argument::U64(b.base));
        let arguments: Vec<_> = pointers.chain([Argument::U32(n as u32)]).collect();
        m.run(&program, "vector_add", [8, 1, 1], [128, 1, 1], 0, &arguments).expect("the launch succeeds");
        let mut bytes = vec![0; 4 * n as usize];
        buffers[0].read(buffers[0].base, &mut bytes);
        for (i, &c) in floats(&bytes).iter().enumerate() {
            assert_eq!(c, value(i as u64, 3) + value(i as u64, 7), "element {i}");
        }
    }
}

#[test]
fn an_access_past_the_end_is_a_fault_that_names_thread_and_line() {
    let mut m = machine(Order::InOrder);
    let program = m.load(VECTOR_ADD).expect("the module loads");
    let buffer = m.memory.allocate(4 * 100, Kind::Device).expect("there is room");
    let p = Argument::U64(buffer.base);
    let fault = m
        .run(&program, "vector_add", [1, 1, 1], [128, 1, 1], 0, &[p, p, p, Argument::U32(101)])
        .expect_err("thread 100 is outside");
    assert_eq!((fault.kind, fault.place.thread), (FaultKind::IllegalAddress, [100, 0, 0]), "{fault}");
    assert!(fault.to_string().contains("0 bytes past the end of an allocation of 400 bytes"), "{fault}");
    assert!(fault.place.text.starts_with("ld.global.f32"), "{fault}");
}

#[test]
fn results_that_depend_on_the_schedule_are_a_finding_and_others_are_not() {
    // Every block stores its number, to one word or to its own.
    let text = |distance: u32| {
        format!(
            ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p) {{
             .reg .b32 %r<2>; .reg .b64 %rd<3>;
             ld.param.u64 %rd0, [p]; mov.u32 %r0, %ctaid.x; mul.wide.u32 %rd1, %r0, {distance};
             add.s64 %rd2, %rd0, %rd1; st.global.u32 [%rd2], %r0; ret; }}"
        )
    };
    for (distance, same) in [(0, false), (4, true)] {
        let mut m = machine(Order::InOrder);
        let program = m.load(text(distance).as_bytes()).expect("the module loads");
        let buffer = m.memory.allocate(4 * 16, Kind::Device).expect("there is room");
        let launch = cuda_emulator::machine::Launch {
            kernel: program.kernel("k").expect("the kernel exists"),
            grid: [16, 1, 1],
            block: [1, 1, 1],
            dynamic_shared: 0,
            params: buffer.base.to_le_bytes().to_vec(),
            cooperative: false,
        };
        let outcome = m.launch_repeatedly(&program, &launch, &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(outcome.is_ok(), same, "{outcome:?}");
        if let Err(fault) = outcome {
            assert_eq!(fault.kind, FaultKind::Finding);
            assert!(fault.to_string().contains("results depend on the schedule: 1 words"), "{fault}");
        }
    }
}

#[test]
fn every_schedule_begins_with_the_bytes_unwritten_that_were() {
    // Block 0 stores a word that block 1 reads and stores elsewhere.
    let text = ".version 7.8\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p) {
         .reg .pred %q; .reg .b32 %r<2>; .reg .b64 %rd;
         ld.param.u64 %rd, [p]; mov.u32 %r0, %ctaid.x; setp.eq.u32 %q, %r0, 1; @%q bra READ;
         st.global.u32 [%rd], 0; ret;
         READ: ld.global.u32 %r1, [%rd]; st.global.u32 [%rd+4], %r1; ret; }";
    let outcome = |seeds: &[u64]| {
        let mut m = machine(Order::InOrder);
        let program = m.load(text.as_bytes()).expect("the module loads");
        Checker::new(Options { races: false, ..Options::default() }).watch(&mut m);
        let buffer = m.memory.allocate(8, Kind::Device).expect("there is room");
        let launch = cuda_emulator::machine::Launch {
            kernel: program.kernel("k").expect("the kernel exists"),
            grid: [2, 1, 1],
            block: [1, 1, 1],
            dynamic_shared: 0,
            params: buffer.base.to_le_bytes().to_vec(),
            cooperative: false,
        };
        m.launch_repeatedly(&program, &launch, seeds)
    };
    let good = (0..50).find(|&seed| outcome(&[seed]).is_ok()).expect("block 0 comes first with some seed");
    let bad = (0..50).find(|&seed| outcome(&[seed]).is_err()).expect("and block 1 with another");
    let fault = outcome(&[good, bad]).expect_err("the second schedule reads what nobody wrote");
    assert!(fault.to_string().contains("never defined"), "{fault}");
}
