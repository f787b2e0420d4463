//! How long first tokens take, by a clock that only forward calls move: the same on every machine.
//!
//! A call costs what GPT-2 124M's takes on two cores of a CPU, to a few percent: 15 ms for the weights, 1 ms for a token of a prompt,
//! 2 ms for a generated one.

use halfwarp::{
    Config, Engine, Scheduler,
    backend::{Backend, Logits, Result},
    batch::{Batch, Phase},
    cache::{KvCache, PAGE_LEN},
    engine::{GenerateParams, Prompt},
    sampler::SamplingParams,
    scheduler::{Event, Request, SchedulerOptions, Ticket},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

const N_VOCAB: usize = 256;
const N_CTX: usize = 1024;

/// A text that comes at some time, in microseconds.
#[derive(Clone)]
struct Arrival {
    at: u64,
    prompt: Vec<u32>,
    max_tokens: usize,
    tenant: u64,
}

/// The clock, what is still to come, and what was measured.
#[derive(Default)]
struct World {
    now: u64,
    coming: VecDeque<Arrival>,
    tickets: Vec<Ticket>,
    /// By tenant: the time to the first token.
    firsts: Vec<(u64, u64)>,
    /// From one token of a text to the next.
    gaps: Vec<u64>,
    scheduler: Option<Scheduler>,
}

type Shared = Arc<Mutex<World>>;

/// Submits what has come by now.
fn submit_arrived(world: &Shared) {
    loop {
        let (arrival, scheduler) = {
            let mut world = world.lock().unwrap();
            let now = world.now;
            let is_here = world.coming.front().is_some_and(|next| next.at <= now);
            let Some(arrival) = is_here.then(|| world.coming.pop_front()).flatten() else { return };
            (arrival, world.scheduler.clone().unwrap())
        };
        let Arrival { at, prompt, max_tokens, tenant } = arrival;
        let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
        let params = GenerateParams {
            max_tokens: Some(max_tokens),
            ignore_eos: true,
            sampling,
            ..GenerateParams::default()
        };
        let (shared, last) = (world.clone(), Mutex::new(None::<u64>));
        let on_event = move |_, event| {
            if !matches!(event, Event::Step(_)) {
                return assert!(matches!(event, Event::Done(_)), "{event:?}");
            }
            let mut world = shared.lock().unwrap();
            let now = world.now;
            match last.lock().unwrap().replace(now) {
                None => world.firsts.push((tenant, now - at)),
                Some(before) => world.gaps.push(now - before),
            }
        };
        let request = Request { prompt: Prompt::Ids(prompt), params, tenant };
        let ticket = scheduler.submit(vec![request], on_event).unwrap();
        world.lock().unwrap().tickets.push(ticket);
    }
}

/// A backend whose calls move the clock, and in whose calls texts come.
struct Clocked {
    config: Config,
    world: Shared,
    rows: Vec<f32>,
}

impl Backend for Clocked {
    fn name(&self) -> String {
        "clock".into()
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn new_cache(&mut self, n_tokens: usize) -> Result<KvCache> {
        Ok(KvCache::new(n_tokens.div_ceil(PAGE_LEN), N_CTX, N_VOCAB))
    }

    fn forward(&mut self, batch: &Batch, cache: &mut KvCache) -> Result<Logits<'_>> {
        cache.append(batch)?;
        let cost = |entry: &halfwarp::batch::Entry| {
            entry.tokens.len() as u64 * if entry.phase == Phase::Prompt { 1000 } else { 2000 }
        };
        self.world.lock().unwrap().now += 15_000 + batch.entries().iter().map(cost).sum::<u64>();
        submit_arrived(&self.world);
        self.rows.resize(batch.n_rows() * N_VOCAB, 0.0);
        Ok(Logits::from_host(&self.rows, N_VOCAB))
    }
}

/// Times in milliseconds, sorted.
struct Times(Vec<f64>);

impl Times {
    fn new(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        Self(times.into_iter().map(|time| time as f64 / 1000.0).collect())
    }

    fn percentile(&self, p: usize) -> f64 {
        self.0[(self.0.len() - 1) * p / 100]
    }
}

/// What was measured of `coming`, and when all had ended.
fn run(coming: Vec<Arrival>, options: SchedulerOptions) -> World {
    let config = crate::tales(512).config().clone();
    let config = Config { n_vocab: N_VOCAB, n_ctx: N_CTX, ..config };
    let n_texts = coming.len();
    let world = Arc::new(Mutex::new(World { coming: coming.into(), ..World::default() }));
    let backend = Clocked { config, world: world.clone(), rows: Vec::new() };
    let engine = Engine::new(Box::new(backend), None, 32 * N_CTX).unwrap();
    let scheduler = Scheduler::new(engine, options).unwrap();
    world.lock().unwrap().scheduler = Some(scheduler.clone());
    loop {
        if scheduler.n_open() == 0 {
            // Nothing runs, so nothing else moves the clock.
            let mut idle = world.lock().unwrap();
            let Some(next) = idle.coming.front().map(|arrival| arrival.at) else { break };
            idle.now = idle.now.max(next);
            drop(idle);
            submit_arrived(&world);
        }
        std::thread::yield_now();
    }
    let mut world = std::mem::take(&mut *world.lock().unwrap());
    assert_eq!(world.firsts.len(), n_texts);
    world.scheduler = None;
    world
}

/// Numbers that look random, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }

    /// A time from one arrival to the next.
    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * ((self.below(1 << 30) + 1) as f64 / (1u64 << 30) as f64).ln()
    }

    fn text(&mut self, at: u64, tenant: u64, n_prompt: u64, max_tokens: u64) -> Arrival {
        let prompt = (0..n_prompt).map(|_| self.below(N_VOCAB as u64) as u32).collect();
        Arrival { at, prompt, max_tokens: max_tokens as usize, tenant }
    }
}

