//! One sequence's logits are the same bits whatever shares the step with it, on every device.

use crate::{
    emulator::Emulator,
    rig::{Random, assert_same, model},
};
use halfwarp::{
    Weights,
    backend::{Backend, cuda::CudaBackend},
    batch::{Batch, Phase, Rows, SeqId},
    cache::KvCache,
};

/// A backend with room for several sequences.
struct Rig {
    backend: CudaBackend,
    cache: KvCache,
}

impl Rig {
    fn new(weights: &Weights) -> Self {
        let mut backend =
            CudaBackend::open(0, weights, 2048, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap();
        let cache = backend.new_cache(2048).unwrap();
        Self { backend, cache }
    }

    /// All rows of a batch of generated tokens.
    fn decode(&mut self, entries: &[(SeqId, &[u32])]) -> Vec<f32> {
        let mut batch = Batch::new();
        for (seq, ids) in entries {
            batch.push_as(Phase::Generated, *seq, ids, Rows::All);
        }
        let logits = self.backend.forward(&batch, &mut self.cache).unwrap();
        (0..logits.n_rows()).flat_map(|row| logits.row(row).unwrap()).copied().collect()
    }

    /// Logits of every position of `ids`, `len` tokens a call.
    fn chunked(&mut self, ids: &[u32], len: usize) -> Vec<f32> {
        let seq = self.cache.open();
        let rows = ids.chunks(len).flat_map(|ids| self.decode(&[(seq, ids)])).collect();
        self.cache.release(seq).unwrap();
        rows
    }
}

#[test]
fn any_number_of_columns_gives_the_bits_of_one() {
    let emulator = Emulator::checked(90);
    let weights = model();
    let ids = Random(5).tokens(37);
    let mut rig = Rig::new(&weights);
    let one = rig.chunked(&ids, 1);
    for len in [2, 3, 4, 5, 7, 8, 9, 37] {
        assert_same(&rig.chunked(&ids, len), &one, &format!("{len} tokens a call"));
    }
    drop(rig);
    emulator.assert_clean();
}

#[test]
fn other_sequences_do_not_change_a_bit() {
    let emulator = Emulator::checked(80);
    let weights = model();
    let n_vocab = weights.config.n_vocab;
    let mut random = Random(6);
    let texts: Vec<Vec<u32>> = [5, 40, 33, 1, 64].map(|n| random.tokens(n)).into();
    let mut rig = Rig::new(&weights);
    let alone: Vec<Vec<f32>> = texts.iter().map(|ids| rig.chunked(ids, 8)).collect();

    // A token of each a call, in a changing order, until all have ended.
    let seqs: Vec<SeqId> = texts.iter().map(|_| rig.cache.open()).collect();
    for step in 0..64 {
        let mut turn: Vec<usize> = (0..texts.len()).filter(|&i| step < texts[i].len()).collect();
        let first = random.below(turn.len());
        turn.rotate_left(first);
        let entries: Vec<_> = turn.iter().map(|&i| (seqs[i], &texts[i][step..step + 1])).collect();
        let rows = rig.decode(&entries);
        for (row, &i) in rows.chunks(n_vocab).zip(&turn) {
            assert_same(row, &alone[i][step * n_vocab..][..n_vocab], &format!("text {i}, position {step}"));
        }
    }
    drop(rig);
    emulator.assert_clean();
}

/// Devices differ in their number of multiprocessors, in their code (with and without overlapping launches), and in the order in
/// which blocks run.
#[test]
fn every_device_and_every_order_of_blocks_gives_the_same_bits() {
    let weights = model();
    let ids = Random(7).tokens(20);
    let mut first: Option<Vec<f32>> = None;
    let emulator = Emulator::checked(75);
    for (arch, seed) in [(75, 1), (80, 2), (86, 3), (89, 4), (90, 5), (100, 6), (120, 7)] {
        emulator.reset(&format!(r#"{{"arch": {arch}, "seed": {seed}, "check": true, "quiet": true}}"#));
        let rows = Rig::new(&weights).chunked(&ids, 6);
        assert_same(&rows, first.get_or_insert(rows.clone()), &format!("sm_{arch}"));
        emulator.assert_clean();
    }
}
