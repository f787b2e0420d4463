//! The devices that the emulator can claim to be.

use crate::{machine::Launch, program::Program};

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: &'static str,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of memory.
    pub memory: u64,
}

impl Device {
    /// The device for `--arch`.
    pub fn for_arch(arch: u32) -> Option<Device> {
        let (name, capability, multiprocessors, gib) = match arch {
            75 => ("Tesla T4", (7, 5), 40, 16),
            80 => ("NVIDIA A100-SXM4-40GB", (8, 0), 108, 40),
            90 => ("NVIDIA H100 80GB HBM3", (9, 0), 132, 80),
            120 => ("NVIDIA GeForce RTX 5090", (12, 0), 170, 32),
            _ => return None,
        };
        Some(Device { name, capability, multiprocessors, memory: gib << 30 })
    }

    /// 90 for 9.0.
    pub fn compute_capability(&self) -> u32 {
        self.capability.0 * 10 + self.capability.1
    }

    /// Blocks of a launch that fit on the device at once.
    pub fn resident_blocks(&self, _program: &Program, _launch: &Launch) -> u32 {
        self.multiprocessors
    }
}
