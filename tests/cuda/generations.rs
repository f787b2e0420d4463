//! Whole generations: drawn on the device and on the host they are the same text, and what a token costs in calls of the driver.

use crate::{
    emulator::{self, Emulator},
    golden,
    rig::{Random, model},
};
use halfwarp::{
    Config, Engine, Weights,
    backend::{Backend, Logits, Result, cuda::CudaBackend},
    batch::{Batch, Phase, Rows},
    cache::KvCache,
    engine::GenerateParams,
    sampler::{Draw, History, Sampler, SamplingParams},
};
use std::sync::Arc;

fn open(weights: &Weights) -> CudaBackend {
    CudaBackend::open(0, weights, weights.config.n_ctx, &mut |_, _| std::ops::ControlFlow::Continue(()))
        .unwrap()
}

/// A backend that leaves the drawing to the host.
struct OnHost(CudaBackend);

impl Backend for OnHost {
    fn name(&self) -> String {
        self.0.name()
    }

    fn config(&self) -> &Config {
        self.0.config()
    }

    fn new_cache(&mut self, n_tokens: usize) -> Result<KvCache> {
        self.0.new_cache(n_tokens)
    }

    fn forward(&mut self, batch: &Batch, cache: &mut KvCache) -> Result<Logits<'_>> {
        let mut without = Batch::new();
        for entry in batch.entries() {
            without.push_as(entry.phase, entry.seq, &batch.tokens()[entry.tokens.clone()], entry.rows);
        }
        self.0.forward(&without, cache)
    }
}

fn generated(backend: Box<dyn Backend>, prompt: &[u32], params: &[GenerateParams]) -> Vec<Vec<u32>> {
    let engine = Engine::new(backend, None, 640).unwrap();
    params
        .iter()
        .map(|params| {
            let mut session = engine.session();
            session.generate_with(prompt.to_vec(), params, |_| {}).unwrap().token_ids
        })
        .collect()
}

#[test]
fn a_generation_is_the_same_drawn_on_the_device_and_on_the_host() {
    let greedy = SamplingParams::default();
    let plain = SamplingParams { temperature: 1.0, seed: 7, ..greedy.clone() };
    let usual = SamplingParams { temperature: 0.8, top_k: 40, top_p: 0.95, ..plain.clone() };
    let penalized = SamplingParams {
        repetition_penalty: 1.2,
        presence_penalty: 0.3,
        frequency_penalty: 0.2,
        logit_bias: vec![(3, 2.5), (5, -100.0)],
        min_p: 0.02,
        ..plain.clone()
    };
    let cases = [
        greedy.clone(),
        plain.clone(),
        usual,
        SamplingParams { top_p: 0.7, ..plain.clone() },
        SamplingParams { temperature: 0.0, ..penalized.clone() },
        penalized,
        // What the device leaves to the host.
        SamplingParams { typical_p: 0.9, no_repeat_ngram_size: 3, ..plain },
    ];
    let params = |sampling: &SamplingParams, min_tokens| GenerateParams {
        sampling: sampling.clone(),
        max_tokens: Some(24),
        min_tokens,
        stop_token_ids: vec![1, 2, 3, 4, 5, 6, 7, 8],
        ..GenerateParams::default()
    };
    let params: Vec<_> = cases.iter().flat_map(|c| [params(c, 0), params(c, 12)]).collect();
    let weights = model();
    let prompt = Random(3).tokens(11);
    for arch in [75, 90] {
        let emulator = Emulator::checked(arch);
        let on_device = generated(Box::new(open(&weights)), &prompt, &params);
        let on_host = generated(Box::new(OnHost(open(&weights))), &prompt, &params);
        assert_eq!(on_device, on_host);
        assert!(on_device.iter().any(|ids| ids.len() == 24));
        emulator.assert_clean();
    }
}

/// What the emulator saw: a token is the launch of a graph and waiting for it, with no event, allocation or copy beside.
/// cudarc makes events of its own for each allocation and launch unless that is switched off.
#[test]
fn a_token_is_one_launch_and_one_wait() {
    const N: u64 = 20;
    if emulator::is_real() {
        println!("skipped: only the emulator counts");
        return;
    }
    let emulator = Emulator::counting();
    let weights = model();
    let mut backend = open(&weights);
    let mut cache = backend.new_cache(64).unwrap();
    let seq = cache.open();
    let draw = Arc::new(Draw::new(SamplingParams::default(), weights.config.n_vocab, 5).unwrap());
    let mut token = 1;
    // The first step makes the graph.
    for n_steps in [1, N] {
        emulator.counters();
        for _ in 0..n_steps {
            let mut batch = Batch::new();
            batch.push_as(Phase::Generated, seq, &[token], Rows::Last);
            batch.draw(draw.clone());
            token = backend.forward(&batch, &mut cache).unwrap().token(0).unwrap().unwrap();
        }
    }
    // cudarc asks for the current context before each call.
    let expected =
        serde_json::json!({"cuCtxGetCurrent": 2 * N, "cuGraphLaunch": N, "cuStreamSynchronize": N});
    assert_eq!(emulator.counters()["calls"], expected);
}

