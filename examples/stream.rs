//! Continues a text and writes it as it comes: `cargo run --release --example stream -- "Once upon a time"`.
//!
//! A second argument is the model: a folder, or a name in the Hugging Face cache.

use halfwarp::{Engine, EngineOptions, Result, Source, engine::GenerateParams};
use std::io::Write;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let prompt = args.next().unwrap_or_else(|| "Once upon a time".into());
    let model = args.next().unwrap_or_else(|| "tales".into());
    let engine = Engine::open(&Source::find(&model)?, &EngineOptions::default())?;

    // The likeliest token each time; `sampling` says otherwise.
    let params = GenerateParams { max_tokens: Some(40), ..GenerateParams::default() };
    let mut session = engine.session();
    let mut generation = session.generate(prompt.as_str(), &params)?;
    print!("{prompt}");
    for step in generation.by_ref() {
        print!("{}", step?.text);
        let _ = std::io::stdout().flush();
    }
    let completion = generation.into_completion();
    println!();
    eprintln!("{} tokens, {}", completion.stats.n_generated, completion.finish_reason.as_str());
    Ok(())
}
