//! Halfwarp: low-latency inference for GPT-2-family language models.
//!
#![cfg_attr(feature = "bundled", doc = "```")]
#![cfg_attr(not(feature = "bundled"), doc = "```ignore")]
//! use halfwarp::{Engine, EngineOptions, Source, engine::GenerateParams, sampler::SamplingParams};
//!
//! # fn main() -> halfwarp::Result<()> {
//! // The model that comes with the crate; `Source::find` takes a folder, a file or a name in the Hugging Face cache.
//! let engine = Engine::open(&Source::Bundled, &EngineOptions::default())?;
//! let mut session = engine.session();
//!
//! let params = GenerateParams {
//!     sampling: SamplingParams { temperature: 0.8, top_k: 40, seed: 1, ..SamplingParams::default() },
//!     max_tokens: Some(20),
//!     stop: vec!["\n".into()],
//!     ..GenerateParams::default()
//! };
//! // One step per token, as it is generated; `generate_with` is the same with a callback.
//! let mut generation = session.generate("Once upon a time", &params)?;
//! let mut text = String::new();
//! for step in generation.by_ref() {
//!     text += &step?.text;
//! }
//! let completion = generation.into_completion();
//! assert_eq!(text, completion.text);
//! println!("{text} ({})", completion.finish_reason.as_str());
//!
//! // The session kept keys and values: a longer text that begins alike computes only what is new.
//! let longer = format!("Once upon a time{text} The end.");
//! let next = session.generate_with(longer, &params, |_| {})?;
//! assert!(next.stats.n_cached > 0);
//! # Ok(())
//! # }
//! ```
//!
//! The crate is layered, and each layer uses only those above it in this list:
//!
//! - [`source`], [`config`], [`weights`], [`tokenizer`]: what a checkpoint holds, found and validated.
//! - [`batch`], [`cache`]: what one forward call processes, and the paged KV cache.
//! - [`backend`]: the seam, one forward call; behind it the CPU backend and its plain twin.
//! - [`sampler`], [`stop`]: logits to a token, text to the point where it ends.
//! - [`convert`]: a checkpoint of any kind, written as fp16.
//! - [`engine`]: [`Engine`] and [`Session`], which programs use.
//! - [`scheduler`]: [`Scheduler`], many texts at once.
//! - `server` (feature `server`): many clients at once, over HTTP, as OpenAI's API has it.
//! - [`eval`]: how well a model predicts a text.

pub mod backend;
pub mod batch;
pub mod cache;
pub mod config;
pub mod convert;
pub mod engine;
pub mod error;
pub mod eval;
pub mod family;
pub mod format;
mod memory;
pub mod sampler;
pub mod scheduler;
#[cfg(feature = "server")]
pub mod server;
pub mod source;
pub mod stop;
pub mod tokenizer;
pub mod weights;

pub use config::Config;
pub use engine::{Engine, EngineOptions, Session};
pub use error::{Error, Result};
pub use scheduler::Scheduler;
pub use source::Source;
pub use tokenizer::Tokenizer;
pub use weights::Weights;
