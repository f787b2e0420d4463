//! The estimate of a kernel's registers, from which residency follows, against those that the hardware's assembler takes.

use cuda_emulator::{
    device::{Device, registers, threads_by_registers},
    machine::{Machine, Settings},
};

/// File, kernel, and the registers that `ptxas -v -arch=sm_80` of CUDA 13.0 reports.
const PTXAS: [(&[u8], &str, u32); 10] = [
    (include_bytes!("kernels/ptx/vector_add.sm_80.ptx"), "vector_add_f32x4", 20),
    (include_bytes!("kernels/ptx/layernorm.sm_80.ptx"), "layernorm_block_f32", 21),
    (include_bytes!("kernels/ptx/gemv_f16.sm_80.ptx"), "gemv_f16_r4", 48),
    (include_bytes!("kernels/ptx/gemm_f16.sm_80.ptx"), "gemm_bias_gelu_f16", 79),
    (include_bytes!("kernels/ptx/attention_prefill.sm_80.ptx"), "attention_prefill_f16", 128),
    (include_bytes!("kernels/ptx/sampling.sm_80.ptx"), "topp_sample_f32", 19),
    (include_bytes!("kernels/ptx/sampling.sm_80.ptx"), "topk_f32", 30),
    (include_bytes!("kernels/ptx/scan.sm_80.ptx"), "inclusive_scan_u32", 31),
    (include_bytes!("kernels/ptx/sort.sm_80.ptx"), "bitonic_sort_f32", 32),
    (include_bytes!("kernels/ptx/elementwise_half.sm_80.ptx"), "fma_f16x2", 24),
];

#[test]
fn the_estimate_is_seldom_below_the_assembler_and_never_far_above() {
    for (text, kernel, ptxas) in PTXAS {
        let device = Device::for_arch(80).expect("the emulator knows compute capability 8.0");
        let mut machine = Machine::new(Settings::new(device));
        let program = machine.load(text).unwrap_or_else(|e| panic!("{kernel}: {e}"));
        let function = &program.functions[program.kernel(kernel).expect("the kernel is there")];
        let estimate = registers(function);
        // Below by 10 % at most, or blocks would count as resident that are not; above where the assembler orders instructions
        // better than the text does. Up to 32 registers limit nothing.
        assert!(
            10 * estimate >= 9 * ptxas && 5 * estimate <= 8 * ptxas.max(32),
            "{kernel}: {estimate}, ptxas {ptxas}"
        );
    }
}

/// A kernel that loads `n` numbers before it uses any.
fn holds(n: usize) -> String {
    let loads: String = (0..n).map(|i| format!("ld.global.u32 %r{i}, [%rd0+{}];\n", 4 * i)).collect();
    let sums: String = (1..n).map(|i| format!("add.u32 %r0, %r0, %r{i};\n")).collect();
    format!(
        ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p) {{\n\
         .reg .b32 %r<{n}>; .reg .b64 %rd<1>;\nld.param.u64 %rd0, [p];\n{loads}{sums}st.global.u32 [%rd0], %r0;\nret;\n}}\n"
    )
}

#[test]
fn a_block_is_refused_only_if_half_the_estimated_registers_do_not_fit() {
    for (n, threads, blocks) in [(20, 1024, 2), (100, 1024, 1), (140, 768, 0)] {
        let device = Device::for_arch(80).expect("the emulator knows compute capability 8.0");
        let mut machine = Machine::new(Settings::new(device.clone()));
        let program = machine.load(holds(n).as_bytes()).unwrap_or_else(|e| panic!("{n}: {e}"));
        let function = &program.functions[0];
        assert_eq!(threads_by_registers(function).min(1024), threads, "{n} values: {}", registers(function));
        assert_eq!(device.blocks_per_multiprocessor(function, 1024, 0), blocks, "{n} values");
    }
}
