//! The devices that the emulator can claim to be, and how many blocks fit on them at once.
//!
//! Figures are those of NVIDIA's data sheets and of the tables of technical specifications by compute capability in the CUDA
//! C++ programming guide. Called by `driver` and `machine`. Tests: here and `tests/driver_device.rs`.

use crate::{
    machine::Launch,
    program::{Function, Program},
};

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: &'static str,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of memory: the nominal size.
    pub memory: u64,
    /// What a multiprocessor has.
    pub sm: Multiprocessor,
    /// Bytes of L2 cache.
    pub l2: u32,
    /// Clock of the multiprocessors in kHz.
    pub clock: u32,
    /// Clock of the memory in kHz; it moves two words a cycle.
    pub memory_clock: u32,
    /// Width of the memory bus in bits.
    pub bus_width: u32,
    /// The memory has error correction, switched on.
    pub ecc: bool,
}

/// What a multiprocessor has, by compute capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multiprocessor {
    /// Threads at once.
    pub threads: u32,
    /// Blocks at once.
    pub blocks: u32,
    /// Bytes of shared memory.
    pub shared: u32,
    /// Bytes of shared memory that a block can ask for (`..._OPTIN`).
    pub shared_optin: u32,
    /// Bytes of shared memory of each block that the system keeps.
    pub shared_reserved: u32,
    /// Shared memory comes in multiples of this.
    pub shared_unit: u32,
}

/// Bytes of shared memory that a block gets without asking for more.
pub const SHARED_DEFAULT: u32 = 48 << 10;
/// Threads of a block at most.
pub const BLOCK_THREADS: u32 = 1024;
/// 32-bit registers of a multiprocessor, and of a block at most.
pub const REGISTERS: u32 = 64 << 10;
/// Registers of a thread at most.
pub const THREAD_REGISTERS: u32 = 255;
/// With as many registers a thread, no device runs fewer threads for want of registers; the assembler takes them without need.
const FREE_REGISTERS: u32 = 32;
/// A warp's registers come in multiples of this.
const REGISTER_UNIT: u32 = 256;
/// Quarters of a multiprocessor, each with its own registers.
const QUARTERS: u32 = 4;
/// Blocks of a grid at most, per dimension.
pub const GRID: [u32; 3] = [i32::MAX as u32, 65535, 65535];
/// Threads of a block at most, per dimension.
pub const BLOCK: [u32; 3] = [1024, 1024, 64];

const KIB: u32 = 1 << 10;
const MIB: u32 = 1 << 20;
const GIB: u64 = 1 << 30;

impl Multiprocessor {
    const fn new(threads: u32, blocks: u32, shared_kib: u32) -> Multiprocessor {
        Multiprocessor {
            threads,
            blocks,
            shared: shared_kib * KIB,
            shared_optin: (shared_kib - 1) * KIB,
            shared_reserved: KIB,
            shared_unit: 128,
        }
    }
}

const DEVICES: [Device; 7] = [
    Device {
        name: "Tesla T4",
        capability: (7, 5),
        multiprocessors: 40,
        memory: 16 * GIB,
        sm: Multiprocessor {
            threads: 1024,
            blocks: 16,
            shared: 64 * KIB,
            shared_optin: 64 * KIB,
            shared_reserved: 0,
            shared_unit: 256,
        },
        l2: 4 * MIB,
        clock: 1_590_000,
        memory_clock: 5_001_000,
        bus_width: 256,
        ecc: true,
    },
    Device {
        name: "NVIDIA A100-SXM4-80GB",
        capability: (8, 0),
        multiprocessors: 108,
        memory: 80 * GIB,
        sm: Multiprocessor::new(2048, 32, 164),
        l2: 40 * MIB,
        clock: 1_410_000,
        memory_clock: 1_593_000,
        bus_width: 5120,
        ecc: true,
    },
    Device {
        name: "NVIDIA GeForce RTX 3090",
        capability: (8, 6),
        multiprocessors: 82,
        memory: 24 * GIB,
        sm: Multiprocessor::new(1536, 16, 100),
        l2: 6 * MIB,
        clock: 1_695_000,
        memory_clock: 9_751_000,
        bus_width: 384,
        ecc: false,
    },
    Device {
        name: "NVIDIA GeForce RTX 4090",
        capability: (8, 9),
        multiprocessors: 128,
        memory: 24 * GIB,
        sm: Multiprocessor::new(1536, 24, 100),
        l2: 72 * MIB,
        clock: 2_520_000,
        memory_clock: 10_501_000,
        bus_width: 384,
        ecc: false,
    },
    Device {
        name: "NVIDIA H100 80GB HBM3",
        capability: (9, 0),
        multiprocessors: 132,
        memory: 80 * GIB,
        sm: Multiprocessor::new(2048, 32, 228),
        l2: 50 * MIB,
        clock: 1_980_000,
        memory_clock: 2_619_000,
        bus_width: 5120,
        ecc: true,
    },
    Device {
        name: "NVIDIA B200",
        capability: (10, 0),
        multiprocessors: 148,
        memory: 180 * GIB,
        sm: Multiprocessor::new(2048, 32, 228),
        l2: 126 * MIB,
        clock: 1_965_000,
        memory_clock: 3_996_000,
        bus_width: 8192,
        ecc: true,
    },
    Device {
        name: "NVIDIA GeForce RTX 5090",
        capability: (12, 0),
        multiprocessors: 170,
        memory: 32 * GIB,
        sm: Multiprocessor::new(1536, 24, 100),
        l2: 96 * MIB,
        clock: 2_407_000,
        memory_clock: 14_001_000,
        bus_width: 512,
        ecc: false,
    },
];

