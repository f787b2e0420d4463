//! What streams and graphs do.

use super::{
    code::{Code, Error},
    event::Event,
    function::Function,
    handle::Id,
    host::{Host, HostFunction},
    stream::Stream,
};
use crate::{machine::Launch, program::Program};
use std::sync::Arc;

/// An operation in a stream.
pub enum Op {
    /// Work of the device.
    Work(Work),
    /// An event is recorded.
    Record(Id<Event>),
    /// Waits until the record of this number has run.
    Wait(u64),
    /// The allocation at this address is freed.
    Free(u64),
}

/// Work of the device: what a node of a graph can be.
#[derive(Debug, Clone)]
pub enum Work {
    /// A launch.
    Kernel(KernelWork),
    /// A copy.
    Copy(CopyWork),
    /// A fill.
    Set(SetWork),
    /// A function of the host.
    Call(HostCall),
    /// A whole graph.
    Graph(Arc<Vec<ExecNode>>),
    /// Nothing.
    Empty,
}

/// A node of a graph that can be launched: what it does, and the positions of the nodes that come before it.
#[derive(Debug, Clone)]
pub struct ExecNode {
    pub work: Work,
    pub dependencies: Vec<usize>,
}

impl Work {
    /// The work calls functions of the host, which somebody may wait for without asking the driver.
    pub fn calls_host(&self) -> bool {
        match self {
            Work::Call(_) => true,
            Work::Graph(nodes) => nodes.iter().any(|n| n.work.calls_host()),
            _ => false,
        }
    }

    /// `CUgraphNodeType`.
    pub fn kind(&self) -> u32 {
        match self {
            Work::Kernel(_) => 0,
            Work::Copy(_) => 1,
            Work::Set(_) => 2,
            Work::Call(_) => 3,
            Work::Graph(_) => 4,
            Work::Empty => 5,
        }
    }

    pub fn kind_name(&self) -> &'static str {
        ["kernel", "copy", "fill", "host function", "graph", "empty"][self.kind() as usize]
    }

    /// The error for a node that does this where a function is for nodes of another kind.
    pub fn other_kind(&self) -> Error {
        Code::INVALID_VALUE.because(format!("the node is of another kind: {}", self.kind_name()))
    }
}

/// A launch.
#[derive(Clone)]
pub struct KernelWork {
    /// The kernel's handle.
    pub function: Id<Function>,
    /// The program that holds the kernel.
    pub program: Arc<Program>,
    /// The launch.
    pub launch: Launch,
    /// The launch may begin before the launch in front of it has ended (`griddepcontrol.wait` waits for that).
    pub programmatic: bool,
}

impl std::fmt::Debug for KernelWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelWork").field("function", &self.function).field("launch", &self.launch).finish()
    }
}

/// Where one side of a copy is.
#[derive(Debug, Clone)]
pub enum Place {
    /// An address that the device can use.
    Device(u64),
    /// Pageable memory of the host.
    Host(Host),
    /// Bytes that were taken from the host when the copy was submitted.
    Staged(Arc<Vec<u8>>),
}

/// One side of a copy.
#[derive(Debug, Clone)]
pub struct Side {
    /// Where it begins.
    pub place: Place,
    /// Bytes from a row to the next.
    pub pitch: u64,
    /// Bytes from a slice to the next.
    pub slice: u64,
}

/// A copy of `slices` slices of `rows` rows of `width` bytes.
#[derive(Debug, Clone)]
pub struct CopyWork {
    pub to: Side,
    pub from: Side,
    pub width: u64,
    pub rows: u64,
    pub slices: u64,
}

/// Fills `rows` rows, `pitch` bytes apart, of `width` elements of `size` bytes with `value`.
#[derive(Debug, Clone, Copy)]
pub struct SetWork {
    pub to: u64,
    pub pitch: u64,
    pub value: u32,
    pub size: u32,
    pub width: u64,
    pub rows: u64,
}

/// A call of a function of the host.
#[derive(Debug, Clone, Copy)]
pub enum HostCall {
    /// `cuLaunchHostFunc`: the function and its argument.
    Plain(HostFunction, Host),
    /// `cuStreamAddCallback`: the function, its stream and its argument.
    Callback(HostFunction, Id<Stream>, Host),
}
