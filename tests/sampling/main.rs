//! The sampler: against Hugging Face's own processors, against hand-computed cases, and against its documented draw.

mod draws;
mod logprobs;

use halfwarp::sampler::{History, Sampler, SamplingError, SamplingParams, TokenLogprobs, philox::token_bits};
use proptest::prelude::*;

const NEG_INF: f32 = f32::NEG_INFINITY;

fn history(tokens: &[u32], n_prompt: usize) -> History<'_> {
    History { tokens, n_prompt }
}

fn sampler(params: SamplingParams, n_vocab: usize) -> Sampler {
    Sampler::new(params, n_vocab).unwrap()
}

/// What can follow `tokens`, the first of which is the prompt.
fn distribution(params: SamplingParams, logits: &[f32], tokens: &[u32]) -> Vec<(u32, f64)> {
    sampler(params, logits.len()).distribution(logits, history(tokens, tokens.len().min(1)), &[]).unwrap()
}

fn ids(distribution: Vec<(u32, f64)>) -> Vec<u32> {
    distribution.into_iter().map(|(id, _)| id).collect()
}

/// Sampling at temperature 1.
fn plain() -> SamplingParams {
    SamplingParams { temperature: 1.0, ..SamplingParams::default() }
}

fn ln(probabilities: &[f64]) -> Vec<f32> {
    probabilities.iter().map(|p| p.ln() as f32).collect()
}

#[derive(serde::Deserialize)]
struct Case {
    seed: u64,
    n_vocab: usize,
    quantum: f64,
    tokens: Vec<u32>,
    n_prompt: usize,
    suppressed: Vec<u32>,
    params: CaseParams,
    ids: Vec<u32>,
    probabilities: Vec<f64>,
}

#[derive(serde::Deserialize)]
struct CaseParams {
    temperature: f32,
    top_k: usize,
    top_p: f32,
    min_p: f32,
    typical_p: f32,
    repetition_penalty: f32,
    presence_penalty: f32,
    frequency_penalty: f32,
    no_repeat_ngram_size: usize,
    logit_bias: Vec<(u32, f32)>,
    banned: Vec<Vec<u32>>,
}

/// The formula of `logits` in make_cases.py.
fn case_logits(seed: u64, n_vocab: usize, quantum: f64) -> Vec<f32> {
    let value = |i: u64| {
        let h = (i * 2_654_435_761 + seed * 40503) % (1 << 32);
        let h = (h * 2_246_822_519 + 12345) % (1 << 32);
        let x = (h >> 8) as f64 / 16_777_216.0;
        let y = 16.0 * x * x * x * x - 8.0;
        (if quantum == 0.0 { y } else { (y / quantum).round_ties_even() * quantum }) as f32
    };
    (0..n_vocab as u64).map(value).collect()
}

#[test]
fn tokens_and_probabilities_are_those_of_hugging_faces_processors() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("cases.json")).unwrap();
    assert_eq!(cases.len(), 132);
    for (n, case) in cases.into_iter().enumerate() {
        let p = case.params;
        let params = SamplingParams {
            temperature: p.temperature,
            top_k: p.top_k,
            top_p: p.top_p,
            min_p: p.min_p,
            typical_p: p.typical_p,
            repetition_penalty: p.repetition_penalty,
            presence_penalty: p.presence_penalty,
            frequency_penalty: p.frequency_penalty,
            no_repeat_ngram_size: p.no_repeat_ngram_size,
            logit_bias: p.logit_bias,
            banned: p.banned,
            ..SamplingParams::default()
        };
        let logits = case_logits(case.seed, case.n_vocab, case.quantum);
        let found = sampler(params, case.n_vocab)
            .distribution(&logits, history(&case.tokens, case.n_prompt), &case.suppressed)
            .unwrap();
        for (&(id, found), expected) in found.iter().zip(&case.probabilities) {
            // Twelve digits are stored.
            assert!((found / expected - 1.0).abs() < 1e-11, "case {n}, token {id}: {found} or {expected}");
        }
        assert_eq!(ids(found), case.ids, "case {n}");
    }
}

