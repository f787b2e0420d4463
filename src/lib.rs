//! Halfwarp: low-latency inference for decoder language models.
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
//! A room uses those above it in this table, and never one below. Each has an error of its own down to [`backend`] and
//! [`convert`]; [`Error`] wraps them for the rooms that programs call.
//!
//! | room | holds | uses |
//! |---|---|---|
//! | `memory` | zeroed memory, in huge pages where the system has them | |
//! | [`config`] | what a decoder does, whose it is left aside | |
//! | [`format`](mod@format) | weights files: bytes to named tensors | memory |
//! | [`family`] | a checkpoint's names and fields to a config and slots | config |
//! | [`weights`] | slots filled from a format, in their stored type | format, family, config |
//! | [`sampler`] | logits to a token | family |
//! | [`stop`] | text to the point where it ends | |
//! | [`tokenizer`] | text to token ids, and back as a stream | format |
//! | `chat` | a conversation to the token ids of a prompt (feature `chat`) | tokenizer, format |
//! | [`source`] | where a model is found, and its parts read | weights, tokenizer, family, format, config |
//! | [`convert`] | a checkpoint of any kind, written as fp16 | source, weights, family, format, config |
//! | [`batch`] | what one forward call processes | sampler |
//! | [`cache`] | the paged KV cache: which sequence holds which tokens where | batch |
//! | [`backend`] | the seam, one forward call; behind it the devices and their plain twin | cache, batch, sampler, weights, family, config, memory |
//! | [`error`](mod@error) | the error of all that stands on the rooms above | backend, cache, convert, source, tokenizer, sampler, weights, family, config |
//! | [`engine`] | [`Engine`] and [`Session`], which programs use | error, backend, cache, batch, source, tokenizer, stop, sampler, weights, config |
//! | [`scheduler`] | [`Scheduler`], many texts at once | engine, error, backend, cache, batch |
//! | [`eval`] | how well a model predicts a text | engine, error, sampler |
//! | `server` | many clients at once, over HTTP, as OpenAI's API has it (feature `server`) | scheduler, engine, error, backend, cache, chat, tokenizer, sampler |
//!
//! `tests/rooms.rs` holds the table against the imports.

pub mod backend;
pub mod batch;
pub mod cache;
#[cfg(feature = "chat")]
pub mod chat;
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
