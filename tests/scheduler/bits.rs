//! Whatever runs beside a text, and wherever its prefix comes from, its log-probabilities are the same bits.

use crate::{
    rig::{Bits, alone, bits, drawn, params, request, scheduler, together},
    tales, tales_on,
    watched::{POISON, inconstant, watched},
};
use halfwarp::{Engine, Scheduler, engine::GenerateParams, sampler::SamplingParams, scheduler::Request};
use proptest::prelude::*;
use std::sync::OnceLock;

/// The engine that runs each text alone.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| tales(16 * 512))
}

fn fresh(n_running: usize, n_chunk: usize) -> Scheduler {
    scheduler(&tales(8 * 512), n_running, n_chunk)
}

/// A prompt that looks random, the same for the same seed.
fn prompt(seed: u64, n_tokens: usize) -> Vec<u32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % 3000) as u32 + 3
    };
    (0..n_tokens).map(|_| next()).collect()
}

/// The needle: a prompt longer than a chunk and two pages, greedy or drawn.
fn needle(is_drawn: bool) -> (Vec<u32>, GenerateParams, Bits) {
    let ids = prompt(77, 75);
    let params = if is_drawn { drawn(12, 5) } else { params(12) };
    let expected = bits(&alone(engine(), &ids, &params));
    (ids, params, expected)
}

/// D1 and D3: sixteen prompts, again and again, with any number of threads.
#[test]
fn texts_repeat_to_the_bit_with_any_number_of_threads() {
    let cases: Vec<_> = (0..16).map(|i| (prompt(200 + i, 3 + 5 * i as usize), drawn(32, i))).collect();
    let mut expected: Option<Vec<Bits>> = None;
    for n_threads in [1, 2, 3, 4, 2] {
        let scheduler = scheduler(&tales_on(n_threads, 16 * 512), 8, 64);
        let requests = cases.iter().map(|(ids, params)| request(ids, params)).collect();
        let results: Vec<Bits> =
            together(&scheduler, requests).iter().map(|result| bits(result.as_ref().unwrap())).collect();
        assert_eq!(&results, expected.get_or_insert_with(|| results_of(&cases)), "{n_threads} threads");
    }
}

fn results_of(cases: &[(Vec<u32>, GenerateParams)]) -> Vec<Bits> {
    cases.iter().map(|(ids, params)| bits(&alone(engine(), ids, params))).collect()
}

/// D4: 25 mixes greedy and 25 drawn, the needle among seven fillers.
#[test]
fn a_needle_is_the_same_bits_in_any_mix() {
    let engine_of_mixes = tales(8 * 512);
    for is_drawn in [false, true] {
        let (.., expected) = needle(is_drawn);
        for i in 0..25 {
            assert_eq!(mix(&engine_of_mixes, is_drawn, i), expected, "mix {i}, drawn {is_drawn}");
        }
    }
}

/// D10: a backend whose last bit depends on the batch is noticed.
#[test]
fn mixes_notice_a_backend_that_depends_on_the_batch() {
    let (.., expected) = needle(false);
    assert!((0..3).all(|i| mix(&inconstant(8 * 512), false, i) != expected));
}

/// The needle in mix `i`.
fn mix(engine: &Engine, is_drawn: bool, i: u64) -> Bits {
    let (ids, params, _) = needle(is_drawn);
    let scheduler = scheduler(engine, 2 + i as usize % 7, 48);
    let at = i as usize % 8;
    let requests = (0..8).map(|k| match k == at {
        true => request(&ids, &params),
        false => {
            let filler = prompt(100 * i + k as u64, 1 + (17 * k + 31 * i as usize) % 200);
            request(&filler, &drawn(1 + (k + i as usize) % 20, i))
        }
    });
    let results = together(&scheduler, requests.collect());
    assert!(results.iter().all(Result::is_ok));
    bits(results[at].as_ref().unwrap())
}

/// D5, chunks: however the prompt is cut.
#[test]
fn a_prompt_gives_the_same_bits_in_chunks_of_any_length() {
    let (ids, params, expected) = needle(false);
    for n_chunk in [1, 7, 32, 64, 1024] {
        let scheduler = fresh(4, n_chunk);
        // Texts that are being generated already, so that the prompt comes in chunks.
        let requests = vec![request(&prompt(1, 3), &drawn(90, 1)), request(&ids, &params)];
        let results = together(&scheduler, requests);
        assert_eq!(bits(results[1].as_ref().unwrap()), expected, "chunks of {n_chunk}");
    }
}

/// D5, prefixes: a hit is a miss, to the bit.
#[test]
fn a_prompt_gives_the_same_bits_whatever_of_it_is_cached() {
    let params = params(8);
    for n_shared in [0, 1, 31, 32, 33, 64, 500] {
        let scheduler = fresh(4, 64);
        let first = prompt(3, 500.min(n_shared + 20));
        let ids = [&first[..n_shared.min(first.len())], &prompt(4 + n_shared as u64, 4)].concat();
        together(&scheduler, vec![request(&first, &params)]);
        let result = together(&scheduler, vec![request(&ids, &params)]).remove(0).unwrap();
        assert_eq!(result.stats.n_cached, n_shared / 32 * 32, "whole pages are found");
        assert_eq!(bits(&result), bits(&alone(engine(), &ids, &params)), "{n_shared} tokens shared");
    }
}

