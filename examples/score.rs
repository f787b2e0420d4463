//! Says how likely a text is, token by token: `cargo run --release --example score -- "The cat sat on the mat."`.
//!
//! A second argument is the model: a folder, or a name in the Hugging Face cache.

use halfwarp::{
    Engine, EngineOptions, Result, Source,
    eval::{self, Windows},
};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let text = args.next().unwrap_or_else(|| "Once upon a time there was a little girl.".into());
    let model = args.next().unwrap_or_else(|| "tales".into());
    let engine = Engine::open(&Source::find(&model)?, &EngineOptions::default())?;
    let tokenizer = engine.tokenizer()?;
    let ids = tokenizer.encode(&text)?;

    // A text that is longer than the context is scored in windows of which each begins in the middle of the one before.
    let n_ctx = engine.config().n_ctx;
    let windows = Windows { len: n_ctx, stride: n_ctx.div_ceil(2) };
    let score = eval::score(&mut engine.session(), &ids, windows, |position, nats| {
        let piece = tokenizer.token_bytes(ids[position]).unwrap_or_default();
        println!("{:8.3}  {:?}", -nats, String::from_utf8_lossy(piece));
    })?;
    println!("perplexity {:.3} over {} tokens", score.perplexity(), score.n_tokens);
    Ok(())
}
