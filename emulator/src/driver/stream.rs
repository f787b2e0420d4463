//! Streams: queues of work that run in order.

use super::{
    capture::Capture,
    code::{Code, Result},
    context::Context,
    entries,
    event::Event,
    graph::Node,
    handle::Id,
    raw::{Host, HostFunction, Out},
    run,
    state::{Driver, Locked},
    work::{HostCall, Op, Work},
};
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
    /// The capture that it is part of, and the nodes that the next one depends on.
    pub capture: Option<Id<Capture>>,
    pub tails: Vec<Id<Node>>,
}

/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: u32 = 1;
/// Handles that stand for stream 0 and for the thread's own stream.
const LEGACY: u64 = 1;
const PER_THREAD: u64 = 2;
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

    /// It and stream 0 wait for each other.
    pub fn blocking(&self) -> bool {
        !self.legacy && self.flags & NON_BLOCKING == 0
    }
}

impl Driver {
    /// The stream that a handle stands for, in the current context.
    pub(super) fn stream(&mut self, handle: Id<Stream>) -> Result<Id<Stream>> {
        let context = self.current()?;
        match handle.0 {
            0 | LEGACY => Ok(self.contexts.get(context)?.legacy),
            PER_THREAD => {
                let thread = std::thread::current().id();
                if let Some(&stream) = self.contexts.get(context)?.per_thread.get(&thread) {
                    return Ok(stream);
                }
                let stream = self.streams.insert(Stream::new(context, 0, 0));
                self.contexts.get_mut(context)?.per_thread.insert(thread, stream);
                Ok(stream)
            }
            _ => {
                let owner = self.streams.get(handle)?.context;
                match &self.contexts.get(owner)?.failed {
                    Some(error) => Err(error.clone()),
                    None => Ok(handle),
                }
            }
        }
    }
}

fn create(d: &mut Driver, flags: u32, priority: i32) -> Result<Id<Stream>> {
    let context = d.current()?;
    if flags & !NON_BLOCKING != 0 {
        return Err(Code::INVALID_VALUE.because(format!("stream flags {flags:#x}, expected 0 or 1")));
    }
    Ok(d.streams.insert(Stream::new(context, flags, priority.clamp(GREATEST_PRIORITY, 0))))
}

/// A stream that the program made itself, not one of the fixed handles.
fn own(handle: Id<Stream>) -> Result<()> {
    match handle.0 {
        0..=PER_THREAD => Err(Code::INVALID_HANDLE.because("the default streams cannot be destroyed")),
        _ => Ok(()),
    }
}

/// Work that is left runs still.
fn destroy(d: &mut Locked, handle: Id<Stream>) -> Result<()> {
    own(handle)?;
    let stream = d.stream(handle)?;
    d.check_not_captured(stream)?;
    run::finish(d, stream)?;
    d.streams.remove(stream)?;
    Ok(())
}

/// Asking gets one operation done, so that a program that only asks comes to an end.
fn query(d: &mut Locked, handle: Id<Stream>) -> Result<()> {
    let stream = d.stream(handle)?;
    d.check_not_captured(stream)?;
    d.check_implicit(stream)?;
    if d.streams.get(stream)?.queue.is_empty() {
        return Ok(());
    }
    run::advance(d, stream)?;
    match d.streams.get(stream)?.queue.is_empty() {
        true => Ok(()),
        false => Err(Code::NOT_READY.because("the stream has work left")),
    }
}

fn wait_event(d: &mut Locked, handle: Id<Stream>, event: Id<Event>, flags: u32) -> Result<()> {
    if flags & !1 != 0 {
        return Err(Code::INVALID_VALUE.because(format!("flags {flags:#x}, expected 0 or 1")));
    }
    let stream = d.stream(handle)?;
    let event = d.events.get(event)?;
    if let Some((capture, nodes)) = event.captured.clone() {
        return d.join_capture(stream, capture, &nodes);
    }
    // An event that was never recorded is complete.
    let Some(record) = event.record else { return Ok(()) };
    d.check_isolation(stream)?;
    d.check_implicit(stream)?;
    d.submit(stream, Op::Wait(record))?;
    run::limit(d, stream)
}

fn synchronize(d: &mut Locked, handle: Id<Stream>) -> Result<()> {
    let stream = d.stream(handle)?;
    d.check_not_captured(stream)?;
    d.check_implicit(stream)?;
    run::finish(d, stream)
}

fn call(d: &mut Locked, handle: Id<Stream>, call: HostCall) -> Result<()> {
    let stream = d.stream(handle)?;
    run::work(d, stream, Work::Call(call)).map(|_| ())
}

/// Callbacks are not captured.
fn add_callback(
    d: &mut Locked,
    handle: Id<Stream>,
    function: HostFunction,
    data: Host,
    flags: u32,
) -> Result<()> {
    function.check()?;
    if flags != 0 {
        return Err(Code::INVALID_VALUE.because(format!("flags {flags:#x}, expected 0")));
    }
    let stream = d.stream(handle)?;
    d.check_not_captured(stream)?;
    call(d, handle, HostCall::Callback(function, handle, data))
}

fn get<T>(d: &mut Driver, handle: Id<Stream>, what: impl Fn(&Stream) -> T) -> Result<T> {
    let stream = d.stream(handle)?;
    Ok(what(d.streams.get(stream)?))
}

entries! {
    fn cuStreamCreate(stream: Out<Id<Stream>>, flags: u32) |d| stream.fill(|| create(d, flags, 0));
    fn cuStreamCreateWithPriority(stream: Out<Id<Stream>>, flags: u32, priority: i32) |d| {
        stream.fill(|| create(d, flags, priority))
    };
    fn cuStreamDestroy_v2(stream: Id<Stream>) |d| destroy(d, stream);
    fn cuStreamSynchronize(stream: Id<Stream>) |d| synchronize(d, stream);
    fn cuStreamQuery(stream: Id<Stream>) |d| query(d, stream);
    fn cuStreamWaitEvent(stream: Id<Stream>, event: Id<Event>, flags: u32) |d| wait_event(d, stream, event, flags);
    fn cuStreamAddCallback(stream: Id<Stream>, function: HostFunction, data: Host, flags: u32) |d| {
        add_callback(d, stream, function, data, flags)
    };
    fn cuLaunchHostFunc(stream: Id<Stream>, function: HostFunction, data: Host) |d| {
        function.check()?;
        call(d, stream, HostCall::Plain(function, data))
    };
    fn cuStreamGetPriority(stream: Id<Stream>, priority: Out<i32>) |d| priority.fill(|| get(d, stream, |s| s.priority));
    fn cuStreamGetFlags(stream: Id<Stream>, flags: Out<u32>) |d| flags.fill(|| get(d, stream, |s| s.flags));
    fn cuStreamGetCtx(stream: Id<Stream>, context: Out<Id<Context>>) |d| context.fill(|| get(d, stream, |s| s.context));
    fn cuStreamGetId(stream: Id<Stream>, id: Out<u64>) |d| id.fill(|| Ok(d.stream(stream)?.0));
    fn cuStreamGetDevice(stream: Id<Stream>, device: Out<i32>) |d| device.fill(|| get(d, stream, |_| 0));
}
