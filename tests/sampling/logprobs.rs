//! Log-probabilities of a token and of the likeliest ones.

use super::*;

/// By a full sort and the system's exponential.
fn naive_logprobs(logits: &[f32], token: u32, n_top: usize) -> TokenLogprobs {
    let max = f64::from(logits.iter().copied().fold(NEG_INF, f32::max));
    let log_sum = max + logits.iter().map(|&l| (f64::from(l) - max).exp()).sum::<f64>().ln();
    let logprob = |id: u32| (f64::from(logits[id as usize]) - log_sum) as f32;
    let mut order: Vec<u32> = (0..logits.len() as u32).filter(|&id| logits[id as usize] > NEG_INF).collect();
    order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
    TokenLogprobs {
        logprob: logprob(token),
        top: order.into_iter().take(n_top).map(|id| (id, logprob(id))).collect(),
    }
}

#[test]
fn logprobs_are_those_of_a_full_sort() {
    for (seed, n_vocab, quantum) in [(1, 1, 0.0), (2, 33, 0.5), (3, 50257, 0.0), (4, 50257, 0.25)] {
        let mut logits = case_logits(seed, n_vocab, quantum);
        if n_vocab > 1 {
            logits[n_vocab / 2] = NEG_INF;
        }
        for n_top in [0, 1, 5, 100, n_vocab] {
            let found = TokenLogprobs::new(&logits, 0, n_top);
            let expected = naive_logprobs(&logits, 0, n_top);
            assert_eq!(found.top.len(), expected.top.len());
            for (found, expected) in found.top.iter().zip(&expected.top) {
                assert_eq!(found.0, expected.0);
                // One unit in the last place of an f32 below 16.
                assert!((found.1 - expected.1).abs() < 1e-6);
            }
            assert!((found.logprob - expected.logprob).abs() < 1e-6);
        }
    }
    assert_eq!(TokenLogprobs::new(&[0.0, 1.0], 2, 1).logprob, NEG_INF);
    assert_eq!(TokenLogprobs::new(&[], 0, 3).top, []);
}
