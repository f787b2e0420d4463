//! Streams: queues of work that run in order.

use super::{capture::Capture, context::Context, graph::Node, handle::Id, work::Op};
use std::collections::VecDeque;

/// A stream.
pub struct Stream {
    pub context: Id<Context>,
    /// `CU_STREAM_...` flags: 1 for one that does not wait for stream 0.
    pub flags: u32,
    pub priority: i32,
    /// The stream 0 of its context.
    pub legacy: bool,
    /// Operations that have not run, with their numbers.
    pub queue: VecDeque<(u64, Op)>,
    /// The capture that the stream is part of, and the nodes that the next one depends on.
    pub capture: Option<Id<Capture>>,
    pub tails: Vec<Id<Node>>,
}

/// `CU_STREAM_NON_BLOCKING`.
pub const NON_BLOCKING: u32 = 1;
/// Priorities go from this, the most urgent, to 0.
pub const GREATEST_PRIORITY: i32 = -5;

impl Stream {
    pub fn new(context: Id<Context>, flags: u32, priority: i32) -> Stream {
        Stream {
            context,
            flags,
            priority,
            legacy: false,
            queue: VecDeque::new(),
            capture: None,
            tails: Vec::new(),
        }
    }

    /// The stream and stream 0 wait for each other.
    pub fn blocking(&self) -> bool {
        !self.legacy && self.flags & NON_BLOCKING == 0
    }
}
