//! The machine under the driver: launches, their order, and what stops them.

use cuda_emulator::{
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
