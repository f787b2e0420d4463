//! A module from anywhere: PTX text or a fat binary, loaded, and each of its kernels launched with the same bytes as parameters.
//!
//! Whatever the bytes are, the emulator gives errors and faults, and never panics.

use cuda_emulator::{
    device::Device,
    fatbin,
    machine::{Launch, Machine, Order, Settings},
    memory::Kind,
};

/// Instructions without progress after which a launch counts as stuck.
const PATIENCE: u64 = 20_000;

pub fn run(data: &[u8]) {
    let device = Device::for_arch(90).expect("the emulator knows compute capability 9.0");
    let text = match data.first_chunk::<4>() {
        Some(magic) if u32::from_le_bytes(*magic) == fatbin::MAGIC => {
            fatbin::ptx(data, 90).unwrap_or_default()
        }
        _ => data.to_vec(),
    };
    let mut machine =
        Machine::new(Settings { order: Order::Random(1), patience: PATIENCE, ..Settings::new(device) });
    let Ok(program) = machine.load(&text) else { return };
    let Some(buffer) = machine.memory.allocate(4096, Kind::Device) else { return };
    for (kernel, function) in program.functions.iter().enumerate().filter(|(_, f)| f.entry) {
        // Every second word points to memory, the others are taken from the module's own bytes.
        let mut params: Vec<u8> = data.iter().copied().cycle().take(function.param_bytes as usize).collect();
        for word in params.chunks_exact_mut(8).step_by(2) {
            word.copy_from_slice(&buffer.base.to_le_bytes());
        }
        let launch = Launch {
            kernel,
            grid: [2, 1, 1],
            block: [48, 1, 1],
            dynamic_shared: 256,
            params,
            // Every other length, so that modules find the workspace of such launches or none.
            cooperative: data.len() % 2 == 1,
        };
        // A fault is as good as a result: that there is no panic is what counts.
        let _ = machine.launch(&program, &launch);
    }
}
