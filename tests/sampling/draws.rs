//! Which token a distribution gives at which position.

use super::*;

/// The draw as the module documents it, with the system's exponential.
#[test]
fn the_draw_is_the_documented_one() {
    let logits = case_logits(5, 1000, 0.0);
    let params = SamplingParams { temperature: 0.9, seed: 0x1234_5678_9abc_def0, choice: 3, ..plain() };
    let max = logits.iter().copied().fold(NEG_INF, f32::max);
    let weights: Vec<u64> = logits
        .iter()
        .map(|&l| ((f64::from(l) - f64::from(max)) / f64::from(0.9f32)).exp() * 2f64.powi(44))
        .map(|w| w.round_ties_even() as u64)
        .collect();
    let all: u64 = weights.iter().sum();
    let mut sampler = sampler(params, 1000);
    for position in 0..2000 {
        let x = token_bits(0x1234_5678_9abc_def0, 3, position as u64);
        let target = ((u128::from(x) * u128::from(all)) >> 64) as u64;
        let mut sum = 0;
        let expected = weights.iter().position(|w| {
            sum += w;
            sum > target
        });
        let tokens = vec![0; position];
        let found = sampler.sample(&logits, history(&tokens, 0), &[]).unwrap();
        assert_eq!(Some(found as usize), expected, "position {position}");
    }
}

#[test]
fn filters_that_keep_everything_change_no_draw() {
    let logits = case_logits(6, 300, 0.0);
    for position in 0..200 {
        let tokens = vec![0; position];
        let draw = |params| sampler(params, 300).sample(&logits, history(&tokens, 0), &[]).unwrap();
        let expected = draw(plain());
        assert_eq!(draw(SamplingParams { top_k: 299, ..plain() }), expected);
        assert_eq!(draw(SamplingParams { top_k: 300, ..plain() }), expected);
        assert_eq!(draw(SamplingParams { min_p: 1e-20, ..plain() }), expected);
    }
}

#[test]
fn draws_depend_on_seed_choice_and_position_alone() {
    let draws = |seed, choice, filler: u32| -> Vec<u32> {
        let mut sampler = sampler(SamplingParams { seed, choice, ..plain() }, 64);
        (0..64)
            .map(|position| sampler.sample(&[0.5; 64], history(&vec![filler; position], 0), &[]).unwrap())
            .collect()
    };
    let first = draws(1, 0, 0);
    assert_eq!(first, draws(1, 0, 9));
    assert!(first.iter().any(|id| *id != first[0]));
    for other in [draws(2, 0, 0), draws(1, 1, 0), draws(1 << 32, 0, 0), draws(1 | 1 << 63, 0, 0)] {
        assert!(first.iter().zip(&other).filter(|(a, b)| a == b).count() < 10);
    }
}

/// A chi-square test: seven degrees of freedom exceed 29.9 once in ten thousand runs, and this run is always the same.
#[test]
fn draws_follow_the_probabilities() {
    let probabilities = [0.4, 0.2, 0.15, 0.1, 0.07, 0.04, 0.03, 0.01];
    let logits = ln(&probabilities);
    for params in [plain(), SamplingParams { top_k: 8, top_p: 0.9999, ..plain() }] {
        let mut sampler = sampler(SamplingParams { seed: 42, ..params }, 8);
        let (n, tokens, mut counts) = (20_000, vec![0; 20_000], [0u32; 8]);
        for position in 0..n {
            let token = sampler.sample(&logits, history(&tokens[..position], 0), &[]).unwrap();
            counts[token as usize] += 1;
        }
        let chi_square: f64 = counts
            .iter()
            .zip(probabilities)
            .map(|(&count, p)| (f64::from(count) - p * n as f64).powi(2) / (p * n as f64))
            .sum();
        assert!(chi_square < 29.9, "{chi_square}: {counts:?}");
    }
}
