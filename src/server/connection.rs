//! Connections: how many there are, how long they may take, and how they end.
//!
//! axum's own server sets no deadline, so hyper is driven here, HTTP/1.1 alone: a head has a deadline and a size, and writing has a
//! deadline that starts anew with every byte the client takes. What a slow client has not taken is bounded by the socket's buffer,
//! hyper's buffer and the request itself.

use super::Limits;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Sleep, sleep},
};

/// Headers of a request.
const HEADERS_MAX: usize = 100;
/// Bytes of a head, and of what is read or written at once.
const BUFFER_LEN: usize = 64 << 10;
/// Bytes that the system keeps for a client that reads slowly.
const SEND_BUFFER_LEN: u32 = 256 << 10;
/// Connections that the system keeps until they are accepted.
const BACKLOG: u32 = 1024;
/// After a failure to accept, which is most often one to open another file.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Takes `address`.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that was killed can have its port again at once. On Windows the option means another thing.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_LEN)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The connections of a server.
pub struct Connections {
    places: Arc<Semaphore>,
    n_places: u32,
    builder: http1::Builder,
    write_time: Duration,
    /// True once connections are to end.
    ends: watch::Sender<bool>,
}

impl Connections {
    /// None yet.
    pub fn new(limits: &Limits) -> Self {
        let n_places = u32::try_from(limits.n_connections.max(1)).unwrap_or(u32::MAX);
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_LEN);
        Self {
            places: Arc::new(Semaphore::new(n_places as usize)),
            n_places,
            builder,
            write_time: limits.write_time,
            ends: watch::Sender::new(false),
        }
    }

    /// Accepts connections for as long as it is polled.
    pub async fn accept(&self, listener: &TcpListener, router: &Router) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => self.serve(stream, router.clone(), place),
                Err(_) => sleep(ACCEPT_AGAIN).await,
            }
        }
    }

    fn serve(&self, stream: TcpStream, router: Router, place: OwnedSemaphorePermit) {
        // Tokens are small and are wanted at once.
        let _ = stream.set_nodelay(true);
        let stream = Timed { stream, write_time: self.write_time, deadline: None };
        let connection =
            self.builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let mut ends = self.ends.subscribe();
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            // How a connection ends concerns nobody: each request on it was told, or is gone.
            let ended = tokio::select! {
                _ = connection.as_mut() => true,
                _ = async { ends.wait_for(|&ends| ends).await.is_ok() } => false,
            };
            if !ended {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
            drop(place);
        });
    }

    /// Ends the connections that are idle, and waits for the others for at most `time`.
    pub async fn drain(&self, time: Duration) {
        self.ends.send_replace(true);
        let _ = tokio::time::timeout(time, self.places.acquire_many(self.n_places)).await;
    }
}

/// A stream on which a write fails that the other side has made wait for too long.
struct Timed {
    stream: TcpStream,
    write_time: Duration,
    /// Runs while a write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Timed {
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

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Timed {
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
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
