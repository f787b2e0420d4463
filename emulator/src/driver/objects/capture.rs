//! Captures: streams whose work becomes a graph instead of running.

use super::{
    code::{Code, Result},
    context::Context,
    graph::Graph,
    handle::Id,
    stream::Stream,
};
use std::thread::ThreadId;

/// A capture that goes on.
pub struct Capture {
    pub context: Id<Context>,
    pub graph: Id<Graph>,
    /// The stream that it began in.
    pub origin: Id<Stream>,
    pub mode: Mode,
    /// The thread that began it.
    pub thread: ThreadId,
    /// Something illegal happened: the capture gives no graph.
    pub broken: bool,
}

/// Which calls are refused during a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Unsafe calls of any thread.
    Global,
    /// Unsafe calls of the thread that began the capture.
    ThreadLocal,
    /// None.
    Relaxed,
}

impl Mode {
    pub fn new(value: u32) -> Result<Mode> {
        match value {
            0 => Ok(Mode::Global),
            1 => Ok(Mode::ThreadLocal),
            2 => Ok(Mode::Relaxed),
            _ => Err(Code::INVALID_VALUE.because(format!("capture mode {value}, expected 0 to 2"))),
        }
    }
}
