//! A kernel of a few lines of PTX, run on a device: for the tests of asynchronous copies and of their barriers.

#![allow(dead_code, reason = "each test uses a part")]

use cuda_emulator::{
    device::Device,
    machine::{Argument, Fault, Machine, Observer, Order, Settings},
    memory::Kind,
};

/// What output memory holds before a kernel runs.
pub const UNTOUCHED: u32 = 0xEEEE_EEEE;

/// Orders that every correct kernel gives the same results in.
pub const ORDERS: [Order; 6] = [
    Order::InOrder,
    Order::Random(1),
    Order::Random(2),
    Order::Random(3),
    Order::Random(4),
    Order::Random(5),
];

/// A launch of one kernel.
pub struct Run {
    /// `.target` of the module, and the device.
    pub arch: u32,
    pub order: Order,
    pub strict: bool,
    pub blocks: u32,
    pub threads: u32,
    /// Instructions without progress after which the launch counts as stuck.
    pub patience: u64,
    pub observers: Vec<Box<dyn Observer>>,
}

impl Run {
    /// One block of so many threads, in order.
    pub fn of(arch: u32, threads: u32) -> Run {
        Run {
            arch,
            order: Order::InOrder,
            strict: true,
            blocks: 1,
            threads,
            patience: 1_000_000,
            observers: vec![],
        }
    }

    pub fn order(mut self, order: Order) -> Run {
        self.order = order;
        self
    }

    /// As hardware goes on where the checks would stop.
    pub fn lenient(mut self) -> Run {
        self.strict = false;
        self
    }

    /// Runs `body` with `input` in global memory; gives `len` words of output.
    ///
    /// The body finds the thread's number in `%t`, the block's in `%b`, pointers to input and output in `%in` and `%out`, both moved
    /// on by a word for each thread of the grid in `%inT` and `%outT`, shared memory of 8 KiB, all 0x01, in `tile` and eight
    /// places for barriers in `bars`, and free registers `%r0`.., `%d0`.., `%p0`.., `%f0`...
    pub fn run(self, body: &str, input: &[u32], len: usize) -> Result<Vec<u32>, Fault> {
        let mut machine = self.machine();
        let program = machine.load(module(self.arch, body).as_bytes()).expect("the module loads");
        machine.watch.observers = self.observers;
        let source = machine.memory.allocate(4 * input.len() as u64, Kind::Device).expect("there is room");
        let out = machine.memory.allocate(4 * len as u64, Kind::Device).expect("there is room");
        source.write(source.base, bytemuck::cast_slice(input));
        out.write(out.base, bytemuck::cast_slice(&vec![UNTOUCHED; len]));
        let arguments = [Argument::U64(out.base), Argument::U64(source.base)];
        machine.run(&program, "kernel", [self.blocks, 1, 1], [self.threads, 1, 1], 0, &arguments)?;
        let mut words = vec![0; len];
        out.read(out.base, bytemuck::cast_slice_mut(&mut words));
        Ok(words)
    }

    /// The fault of a kernel that must not succeed.
    pub fn fault(self, body: &str) -> Fault {
        self.run(body, &counting(1024), 64).expect_err("the kernel is wrong")
    }

    fn machine(&self) -> Machine {
        let device = Device::for_arch(self.arch).expect("the emulator knows the architecture");
        let (order, strict, patience) = (self.order, self.strict, self.patience);
        Machine::new(Settings { order, strict, patience, ..Settings::new(device) })
    }
}

/// Why a module with this body does not load.
pub fn refusal(arch: u32, body: &str) -> String {
    match Run::of(arch, 32).machine().load(module(arch, body).as_bytes()) {
        Ok(_) => panic!("it loads: {body}"),
        Err(error) => error.to_string(),
    }
}

/// Words that differ from each other and from whatever else memory holds.
pub fn counting(n: u32) -> Vec<u32> {
    (0..n).map(|i| 0x1000_0000 + i).collect()
}

fn module(arch: u32, body: &str) -> String {
    format!(
        "
.version 8.8
.target sm_{arch}
.address_size 64
.visible .entry kernel(.param .u64 a, .param .u64 b)
{{
    .reg .pred %p<16>;
    .reg .b32 %r<64>;
    .reg .f32 %f<16>;
    .reg .b64 %d<64>;
    .reg .b32 %t, %b, %n;
    .reg .b64 %in, %out, %inT, %outT, %w;
    .reg .pred %fill;
    .shared .align 128 .b8 tile[8192];
    .shared .align 8 .b8 bars[64];
    ld.param.u64 %out, [a];
    ld.param.u64 %in, [b];
    mov.u32 %t, %tid.x;
    mov.u32 %b, %ctaid.x;
    mov.u32 %n, %ntid.x;
    mad.lo.u32 %r0, %b, %n, %t;
    mul.wide.u32 %w, %r0, 4;
    add.s64 %inT, %in, %w;
    add.s64 %outT, %out, %w;
    mov.u32 %r0, tile;
    mul.lo.u32 %r1, %t, 4;
    add.u32 %r1, %r0, %r1;
    add.u32 %r0, %r0, 8192;
    mul.lo.u32 %n, %n, 4;
FILL:
    st.shared.u32 [%r1], 0x01010101;
    add.u32 %r1, %r1, %n;
    setp.ge.u32 %fill, %r1, %r0;
    @!%fill bra FILL;
    bar.sync 0;
    {body}
    ret;
}}
"
    )
}
