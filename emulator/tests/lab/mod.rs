//! Runs a few lines of PTX: for tests of single instructions.
//!
//! The lines stand in a kernel that has set `%r0` to `%tid.x`, `%r1` to the number of the thread in the grid, `%r2` to `x` of
//! that number, `%rd0` to the address of `y`, `%rd1` to that of `x`, and `%rd2` to that of `y` of that number.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use cuda_emulator::{
    device::Device,
    machine::{Argument, Fault, Launch, Machine, Order, Settings},
    memory::Kind,
    program::Program,
};

/// Registers that the lines may use, of each kind `%r0` to `%r63`.
const REGISTERS: &str = ".reg .pred %p<64>;\n.reg .b16 %h<64>;\n.reg .b32 %r<64>;\n.reg .f32 %f<64>;\n.reg .b64 %rd<64>;\n.reg .f64 %fd<64>;";

/// A kernel to run.
#[derive(Clone)]
pub struct Lab {
    /// The device and the `.target`.
    pub arch: u32,
    /// What stands before the kernel.
    pub module: String,
    /// The lines.
    pub lines: String,
    /// Blocks.
    pub grid: u32,
    /// Threads of a block.
    pub block: u32,
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: u32,
    /// The order in which warps run.
    pub order: Order,
    /// Instructions without progress that are too many.
    pub patience: u64,
    /// Whether the checks of the machine itself are on.
    pub strict: bool,
}

impl Lab {
    /// These lines, on one warp.
    pub fn new(lines: impl Into<String>) -> Lab {
        Lab {
            arch: 90,
            module: String::new(),
            lines: lines.into(),
            grid: 1,
            block: 32,
            dynamic_shared: 0,
            order: Order::InOrder,
            patience: 2_000_000,
            strict: false,
        }
    }

    /// On this many threads.
    pub fn block(self, block: u32) -> Lab {
        Lab { block, ..self }
    }

    /// On this many blocks.
    pub fn grid(self, grid: u32) -> Lab {
        Lab { grid, ..self }
    }

    /// In this order.
    pub fn order(self, order: Order) -> Lab {
        Lab { order, ..self }
    }

    /// On this device.
    pub fn arch(self, arch: u32) -> Lab {
        Lab { arch, ..self }
    }

    /// With these variables and functions before it.
    pub fn module(self, text: impl Into<String>) -> Lab {
        Lab { module: text.into(), ..self }
    }

    /// The text of the module.
    pub fn text(&self) -> String {
        format!(
            ".version 8.7\n.target sm_{}\n.address_size 64\n{}\n.visible .entry k(.param .u64 y, .param .u64 x)\n{{\n{REGISTERS}\n\
             mov.u32 %r0, %tid.x;\nmov.u32 %r61, %ctaid.x;\nmov.u32 %r62, %ntid.x;\nmad.lo.s32 %r1, %r61, %r62, %r0;\n\
             ld.param.u64 %rd0, [y];\nld.param.u64 %rd1, [x];\nmul.wide.u32 %rd63, %r1, 4;\nadd.s64 %rd2, %rd0, %rd63;\n\
             add.s64 %rd63, %rd1, %rd63;\nld.global.u32 %r2, [%rd63];\n{}\nret;\n}}\n",
            self.arch, self.module, self.lines
        )
    }

    /// The machine, and the module loaded.
    pub fn load(&self) -> Result<(Machine, Program), String> {
        let device = Device::for_arch(self.arch).expect("the emulator has the device");
        let mut machine = Machine::new(Settings {
            order: self.order,
            patience: self.patience,
            strict: self.strict,
            ..Settings::new(device)
        });
        let program = machine.load(self.text().as_bytes()).map_err(|e| e.to_string())?;
        Ok((machine, program))
    }

    /// Runs the kernel with `x` padded to one element a thread; gives the machine too.
    pub fn launch(&self, x: &[u32], y: &mut [u32]) -> (Machine, Result<(), Fault>) {
        let (mut machine, program) = self.load().unwrap_or_else(|e| panic!("the module loads: {e}"));
        let padded = x.len().max((self.grid * self.block) as usize);
        let inputs = machine.memory.allocate(4 * padded as u64, Kind::Device).expect("there is room");
        let outputs = machine.memory.allocate(4 * y.len() as u64, Kind::Device).expect("there is room");
        inputs.write(inputs.base, &bytes(x));
        outputs.write(outputs.base, &bytes(y));
        let arguments = [Argument::U64(outputs.base), Argument::U64(inputs.base)];
        let (grid, block) = ([self.grid, 1, 1], [self.block, 1, 1]);
        let result = machine.run(&program, "k", grid, block, self.dynamic_shared, &arguments);
        let mut raw = vec![0; 4 * y.len()];
        outputs.read(outputs.base, &mut raw);
        for (value, b) in y.iter_mut().zip(raw.chunks_exact(4)) {
            *value = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        }
        (machine, result)
    }

    /// Runs the kernel, which must succeed; gives `n` words of `y`, zero before.
    pub fn run(&self, x: &[u32], n: usize) -> Vec<u32> {
        let mut y = vec![0; n];
        let (_, result) = self.launch(x, &mut y);
        result.unwrap_or_else(|fault| panic!("the launch succeeds: {fault}\n{}", self.text()));
        y
    }

    /// Runs the kernel, which must fail.
    pub fn fault(&self, x: &[u32], n: usize) -> Fault {
        self.launch(x, &mut vec![0; n]).1.expect_err("the launch fails")
    }

    /// The error with which the module is refused.
    pub fn refused(&self) -> String {
        self.load().err().unwrap_or_else(|| panic!("the module is refused:\n{}", self.text()))
    }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Random words from a seed (xorshift).
pub fn random(seed: u64, n: usize) -> Vec<u32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u32
        })
        .collect()
}

/// A launch of nothing, to be filled in.
pub fn empty_launch() -> Launch {
    Launch {
        kernel: 0,
        grid: [1; 3],
        block: [1; 3],
        dynamic_shared: 0,
        params: Vec::new(),
        cooperative: false,
    }
}
