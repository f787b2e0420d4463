//! Continues many prompts at once, which share forward calls: `cargo run --release --example batch -- "Once upon" "The dog"`.
//!
//! Each text has exactly the bits that it would have alone. With `HALFWARP_MODEL` in the environment it runs another model than the
//! small one that is built in.

use halfwarp::{
    Engine, EngineOptions, Error, Result, Scheduler, Source,
    engine::GenerateParams,
    scheduler::{Event, Request, SchedulerOptions},
};

/// Texts that run side by side; more wait for their turn.
const N_RUNNING: usize = 8;

fn main() -> Result<()> {
    let mut prompts: Vec<String> = std::env::args().skip(1).collect();
    if prompts.is_empty() {
        prompts = ["Once upon a time", "The little dog", "In the morning"].map(String::from).into();
    }
    let source = Source::find(&std::env::var("HALFWARP_MODEL").unwrap_or_else(|_| "tales".into()))?;
    // Keys and values of so many tokens are kept.
    let engine_options = EngineOptions { n_cache: Some(N_RUNNING * 512), ..EngineOptions::default() };
    let engine = Engine::open(&source, &engine_options)?;
    let options =
        SchedulerOptions { n_running: N_RUNNING, n_waiting: prompts.len(), ..SchedulerOptions::default() };
    let scheduler = Scheduler::new(engine, options)?;

    let submit = |prompt: &String| {
        let params = GenerateParams { max_tokens: Some(40), ..GenerateParams::default() };
        scheduler.generate(Request { prompt: prompt.as_str().into(), params, tenant: 0 })
    };
    // All of them are under way before the first one is waited for.
    let texts: Vec<_> = prompts.iter().map(submit).collect::<Result<_>>()?;
    for (prompt, events) in prompts.iter().zip(texts) {
        match events.last() {
            Some(Event::Done(completion)) => println!("{prompt}{}", completion.text),
            Some(Event::Failed(error)) => return Err(error),
            Some(Event::Step(_)) | None => return Err(Error::Closed),
        }
    }
    Ok(())
}
