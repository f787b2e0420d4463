//! Runs the queues of the streams, when somebody waits for them.
//!
//! Operations are numbered as they are submitted. The first of a stream may run once nothing holds it up: stream 0 waits for
//! earlier operations of blocking streams and they for its, and a wait for an event waits for its record. What holds an
//! operation up has a smaller number always, so that somebody can go on. Who waits for a stream runs that stream and what it
//! needs, no more; who waits for all runs last what was submitted first, as far as it is legal. So a missing wait is seen.
//! With a seed the choice is random.

use super::{Driver, Locked};
use crate::driver::objects::{
    code::{Code, Error, Result},
    context::Context,
    handle::Id,
    stream::Stream,
    work::{HostCall, KernelWork, Op, Work},
};
use crate::machine::{Fault, FaultKind};
use std::cell::Cell;

/// Operations that a stream holds before the oldest ones run.
const QUEUE: usize = 1024;

thread_local! {
    /// This thread is inside a host function that a stream called.
    static IN_HOST_FUNCTION: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a host function that a stream called.
pub fn in_host_function() -> bool {
    IN_HOST_FUNCTION.get()
}

impl Driver {
    /// Puts an operation at the end of a stream; its number.
    pub fn submit(&mut self, stream: Id<Stream>, op: Op) -> Result<u64> {
        self.submitted += 1;
        let number = self.submitted;
        if let Op::Record(_) = op {
            self.records.insert(number, stream);
        }
        self.streams.get_mut(stream)?.queue.push_back((number, op));
        Ok(number)
    }

    /// The number of the first operation of a stream.
    fn front(&self, stream: Id<Stream>) -> Option<u64> {
        self.streams.get(stream).ok()?.queue.front().map(|&(number, _)| number)
    }

    /// The stream that must go on before this one can.
    fn holder(&self, stream: Id<Stream>) -> Option<Id<Stream>> {
        let s = self.streams.get(stream).ok()?;
        let (number, op) = s.queue.front()?;
        if let Op::Wait(record) = op
            && let Some(&other) = self.records.get(record)
        {
            return Some(other);
        }
        let earlier = |other: Id<Stream>| self.front(other).is_some_and(|n| n < *number).then_some(other);
        if s.legacy {
            let same = self.streams.iter().filter(|(_, o)| o.context == s.context && o.blocking());
            return same.map(|(id, _)| id).find_map(earlier);
        }
        if s.blocking() { earlier(self.contexts.get(s.context).ok()?.legacy) } else { None }
    }

    /// Forgets all work of a context.
    pub fn abandon(&mut self, context: Id<Context>) {
        for (_, stream) in self.streams.iter_mut().filter(|(_, s)| s.context == context) {
            for (number, _) in stream.queue.drain(..) {
                self.records.remove(&number);
            }
        }
    }

    /// The context has failed: every call gives this error from now on.
    fn fail(&mut self, context: Id<Context>, error: Error) -> Error {
        self.abandon(context);
        if let Ok(c) = self.contexts.get_mut(context) {
            c.failed = Some(error.clone());
        }
        error
    }

    /// The next choice among `n`: the first without a seed, else from a counter-based generator (SplitMix64).
    fn choose(&mut self, n: usize) -> usize {
        if self.options.seed.is_none() || n < 2 {
            return 0;
        }
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ z >> 31) as usize % n
    }

    /// Streams of a context whose first operation may run, the one submitted last first.
    fn ready(&self, context: Id<Context>) -> Vec<Id<Stream>> {
        let mut ready: Vec<_> = self
            .streams
            .iter()
            .filter(|(id, s)| s.context == context && !s.queue.is_empty() && self.holder(*id).is_none())
            .map(|(id, _)| id)
            .collect();
        ready.sort_by_key(|&id| std::cmp::Reverse(self.front(id)));
        ready
    }
}

/// Runs the first operation of a stream, or of one that it waits for.
pub fn advance(d: &mut Locked, stream: Id<Stream>) -> Result<()> {
    d.wait_for_host_functions();
    let mut stream = stream;
    while let Some(other) = d.holder(stream) {
        stream = other;
    }
    let s = d.streams.get_mut(stream)?;
    let context = s.context;
    let Some((number, op)) = s.queue.pop_front() else { return Ok(()) };
    perform_op(d, number, op).map_err(|error| d.fail(context, error))
}

/// Runs a stream up to the operation of this number.
pub fn until(d: &mut Locked, stream: Id<Stream>, number: u64) -> Result<()> {
    while d.front(stream).is_some_and(|n| n <= number) {
        let context = d.streams.get(stream)?.context;
        if d.choose(2) == 1 {
            let ready = d.ready(context);
            if !ready.is_empty() {
                let at = d.choose(ready.len());
                advance(d, ready[at])?;
                continue;
            }
        }
        advance(d, stream)?;
    }
    Ok(())
}

/// Runs all that a stream holds now.
pub fn finish(d: &mut Locked, stream: Id<Stream>) -> Result<()> {
    let last = d.streams.get(stream)?.queue.back().map_or(0, |&(number, _)| number);
    until(d, stream, last)
}