/// One graph a token; no copy but of a page table that has grown, and of a step that the device did not foresee.
#[test]
fn n_tokens_are_n_launches_and_fewer_copies() {
    const N: usize = 70;
    let emulator = Emulator::checked(90);
    let weights = model();
    let n_layer = weights.config.n_layer;
    let plain = SamplingParams { temperature: 1.0, seed: 1, ..SamplingParams::default() };
    let penalized = SamplingParams { repetition_penalty: 1.1, ..plain.clone() };
    for sampling in [SamplingParams::default(), plain, penalized] {
        let mut backend = open(&weights);
        let mut cache = backend.new_cache(640).unwrap();
        let seq = cache.open();
        let draw = Arc::new(Draw::new(sampling.clone(), weights.config.n_vocab, 5).unwrap());
        let mut batch = Batch::one(seq, &[1, 2, 3, 4, 5], Rows::Last);
        batch.draw(draw.clone());
        let mut token = backend.forward(&batch, &mut cache).unwrap().token(0).unwrap().unwrap();
        let before = backend.counts;
        for _ in 0..N {
            batch.clear();
            batch.push_as(Phase::Generated, seq, &[token], Rows::Last);
            batch.draw(draw.clone());
            token = backend.forward(&batch, &mut cache).unwrap().token(0).unwrap().unwrap();
        }
        let counts = backend.counts;
        assert_eq!(counts.graphs - before.graphs, N, "{sampling:?}");
        // The first step's columns and draws, then a page in every 32.
        let n_copies = counts.uploads - before.uploads;
        assert!(n_copies <= 2 + N.div_ceil(32), "{n_copies} copies, {sampling:?}");
        assert_eq!(counts.tables, usize::from(sampling.repetition_penalty != 1.0));
        assert_eq!(counts.nodes, 5 * n_layer + 3);
    }
    emulator.assert_clean();
}

#[test]
fn a_trained_model_says_the_same() {
    let emulator = Emulator::checked(90);
    let weights = golden::weights("tales");
    let golden = golden::Golden::open("tales");
    let sampling = SamplingParams { temperature: 0.8, top_p: 0.9, ..SamplingParams::default() };
    let params = [GenerateParams { sampling, max_tokens: Some(5), ..GenerateParams::default() }];
    let prompt = &golden.ids[..4];
    let on_device = generated(Box::new(open(&weights)), prompt, &params);
    assert_eq!(on_device, generated(Box::new(OnHost(open(&weights))), prompt, &params));
    emulator.assert_clean();
}

/// Tokens that are not read, and texts that go on otherwise: the device's step and counts are not what the host goes on from.
#[test]
fn what_was_drawn_need_not_be_what_follows() {
    let emulator = Emulator::checked(90);
    let weights = model();
    let n_vocab = weights.config.n_vocab;
    let mut backend = open(&weights);
    let mut cache = backend.new_cache(640).unwrap();
    let seq = cache.open();
    let sampling = SamplingParams {
        temperature: 1.0,
        repetition_penalty: 1.5,
        frequency_penalty: 0.5,
        ..SamplingParams::default()
    };
    let draw = Arc::new(Draw::new(sampling.clone(), n_vocab, 3).unwrap());
    let mut sampler = Sampler::new(sampling, n_vocab).unwrap();
    let mut ids = vec![1, 2, 3];
    let mut batch = Batch::one(seq, &ids, Rows::Last);
    for round in 0..24 {
        batch.draw(draw.clone());
        let logits = backend.forward(&batch, &mut cache).unwrap();
        let history = History { tokens: &ids, n_prompt: 3 };
        let last = logits.n_rows() - 1;
        let expected = sampler.sample(logits.row(last).unwrap(), history, &[]).unwrap();
        let next = if round % 5 == 1 { vec![7] } else { vec![expected] };
        if round % 3 != 0 {
            assert_eq!(logits.token(last).unwrap(), Some(expected), "round {round}");
        }
        // Two at once, and a step without a draw between.
        let next = if round % 7 == 3 { vec![next[0], 9] } else { next };
        ids.extend(&next);
        batch.clear();
        batch.push_as(Phase::Generated, seq, &next, Rows::All);
        if round % 7 == 5 {
            backend.forward(&batch, &mut cache).unwrap();
            ids.push(4);
            batch.clear();
            batch.push_as(Phase::Generated, seq, &[4], Rows::All);
        }
    }
    emulator.assert_clean();
}
