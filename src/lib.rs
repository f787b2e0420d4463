//! Halfwarp: low-latency inference for GPT-2-family language models.
//!
//! The crate is layered, and each layer uses only those above it in this list:
//!
//! - [`source`], [`config`], [`weights`], [`tokenizer`]: what a checkpoint holds, found and validated.
//! - [`batch`], [`cache`]: what one forward call processes, and the paged KV cache.
//! - [`backend`]: the seam, one forward call; behind it the CPU backend and its plain twin.
//! - [`sampler`], [`stop`]: logits to a token, text to the point where it ends.
//! - [`engine`]: [`Engine`] and [`Session`], which programs use.

pub mod backend;
pub mod batch;
pub mod cache;
pub mod config;
pub mod engine;
pub mod error;
pub mod sampler;
pub mod source;
pub mod stop;
pub mod tokenizer;
pub mod weights;

pub use config::Config;
pub use engine::{Engine, EngineOptions, Session};
pub use error::{Error, Result};
pub use source::Source;
pub use tokenizer::Tokenizer;
pub use weights::Weights;
