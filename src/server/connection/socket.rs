//! [`Socket`]: a client's stream, on which no wait is without end.
//!
//! Writing has a deadline that starts anew with every byte the client takes. What a slow client has not taken is bounded by the
//! system's buffer, hyper's buffer and the request itself.
//!
//! A connection ends in stages (RFC 9112, 9.6): a system that closes a socket with bytes unread tells the client so with a reset, at
//! which the client drops the answer that it has not read. So where a request was answered before all of it was read, what the
//! client still sends is read and dropped, until it closes too or has had its time.

use super::super::Limits;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// Bytes that are dropped at the end of a connection, in bodies of the largest size that is accepted.
const N_BODIES_DROPPED: usize = 8;
/// How long a client may send nothing before the socket is closed under it.
const SILENCE: Duration = Duration::from_secs(2);
/// Bytes that are dropped at once.
const DROP_LEN: usize = 16 << 10;

/// Whether a part of a request was read and its end was not.
#[derive(Clone, Default)]
pub struct Tail(Arc<AtomicBool>);

impl Tail {
    /// A body that notes its end here.
    pub fn watch(&self, body: Incoming) -> Watched {
        let watched = Watched { body, tail: self.clone() };
        watched.note_end();
        watched
    }

    fn set(&self, is_left: bool) {
        self.0.store(is_left, Ordering::Relaxed);
    }

    fn is_left(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request's body.
pub struct Watched {
    body: Incoming,
    tail: Tail,
}

impl Watched {
    fn note_end(&self) {
        if self.body.is_end_stream() {
            self.tail.set(false);
        }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match &frame {
            Poll::Ready(None) => self.tail.set(false),
            Poll::Ready(Some(_)) => self.note_end(),
            Poll::Pending => (),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A client's stream.
pub struct Socket {
    stream: TcpStream,
    tail: Tail,
    write_time: Duration,
    /// Runs while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
    end: End,
}

/// How far the end of a connection has come.
struct End {
    time: Duration,
    n_left: usize,
    /// The end of all of it, and of the client's silence; none before the last byte was sent.
    deadlines: Option<[Pin<Box<Sleep>>; 2]>,
}

impl Socket {
    /// A stream with the limits of a server.
    pub fn new(stream: TcpStream, limits: &Limits, tail: Tail) -> Self {
        let n_left = limits.body_len.saturating_mul(N_BODIES_DROPPED);
        let end = End { time: limits.body_time, n_left, deadlines: None };
        Self { stream, tail, write_time: limits.write_time, deadline: None, end }
    }

    fn check<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(self.write_time)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl End {
    /// Reads and drops what the client still sends.
    fn poll(&mut self, context: &mut Context<'_>, stream: &mut TcpStream) -> Poll<()> {
        let Some([deadline, silence]) = &mut self.deadlines else { return Poll::Ready(()) };
        let mut bytes = [0; DROP_LEN];
        loop {
            if deadline.as_mut().poll(context).is_ready() || silence.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut bytes);
            let is_read = ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)).is_ok();
            let n_read = buffer.filled().len();
            if !is_read || n_read == 0 || n_read >= self.n_left {
                return Poll::Ready(());
            }
            self.n_left -= n_read;
            silence.as_mut().reset(Instant::now() + SILENCE);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n_before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > n_before {
            self.tail.set(true);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.check(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.end.deadlines.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.tail.is_left() {
                return Poll::Ready(Ok(()));
            }
            this.end.deadlines = Some([this.end.time, SILENCE].map(|time| Box::pin(sleep(time))));
        }
        this.end.poll(context, &mut this.stream).map(Ok)
    }
}