#[test]
fn tenants_share_nothing_and_one_tenant_does() {
    let scheduler = fresh(4, 64);
    let ids = prompt(9, 100);
    for (tenant, n_cached) in [(1, 0), (2, 0), (1, 96), (2, 96)] {
        let request = Request { tenant, ..request(&ids, &params(2)) };
        let completion = together(&scheduler, vec![request]).remove(0).unwrap();
        assert_eq!(completion.stats.n_cached, n_cached, "tenant {tenant}");
    }
}

#[test]
fn texts_submitted_together_compute_a_common_prompt_once() {
    let scheduler = fresh(8, 64);
    let ids = prompt(10, 100);
    let choices = (0..4).map(|choice| request(&ids, &choice_of(6, 3, choice))).collect();
    let results = together(&scheduler, choices);
    let n_cached: Vec<_> = results.iter().map(|r| r.as_ref().unwrap().stats.n_cached).collect();
    assert_eq!(n_cached, [0, 96, 96, 96]);
    assert_eq!(scheduler.load().n_prompt_tokens, 100 + 3 * 4);
}

fn choice_of(max_tokens: usize, seed: u64, choice: u32) -> GenerateParams {
    let params = drawn(max_tokens, seed);
    let sampling = SamplingParams { choice, ..params.sampling.clone() };
    GenerateParams { sampling, ..params }
}

/// D7: four choices in one call are those of four calls.
#[test]
fn choices_are_the_same_in_one_call_and_in_several() {
    let scheduler = fresh(8, 64);
    for seed in 0..5 {
        let ids = prompt(20 + seed, 40);
        let request_of = |choice| request(&ids, &choice_of(10, seed, choice));
        let results = together(&scheduler, (0..4).map(request_of).collect());
        for (choice, result) in (0..4).zip(&results) {
            let one = together(&scheduler, vec![request_of(choice)]).remove(0).unwrap();
            assert_eq!(bits(result.as_ref().unwrap()), bits(&one), "seed {seed}, choice {choice}");
            assert_eq!(bits(&one), bits(&alone(engine(), &ids, &choice_of(10, seed, choice))));
        }
    }
}

#[test]
fn a_scored_prompt_is_the_same_bits_beside_others() {
    let scheduler = fresh(4, 48);
    for max_tokens in [0, 1, 5] {
        let ids = prompt(30, 150);
        let scored = GenerateParams { echo: true, ..params(max_tokens) };
        let requests = vec![request(&prompt(31, 20), &drawn(40, 1)), request(&ids, &scored)];
        let result = together(&scheduler, requests).remove(1).unwrap();
        assert_eq!(result.logprobs.len(), 150 + max_tokens);
        assert!(result.logprobs[1..].iter().all(Option::is_some));
        assert_eq!(bits(&result), bits(&alone(engine(), &ids, &scored)), "{max_tokens} tokens more");
    }
}

/// Eight texts that need four times the pages there are: some have to wait and are computed again.
#[test]
fn texts_that_were_preempted_are_the_same_bits() {
    let engine = tales(512);
    let scheduler = scheduler(&engine, 8, 32);
    let cases: Vec<_> = (0..8)
        .map(|i| {
            let mut params = drawn(150, i);
            params.echo = i % 3 == 0;
            (prompt(40 + i, 10 + 13 * i as usize), params)
        })
        .collect();
    let results = together(&scheduler, cases.iter().map(|(ids, params)| request(ids, params)).collect());
    assert!(scheduler.load().n_preempted > 0, "pages did run out");
    for (i, (result, (ids, params))) in results.iter().zip(&cases).enumerate() {
        assert_eq!(bits(result.as_ref().unwrap()), bits(&alone(self::engine(), ids, params)), "text {i}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    /// D6: ten neighbours a case join, finish, are cancelled or fail while the needle runs.
    #[test]
    fn a_needle_is_the_same_bits_whatever_becomes_of_its_neighbours(
        neighbours in prop::collection::vec((0..4usize, 1..120usize, 0..24usize), 10),
        is_drawn: bool,
    ) {
        let (ids, params, expected) = needle(is_drawn);
        let (engine, calls, permit) = watched(8 * 512);
        let scheduler = scheduler(&engine, 5, 32);
        let needle = scheduler.generate(request(&ids, &params)).unwrap();
        let mut kept = Vec::new();
        for (i, &(what, n_prompt, n_new)) in neighbours.iter().enumerate() {
            let mut ids = prompt(i as u64, n_prompt);
            if what == 1 {
                ids.push(POISON);
            }
            let events = scheduler.generate(request(&ids, &drawn(n_new, 1))).unwrap();
            // Dropped, so cancelled, or listened to.
            if what != 2 {
                kept.push((what, events));
            }
            for _ in 0..3 {
                let _ = permit.send(());
            }
            // A call has been made since, unless all is done.
            let _ = calls.recv_timeout(std::time::Duration::from_millis(50));
        }
        drop(permit);
        for (what, events) in kept {
            let last = events.last().unwrap();
            let has_failed = matches!(last, halfwarp::scheduler::Event::Failed(_));
            prop_assert!(what == 1 || !has_failed, "{last:?}");
        }
        let last = needle.last().unwrap();
        let halfwarp::scheduler::Event::Done(completion) = last else { panic!("{last:?}") };
        prop_assert_eq!(bits(&completion), expected);
    }
}
