//! Events: how programs record them, wait for them and take times.

use super::{entries, raw::Out};
use crate::driver::{
    objects::{
        code::{Code, Result},
        event::Event,
        handle::Id,
        stream::Stream,
        work::Op,
    },
    state::{Driver, Locked, run},
};

/// `CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS`.
const FLAGS: u32 = 7;
const DISABLE_TIMING: u32 = 2;
const INTERPROCESS: u32 = 4;

fn create(d: &mut Driver, flags: u32) -> Result<Id<Event>> {
    let context = d.current()?;
    if flags & !FLAGS != 0 || flags & INTERPROCESS != 0 && flags & DISABLE_TIMING == 0 {
        return Err(
            Code::INVALID_VALUE.because(format!("event flags {flags:#x}, expected bits 1, 2, or 2 and 4"))
        );
    }
    Ok(d.events.insert(Event { context, flags, record: None, time: None, captured: None }))
}

fn record(d: &mut Locked, event: Id<Event>, stream: Id<Stream>, flags: u32) -> Result<()> {
    if flags & !1 != 0 {
        return Err(Code::INVALID_VALUE.because(format!("flags {flags:#x}, expected 0 or 1")));
    }
    let stream = d.stream(stream)?;
    let (of_event, of_stream) = (d.events.get(event)?.context, d.streams.get(stream)?.context);
    if of_event != of_stream {
        return Err(Code::INVALID_HANDLE.because("the event and the stream belong to different contexts"));
    }
    if let Some(capture) = d.streams.get(stream)?.capture {
        d.capture_of(stream)?;
        let nodes = d.streams.get(stream)?.tails.clone();
        d.events.get_mut(event)?.captured = Some((capture, nodes));
        return Ok(());
    }
    d.check_implicit(stream)?;
    let number = d.submit(stream, Op::Record(event))?;
    let event = d.events.get_mut(event)?;
    (event.record, event.time, event.captured) = (Some(number), None, None);
    run::limit(d, stream)
}

/// The stream in which an event's record waits, with its number; none if it is complete.
fn pending(d: &mut Driver, event: Id<Event>) -> Result<Option<(Id<Stream>, u64)>> {
    d.current()?;
    let e = d.events.get(event)?;
    if e.captured.is_some() {
        return Err(Code::CAPTURED_EVENT.because("the event was recorded in a captured stream"));
    }
    let record = e.record;
    d.check_unsafe("asking for an event")?;
    Ok(record.and_then(|number| d.records.get(&number).map(|&stream| (stream, number))))
}

fn query(d: &mut Locked, event: Id<Event>) -> Result<()> {
    if let Some((stream, _)) = pending(d, event)? {
        run::advance(d, stream)?;
    }
    match pending(d, event)? {
        None => Ok(()),
        Some(_) => Err(Code::NOT_READY.because("the event has not happened")),
    }
}

fn elapsed(d: &Driver, start: Id<Event>, end: Id<Event>) -> Result<f32> {
    d.current()?;
    let time = |event: Id<Event>| {
        let e = d.events.get(event)?;
        if e.flags & DISABLE_TIMING != 0 || e.record.is_none() {
            return Err(Code::INVALID_HANDLE.because("an event without timing, or never recorded"));
        }
        e.time.ok_or_else(|| Code::NOT_READY.because("an event has not happened"))
    };
    let (start, end) = (time(start)?, time(end)?);
    let after = end.saturating_duration_since(start).as_secs_f64();
    let before = start.saturating_duration_since(end).as_secs_f64();
    Ok((1e3 * (after - before)) as f32)
}

entries! {
    fn cuEventCreate(event: Out<Id<Event>>, flags: u32) |d| event.fill(|| create(d, flags));
    fn cuEventDestroy_v2(event: Id<Event>) |d| d.events.remove(event).map(|_| ());
    fn cuEventRecord(event: Id<Event>, stream: Id<Stream>) |d| record(d, event, stream, 0);
    fn cuEventRecordWithFlags(event: Id<Event>, stream: Id<Stream>, flags: u32) |d| record(d, event, stream, flags);
    fn cuEventQuery(event: Id<Event>) |d| query(d, event);
    fn cuEventSynchronize(event: Id<Event>) |d| match pending(d, event)? {
        Some((stream, number)) => run::until(d, stream, number),
        None => Ok(()),
    };
    fn cuEventElapsedTime(milliseconds: Out<f32>, start: Id<Event>, end: Id<Event>) |d| {
        milliseconds.fill(|| elapsed(d, start, end))
    };
    fn cuEventElapsedTime_v2(milliseconds: Out<f32>, start: Id<Event>, end: Id<Event>) |d| {
        milliseconds.fill(|| elapsed(d, start, end))
    };
}
