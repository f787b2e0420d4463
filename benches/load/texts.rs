//! Requests and the answers they must get: what a session of the library gives, alone.

use halfwarp::{
    Engine, Result, Source, backend::cpu::CpuBackend, engine::GenerateParams, sampler::SamplingParams,
    weights::LoadOptions,
};
use serde_json::{Value, json};
use std::{ops::RangeInclusive, path::Path, sync::Arc};

/// A request for a completion and its text.
#[derive(Clone, Debug)]
pub struct Case {
    pub body: Value,
    pub expected: String,
}

/// `n` prompts of random tokens, with `n_new` tokens to follow each, drawn at temperature 0.8.
pub fn cases(
    model: Option<&Path>,
    threads: usize,
    n: usize,
    n_prompt: RangeInclusive<usize>,
    n_new: usize,
) -> Result<Vec<Case>> {
    let engine = engine(model, threads, 1)?;
    let mut random = fastrand::Rng::with_seed(n as u64);
    let n_vocab = engine.tokenizer()?.n_vocab().min(engine.config().n_vocab) as u32;
    let mut session = engine.session();
    let mut cases = Vec::with_capacity(n);
    for seed in 0..n as u64 {
        // Above the special tokens at the start, below those at the end.
        let ids: Vec<u32> =
            (0..random.usize(n_prompt.clone())).map(|_| random.u32(100..n_vocab - 300)).collect();
        let params = GenerateParams {
            sampling: SamplingParams { temperature: 0.8, seed, ..SamplingParams::default() },
            max_tokens: Some(n_new),
            ignore_eos: true,
            ..GenerateParams::default()
        };
        let completion = session.generate_with(ids.clone(), &params, |_| {})?;
        let body =
            json!({"prompt": ids, "max_tokens": n_new, "temperature": 0.8, "seed": seed, "ignore_eos": true});
        cases.push(Case { body, expected: completion.text });
    }
    Ok(cases)
}

/// The model, or the bundled one, on the CPU with room for `n_contexts` full texts.
pub fn engine(model: Option<&Path>, threads: usize, n_contexts: usize) -> Result<Engine> {
    let source = model.map_or(Source::Bundled, |path| Source::Folder(path.into()));
    let (weights, tokenizer) = source.load(&LoadOptions::default())?;
    let n_cache = n_contexts * weights.config.n_ctx;
    Engine::new(Box::new(CpuBackend::new(Arc::new(weights), Some(threads))), tokenizer, n_cache)
}

/// Requests that must be refused with 400.
pub fn invalid() -> Vec<Value> {
    vec![
        json!({"prompt": "x", "n": 1_000_000}),
        json!({"prompt": "x", "n": 0}),
        json!({"prompt": "x", "n": 1.5}),
        json!({"prompt": "x", "n": "2"}),
        json!({"prompt": "x", "best_of": 1_000_000}),
        json!({"prompt": "x", "max_tokens": -1}),
        json!({"prompt": "x", "max_tokens": 2_147_483_647}),
        json!({"prompt": "x", "logprobs": 6, "echo": true}),
        json!({"prompt": []}),
        json!({"prompt": [[]]}),
        json!({"prompt": [4_294_967_296u64]}),
        json!({"prompt": [-1]}),
        json!({"prompt": [1, "a"]}),
        json!({"prompt": "x", "logit_bias": {"abc": 1}}),
        json!({"prompt": "x", "logit_bias": {"99999999": -100}}),
        json!({"prompt": "x", "stop": vec!["1"; 17]}),
        json!({"prompt": "x", "stop": [""]}),
        json!({"prompt": "x", "temperature": -1}),
        json!({"prompt": "x", "temperature": 2.1}),
        json!({"prompt": "x", "top_p": -0.1}),
        json!({"prompt": "x", "frequency_penalty": 2.1}),
        json!({"prompt": vec!["x"; 10_000]}),
    ]
}