/// 1,000 texts, one every `mean` microseconds.
fn arrivals(mean: f64) -> Vec<Arrival> {
    let (mut random, mut at) = (Random(1), 0.0);
    let text = |_| {
        at += random.exponential(mean);
        let (n_prompt, max_tokens) = (64 + random.below(449), 16 + random.below(49));
        random.text(at as u64, 0, n_prompt, max_tokens)
    };
    (0..1000).map(text).collect()
}

/// The times to the first token and from token to token, with `share` of the texts that the options can take.
fn times(options: &SchedulerOptions, capacity: f64, share: f64) -> (Times, Times) {
    let world = run(arrivals(capacity / share), options.clone());
    (Times::new(world.firsts.iter().map(|&(_, time)| time).collect()), Times::new(world.gaps))
}

/// The curve of `benches/record/first-tokens.md`. Half of capacity with the options that a server has is the point that counts.
#[test]
fn first_tokens_come_in_time_at_half_of_capacity() {
    for n_chunk in [16, 32, 64, 128, 256] {
        let options = SchedulerOptions { n_chunk, n_waiting: 1000, ..SchedulerOptions::default() };
        let capacity = run(arrivals(0.0), options.clone()).now as f64 / 1000.0;
        for share in [0.5, 0.8] {
            let (firsts, gaps) = times(&options, capacity, share);
            let [p50, p90, p99] = [50, 90, 99].map(|p| firsts.percentile(p));
            let (ratio, gap) = (p99 / p50, gaps.percentile(99));
            println!("| {n_chunk} | {share} | {p50:.0} | {p90:.0} | {p99:.0} | {ratio:.1} | {gap:.0} |");
            if (n_chunk, share) == (SchedulerOptions::default().n_chunk, 0.5) {
                assert!(ratio < 3.6 && gap < 160.0, "p99 {p99} ms, p50 {p50} ms, gaps {gap} ms");
            }
        }
    }
}

/// Beside 256 texts of another tenant a prompt waits for the call that is under way, and then comes first.
#[test]
fn a_tenants_first_token_hardly_waits_for_the_texts_of_another() {
    for n_prompt in [16, 64, 128, 256, 512] {
        let mut random = Random(3);
        let alone = run(vec![random.text(0, 2, n_prompt, 1)], SchedulerOptions::default()).firsts[0].1;
        let load = (0..256).map(|_| {
            let (n_prompt, max_tokens) = (16 + random.below(497), 16 + random.below(200));
            random.text(0, 1, n_prompt, max_tokens)
        });
        let mut coming: Vec<_> = load.collect();
        coming.extend((0..20).map(|i| random.text(2_000_000 + i * 3_777_777, 2, n_prompt, 1)));
        let world = run(coming, SchedulerOptions::default());
        let times =
            Times::new(world.firsts.iter().filter(|first| first.0 == 2).map(|first| first.1).collect());
        let (alone, p50, most) = (alone as f64 / 1000.0, times.percentile(50), times.percentile(100));
        println!("| {n_prompt} | {alone:.0} | {p50:.0} | {most:.0} | {:.1} |", most / alone);
        // The longest call has four chunks of prompts and fifteen generated tokens: 301 ms.
        assert!(
            most <= f64::max(3.0 * alone, 301.0 + 2.0 * alone),
            "{n_prompt}: {most} ms, {alone} ms alone"
        );
    }
}