#[test]
fn greedy_takes_the_most_likely_token_and_the_lowest_id_of_equal_ones() {
    for n_vocab in [1, 2, 31, 33, 50257] {
        let mut logits = vec![-1.5; n_vocab];
        let mut greedy = sampler(SamplingParams::default(), n_vocab);
        assert_eq!(greedy.sample(&logits, history(&[], 0), &[]).unwrap(), 0);
        logits[n_vocab - 1] = -1.0;
        assert_eq!(greedy.sample(&logits, history(&[], 0), &[]).unwrap(), n_vocab as u32 - 1);
    }
}

#[test]
fn greedy_follows_penalties_and_bans() {
    let choose = |params: SamplingParams, tokens: &[u32], suppressed: &[u32]| {
        let logits = [3.0, 2.0, 1.0, -1.0];
        sampler(params, 4).sample(&logits, history(tokens, 1), suppressed).unwrap()
    };
    let greedy = SamplingParams::default;
    assert_eq!(choose(greedy(), &[], &[0]), 1);
    assert_eq!(choose(SamplingParams { banned: vec![vec![2, 0]], ..greedy() }, &[2], &[]), 1);
    assert_eq!(choose(SamplingParams { banned: vec![vec![2, 0]], ..greedy() }, &[3], &[]), 0);
    assert_eq!(choose(SamplingParams { repetition_penalty: 2.0, ..greedy() }, &[0], &[]), 1);
    // The prompt's token 0 is not generated, so presence and frequency leave it alone.
    assert_eq!(choose(SamplingParams { presence_penalty: 2.0, ..greedy() }, &[0], &[]), 0);
    assert_eq!(choose(SamplingParams { presence_penalty: 2.0, ..greedy() }, &[9, 0], &[]), 1);
    assert_eq!(choose(SamplingParams { frequency_penalty: 0.6, ..greedy() }, &[9, 0], &[]), 0);
    assert_eq!(choose(SamplingParams { frequency_penalty: 0.6, ..greedy() }, &[9, 0, 0], &[]), 1);
    assert_eq!(choose(SamplingParams { no_repeat_ngram_size: 2, ..greedy() }, &[3, 0, 3], &[]), 1);
    assert_eq!(choose(SamplingParams { logit_bias: vec![(3, 4.5)], ..greedy() }, &[], &[]), 3);
    assert_eq!(choose(SamplingParams { logit_bias: vec![(3, 2.25), (3, 2.25)], ..greedy() }, &[], &[]), 3);
}

#[test]
fn repetition_counts_once_and_multiplies_negative_logits() {
    let params = SamplingParams { repetition_penalty: 2.0, ..plain() };
    let found = distribution(params, &[2.0, -2.0, 1.0], &[0, 0, 1, 1]);
    let expected = distribution(plain(), &[1.0, -4.0, 1.0], &[]);
    assert_eq!(found, expected);
}

#[test]
fn top_k_keeps_what_is_as_likely_as_the_last() {
    let keep = |top_k| {
        ids(distribution(SamplingParams { top_k, ..plain() }, &[1.0, 3.0, 2.0, 2.0, 2.0, NEG_INF], &[]))
    };
    assert_eq!(keep(1), [1]);
    assert_eq!(keep(2), [1, 2, 3, 4]);
    assert_eq!(keep(5), [0, 1, 2, 3, 4]);
    assert_eq!(keep(1000), [0, 1, 2, 3, 4]);
    assert_eq!(ids(distribution(SamplingParams { top_k: 3, ..plain() }, &[0.0; 1000], &[])).len(), 1000);
}

#[test]
fn top_p_keeps_the_token_that_crosses_it_and_always_one() {
    let logits = ln(&[0.15, 0.5, 0.25, 0.1]);
    let keep = |top_p| ids(distribution(SamplingParams { top_p, ..plain() }, &logits, &[]));
    assert_eq!(keep(1e-30), [1]);
    assert_eq!(keep(0.49), [1]);
    assert_eq!(keep(0.51), [1, 2]);
    assert_eq!(keep(0.76), [0, 1, 2]);
    assert_eq!(keep(0.91), [0, 1, 2, 3]);
    // Of equal tokens, the lowest ids.
    assert_eq!(ids(distribution(SamplingParams { top_p: 0.6, ..plain() }, &[0.0; 4], &[])), [0, 1, 2]);
}

