//! What each launcher promises to touch is what the emulator counts, to the byte.

use crate::emulator::{self, Emulator};
use halfwarp::{
    Config, Weights,
    backend::{
        Backend,
        cuda::{
            CudaBackend,
            driver::Gpu,
            kernels::{
                Dims, Kernels, Packed, Traffic, attention_decode, attention_prefill, embed,
                layernorm_prefill, linear_decode, linear_prefill, pack,
            },
        },
    },
    batch::{Batch, Phase, Rows, SeqId},
    cache::KvCache,
    family,
};
use serde_json::Value;
use std::ops::ControlFlow;

const N_LAYER: usize = 2;
const N_VOCAB: usize = 517;

/// An architecture of each kind of code; n_head, head_dim, n_inner: ragged tiles, padded heads and odd widths; whole tiles; several
/// slices.
const DEVICES: [(u32, (usize, usize, usize)); 3] =
    [(75, (8, 3, 131)), (80, (5, 64, 200)), (90, (2, 128, 1096))];

/// A kernel, and what its launch touches.
type Launch = (&'static str, Traffic);

fn config((n_head, head_dim, n_inner): (usize, usize, usize)) -> Config {
    let json = serde_json::json!({"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": N_LAYER,
        "n_head": n_head, "n_embd": n_head * head_dim, "n_inner": n_inner, "n_positions": 320,
        "vocab_size": N_VOCAB, "layer_norm_epsilon": 1e-5});
    family::parse_config(json.to_string().as_bytes()).unwrap()
}

/// The launches since the last call: kernel, and distinct bytes.
fn counted(emulator: &Emulator) -> Vec<(String, Traffic)> {
    let counters = emulator.counters();
    let bytes = |launch: &Value, of: &str| launch.pointer(of).and_then(Value::as_u64).unwrap() as usize;
    let of_launch = |launch: &Value| {
        let [read, written] = ["/read/distinct_bytes", "/written/distinct_bytes"].map(|of| bytes(launch, of));
        (launch["kernel"].as_str().unwrap().to_owned(), Traffic { read, written })
    };
    counters["launches"].as_array().unwrap().iter().map(of_launch).collect()
}

#[track_caller]
fn assert_counted(emulator: &Emulator, expected: &[Launch], what: &str) {
    let counted = counted(emulator);
    for (i, ((kernel, traffic), (expected_kernel, expected))) in counted.iter().zip(expected).enumerate() {
        assert!(
            kernel.starts_with(expected_kernel),
            "{what}, launch {i}: {kernel}, expected {expected_kernel}"
        );
        assert_eq!(traffic, expected, "{what}, launch {i}: {kernel}");
    }
    assert_eq!(counted.len(), expected.len(), "{what}: launches");
}

/// With a model of each shape.
fn on_every_device(test: impl Fn(&Emulator, &Dims, &mut CudaBackend, &str)) {
    if emulator::is_real() {
        println!("skipped: only the emulator counts");
        return;
    }
    let emulator = Emulator::counting();
    for (arch, shape) in DEVICES {
        emulator.reset(&format!(r#"{{"arch": {arch}, "counters": "/dev/null", "quiet": true}}"#));
        let weights = Weights::random(config(shape), 3);
        let dims = Dims::new(&weights.config).unwrap();
        let mut backend =
            CudaBackend::open(0, &weights, 2048, &mut |_, _| ControlFlow::Continue(())).unwrap();
        test(&emulator, &dims, &mut backend, &format!("{shape:?} on sm_{arch}"));
    }
}

/// Adds `n` tokens to `seq`, different in all calls with different `first`.
fn push(batch: &mut Batch, phase: Phase, seq: SeqId, (first, n): (u32, usize), rows: Rows) {
    let tokens: Vec<u32> = (first..).take(n).collect();
    batch.push_as(phase, seq, &tokens, rows);
}

/// Sequences of so many tokens, which the device has computed.
fn sequences(backend: &mut CudaBackend, cache: &mut KvCache, lens: &[usize]) -> Vec<SeqId> {
    let open = |&n: &usize| {
        let (seq, mut batch) = (cache.open(), Batch::new());
        if n > 0 {
            push(&mut batch, Phase::Prompt, seq, (0, n), Rows::None);
            backend.forward(&batch, cache).unwrap();
        }
        seq
    };
    let sequences = lens.iter().map(open).collect();
    backend.gpu().synchronize().unwrap();
    sequences
}

#[test]
fn decode_touches_what_its_launchers_promise() {
    on_every_device(|emulator, dims, backend, what| {
        // At the edges of pages and chunks.
        for positions in [&[128][..], &[0, 31, 32, 127], &[0, 1, 2, 31, 32, 33, 127, 128]] {
            let n = positions.len();
            let mut cache = backend.new_cache(2048).unwrap();
            let mut batch = Batch::new();
            for (i, seq) in sequences(backend, &mut cache, positions).into_iter().enumerate() {
                push(&mut batch, Phase::Generated, seq, (i as u32, 1), Rows::Last);
            }
            emulator.counters();
            backend.forward(&batch, &mut cache).unwrap();
            backend.gpu().synchronize().unwrap();

            let layer = [
                ("linear_decode_qkv_f16", linear_decode::qkv_traffic(dims, n)),
                ("attention_decode_f32", attention_decode::attention_traffic(dims, positions)),
                ("linear_decode_attn_out_f16", linear_decode::attn_out_traffic(dims, positions)),
                ("linear_decode_up_f16", linear_decode::up_traffic(dims, n)),
                ("linear_decode_down_f16", linear_decode::down_traffic(dims, n)),
            ];
            let mut expected = vec![("embed_decode_f16", embed::embed_traffic(dims, n))];
            expected.extend([layer; N_LAYER].concat());
            expected.push(("linear_decode_logits_f16", linear_decode::logits_traffic(dims, N_VOCAB, n)));
            assert_counted(emulator, &expected, &format!("{what}, positions {positions:?}"));
        }
    });
}

#[test]
fn prompts_touch_what_their_launchers_promise() {
    on_every_device(|emulator, dims, backend, what| {
        // Tokens in the cache and new ones: few, then more than the narrow products take; no position twice.
        for spans in [&[(130, 20)][..], &[(0, 5), (100, 40)], &[(0, 70), (100, 33)], &[(0, 130)]] {
            let n: usize = spans.iter().map(|span| span.1).sum();
            let mut cache = backend.new_cache(2048).unwrap();
            let lens: Vec<usize> = spans.iter().map(|span| span.0).collect();
            let mut batch = Batch::new();
            let mut first = 0;
            for (i, seq) in sequences(backend, &mut cache, &lens).into_iter().enumerate() {
                let rows = if i == 0 { Rows::Last } else { Rows::None };
                push(&mut batch, Phase::Prompt, seq, (first, spans[i].1), rows);
                first += spans[i].1 as u32;
            }
            emulator.counters();
            backend.forward(&batch, &mut cache).unwrap();
            backend.gpu().synchronize().unwrap();

            let norm = ("layernorm_prefill_f32", layernorm_prefill::layernorm_traffic(dims, n));
            let layer = [
                norm,
                ("linear_prefill_qkv_f16", linear_prefill::qkv_traffic(dims, n)),
                ("attention_prefill_f32", attention_prefill::attention_traffic(dims, spans)),
                ("linear_prefill_add_f16", linear_prefill::attn_out_traffic(dims, n)),
                norm,
                ("linear_prefill_up_f16", linear_prefill::up_traffic(dims, n)),
                ("linear_prefill_add_f16", linear_prefill::down_traffic(dims, n)),
            ];
            let mut expected = vec![("embed_prefill_f16", embed::embed_traffic(dims, n))];
            expected.extend([layer; N_LAYER].concat());
            expected.push(("gather_prefill_f32", embed::gather_traffic(dims, 1)));
            expected.push(("linear_decode_logits_f16", linear_decode::logits_traffic(dims, N_VOCAB, 1)));
            assert_counted(emulator, &expected, &format!("{what}, spans {spans:?}"));
        }
    });
}

#[test]
fn packing_touches_what_its_launchers_promise() {
    if emulator::is_real() {
        println!("skipped: only the emulator counts");
        return;
    }
    let emulator = Emulator::counting();
    let gpu = Gpu::open(0).unwrap();
    let kernels = Kernels::load(&gpu, &Dims::new(&config(DEVICES[0].1)).unwrap()).unwrap();
    for (n_rows, n_cols) in [(64, 128), (67, 72), (5, 200), (1, 1)] {
        let pieces = gpu.zeros(Packed::len(n_rows, n_cols), "a matrix").unwrap();
        let mut packed = Packed { pieces, n_rows, n_cols };
        for (wide, width, suffix) in [(false, 2, "f16"), (true, 4, "f32")] {
            let from = gpu.zeros::<u8>(n_rows * n_cols * width, "a matrix").unwrap();
            emulator.counters();
            kernels.pack_transposed(&gpu, &mut packed, &from, (0, n_cols), wide).unwrap();
            kernels.pack_rows(&gpu, &mut packed, &from, (0, n_rows), wide).unwrap();
            gpu.synchronize().unwrap();
            let counted = counted(&emulator);
            let transposed = pack::pack_transposed_traffic(n_rows, n_cols, width);
            let rows = pack::pack_rows_traffic(n_rows, n_cols, width);
            let expected = [("transposed", transposed), ("rows", rows)]
                .map(|(of, traffic)| (format!("pack_{of}_{suffix}"), traffic));
            assert_eq!(counted, expected, "{n_rows} x {n_cols}");
        }
    }
}