impl Device {
    /// The device for `--arch`: 75, 80, 86, 89, 90, 100 or 120.
    pub fn for_arch(arch: u32) -> Option<Device> {
        DEVICES.iter().find(|d| d.compute_capability() == arch).cloned()
    }

    /// All devices.
    pub fn all() -> &'static [Device] {
        &DEVICES
    }

    /// 90 for 9.0.
    pub fn compute_capability(&self) -> u32 {
        self.capability.0 * 10 + self.capability.1
    }

    /// How many times faster it is in single precision than in double.
    pub fn double_ratio(&self) -> u32 {
        match self.compute_capability() {
            80 | 90 | 100 => 2,
            75 => 32,
            _ => 64,
        }
    }

    /// Blocks of a launch that fit on the device at once.
    pub fn resident_blocks(&self, program: &Program, launch: &Launch) -> u32 {
        let function = &program.functions[launch.kernel];
        let threads = launch.block.iter().product();
        self.blocks_per_multiprocessor(function, threads, launch.shared_bytes(program)) * self.multiprocessors
    }

    /// Blocks of `threads` threads and `shared` bytes of shared memory (static and dynamic) that fit on a multiprocessor at once.
    pub fn blocks_per_multiprocessor(&self, function: &Function, threads: u32, shared: u32) -> u32 {
        if threads == 0 || threads > BLOCK_THREADS || shared > self.sm.shared_optin {
            return 0;
        }
        let warps = threads.div_ceil(32);
        let by_threads = self.sm.threads / (32 * warps);
        let unit = (registers(function) * 32).next_multiple_of(REGISTER_UNIT);
        // Each quarter holds whole warps, of whatever blocks.
        let by_registers = QUARTERS * (REGISTERS / QUARTERS / unit) / warps;
        let by_registers = by_registers.max((threads <= threads_by_registers(function)).into());
        let by_shared = match (shared + self.sm.shared_reserved).next_multiple_of(self.sm.shared_unit) {
            0 => u32::MAX,
            bytes => self.sm.shared / bytes,
        };
        self.sm.blocks.min(by_threads).min(by_registers).min(by_shared)
    }
}

/// Threads of a block at most, so that its registers fit. The benefit of the doubt is the program's: a block is refused that would
/// not fit with half the estimated registers either.
pub fn threads_by_registers(function: &Function) -> u32 {
    let unit = (registers(function).div_ceil(2) * 32).next_multiple_of(REGISTER_UNIT);
    32 * QUARTERS * (REGISTERS / QUARTERS / unit)
}

/// Registers a thread: an estimate, because only the hardware's assembler knows. It takes the values live at once in the
/// order of the text, without constants, and four for addresses and the like, but no fewer than [`FREE_REGISTERS`]; `.maxnreg` and launch
/// bounds cap it. On 107 kernels for sm_90, llm.c's and calm's among them, it is 0.94 to 2.3 times what `ptxas` of CUDA 13.0
/// takes where either is above that: mostly too high, so that fewer blocks count as resident than fit. Test: `tests/registers.rs`.
pub fn registers(function: &Function) -> u32 {
    let bound = |threads: u32, blocks: u32| {
        let warps = (threads.max(1).div_ceil(32) * blocks.max(1)).next_multiple_of(QUARTERS);
        (REGISTERS / warps / 32) & !7
    };
    let threads = function.max_threads.map_or(1, |t| t.iter().product());
    let cap = bound(threads, function.min_blocks.unwrap_or(1))
        .min(function.max_registers.unwrap_or(THREAD_REGISTERS))
        .min(THREAD_REGISTERS);
    (function.pressure + 4).next_multiple_of(2).max(FREE_REGISTERS).min(cap.max(16))
}
