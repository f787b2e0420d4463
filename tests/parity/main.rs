//! Logits against Hugging Face transformers in float64 on the same stored weights: the plain twin, and the fast backend
//! with each instruction set; and seeded bugs, each of which the same gate must catch (`controls.rs`).

mod controls;
mod golden;

use golden::{Distance, Golden, NAMES};
use halfwarp::{
    backend::{
        Backend,
        cpu::{CpuBackend, simd::Isa},
        naive::NaiveBackend,
    },
    batch::{Batch, Rows},
};
use std::sync::Arc;

/// What a backend may be off by: twice the worst that was measured, or 1e-6 where that is less (log-probabilities and
/// their mean). Never above e_abs 1e-3, nmse 1e-9, kld 1e-8 and 1e-6, d_ppl 1e-5.
fn gate(name: &str) -> Distance {
    let (e_abs, nmse, kld_mean, kld_max) = match name {
        "tiny-fp32" => (2.7e-6, 3.8e-13, 8.1e-14, 1.8e-13),
        "odd-fp16" => (4.4e-6, 7.9e-13, 2.9e-13, 4.5e-13),
        "tales" => (1.6e-5, 5.8e-13, 8.2e-13, 2.9e-12),
        _ => panic!("no gate for {name}"),
    };
    Distance { e_abs, nmse, kld_mean, kld_max, top1_misses: 0, d_ppl: 1e-6 }
}

/// Every backend of this machine, for the model of `name`.
fn backends(name: &str) -> Vec<Box<dyn Backend>> {
    let weights = Arc::new(golden::weights(name));
    let mut all: Vec<Box<dyn Backend>> = vec![Box::new(NaiveBackend::new(weights.clone()))];
    for isa in Isa::available() {
        all.push(Box::new(CpuBackend::with_isa(weights.clone(), Some(2), isa)));
    }
    all
}

/// Logits of every position, `[T, V]`.
fn all_logits(backend: &mut dyn Backend, ids: &[u32]) -> Vec<f32> {
    let mut cache = backend.new_cache(ids.len()).unwrap();
    let batch = Batch::one(cache.open(), ids, Rows::All);
    let logits = backend.forward(&batch, &mut cache).unwrap();
    (0..logits.n_rows()).flat_map(|row| logits.row(row).unwrap()).copied().collect()
}

/// `n` greedy tokens after `ids`, one forward call a token.
fn greedy(backend: &mut dyn Backend, ids: &[u32], n: usize) -> Vec<u32> {
    let mut cache = backend.new_cache(ids.len() + n).unwrap();
    let seq = cache.open();
    let mut next = ids.to_vec();
    (0..n)
        .map(|_| {
            let logits = backend.forward(&Batch::one(seq, &next, Rows::Last), &mut cache).unwrap();
            let row = logits.row(0).unwrap();
            let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a))).unwrap();
            next = vec![best as u32];
            best as u32
        })
        .collect()
}

#[test]
fn logits_match_the_reference() {
    for name in NAMES {
        let golden = Golden::open(name);
        for mut backend in backends(name) {
            let distance = Distance::new(&golden, &all_logits(&mut *backend, &golden.ids));
            println!("{name}, {}: {distance:?}", backend.name());
            let gate = gate(name);
            assert!(distance.within(&gate), "{name}, {}: {distance:?}, gate {gate:?}", backend.name());
        }
    }
}

#[test]
fn greedy_text_matches_the_reference_up_to_near_ties() {
    for name in NAMES {
        let golden = Golden::open(name);
        let weights = Arc::new(golden::weights(name));
        for isa in Isa::available() {
            let mut backend = CpuBackend::with_isa(weights.clone(), Some(2), isa);
            let ids = greedy(&mut backend, &golden.ids, golden.greedy.len());
            let Some(at) = (0..ids.len()).find(|&i| ids[i] != golden.greedy[i]) else { continue };
            let margin = golden.margin[at] as f64;
            println!("{name}, {isa}: step {at} differs, margin {margin:e}");
            assert!(margin < 2.0 * gate(name).e_abs, "{name}, {isa}: step {at}, margin {margin:e}");
        }
    }
}