/// Runs all that a context holds now.
pub fn drain(d: &mut Locked, context: Id<Context>) -> Result<()> {
    loop {
        let ready = d.ready(context);
        if ready.is_empty() {
            return Ok(());
        }
        let at = d.choose(ready.len());
        advance(d, ready[at])?;
    }
}

/// Runs the oldest operations of a stream that holds too many.
pub fn limit(d: &mut Locked, stream: Id<Stream>) -> Result<()> {
    while d.streams.get(stream)?.queue.len() > QUEUE {
        advance(d, stream)?;
    }
    Ok(())
}

/// Submits work to a stream, or to its capture; its number if it went to the stream. Work that calls functions of the host
/// runs at once, because somebody may wait for these without asking the driver.
pub fn work(d: &mut Locked, stream: Id<Stream>, work: Work) -> Result<Option<u64>> {
    if d.streams.get(stream)?.capture.is_some() {
        d.capture(stream, work)?;
        return Ok(None);
    }
    d.check_implicit(stream)?;
    let calls = work.calls_host();
    let number = d.submit(stream, Op::Work(work))?;
    if calls {
        until(d, stream, number)?;
    }
    limit(d, stream)?;
    Ok(Some(number))
}

fn perform_op(d: &mut Locked, number: u64, op: Op) -> Result<()> {
    match op {
        Op::Work(work) => perform(d, &work),
        Op::Record(event) => {
            d.records.remove(&number);
            if let Ok(event) = d.events.get_mut(event)
                && event.record == Some(number)
            {
                event.time = Some(std::time::Instant::now());
            }
            Ok(())
        }
        Op::Wait(_) => Ok(()),
        Op::Free(base) => {
            d.release(base);
            Ok(())
        }
    }
}

/// Does a piece of work.
fn perform(d: &mut Locked, work: &Work) -> Result<()> {
    match work {
        Work::Kernel(kernel) => d.launch_now(kernel),
        Work::Copy(copy) => d.copy_now(copy),
        Work::Set(set) => d.set_now(set),
        Work::Call(call) => {
            call_host(d, *call);
            Ok(())
        }
        Work::Graph(nodes) => {
            let mut done = vec![false; nodes.len()];
            // The ready node that was added last comes first, or a random one.
            loop {
                let ready = |i: &usize| !done[*i] && nodes[*i].dependencies.iter().all(|&k| done[k]);
                let ready: Vec<usize> = (0..nodes.len()).rev().filter(ready).collect();
                if ready.is_empty() {
                    return Ok(());
                }
                let node = ready[d.choose(ready.len())];
                perform(d, &nodes[node].work)?;
                done[node] = true;
            }
        }
        Work::Empty => Ok(()),
    }
}

/// Calls a function of the host without the lock; the streams stand still meanwhile.
fn call_host(d: &mut Locked, call: HostCall) {
    d.in_host_function = true;
    d.unlocked(|| {
        IN_HOST_FUNCTION.set(true);
        match call {
            HostCall::Plain(function, data) => function.call(data),
            HostCall::Callback(function, stream, data) => function.call_back(stream.0, data),
        }
        IN_HOST_FUNCTION.set(false);
    });
    d.in_host_function = false;
    d.wake();
}

impl Driver {
    fn launch_now(&mut self, kernel: &KernelWork) -> Result<()> {
        self.launches += 1;
        if self.options.launch_failure == Some(self.launches) {
            return Err(Code::LAUNCH_FAILED.because("failed by the option launch_failure"));
        }
        self.machine.watch = self.hooks.watch_for(&self.options, kernel);
        let outcome = match self.options.schedules {
            None => self.machine.launch(&kernel.program, &kernel.launch),
            Some(k) => {
                let first = self.options.seed.unwrap_or(0);
                let seeds: Vec<u64> = (0..k).map(|i| first.wrapping_add(i)).collect();
                self.machine.launch_repeatedly(&kernel.program, &kernel.launch, &seeds)
            }
        };
        let watch = std::mem::take(&mut self.machine.watch);
        self.hooks.after_launch(&self.options, kernel, watch, &outcome);
        outcome.map_err(|fault| code_of(&fault).because(fault.to_string()))
    }
}

/// The code that hardware gives for a fault.
fn code_of(fault: &Fault) -> Code {
    match fault.kind {
        FaultKind::IllegalAddress => Code::ILLEGAL_ADDRESS,
        FaultKind::MisalignedAddress => Code::MISALIGNED_ADDRESS,
        FaultKind::InvalidAddressSpace => Code::INVALID_ADDRESS_SPACE,
        FaultKind::InvalidPc => Code::INVALID_PC,
        FaultKind::IllegalInstruction => Code::ILLEGAL_INSTRUCTION,
        FaultKind::Assert => Code::ASSERT,
        FaultKind::Timeout => Code::LAUNCH_TIMEOUT,
        FaultKind::LaunchFailed | FaultKind::Finding => Code::LAUNCH_FAILED,
    }
}
