//! A device with its memory, and what a launch asks of it.

use super::{Fault, FaultKind, Order, Watch, schedule};
use crate::{
    device::Device,
    isa::Isa,
    memory::GlobalMemory,
    program::{Options, Program},
    ptx,
};

/// How a machine runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The device that it claims to be.
    pub device: Device,
    /// Versions of handlers to pick.
    pub isa: Isa,
    /// In which order warps and blocks run.
    pub order: Order,
    /// Cores that run blocks; with more than one, runs do not repeat exactly.
    pub threads: usize,
    /// Errors of approximate instructions, from this seed.
    pub jitter: Option<u64>,
    /// Warp instructions without a block finishing or a barrier completing after which a launch counts as stuck.
    pub patience: u64,
    /// Whether the checks are on that only a checked run asks for, such as copies that nobody waits for.
    pub strict: bool,
    /// Other blocks see weak stores late, by chance from this seed, as the memory model allows.
    pub weak: Option<u64>,
}

impl Settings {
    /// The usual settings of a device.
    pub fn new(device: Device) -> Settings {
        Settings {
            device,
            isa: Isa::detect(),
            order: Order::InOrder,
            threads: 1,
            jitter: None,
            patience: 400_000_000,
            strict: false,
            weak: None,
        }
    }
}

/// A launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The kernel: an index into [`Program::functions`].
    pub kernel: usize,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: u32,
    /// The parameters, laid out as the kernel declares them.
    pub params: Vec<u8>,
    /// All blocks must be resident at once.
    pub cooperative: bool,
}

impl Launch {
    /// Bytes of shared memory of a block, static and dynamic.
    pub fn shared_bytes(&self, program: &Program) -> u32 {
        let kernel = &program.functions[self.kernel];
        match self.dynamic_shared {
            0 => kernel.shared,
            dynamic => kernel.dynamic_shared() + dynamic,
        }
    }
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument {
    /// A pointer or another 64-bit integer.
    U64(u64),
    /// A 32-bit integer.
    U32(u32),
    /// A float.
    F32(f32),
}

/// A device with its memory: the emulator without the driver API, for tests and for embedding.
pub struct Machine {
    /// How it runs.
    pub settings: Settings,
    /// Its memory.
    pub memory: GlobalMemory,
    /// Who watches.
    pub watch: Watch,
}

impl Machine {
    /// A device with empty memory.
    pub fn new(settings: Settings) -> Machine {
        let memory = GlobalMemory::new(settings.device.memory);
        Machine { settings, memory, watch: Watch::default() }
    }

    /// Parses and lowers a module.
    pub fn load(&mut self, text: &[u8]) -> Result<Program, ptx::Error> {
        self.lower(&ptx::parse(text)?)
    }

    /// Lowers a module that was parsed.
    pub fn lower(&mut self, module: &ptx::ast::Module) -> Result<Program, ptx::Error> {
        let options = self.lowering();
        Program::load(module, &mut self.memory, options)
    }

    /// What lowering needs to know of this machine.
    pub fn lowering(&self) -> Options {
        Options {
            isa: self.settings.isa,
            jitter: self.settings.jitter,
            arch: self.settings.device.compute_capability(),
        }
    }

    /// Runs a launch to its end.
    pub fn launch(&mut self, program: &Program, launch: &Launch) -> Result<(), Fault> {
        schedule::run(&self.settings, program, launch, &self.memory, &mut self.watch)
    }

    /// Runs the kernel `name` with these arguments to its end.
    pub fn run(
        &mut self,
        program: &Program,
        name: &str,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic_shared: u32,
        arguments: &[Argument],
    ) -> Result<(), Fault> {
        let invalid = |message: String| Fault::new(FaultKind::LaunchFailed, 0, message);
        let kernel = program.kernel(name).ok_or_else(|| invalid(format!("no kernel {name}")))?;
        let function = &program.functions[kernel];
        if function.params.len() != arguments.len() {
            return Err(invalid(format!(
                "kernel {name} takes {} arguments, got {}",
                function.params.len(),
                arguments.len()
            )));
        }
        let mut params = vec![0; function.param_bytes as usize];
        for (p, a) in function.params.iter().zip(arguments) {
            let (bytes, size) = match *a {
                Argument::U64(v) => (v.to_le_bytes(), 8),
                Argument::U32(v) => (u64::from(v).to_le_bytes(), 4),
                Argument::F32(v) => (u64::from(v.to_bits()).to_le_bytes(), 4),
            };
            if p.size as usize != size {
                return Err(invalid(format!(
                    "parameter {} of {name} has {} bytes, got {size}",
                    p.name, p.size
                )));
            }
            params[p.offset as usize..][..size].copy_from_slice(&bytes[..size]);
        }
        self.launch(program, &Launch { kernel, grid, block, dynamic_shared, params, cooperative: false })
    }
}
