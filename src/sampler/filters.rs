//! Which tokens can be chosen: Hugging Face's top-k, top-p, min-p and typical-p, in that order, and what a draw among
//! them gives.
//!
//! Scores are logits after penalties; a token's weight is `e^((score - max) / temperature)`, where `max` is the largest
//! score, so that weights are in 0..=1 and no temperature overflows.

use super::{
    SamplingParams,
    numbers::{UNIT, exp, fixed_point, max_of, sum_of, weigh},
};

/// Scores that are compared with the smallest one kept, at once.
const BLOCK_LEN: usize = 32;

/// A token that can be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub id: u32,
    pub score: f64,
    pub weight: f64,
}

/// Finds the tokens that can be chosen; keeps its memory between calls.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    /// By token, where all of them can be chosen or top-k is off.
    weights: Vec<f64>,
    candidates: Vec<Candidate>,
}

impl Filter {
    /// Reserves what any call for `n_vocab` tokens needs.
    pub fn new(params: &SamplingParams, n_vocab: usize) -> Self {
        let n_candidates = if params.filters() { n_vocab } else { 0 };
        Self { weights: vec![0.0; n_vocab], candidates: Vec::with_capacity(n_candidates) }
    }

    /// Draws a token from `scores`, `[V]`, of which `max` is the largest and finite. `bits` are uniform in 64 bits.
    pub fn draw(&mut self, params: &SamplingParams, scores: &[f64], max: f64, bits: u64) -> u32 {
        if params.filters() {
            let kept = self.keep(params, scores, max);
            return kept[draw(kept.len(), |i| kept[i].weight, bits)].id;
        }
        weigh(&mut self.weights, scores, max, f64::from(params.temperature));
        draw(self.weights.len(), |i| self.weights[i], bits) as u32
    }

    /// The tokens that can be chosen, by id. The largest weight is 1.
    pub fn keep(&mut self, params: &SamplingParams, scores: &[f64], max: f64) -> &[Candidate] {
        self.candidates.clear();
        let temperature = f64::from(params.temperature);
        let all = if params.top_k > 0 && params.top_k < scores.len() {
            top_k(scores.len(), |i| scores[i], params.top_k, &mut self.candidates);
            for candidate in &mut self.candidates {
                candidate.weight = exp((candidate.score - max) / temperature);
            }
            self.candidates.iter().map(|c| fixed_point(c.weight)).sum()
        } else {
            self.weigh_likely(params, scores, max)
        };
        if params.top_p < 1.0 {
            keep_top_p(f64::from(params.top_p), all, &mut self.candidates);
        }
        if params.min_p > 0.0 {
            let least = f64::from(params.min_p);
            self.candidates.retain(|c| c.weight >= least);
        }
        self.candidates.sort_unstable_by_key(|c| c.id);
        if params.typical_p < 1.0 {
            keep_typical(f64::from(params.typical_p), temperature, &mut self.candidates);
        }
        &self.candidates
    }

    /// Makes candidates of all tokens that top-p and min-p could keep; returns the sum of all weights, in fixed point.
    fn weigh_likely(&mut self, params: &SamplingParams, scores: &[f64], max: f64) -> u64 {
        let all = weigh(&mut self.weights, scores, max, f64::from(params.temperature));
        // Tokens whose mass is less than (1 - top_p) / V of all have less than 1 - top_p together: top-p removes them. The
        // factor and the unit are there for rounding; so is min-p's factor, since the weights of neighbouring scores may be
        // in the wrong order by an error of `exp`.
        let tail = (1.0 - f64::from(params.top_p)) * all as f64 / scores.len() as f64 * 0.999;
        let floor = ((tail - 1.0) * UNIT).max(f64::from(params.min_p) * (1.0 - 1e-9));
        for (i, (&weight, &score)) in self.weights.iter().zip(scores).enumerate() {
            if weight >= floor && score > f64::NEG_INFINITY {
                self.candidates.push(Candidate { id: i as u32, score, weight });
            }
        }
        all
    }
}

