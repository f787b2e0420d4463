//! Contexts: what a program's objects belong to.

use super::{code::Error, handle::Id, stream::Stream};
use std::{collections::HashMap, thread::ThreadId};

/// A context.
pub struct Context {
    /// `CU_CTX_...` flags.
    pub flags: u32,
    /// The stream 0.
    pub legacy: Id<Stream>,
    /// The streams 2, one of each thread that used it.
    pub per_thread: HashMap<ThreadId, Id<Stream>>,
    /// The error that every call gives since a kernel failed.
    pub failed: Option<Error>,
    /// `cuCtxSetLimit`.
    pub limits: HashMap<u32, usize>,
    /// `cuCtxSetCacheConfig`.
    pub cache: u32,
}

/// The device's primary context.
#[derive(Default)]
pub struct Primary {
    pub context: Option<Id<Context>>,
    /// How often it is retained.
    pub count: u32,
    pub flags: u32,
}