#[test]
fn min_p_is_relative_to_the_most_likely_token() {
    let logits = ln(&[0.1, 0.5, 0.3, 0.1]);
    let keep = |min_p| ids(distribution(SamplingParams { min_p, ..plain() }, &logits, &[]));
    assert_eq!(keep(0.19), [0, 1, 2, 3]);
    assert_eq!(keep(0.21), [1, 2]);
    assert_eq!(keep(1.0), [1]);
}

/// Entropy 1.28 nats. Surprises: 0.69, 1.20, 2.30, 2.30; distances from it: 0.48 (token 0's), 0.04, 1.13, 1.13.
#[test]
fn typical_p_may_remove_the_most_likely_token() {
    let logits = ln(&[0.5, 0.3, 0.1, 0.1]);
    let entropy = -[0.5, 0.3, 0.1, 0.1].iter().map(|p: &f64| p * p.ln()).sum::<f64>();
    assert!((entropy - 1.168).abs() < 1e-3, "{entropy}");
    let keep = |typical_p| ids(distribution(SamplingParams { typical_p, ..plain() }, &logits, &[]));
    assert_eq!(keep(0.2), [1]);
    assert_eq!(keep(0.31), [0, 1]);
    assert_eq!(keep(0.81), [0, 1, 2, 3], "equally distant tokens stay together");
}

#[test]
fn parameters_out_of_range_are_refused_by_name() {
    let p = SamplingParams::default;
    let cases = [
        (SamplingParams { temperature: -1.0, ..p() }, "temperature is -1, expected at least 0"),
        (SamplingParams { temperature: f32::NAN, ..p() }, "temperature is NaN, expected at least 0"),
        (SamplingParams { temperature: f32::INFINITY, ..p() }, "temperature is inf, expected at least 0"),
        (SamplingParams { top_p: 0.0, ..p() }, "top_p is 0, expected above 0, at most 1"),
        (SamplingParams { top_p: 1.0001, ..p() }, "top_p is 1.0001, expected above 0, at most 1"),
        (SamplingParams { top_p: f32::NAN, ..p() }, "top_p is NaN, expected above 0, at most 1"),
        (SamplingParams { min_p: -0.1, ..p() }, "min_p is -0.1, expected 0 to 1"),
        (SamplingParams { min_p: f32::NAN, ..p() }, "min_p is NaN, expected 0 to 1"),
        (SamplingParams { typical_p: 0.0, ..p() }, "typical_p is 0, expected above 0, at most 1"),
        (SamplingParams { typical_p: f32::NAN, ..p() }, "typical_p is NaN, expected above 0, at most 1"),
        (SamplingParams { repetition_penalty: 0.0, ..p() }, "repetition_penalty is 0, expected above 0"),
        (
            SamplingParams { repetition_penalty: f32::NAN, ..p() },
            "repetition_penalty is NaN, expected above 0",
        ),
        (SamplingParams { presence_penalty: 2.1, ..p() }, "presence_penalty is 2.1, expected -2 to 2"),
        (SamplingParams { presence_penalty: f32::NAN, ..p() }, "presence_penalty is NaN, expected -2 to 2"),
        (SamplingParams { frequency_penalty: -2.1, ..p() }, "frequency_penalty is -2.1, expected -2 to 2"),
        (SamplingParams { frequency_penalty: f32::NAN, ..p() }, "frequency_penalty is NaN, expected -2 to 2"),
        (
            SamplingParams { logit_bias: vec![(10, 1.0)], ..p() },
            "a token of logit_bias is 10, expected 0 to 9",
        ),
        (
            SamplingParams { logit_bias: vec![(1, f32::NAN)], ..p() },
            "a value of logit_bias is NaN, expected a finite number",
        ),
        (
            SamplingParams { banned: vec![vec![]], ..p() },
            "a banned sequence is empty, expected at least one token",
        ),
        (SamplingParams { banned: vec![vec![1, 10]], ..p() }, "a banned token is 10, expected 0 to 9"),
    ];
    for (params, expected) in cases {
        assert_eq!(Sampler::new(params, 10).unwrap_err().to_string(), expected);
    }
    assert!(
        Sampler::new(p(), 0).is_err()
            && Sampler::new(p(), 1 << 20).is_ok()
            && Sampler::new(p(), (1 << 20) + 1).is_err()
    );
}

