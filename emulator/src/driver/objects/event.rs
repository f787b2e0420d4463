//! Events: marks in streams that others wait for, and times between them.

use super::{capture::Capture, context::Context, graph::Node, handle::Id};
use std::time::Instant;

/// An event.
pub struct Event {
    pub context: Id<Context>,
    /// `CU_EVENT_...` flags.
    pub flags: u32,
    /// The number of the operation that recorded it last.
    pub record: Option<u64>,
    /// When that record ran.
    pub time: Option<Instant>,
    /// The event was recorded in a captured stream: the capture, and the nodes that the event stands for.
    pub captured: Option<(Id<Capture>, Vec<Id<Node>>)>,
}
