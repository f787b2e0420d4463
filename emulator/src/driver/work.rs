//! What streams and graphs do.

use super::{event::Event, handle::Id, raw::Host};
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
#[derive(Clone)]
pub enum Work {
    Kernel(KernelWork),
    Copy(CopyWork),
    Set(SetWork),
    /// A function of the host.
    Call(HostCall),
    /// Nothing.
    Empty,
}

/// A launch.
#[derive(Clone)]
pub struct KernelWork {
    pub program: Arc<Program>,
    pub launch: Launch,
}

/// One side of a copy.
#[derive(Debug, Clone)]
pub enum Place {
    /// An address that the device can use.
    Device(u64),
    /// Pageable memory of the host.
    Host(Host),
    /// Bytes that were taken from the host when the copy was submitted.
    Staged(Arc<Vec<u8>>),
}

/// A copy of `rows` rows of `width` bytes; rows begin `pitch` bytes apart.
#[derive(Debug, Clone)]
pub struct CopyWork {
    pub to: Place,
    pub to_pitch: u64,
    pub from: Place,
    pub from_pitch: u64,
    pub width: u64,
    pub rows: u64,
}

/// Fills `rows` rows of `width` elements of `size` bytes with `value`.
#[derive(Debug, Clone)]
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
pub struct HostCall {
    pub function: HostFunction,
    pub data: Host,
}

/// The functions that streams can call.
#[derive(Debug, Clone, Copy)]
pub enum HostFunction {
    /// `cuLaunchHostFunc`: `void f(void* data)`.
    Plain(extern "C" fn(Host)),
}
