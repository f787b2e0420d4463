//! Tokens per second beside another server of the same model: 1, 4 and 16 streams, in turn.

use crate::{
    Result,
    client::{Answer, Client},
    ledger::{Ledger, quantile},
    report::Report,
    server::Launch,
    texts::{self, Case},
};
use halfwarp::{
    Scheduler,
    engine::{GenerateParams, Prompt},
    scheduler::{Event, Request, SchedulerOptions},
};
use serde_json::Value;
use std::{
    net::SocketAddr,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

const N_ROUNDS: usize = 5;

/// What one round of streams gave.
struct Round {
    tokens_per_second: f64,
    first: Vec<Duration>,
}

pub fn compare(launch: &Launch, model: Option<&Path>, other: SocketAddr, report: &mut Report) -> Result<()> {
    one_stream(launch, model, report)?;
    let cases = texts::cases(model, launch.threads, 48, 64..=192, 64)?;
    let launch = Launch { model: model.map(Path::to_path_buf), ..launch.clone() };
    for n_streams in [1, 4, 16] {
        report.phase(&format!("{n_streams} streams"));
        let mut rounds: [Vec<Round>; 2] = [Vec::new(), Vec::new()];
        for i in 0..N_ROUNDS {
            // Other prompts each round, so that neither finds them cached; one server at a time is asked.
            let part: Vec<Case> =
                cases.iter().cycle().skip(i * 16).take(2 * n_streams.max(4)).cloned().collect();
            let server = launch.start()?;
            rounds[0].push(round(server.addr, n_streams, &part)?);
            drop(server);
            rounds[1].push(round(other, n_streams, &part)?);
        }
        let [ours, theirs] = rounds.map(|rounds| summary(&rounds));
        let measured = format!("{:.1} and {:.1} tok/s, {:.2}x", ours.0, theirs.0, ours.0 / theirs.0);
        report.row("generated tokens, ours and theirs", measured, "1.2x", ours.0 >= 1.2 * theirs.0);
        let measured = format!("{:.0} ms and {:.0} ms", ours.1, theirs.1);
        report.row("p99 to the first token", measured, "no worse", ours.1 <= theirs.1);
    }
    Ok(())
}

/// What the scheduler costs one text: the same tokens through it and through a session, in turn.
fn one_stream(launch: &Launch, model: Option<&Path>, report: &mut Report) -> Result<()> {
    report.phase("one stream");
    let engine = texts::engine(model, launch.threads, 2)?;
    let scheduler = Scheduler::new(engine.clone(), SchedulerOptions::default())?;
    let params = GenerateParams { max_tokens: Some(100), ignore_eos: true, ..GenerateParams::default() };
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..2 * N_ROUNDS {
        let prompt: Prompt = vec![200; 10].into();
        let through =
            scheduler.generate(Request { prompt: prompt.clone(), params: params.clone(), tenant: 0 })?;
        let Some(Event::Done(through)) = through.last() else { return Err("a text failed".into()) };
        let alone = engine.session().generate_with(prompt, &params, |_| {})?;
        for (times, completion) in times.iter_mut().zip([through, alone]) {
            times.push(completion.stats.decode_time.as_secs_f64() * 1e3 / 99.0);
        }
    }
    let [through, alone] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let cost = 100.0 * (through / alone - 1.0);
    let measured = format!("{through:.2} ms a token, {alone:.2} ms in a session: {cost:+.1} %");
    report.row("the scheduler's cost at one stream", measured, "3 %", cost <= 3.0);
    Ok(())
}

/// The median of tokens per second, and the 99th percentile in milliseconds to the first token.
fn summary(rounds: &[Round]) -> (f64, f64) {
    let mut rates: Vec<f64> = rounds.iter().map(|round| round.tokens_per_second).collect();
    rates.sort_by(f64::total_cmp);
    (rates[rates.len() / 2], quantile(rounds.iter().flat_map(|round| round.first.clone()), 0.99))
}

/// `n_streams` clients that ask for all of `cases`, one after another.
fn round(addr: SocketAddr, n_streams: usize, cases: &[Case]) -> Result<Round> {
    let (all, rest) = (Mutex::new(Ledger::new()), Mutex::new(cases.iter()));
    let next = || rest.lock().ok()?.next();
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..n_streams {
            scope.spawn(|| {
                let client = Client::new(addr);
                while let Some(case) = next() {
                    let answer = client.complete(&body(case), true);
                    // The other server draws other tokens: only their number is compared.
                    let expected = match &answer {
                        Answer::Text { text, .. } => text.clone(),
                        _ => String::new(),
                    };
                    if let Ok(mut all) = all.lock() {
                        all.count(Some(&expected), answer);
                    }
                }
            });
        }
    });
    let time = started.elapsed().as_secs_f64();
    let ledger = all.into_inner().map_err(|_| "a client panicked")?;
    if ledger.n_right != cases.len() {
        return Err(format!("{addr}: {} of {} requests answered", ledger.n_right, cases.len()).into());
    }
    let n_tokens: u64 = cases.iter().filter_map(|case| case.body["max_tokens"].as_u64()).sum();
    Ok(Round {
        tokens_per_second: n_tokens as f64 / time,
        first: ledger.firsts.into_iter().map(|(_, first)| first).collect(),
    })
}

/// Greedy, in the words of both servers.
fn body(case: &Case) -> Value {
    let mut body = case.body.clone();
    body["temperature"] = 0.into();
    body["n_predict"] = body["max_tokens"].clone();
    body["cache_prompt"] = false.into();
    body
}
