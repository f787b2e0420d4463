//! Every barrier, fence and wait of the kernels is there for a reason: without it, the checks find a race, whatever the results.
//!
//! Each line of the tables takes one statement out of a compiled kernel, or weakens it, and launches the kernel on zeros. Not
//! in the tables are the few that another one makes superfluous for the shapes at hand.

use crate::harness::{Argument, Gpu, Shape, args, over, ptx, shape};
use cuda_emulator::machine::{Fault, Order};

/// A launch of a kernel on buffers of zeros.
type Run = fn(&mut Gpu) -> Result<(), Fault>;

/// The text with the `nth` (from 0) occurrence of `find` replaced; an empty replacement takes the whole statement out.
fn mutate(text: &str, find: &str, nth: usize, replacement: &str) -> String {
    let (at, _) = text.match_indices(find).nth(nth).unwrap_or_else(|| panic!("no {find} number {nth}"));
    let end = match replacement {
        "" => at + text[at..].find(';').expect("a statement ends") + 1,
        _ => at + find.len(),
    };
    format!("{}{replacement}{}", &text[..at], &text[end..])
}

fn orders() -> impl Iterator<Item = Order> {
    std::iter::once(Order::InOrder).chain((1..6).map(Order::Random))
}

fn first_fault(name: &str, arch: u32, text: &str, run: Run) -> Option<Fault> {
    orders().find_map(|order| {
        let mut gpu = Gpu::new(arch, order, name, text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        run(&mut gpu).err()
    })
}

/// Fails unless the kernel as it is runs clean, and each mutation (statement, which of them, what it becomes) is found.
fn each_is_found(name: &str, arch: u32, run: Run, mutations: &[(&str, usize, &str)]) {
    let text = String::from_utf8(ptx(name, arch)).expect("PTX is ASCII");
    if let Some(fault) = first_fault(name, arch, &text, run) {
        panic!("{name}.sm_{arch} as it is: {fault}");
    }
    let missed: Vec<_> = mutations
        .iter()
        .filter(|(find, nth, replacement)| {
            first_fault(name, arch, &mutate(&text, find, *nth, replacement), run).is_none()
        })
        .collect();
    assert!(missed.is_empty(), "{name}.sm_{arch}: not found: {missed:?}");
}

/// Device memory that holds zeros.
fn zeros(gpu: &mut Gpu, bytes: usize) -> Argument {
    Argument::from(gpu.upload(&vec![0u8; bytes]))
}

/// Runs a kernel with `buffers` of these sizes in bytes, all zeros, and then `rest` as its arguments.
fn launch(
    gpu: &mut Gpu,
    kernel: &str,
    shape: Shape,
    buffers: &[usize],
    rest: &[Argument],
) -> Result<(), Fault> {
    let pointers: Vec<Argument> = buffers.iter().map(|&bytes| zeros(gpu, bytes)).collect();
    let all: Vec<Argument> =
        pointers.iter().chain(rest).map(|Argument(bytes)| Argument(bytes.clone())).collect();
    gpu.try_launch(kernel, shape, &all)
}

fn gemm(gpu: &mut Gpu) -> Result<(), Fault> {
    let buffers = [2 * 64 * 64, 2 * 64 * 160, 2 * 160 * 64, 4 * 64];
    launch(gpu, "gemm_bias_gelu_f16", shape(1, 128), &buffers, args![64u32, 64u32, 160u32, 160u32, 64u32])
}

#[test]
fn in_the_pipelined_product() {
    let barriers = [("bar.sync", 0, ""), ("bar.sync", 1, ""), ("bar.sync", 2, "")];
    each_is_found("gemm_f16", 75, gemm, &barriers);
    for arch in [80, 90, 120] {
        each_is_found("gemm_f16", arch, gemm, &barriers);
        each_is_found("gemm_f16", arch, gemm, &[("cp.async.wait_group 1", 0, "cp.async.wait_group 2")]);
    }
}

fn prefill(gpu: &mut Gpu) -> Result<(), Fault> {
    let shape = shape(1, 128).grid(3, 1);
    launch(gpu, "attention_prefill_f16", shape, &[2 * 64 * 150; 4], args![150u32, 0.125f32])
}

#[test]
fn in_the_attention_of_a_prompt() {
    each_is_found("attention_prefill", 75, prefill, &[("bar.sync", 0, ""), ("bar.sync", 1, "")]);
    let waits =
        [("bar.sync", 0, ""), ("bar.sync", 1, ""), ("cp.async.wait_group 1", 0, "cp.async.wait_group 2")];
    each_is_found("attention_prefill", 80, prefill, &waits);
    each_is_found("attention_prefill", 120, prefill, &waits);
}

fn decode(gpu: &mut Gpu) -> Result<(), Fault> {
    let shape = shape(1, 128).grid(3, 2);
    let (partial, stats, row) = (4 * 2 * 3 * 64, 8 * 2 * 3, 2 * 2 * 64);
    let rest = args![130u32, 0.125f32];
    let cache = row * 130;
    launch(gpu, "attention_decode_split_f16", shape, &[partial, stats, row, cache, cache], rest)?;
    launch(gpu, "attention_decode_fused_f16", shape, &[row, partial, stats, 8, row, cache, cache], rest)
}

#[test]
fn in_the_attention_of_a_token_whose_last_block_combines() {
    let all = [
        ("bar.sync", 0, ""),
        ("bar.sync", 1, ""),
        ("bar.sync", 2, ""),
        ("bar.sync", 3, ""),
        ("membar.gl", 0, ""),
        ("membar.gl", 1, ""),
    ];
    each_is_found("attention_decode", 75, decode, &all);
    each_is_found("attention_decode", 120, decode, &all);
}

fn persistent(gpu: &mut Gpu) -> Result<(), Fault> {
    let (c, f, layers) = (33, 65, 2);
    let weights = 4 * layers * c * f;
    let buffers = [4 * c, 4 * f, weights, 4 * layers * f, weights, 4 * layers * c, 4];
    launch(gpu, "persistent_mlp_f32", shape(3, 128).cooperative(), &buffers, args![2u32, 33u32, 65u32])
}

#[test]
fn in_the_barrier_of_a_grid() {
    let mut all = Vec::new();
    for nth in 0..2 {
        all.extend([
            ("bar.sync", 2 * nth, ""),
            ("bar.sync", 2 * nth + 1, ""),
            ("red.release.", nth, "red.relaxed."),
            ("ld.acquire.", nth, "ld.relaxed."),
        ]);
    }
    each_is_found("persistent_mlp", 80, persistent, &all);
    each_is_found("persistent_mlp", 120, persistent, &all);
}

fn softmax(gpu: &mut Gpu) -> Result<(), Fault> {
    let shape = shape(3, 128).cooperative();
    launch(gpu, "softmax_grid_f32", shape, &[4 * 900, 4 * 900, 4 * 3, 4 * 3], args![900u32])
}

#[test]
fn in_the_barriers_of_cooperative_groups() {
    let mut all = Vec::new();
    for nth in 0..2 {
        all.extend([
            ("bar.sync", 2 * nth, ""),
            ("barrier.sync", 2 * nth, ""),
            ("barrier.sync", 2 * nth + 1, ""),
            ("atom.add.release.", nth, "atom.add.relaxed."),
            ("ld.acquire.", nth, "ld.relaxed."),
        ]);
    }
    each_is_found("grid_sync", 80, softmax, &all);
    each_is_found("grid_sync", 120, softmax, &all);
}

fn messages(gpu: &mut Gpu) -> Result<(), Fault> {
    launch(gpu, "pass_on", shape(3, 64).cooperative(), &[4 * 64, 4], &[])?;
    launch(gpu, "lock", shape(3, 64).cooperative(), &[4, 4], &[])
}

#[test]
fn in_messages_and_locks() {
    let all = [
        ("ld.acquire.", 1, "ld.relaxed."),
        ("bar.sync", 0, ""),
        ("bar.sync", 1, ""),
        ("st.release.", 0, "st.relaxed."),
        ("st.release.", 1, "st.relaxed."),
    ];
    each_is_found("zoo_order", 80, messages, &all);
}

fn lists(gpu: &mut Gpu) -> Result<(), Fault> {
    launch(gpu, "argmax_f32", shape(2, 256), &[8, 4 * 600], args![600u32])?;
    launch(gpu, "topk_f32", shape(1, 256), &[4 * 40, 4 * 40, 4 * 600], args![600u32, 40u32])?;
    let rest = args![40u32, 0.9f32, 1f32, 5u64, 0u32];
    launch(gpu, "topp_sample_f32", shape(1, 32), &[4, 4, 4 * 40, 4 * 40], rest)
}

#[test]
fn in_sampling() {
    let barriers: Vec<_> =
        (0..15).map(|nth| ("bar.sync", nth, "")).chain([("bar.warp.sync", 0, "")]).collect();
    each_is_found("sampling", 80, lists, &barriers);
}

fn sort(gpu: &mut Gpu) -> Result<(), Fault> {
    launch(gpu, "bitonic_sort_f32", shape(1, 256), &[4 * 300; 2], args![300u32])
}

fn scan(gpu: &mut Gpu) -> Result<(), Fault> {
    launch(gpu, "inclusive_scan_u32", shape(4, 128), &[8000, 8000, 4, 8 * 4], args![2000u32])
}

fn layernorm(gpu: &mut Gpu) -> Result<(), Fault> {
    launch(gpu, "layernorm_block_f32", shape(2, 96), &[800, 800, 400, 400], args![100u32, 1f32])
}

fn gemv(gpu: &mut Gpu) -> Result<(), Fault> {
    for kernel in ["gemv_f16_r1", "gemv_f16_r4"] {
        let buffers = [4 * 17, 2 * 17 * 128, 4 * 128, 4 * 17, 4 * 17];
        launch(gpu, kernel, shape(5, 128).shared(512), &buffers, args![17u32, 128u32, 128u32])?;
    }
    Ok(())
}

fn rms_norm(gpu: &mut Gpu) -> Result<(), Fault> {
    launch(gpu, "rms_norm_then_launch_f32", shape(1, 128), &[4 * 130; 2], args![130u32, 1f32])
}

#[test]
fn in_rows_and_lists() {
    let two = [("bar.sync", 0, ""), ("bar.sync", 1, "")];
    let three = [("bar.sync", 0, ""), ("bar.sync", 1, ""), ("bar.sync", 2, "")];
    each_is_found("sort", 80, sort, &two);
    each_is_found("scan", 80, scan, &three);
    each_is_found("layernorm", 80, layernorm, &three);
    each_is_found("gemv_f16", 80, gemv, &two);
    each_is_found("dependent_launch", 80, rms_norm, &two[..1]);
}

fn wmma(gpu: &mut Gpu) -> Result<(), Fault> {
    let buffers = [4 * 32 * 32, 2 * 32 * 40, 2 * 32 * 40, 4 * 32];
    launch(gpu, "gemm_wmma_f16", shape(1, 128), &buffers, args![32u32, 32u32, 40u32])
}

fn exchange(gpu: &mut Gpu) -> Result<(), Fault> {
    launch(gpu, "exchange", over(128, 64), &[512; 2], args![128u32])
}

#[test]
fn within_a_warp() {
    let warps: Vec<_> = (0..4).map(|nth| ("bar.warp.sync", nth, "")).collect();
    each_is_found("gemm_wmma", 80, wmma, &warps);
    each_is_found("zoo_warp", 80, exchange, &warps[1..3]);
}

fn histograms(gpu: &mut Gpu) -> Result<(), Fault> {
    launch(gpu, "histogram_u8", shape(2, 96), &[1024, 1000], args![1000u32])?;
    launch(gpu, "atomics_shared", shape(1, 96), &[32, 2000], args![500u32])
}

#[test]
fn around_atomics_in_shared_memory() {
    let barriers: Vec<_> = (0..5).map(|nth| ("bar.sync", nth, "")).collect();
    each_is_found("zoo_atomics", 80, histograms, &barriers);
}

fn copies(gpu: &mut Gpu) -> Result<(), Fault> {
    launch(gpu, "copy_sizes", shape(1, 64), &[6 * 1024, 1024], &[])?;
    launch(gpu, "copy_with_barrier", shape(1, 64), &[5 * 1024; 2], args![320u32])
}

fn bulk(gpu: &mut Gpu) -> Result<(), Fault> {
    launch(gpu, "scale_bulk_f32", shape(1, 128), &[4 * 6001; 2], args![6001u32, 1f32, 0f32])
}

#[test]
fn around_asynchronous_copies() {
    let all = [
        ("cp.async.wait_group 1", 0, "cp.async.wait_group 2"),
        ("cp.async.wait_all", 0, ""),
        ("bar.sync", 0, ""),
        ("bar.sync", 1, ""),
    ];
    each_is_found("zoo_copy", 80, copies, &all);
    // Without the first bar.sync nothing is wrong: the one at the head of the loop comes before any wait as well.
    let all = [
        ("cp.async.bulk.wait_group.read", 0, ""),
        ("bar.sync", 1, ""),
        ("fence.proxy.async", 0, ""),
        ("bar.sync", 2, ""),
    ];
    each_is_found("bulk_copy", 90, bulk, &all);
}
