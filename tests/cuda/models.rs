//! Whole models against the CPU backend and the reference logits.

use crate::{
    emulator::Emulator,
    golden::{self, Distance, Golden},
};
use halfwarp::{
    Weights,
    backend::{Backend, cuda::CudaBackend},
    batch::{Batch, Phase, Rows},
};

pub fn open(weights: &Weights) -> CudaBackend {
    CudaBackend::open(0, weights, weights.config.n_ctx, &mut |_, _| {}).unwrap()
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
