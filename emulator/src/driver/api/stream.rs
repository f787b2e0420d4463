//! Streams: how programs make them, wait for them and have functions of the host called.

use super::{entries, raw::Out};
use crate::driver::{
    objects::{
        code::{Code, Result},
        context::Context,
        event::Event,
        handle::Id,
        host::{Host, HostFunction},
        stream::{GREATEST_PRIORITY, NON_BLOCKING, Stream},
        work::{HostCall, Op, Work},
    },
    state::{Driver, Locked, run, stream::PER_THREAD},
};

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
