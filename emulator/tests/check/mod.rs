//! Small kernels under the checks, in several orders of their warps and blocks.
#![allow(dead_code, reason = "each test file uses a part")]

use cuda_emulator::{
    check::{Checker, Options},
    device::Device,
    machine::{Argument, Fault, Machine, Order, Settings},
    memory::Kind,
};

/// Words of each of the two buffers, `%rd1` and `%rd2`.
pub const WORDS: u64 = 4096;

/// A kernel `k(a, b, n)` around `body`: `%rd1` is a, `%rd2` is b, `%r1` is n, `%r2` the thread, `%r3` the block, `%r4` four times the
/// thread, `%rd3` the address of the thread's word in a, `%rd4` of that in b, `%r5` the address of its word in the shared array s.
pub fn module(body: &str) -> String {
    format!(
        ".version 8.4
.target sm_80
.address_size 64
.visible .entry k(.param .u64 a, .param .u64 b, .param .u32 n)
{{
.reg .pred %p<8>;
.reg .b16 %h<8>;
.reg .b32 %r<32>;
.reg .f32 %f<8>;
.reg .b64 %rd<16>;
.shared .align 16 .b8 s[4096];
.local .align 16 .b8 l[64];
ld.param.u64 %rd1, [a];
ld.param.u64 %rd2, [b];
ld.param.u32 %r1, [n];
mov.u32 %r2, %tid.x;
mov.u32 %r3, %ctaid.x;
mul.lo.s32 %r4, %r2, 4;
mul.wide.u32 %rd3, %r2, 4;
add.s64 %rd4, %rd2, %rd3;
add.s64 %rd3, %rd1, %rd3;
mov.u32 %r5, s;
add.s32 %r5, %r5, %r4;
{body}
ret;
}}
"
    )
}

/// The orders that every kernel runs in.
pub fn orders() -> Vec<Order> {
    std::iter::once(Order::InOrder).chain((1..=6).map(Order::Random)).collect()
}

/// Runs a module's kernel `k` on `grid` blocks of `block` threads; both buffers hold zeros.
pub fn run_module(text: &str, grid: u32, block: u32, order: Order, options: Options) -> Result<(), Fault> {
    let device = Device::for_arch(80).expect("the emulator knows compute capability 8.0");
    let mut m = Machine::new(Settings { order, patience: 200_000, ..Settings::new(device) });
    let program = m.load(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"));
    Checker::new(options).watch(&mut m);
    let buffers: Vec<_> = (0..2)
        .map(|_| {
            let buffer = m.memory.allocate(4 * WORDS, Kind::Device).expect("there is room");
            buffer.write(buffer.base, &vec![0; 4 * WORDS as usize]);
            buffer.base
        })
        .collect();
    let arguments = [Argument::U64(buffers[0]), Argument::U64(buffers[1]), Argument::U32(grid)];
    m.run(&program, "k", [grid, 1, 1], [block, 1, 1], 0, &arguments)
}

/// Runs a body in all orders, and demands that none finds anything.
#[track_caller]
pub fn clean(grid: u32, block: u32, body: &str) {
    for order in orders() {
        if let Err(fault) = run_module(&module(body), grid, block, order, Options::default()) {
            panic!("{order:?}: {fault}\n{body}");
        }
    }
}

/// Runs a body in all orders, and demands that each finds something that says `what`. Gives the last finding.
#[track_caller]
pub fn caught(grid: u32, block: u32, body: &str, what: &str) -> Fault {
    caught_with(Options::default(), grid, block, body, what)
}

/// Runs a body with these checks in all orders, and demands that each finds something that says `what`. Gives the last finding.
#[track_caller]
pub fn caught_with(options: Options, grid: u32, block: u32, body: &str, what: &str) -> Fault {
    let mut last = None;
    for order in orders() {
        match run_module(&module(body), grid, block, order, options) {
            Ok(()) => panic!("{order:?}: nothing found, expected {what:?}\n{body}"),
            Err(fault) if !fault.to_string().contains(what) => {
                panic!("{order:?}: found {fault}\nexpected {what:?}")
            }
            Err(fault) => last = Some(fault),
        }
    }
    last.expect("there are orders")
}
