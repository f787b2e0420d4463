//! Stream capture: work that is submitted to a captured stream becomes a graph instead of running.
//!
//! A capture begins in one stream; others join it when they wait for an event that was recorded in it, and must be joined
//! back the same way. Calls that could upset it are refused and break it, as CUDA has it.

use super::Driver;
use crate::driver::objects::{
    capture::{Capture, Mode},
    code::{Code, Error, Result},
    context::Context,
    graph::{Graph, Node},
    handle::Id,
    stream::Stream,
    work::Work,
};
use std::cell::Cell;

thread_local! {
    /// `cuThreadExchangeStreamCaptureMode`.
    static MODE: Cell<Mode> = const { Cell::new(Mode::Global) };
}

/// Changes which calls this thread's own captures and those of others refuse to it; gives what it was.
pub fn exchange_mode(mode: Mode) -> Mode {
    MODE.replace(mode)
}

impl Driver {
    /// Adds work to the capture of a stream.
    pub fn capture(&mut self, stream: Id<Stream>, work: Work) -> Result<Id<Node>> {
        let graph = self.capture_of(stream)?.graph;
        let tails = self.streams.get(stream)?.tails.clone();
        let node = self.add_node(graph, work, tails)?;
        self.streams.get_mut(stream)?.tails = vec![node];
        Ok(node)
    }

    /// The capture of a captured stream, which must not be broken.
    pub fn capture_of(&self, stream: Id<Stream>) -> Result<&Capture> {
        let capture = self.streams.get(stream)?.capture.unwrap_or(Id::NULL);
        let capture = self.captures.get(capture)?;
        match capture.broken {
            false => Ok(capture),
            true => Err(Code::STREAM_CAPTURE_INVALIDATED.because("an earlier call broke the capture")),
        }
    }

    /// Breaks the captures that `which` picks, if any; the error that the call gives for it.
    fn break_captures(&mut self, code: Code, why: &str, which: impl Fn(&Capture) -> bool) -> Result<()> {
        let mut error: Option<Error> = None;
        for (_, capture) in self.captures.iter_mut().filter(|(_, c)| which(c)) {
            capture.broken = true;
            error = Some(code.because(format!("{why} during a capture")));
        }
        error.map_or(Ok(()), Err)
    }

    /// A call that could allocate, synchronise or ask how far the device is: refused during captures that forbid it.
    pub fn check_unsafe(&mut self, what: &str) -> Result<()> {
        let (mode, thread) = (MODE.get(), std::thread::current().id());
        let forbids = |c: &Capture| match mode {
            Mode::Relaxed => false,
            _ if c.thread == thread => c.mode != Mode::Relaxed,
            Mode::ThreadLocal => false,
            Mode::Global => c.mode == Mode::Global,
        };
        self.break_captures(Code::STREAM_CAPTURE_UNSUPPORTED, what, forbids)
    }

    /// Waiting for everything is refused during any capture of the context.
    pub fn check_wait_for_all(&mut self, context: Id<Context>) -> Result<()> {
        let of_context = |c: &Capture| c.context == context;
        self.break_captures(Code::STREAM_CAPTURE_UNSUPPORTED, "waiting for the context", of_context)
    }

    /// Waiting for a captured stream, or asking how far it is, is refused.
    pub fn check_not_captured(&mut self, stream: Id<Stream>) -> Result<()> {
        let Some(capture) = self.streams.get(stream)?.capture else { return Ok(()) };
        let graph = self.captures.get(capture)?.graph;
        let same = |c: &Capture| c.graph == graph;
        self.break_captures(Code::STREAM_CAPTURE_UNSUPPORTED, "waiting for a captured stream", same)
    }

    /// Allocations cannot be part of a graph.
    pub fn check_not_in_graph(&mut self, stream: Id<Stream>) -> Result<()> {
        match self.streams.get(stream)?.capture {
            None => self.check_implicit(stream),
            Some(_) => Err(Code::NOT_SUPPORTED.because("allocating and freeing in a captured stream")),
        }
    }

    /// Work in stream 0 would wait for a captured blocking stream: refused.
    pub fn check_implicit(&mut self, stream: Id<Stream>) -> Result<()> {
        let s = self.streams.get(stream)?;
        if !s.legacy || self.captures.is_empty() {
            return Ok(());
        }
        let context = s.context;
        let blocking = self.streams.iter().filter(|(_, o)| o.context == context && o.blocking());
        let held: Vec<u64> = blocking.filter_map(|(_, o)| o.capture).map(|c| c.0).collect();
        let graphs: Vec<u64> =
            self.captures.iter().filter(|(id, _)| held.contains(&id.0)).map(|(_, c)| c.graph.0).collect();
        let waits = |c: &Capture| graphs.contains(&c.graph.0);
        self.break_captures(Code::STREAM_CAPTURE_IMPLICIT, "work in stream 0", waits)
    }

