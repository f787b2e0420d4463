//! The `halfwarp` program.

use halfwarp::{Engine, EngineOptions, Source, engine::GenerateParams};
use std::io::Write;

fn main() -> Result<(), halfwarp::Error> {
    let prompt = std::env::args().nth(2).unwrap_or_default();
    let mut session = Engine::open(&Source::Bundled, &EngineOptions::default())?.session();
    let params = GenerateParams { max_tokens: Some(32), ..GenerateParams::default() };
    session.generate_with(prompt.as_str(), &params, |step| {
        print!("{}", step.text);
        let _ = std::io::stdout().flush();
    })?;
    println!();
    Ok(())
}