/// P10: the least and the greatest temperature that there is.
#[test]
fn extreme_temperatures_do_not_overflow() {
    let logits = [3.0, 3.0e38, -3.0e38, 3.0e38];
    assert_eq!(f32::from_bits(1), 1e-45);
    let found = distribution(SamplingParams { temperature: 1e-45, ..plain() }, &logits, &[]);
    assert_eq!(found, [(0, 0.0), (1, 0.5), (2, 0.0), (3, 0.5)]);
    let found = distribution(
        SamplingParams { temperature: 1e-45, top_p: 0.9, typical_p: 0.9, ..plain() },
        &logits,
        &[],
    );
    assert_eq!(found, [(1, 0.5), (3, 0.5)]);
    let hot = SamplingParams { temperature: f32::MAX, ..plain() };
    for (_, p) in distribution(hot, &[1.0, 2.0, 3.0, 4.0], &[]) {
        assert!((p - 0.25).abs() < 1e-12, "{p}");
    }
}

/// N02.
#[test]
fn nan_and_infinite_logits_are_an_error_and_the_sampler_lives() {
    for params in [SamplingParams::default(), plain(), SamplingParams { top_k: 40, top_p: 0.9, ..plain() }] {
        let n_vocab = 1001;
        let good: Vec<f32> = (0..n_vocab).map(|i| (i % 7) as f32).collect();
        let mut sampler = sampler(params, n_vocab);
        let expected = sampler.sample(&good, history(&[1, 2, 3], 1), &[]).unwrap();
        for at in [0, n_vocab / 2, n_vocab - 1] {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut logits = good.clone();
                logits[at] = bad;
                let error = sampler.sample(&logits, history(&[1, 2, 3], 1), &[]).unwrap_err();
                assert!(matches!(error, SamplingError::NonFinite { position: 3 }), "{error}");
                assert_eq!(error.to_string(), "non-finite logits at position 3");
            }
        }
        let error = sampler.sample(&vec![NEG_INF; n_vocab], history(&[], 0), &[]).unwrap_err();
        assert_eq!(error.to_string(), "no token can be chosen at position 0: every one is banned");
        let error = sampler.sample(&good[1..], history(&[], 0), &[]).unwrap_err();
        assert_eq!(error.to_string(), "1000 logits, expected 1001");
        assert_eq!(sampler.sample(&good, history(&[1, 2, 3], 1), &[]).unwrap(), expected);
    }
}

#[test]
fn a_ban_on_every_token_is_an_error() {
    for temperature in [0.0, 1.0] {
        let banned = (0..4).map(|id| vec![id]).collect();
        let params = SamplingParams { temperature, banned, ..SamplingParams::default() };
        let error = sampler(params, 4).sample(&[1.0; 4], history(&[2], 1), &[]).unwrap_err();
        assert!(matches!(error, SamplingError::AllBanned { position: 1 }), "{error}");
    }
    let mut plain = sampler(plain(), 2);
    assert!(plain.sample(&[1.0, 1.0], history(&[], 0), &[0, 1, 7]).is_err());
    assert_eq!(plain.sample(&[1.0, 1.0], history(&[], 0), &[0, 7]).unwrap(), 1);
}

/// A padded embedding has rows that no token stands for; the engine cuts them off, and a prompt may hold their ids.
#[test]
fn history_may_hold_tokens_beyond_the_vocabulary() {
    let params = SamplingParams {
        repetition_penalty: 1.5,
        presence_penalty: 1.0,
        frequency_penalty: 1.0,
        no_repeat_ngram_size: 1,
        ..SamplingParams::default()
    };
    let token = sampler(params, 3).sample(&[0.0, 1.0, 2.0], history(&[2, 99, u32::MAX], 0), &[]).unwrap();
    assert_eq!(token, 1);
}

