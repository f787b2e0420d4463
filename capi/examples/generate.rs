//! Continues a text: `cargo run --release -p halfwarp-capi --example generate -- "Once upon a time"`.
//! The same as generate.c and generate.py, in the language of the library.

use halfwarp::{Engine, EngineOptions, Result, Source, engine::GenerateParams, sampler::SamplingParams};
use std::io::Write;

fn main() -> Result<()> {
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "Once upon a time".into());
    let engine = Engine::open(&Source::find("tales")?, &EngineOptions::default())?;
    let mut session = engine.session();
    let sampling = SamplingParams { temperature: 0.8, top_k: 40, seed: 7, ..SamplingParams::default() };
    let params = GenerateParams { sampling, max_tokens: Some(60), ..GenerateParams::default() };
    print!("{prompt}");
    let completion = session.generate_with(prompt, &params, |step| {
        print!("{}", step.text);
        let _ = std::io::stdout().flush();
    })?;
    let stats = completion.stats;
    let speed = (stats.n_generated.max(1) - 1) as f64 / stats.decode_time.as_secs_f64().max(1e-9);
    println!("\n[{} tokens, {}]", stats.n_generated, completion.finish_reason.as_str());
    eprintln!("{speed:.0} tokens/s on {}", engine.device_name());
    Ok(())
}