/// Appends the `k` largest of `n` scores, and all that equal the last of them, in no order. A score of minus infinity is
/// none.
///
/// One pass with a floor that rises: whenever the list has doubled, it is cut to its `k` largest.
pub(super) fn top_k(n: usize, score: impl Fn(usize) -> f64, k: usize, candidates: &mut Vec<Candidate>) {
    let mut floor = f64::NEG_INFINITY;
    let mut n_cut = k;
    for start in (0..n).step_by(BLOCK_LEN) {
        let block = start..n.min(start + BLOCK_LEN);
        if !block.clone().fold(false, |any, i| any | (score(i) >= floor)) {
            continue;
        }
        for i in block {
            let score = score(i);
            if score >= floor && score > f64::NEG_INFINITY {
                candidates.push(Candidate { id: i as u32, score, weight: 0.0 });
            }
        }
        if candidates.len() >= 2 * n_cut {
            floor = cut_to_top_k(k, candidates);
            n_cut = candidates.len();
        }
    }
    cut_to_top_k(k, candidates);
}

/// Removes what is less than the `k`th largest score, and returns that score.
fn cut_to_top_k(k: usize, candidates: &mut Vec<Candidate>) -> f64 {
    if k == 0 {
        candidates.clear();
    }
    if candidates.len() <= k {
        return f64::NEG_INFINITY;
    }
    let (_, &mut Candidate { score: floor, .. }, _) =
        candidates.select_nth_unstable_by(k - 1, |a, b| b.score.total_cmp(&a.score));
    candidates.retain(|c| c.score >= floor);
    floor
}

/// Keeps the most likely tokens whose weights first reach `top_p * all`; ties by lowest id. Weights are in fixed point, so
/// that the order in which a device adds them up changes nothing.
fn keep_top_p(top_p: f64, all: u64, candidates: &mut Vec<Candidate>) {
    candidates.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    let needed = (top_p * all as f64).ceil() as u64;
    let mut mass = 0;
    let n_kept = candidates.iter().position(|c| {
        let reached = mass >= needed;
        mass += fixed_point(c.weight);
        reached
    });
    candidates.truncate(n_kept.unwrap_or(candidates.len()));
}

/// Keeps the tokens whose surprise, `-ln p`, is closest to its expectation, until they reach `mass`, and those as close as
/// the last of them. Candidates come and stay in the order of their ids; their weights are relative to the likeliest.
fn keep_typical(mass: f64, temperature: f64, candidates: &mut Vec<Candidate>) {
    let max = candidates.iter().map(|c| c.score).fold(f64::NEG_INFINITY, f64::max);
    let all = sum_of(candidates.len(), |i| candidates[i].weight);
    let log_all = all.ln();
    let surprise = |c: &Candidate| log_all - (c.score - max) / temperature;
    let entropy = sum_of(candidates.len(), |i| candidates[i].weight / all * surprise(&candidates[i]));
    let distance = |c: &Candidate| (surprise(c) - entropy).abs();
    candidates.sort_unstable_by(|a, b| distance(a).total_cmp(&distance(b)).then(a.id.cmp(&b.id)));
    let mut sum = 0.0;
    let last = candidates.iter().position(|c| {
        sum += c.weight;
        sum >= mass * all
    });
    if let Some(last) = last.and_then(|i| candidates.get(i)) {
        let farthest = distance(last);
        candidates.retain(|c| distance(c) <= farthest);
    }
    candidates.sort_unstable_by_key(|c| c.id);
    // The likeliest token may be gone: weights are relative to the largest one that is left.
    let max = candidates.iter().map(|c| c.score).fold(f64::NEG_INFINITY, f64::max);
    for candidate in candidates {
        candidate.weight = exp((candidate.score - max) / temperature);
    }
}

/// The first of `n` weights at which their running sum exceeds `bits / 2^64` of the whole. Weights are summed in fixed
/// point; the largest must be 1.
fn draw(n: usize, weight: impl Fn(usize) -> f64, bits: u64) -> usize {
    let all = (0..n).map(|i| fixed_point(weight(i))).sum::<u64>();
    // Less than `all`, so that the loop ends before the weights do.
    let mut target = ((u128::from(bits) * u128::from(all)) >> 64) as u64;
    for i in 0..n {
        let weight = fixed_point(weight(i));
        if target < weight {
            return i;
        }
        target -= weight;
    }
    unreachable!("the target is less than the sum of the weights")
}

/// The largest score, minus infinity if all tokens are banned.
pub(super) fn max_score(scores: &[f64]) -> f64 {
    max_of(scores, f64::NEG_INFINITY)
}