fn any_logit() -> impl Strategy<Value = f32> {
    prop_oneof![20 => -9.0f32..9.0, 2 => Just(NEG_INF), 2 => Just(1.5f32), 1 => any::<f32>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is drawn is among what can be drawn, and what can be drawn has probabilities that add up to one.
    #[test]
    fn any_logits_give_a_token_or_an_error(
        logits in prop::collection::vec(any_logit(), 1..80),
        tokens in prop::collection::vec(0..90u32, 0..20),
        temperature in prop_oneof![Just(0.0f32), Just(1e-45f32), 0.01f32..3.0],
        (top_k, top_p, min_p, typical_p) in (0..100usize, 0.01f32..=1.0, 0.0f32..=1.0, 0.01f32..=1.0),
        (repetition_penalty, presence_penalty) in (0.1f32..3.0, -2.0f32..=2.0),
        no_repeat_ngram_size in 0..4usize,
        seed in any::<u64>(),
    ) {
        let params = SamplingParams {
            temperature, top_k, top_p, min_p, typical_p, repetition_penalty, presence_penalty,
            no_repeat_ngram_size, seed, ..SamplingParams::default()
        };
        let mut sampler = sampler(params, logits.len());
        let history = history(&tokens, tokens.len() / 2);
        match (sampler.sample(&logits, history, &[0]), sampler.distribution(&logits, history, &[0])) {
            (Ok(token), Ok(kept)) => {
                prop_assert!(kept.iter().any(|&(id, p)| id == token && p > 0.0), "{} of {:?}", token, kept);
                prop_assert!((kept.iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-9);
                prop_assert!(kept.iter().all(|&(id, _)| id != 0 && logits[id as usize] > NEG_INF));
            }
            (Err(a), Err(b)) => prop_assert_eq!(a.to_string(), b.to_string()),
            (a, b) => prop_assert!(false, "{:?} and {:?}", a, b),
        }
    }
}

/// `cargo test --release --test sampling -- --ignored --nocapture`
#[test]
#[ignore = "measures: prints the time of one token for GPT-2's vocabulary"]
fn time_per_token() {
    let n_vocab = 50257;
    let logits = case_logits(9, n_vocab, 0.0);
    let tokens: Vec<u32> = (0..500).collect();
    let time = |name: &str, mut run: Box<dyn FnMut()>| {
        let mut times: Vec<f64> = (0..300)
            .map(|_| {
                let start = std::time::Instant::now();
                run();
                start.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{name}: {:.1} us", 1e6 * times[times.len() / 2]);
    };
    let cases = [
        ("greedy", SamplingParams::default()),
        (
            "greedy, repetition penalty",
            SamplingParams { repetition_penalty: 1.1, ..SamplingParams::default() },
        ),
        ("temperature 1", plain()),
        ("top-k 40", SamplingParams { top_k: 40, ..plain() }),
        ("top-k 40, top-p 0.95", SamplingParams { top_k: 40, top_p: 0.95, ..plain() }),
        ("top-p 0.95", SamplingParams { top_p: 0.95, ..plain() }),
        ("min-p 0.05", SamplingParams { min_p: 0.05, ..plain() }),
        ("typical-p 0.9", SamplingParams { typical_p: 0.9, ..plain() }),
    ];
    for (name, params) in cases {
        let mut sampler = sampler(params, n_vocab);
        let (logits, tokens) = (logits.clone(), tokens.clone());
        time(
            name,
            Box::new(move || {
                std::hint::black_box(sampler.sample(&logits, history(&tokens, 100), &[]).unwrap());
            }),
        );
    }
    for n_top in [0, 5] {
        let logits = logits.clone();
        time(
            &format!("log-probabilities, {n_top} likeliest"),
            Box::new(move || {
                std::hint::black_box(TokenLogprobs::new(&logits, 17, n_top));
            }),
        );
    }
}