    /// A captured stream is to wait for nodes of a capture: it joins it, or the nodes join its next one's dependencies.
    pub fn join_capture(
        &mut self,
        stream: Id<Stream>,
        capture: Id<Capture>,
        nodes: &[Id<Node>],
    ) -> Result<()> {
        if !self.captures.contains(capture) {
            return Err(Code::INVALID_VALUE.because("the event was recorded in a capture that has ended"));
        }
        let s = self.streams.get_mut(stream)?;
        if s.legacy {
            return Err(Code::STREAM_CAPTURE_IMPLICIT.because("stream 0 cannot join a capture"));
        }
        match s.capture {
            Some(own) if own != capture => {
                let (a, b) = (self.captures.get(own)?.graph, self.captures.get(capture)?.graph);
                let both = |c: &Capture| c.graph == a || c.graph == b;
                return self.break_captures(Code::STREAM_CAPTURE_MERGE, "joining two captures", both);
            }
            Some(_) => {}
            None => s.capture = Some(capture),
        }
        for &node in nodes {
            if !s.tails.contains(&node) {
                s.tails.push(node);
            }
        }
        Ok(())
    }

    /// A captured stream is to wait for an event that was recorded outside its capture: refused.
    pub fn check_isolation(&mut self, stream: Id<Stream>) -> Result<()> {
        let Some(capture) = self.streams.get(stream)?.capture else { return Ok(()) };
        let graph = self.captures.get(capture)?.graph;
        let same = |c: &Capture| c.graph == graph;
        self.break_captures(Code::STREAM_CAPTURE_ISOLATION, "waiting for an event from outside", same)
    }
}

pub fn begin(d: &mut Driver, handle: Id<Stream>, mode: Mode) -> Result<()> {
    let stream = d.stream(handle)?;
    let s = d.streams.get(stream)?;
    if s.legacy {
        return Err(Code::STREAM_CAPTURE_UNSUPPORTED.because("stream 0 cannot be captured"));
    }
    if s.capture.is_some() {
        return Err(Code::ILLEGAL_STATE.because("the stream is captured already"));
    }
    let context = s.context;
    let graph = d.graphs.insert(Graph::default());
    let thread = std::thread::current().id();
    let capture = d.captures.insert(Capture { context, graph, origin: stream, mode, thread, broken: false });
    let s = d.streams.get_mut(stream)?;
    (s.capture, s.tails) = (Some(capture), Vec::new());
    Ok(())
}

pub fn end(d: &mut Driver, handle: Id<Stream>) -> Result<Id<Graph>> {
    let stream = d.stream(handle)?;
    let capture = d.streams.get(stream)?.capture;
    let capture = capture.ok_or_else(|| Code::ILLEGAL_STATE.because("the stream is not captured"))?;
    let c = d.captures.get(capture)?;
    if c.origin != stream {
        return Err(Code::STREAM_CAPTURE_UNMATCHED.because("the capture began in another stream"));
    }
    if c.mode != Mode::Relaxed && c.thread != std::thread::current().id() {
        return Err(Code::STREAM_CAPTURE_WRONG_THREAD.because("another thread began the capture"));
    }
    let (graph, broken) = (c.graph, c.broken);
    let unjoined = unjoined(d, capture, stream)?;
    d.captures.remove(capture)?;
    for (_, s) in d.streams.iter_mut().filter(|(_, s)| s.capture == Some(capture)) {
        (s.capture, s.tails) = (None, Vec::new());
    }
    let failure = match (broken, unjoined) {
        (true, _) => Code::STREAM_CAPTURE_INVALIDATED.because("an earlier call broke the capture"),
        (_, true) => {
            Code::STREAM_CAPTURE_UNJOINED.because("a stream that joined the capture was not joined back")
        }
        _ => return Ok(graph),
    };
    d.destroy_graph(graph)?;
    Err(failure)
}

/// Whether a stream of the capture has nodes that the origin's next one would not depend on.
fn unjoined(d: &Driver, capture: Id<Capture>, origin: Id<Stream>) -> Result<bool> {
    let mut joined: Vec<u64> = Vec::new();
    let mut open: Vec<Id<Node>> = d.streams.get(origin)?.tails.clone();
    while let Some(node) = open.pop() {
        if !joined.contains(&node.0) {
            joined.push(node.0);
            open.extend(&d.nodes.get(node)?.dependencies);
        }
    }
    let others = d.streams.iter().filter(|(_, s)| s.capture == Some(capture));
    Ok(others.flat_map(|(_, s)| &s.tails).any(|t| !joined.contains(&t.0)))
}

/// 0: not captured; 1: captured; 2: captured, and broken.
pub fn status(d: &mut Driver, handle: Id<Stream>) -> Result<u32> {
    let stream = d.stream(handle)?;
    d.check_implicit(stream)?;
    match d.streams.get(stream)?.capture {
        None => Ok(0),
        Some(capture) => Ok(1 + u32::from(d.captures.get(capture)?.broken)),
    }
}
