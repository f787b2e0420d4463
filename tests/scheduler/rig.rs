//! What a text is alone, and comparison to the bit.

use halfwarp::{
    Engine, Scheduler,
    engine::{Completion, GenerateParams},
    sampler::SamplingParams,
    scheduler::{Event, Request, SchedulerOptions},
};
use std::sync::mpsc;

/// `max_tokens` tokens, never fewer, with the log-probabilities of all and of the five likeliest.
pub fn params(max_tokens: usize) -> GenerateParams {
    GenerateParams {
        max_tokens: Some(max_tokens),
        ignore_eos: true,
        logprobs: Some(5),
        ..GenerateParams::default()
    }
}

/// The same, drawn at temperature 0.8.
pub fn drawn(max_tokens: usize, seed: u64) -> GenerateParams {
    let sampling = SamplingParams { temperature: 0.8, seed, ..SamplingParams::default() };
    GenerateParams { sampling, ..params(max_tokens) }
}

pub fn request(ids: &[u32], params: &GenerateParams) -> Request {
    Request { prompt: ids.to_vec().into(), params: params.clone(), tenant: 0 }
}

/// What a session of its own gives.
pub fn alone(engine: &Engine, ids: &[u32], params: &GenerateParams) -> Completion {
    engine.session().generate_with(ids.to_vec(), params, |_| {}).unwrap()
}

pub fn scheduler(engine: &Engine, n_running: usize, n_chunk: usize) -> Scheduler {
    Scheduler::new(engine.clone(), SchedulerOptions { n_running, n_chunk, n_waiting: 64 }).unwrap()
}

/// Submits all at once and waits for what becomes of them.
pub fn together(scheduler: &Scheduler, requests: Vec<Request>) -> Vec<halfwarp::Result<Completion>> {
    let mut results: Vec<_> = requests.iter().map(|_| None).collect();
    let (sender, receiver) = mpsc::channel();
    let _ticket = scheduler.submit(requests, move |index, event| drop(sender.send((index, event)))).unwrap();
    while results.iter().any(Option::is_none) {
        let (index, event) = receiver.recv().unwrap();
        results[index] = match event {
            Event::Step(_) => continue,
            Event::Done(completion) => Some(Ok(completion)),
            Event::Failed(error) => Some(Err(error)),
        };
    }
    results.into_iter().flatten().collect()
}

/// The text, the tokens and the bits of all log-probabilities.
#[derive(Debug, PartialEq)]
pub struct Bits {
    text: String,
    token_ids: Vec<u32>,
    logprobs: Vec<u32>,
    finish_reason: &'static str,
}

pub fn bits(completion: &Completion) -> Bits {
    let all = completion.logprobs.iter().flatten();
    let all = all.flat_map(|l| l.top.iter().map(|&(_, logprob)| logprob).chain([l.logprob]));
    Bits {
        text: completion.text.clone(),
        token_ids: completion.token_ids.clone(),
        logprobs: all.map(f32::to_bits).collect(),
        finish_reason: completion.finish_reason.as_str(),
    }
}
