//! A needle among random neighbours, and the control: a batch-dependent reduction, which the same comparison must catch.

use crate::rig::{Random, Rig, difference, model};
use halfwarp::{
    Config,
    backend::{
        Backend, Logits, Result,
        cpu::{CpuBackend, simd::Isa},
    },
    batch::{Batch, Rows, SeqId},
    cache::KvCache,
};

/// The needle's logits: prompt and a few greedy tokens, alone.
fn alone(rig: &mut Rig, prompt: &[u32], n_decode: usize) -> (Vec<u32>, Vec<Vec<f32>>) {
    let seq = rig.cache.open();
    let (mut ids, mut next, mut rows) = (Vec::new(), prompt.to_vec(), Vec::new());
    for _ in 0..=n_decode {
        let row = rig.forward(&Batch::one(seq, &next, Rows::Last));
        let best = (0..row.len()).fold(0, |a, b| if row[b] > row[a] { b } else { a }) as u32;
        ids.push(best);
        rows.push(row);
        next = vec![best];
    }
    rig.cache.release(seq).unwrap();
    (ids, rows)
}

/// Runs the needle in `n_mixes` batches of random neighbours, each with up to 40 new tokens a call, at a random slot, and
/// returns the first difference to its logits alone.
fn needle_in_mixes(rig: &mut Rig, n_mixes: usize, seed: u64) -> Option<String> {
    const N_DECODE: usize = 4;
    let mut random = Random(seed);
    let n_prompt = 20 + random.below(40);
    let prompt = random.tokens(n_prompt);
    let (ids, expected) = alone(rig, &prompt, N_DECODE);
    for mix in 0..n_mixes {
        let neighbours: Vec<SeqId> = (0..1 + random.below(8)).map(|_| rig.cache.open()).collect();
        let needle = rig.cache.open();
        let slot = random.below(neighbours.len() + 1);
        for step in 0..=N_DECODE {
            let next = if step == 0 { &prompt[..] } else { &ids[step - 1..step] };
            let mut batch = Batch::new();
            let mut first_row = 0;
            for i in 0..=neighbours.len() {
                if i == slot {
                    first_row = batch.n_rows();
                    batch.push(needle, next, Rows::Last);
                } else {
                    let n = 1 + random.below(40);
                    let rows = [Rows::None, Rows::Last, Rows::All][random.below(3)];
                    batch.push(neighbours[i - usize::from(i > slot)], &random.tokens(n), rows);
                }
            }
            let y = rig.forward(&batch);
            let n_vocab = expected[0].len();
            if let Some(found) = difference(&y[first_row * n_vocab..][..n_vocab], &expected[step]) {
                return Some(format!("mix {mix}, step {step}, slot {slot}: {found}"));
            }
        }
        for seq in neighbours.into_iter().chain([needle]) {
            rig.cache.release(seq).unwrap();
        }
    }
    None
}

#[test]
fn any_batch_gives_the_same_bits() {
    for isa in Isa::available() {
        assert_eq!(needle_in_mixes(&mut Rig::with_isa(&model(), 2, isa), 10, 1), None, "{isa}");
    }
}

#[test]
#[ignore = "slow: 50 mixes on each number of threads"]
fn any_batch_gives_the_same_bits_50_times() {
    for n_threads in 1..=4 {
        for isa in Isa::available() {
            let mut rig = Rig::with_isa(&model(), n_threads, isa);
            assert_eq!(needle_in_mixes(&mut rig, 50, n_threads as u64), None, "{isa}, {n_threads} threads");
        }
    }
}

/// Sums each logit from as many parts as the batch has entries: exact in real numbers, not in floating point.
struct BatchDependent(CpuBackend, Vec<f32>);

impl Backend for BatchDependent {
    fn name(&self) -> String {
        "batch-dependent".into()
    }

    fn config(&self) -> &Config {
        self.0.config()
    }

    fn new_cache(&mut self, n_tokens: usize) -> Result<KvCache> {
        self.0.new_cache(n_tokens)
    }

    fn forward(&mut self, batch: &Batch, cache: &mut KvCache) -> Result<Logits<'_>> {
        let (n_vocab, n) = (self.0.config().n_vocab, batch.entries().len());
        let logits = self.0.forward(batch, cache)?;
        self.1.clear();
        for row in 0..logits.n_rows() {
            let parts = logits.row(row)?.iter().map(|v| (0..n).map(|_| v / n as f32).sum::<f32>());
            self.1.extend(parts);
        }
        Ok(Logits::from_host(&self.1, n_vocab))
    }
}

#[test]
fn a_batch_dependent_reduction_is_caught() {
    let mut rig = Rig::of(Box::new(BatchDependent(CpuBackend::new(model(), Some(1)), Vec::new())));
    assert!(needle_in_mixes(&mut rig, 10, 1).is_some());
}

#[test]
fn neighbours_that_come_and_go_change_nothing() {
    churn(60, 1);
}

#[test]
#[ignore = "slow: 600 events"]
fn neighbours_that_come_and_go_change_nothing_600_times() {
    (2..5).for_each(|seed| churn(200, seed));
}

/// Decodes a needle while, before every step, a neighbour joins, finishes, is cut back or grows; then compares with the
/// needle alone.
fn churn(n_events: usize, seed: u64) {
    let mut rig = Rig::new(&model(), 2);
    let mut random = Random(seed);
    let prompt = random.tokens(37);
    let (ids, expected) = alone(&mut rig, &prompt, n_events);
    let needle = rig.cache.open();
    let mut neighbours: Vec<SeqId> = Vec::new();
    for step in 0..=n_events {
        let mut batch = Batch::new();
        let which = random.below(neighbours.len().max(1));
        match random.below(4) {
            0 if neighbours.len() < 5 => neighbours.push(rig.cache.open()),
            1 if !neighbours.is_empty() => rig.cache.release(neighbours.swap_remove(which)).unwrap(),
            2 if !neighbours.is_empty() => {
                let n_keep = random.below(1 + rig.cache.tokens(neighbours[which]).unwrap().len());
                rig.cache.truncate(neighbours[which], n_keep).unwrap();
            }
            _ => {}
        }
        let n_before = random.below(neighbours.len() + 1);
        let next = if step == 0 { &prompt[..] } else { &ids[step - 1..step] };
        for (i, &seq) in neighbours.iter().enumerate() {
            if i == n_before {
                batch.push(needle, next, Rows::Last);
            }
            let n_room = 600 - rig.cache.tokens(seq).unwrap().len().min(599);
            let n = 1 + random.below(n_room.min(30));
            batch.push(seq, &random.tokens(n), Rows::Last);
        }
        if n_before >= neighbours.len() {
            batch.push(needle, next, Rows::Last);
        }
        let y = rig.forward(&batch);
        let n_vocab = expected[0].len();
        let found = difference(&y[n_before.min(neighbours.len()) * n_vocab..][..n_vocab], &expected[step]);
        assert_eq!(found, None, "step {step}, seed {seed}");
    }
}
