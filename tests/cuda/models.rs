//! Whole models against the CPU backend and the reference logits.

use crate::{
    emulator::Emulator,
    golden::{self, Distance, Golden},
};
use halfwarp::{
    Weights,
    backend::{Backend, cpu::CpuBackend, cuda::CudaBackend},
    batch::{Batch, Phase, Rows},
    config::Activation,
};
use std::sync::Arc;

pub fn open(weights: &Weights) -> CudaBackend {
    CudaBackend::open(0, weights, weights.config.n_ctx, &mut |_, _| std::ops::ControlFlow::Continue(()))
        .unwrap()
}

/// Logits of every position, `[T, V]`.
fn all_logits(backend: &mut dyn Backend, phase: Phase, ids: &[u32]) -> Vec<f32> {
    let mut cache = backend.new_cache(ids.len()).unwrap();
    let (mut batch, seq) = (Batch::new(), cache.open());
    batch.push_as(phase, seq, ids, Rows::All);
    let logits = backend.forward(&batch, &mut cache).unwrap();
    (0..logits.n_rows()).flat_map(|row| logits.row(row).unwrap()).copied().collect()
}

/// T1: fp16 weights, and fp32 in everything else. The cap for any model; what was measured is less.
pub const T1: Distance =
    Distance { e_abs: 1e-4, nmse: 1e-9, kld_mean: 1e-8, kld_max: 1e-6, top1_misses: 0, d_ppl: 1e-5 };

#[test]
fn decode_matches_the_reference() {
    let emulator = Emulator::checked(90);
    for name in ["odd-fp16", "tales"] {
        let golden = Golden::open(name);
        let weights = golden::weights(name);
        let mut backend = open(&weights);
        let distance = Distance::new(&golden, &all_logits(&mut backend, Phase::Generated, &golden.ids));
        println!("{name}, {}: {distance:?}", backend.name());
        assert!(distance.within(&T1), "{name}: {distance:?}");
        drop(backend);
        emulator.assert_clean();
    }
}

#[test]
fn prefill_matches_the_reference_on_every_architecture() {
    // With jitter, tensor cores align and truncate as models of the hardware do, and approximations are off by what is allowed.
    for (arch, jitter) in
        [(75, ""), (80, ""), (90, ""), (120, ""), (75, r#""jitter": 1,"#), (90, r#""jitter": 2,"#)]
    {
        let emulator =
            Emulator::new(&format!(r#"{{"arch": {arch}, {jitter} "check": true, "quiet": true}}"#));
        for name in ["odd-fp16", "tales"] {
            let golden = Golden::open(name);
            let weights = golden::weights(name);
            let mut backend = open(&weights);
            let distance = Distance::new(&golden, &all_logits(&mut backend, Phase::Prompt, &golden.ids));
            println!("{name}, {}, {jitter} {distance:?}", backend.name());
            assert!(distance.within(&T1), "sm_{arch}, {jitter} {name}: {distance:?}");
            drop(backend);
            emulator.assert_clean();
        }
    }
}

/// Bugs on purpose, in what the device is given: the gate that the backend passes refuses each, in decode and in prefill.
#[test]
fn seeded_bugs_are_refused_by_the_same_gate() {
    let _emulator = Emulator::new(r#"{"arch": 90}"#);
    type Bug = (&'static str, fn(&mut Weights));
    let bugs: [Bug; 6] = [
        ("erf for tanh in GELU", |w| w.config.mlp.activation = Activation::GeluErf),
        ("another epsilon", |w| w.config.norm.eps = 1e-3),
        ("attention without its scale", |w| w.config.attn.scale.fill(1.0)),
        ("a bias of the queries dropped", |w| w.layers[0].qkv.bias.iter_mut().for_each(|bias| bias[0] = 0.0)),
        ("a bias of the MLP dropped", |w| w.layers[1].up.bias = None),
        ("layers in another order", |w| w.layers.swap(0, 1)),
    ];
    let golden = Golden::open("tales");
    for (bug, seed) in bugs {
        let mut weights = golden::weights("tales");
        seed(&mut weights);
        let mut backend = open(&weights);
        for phase in [Phase::Prompt, Phase::Generated] {
            let distance = Distance::new(&golden, &all_logits(&mut backend, phase, &golden.ids));
            assert!(!distance.within(&T1), "{bug}, {phase:?}: the gate passes {distance:?}");
        }
    }
}

/// Larger than several slots of the pinned memory that it goes through.
#[test]
fn a_matrix_of_many_pieces_arrives_whole() {
    let emulator = Emulator::checked(90);
    let json = br#"{"model_type": "gpt2", "activation_function": "gelu_new", "n_layer": 1, "n_head": 4, "n_embd": 256,
        "n_positions": 32, "vocab_size": 65537, "layer_norm_epsilon": 1e-5}"#;
    let weights = Arc::new(Weights::random(halfwarp::family::parse_config(json).unwrap(), 8));
    assert!(weights.token_embd.n_bytes() > 4 * halfwarp::backend::cuda::model::PIECE);
    let ids = [65536, 3, 40000];
    let expected = all_logits(&mut CpuBackend::new(weights.clone(), None), Phase::Prompt, &ids);
    let mut backend = open(&weights);
    let ours = all_logits(&mut backend, Phase::Generated, &ids);
    for (i, (ours, expected)) in ours.iter().zip(&expected).enumerate() {
        assert!((ours - expected).abs() < 1e-5, "logit {i} is {ours}, expected {expected}");
    }
    drop(backend);
    emulator.assert_clean();
}
