//! Connections: how many there are, how long they may take, and how they end.
//!
//! axum's own server sets no deadline, so hyper is driven here, HTTP/1.1 alone: a head has a deadline and a size, and what is read
//! and written on the socket has those of `socket.rs`.

mod socket;

use super::Limits;
use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket::{Socket, Tail};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::sleep,
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

/// Connections beyond the limit: for probes, for those who have little under way, and for telling the others that there is no place.
pub const N_SPARE: usize = 64;
/// For the head of a request on one of those, and for what a client sends after a refusal.
const SPARE_TIME: Duration = Duration::from_secs(2);

/// A request on a connection beyond the limit.
#[derive(Clone, Copy)]
pub struct Spare;

/// Places for connections, and what each may take.
struct Places {
    free: Arc<Semaphore>,
    n: u32,
    builder: http1::Builder,
    limits: Limits,
    is_spare: bool,
}

impl Places {
    fn new(n: usize, limits: &Limits, is_spare: bool) -> Self {
        let n = u32::try_from(n.max(1)).unwrap_or(u32::MAX);
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .keep_alive(!is_spare)
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_LEN);
        Self { free: Arc::new(Semaphore::new(n as usize)), n, builder, limits: limits.clone(), is_spare }
    }
}

/// The connections of a server.
pub struct Connections {
    places: Places,
    spare: Places,
    /// True once connections are to end.
    ends: watch::Sender<bool>,
}

impl Connections {
    /// None yet.
    pub fn new(limits: &Limits) -> Self {
        let short = Limits {
            head_time: limits.head_time.min(SPARE_TIME),
            body_time: limits.body_time.min(SPARE_TIME),
            ..limits.clone()
        };
        let (places, spare) =
            (Places::new(limits.n_connections, limits, false), Places::new(N_SPARE, &short, true));
        Self { places, spare, ends: watch::Sender::new(false) }
    }

    /// Accepts connections for as long as it is polled.
    pub async fn accept(&self, listener: &TcpListener, router: &Router) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                sleep(ACCEPT_AGAIN).await;
                continue;
            };
            let (places, place) = tokio::select! {
                biased;
                place = self.places.free.clone().acquire_owned() => (&self.places, place),
                place = self.spare.free.clone().acquire_owned() => (&self.spare, place),
            };
            // They are never closed.
            let Ok(place) = place else { return };
            self.serve(stream, router.clone(), places, place);
        }
    }

    fn serve(&self, stream: TcpStream, router: Router, places: &Places, place: OwnedSemaphorePermit) {
        // Tokens are small and are wanted at once.
        let _ = stream.set_nodelay(true);
        let tail = Tail::default();
        let (socket, is_spare) = (Socket::new(stream, &places.limits, tail.clone()), places.is_spare);
        let service = TowerToHyperService::new(router);
        let service = service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(|body| tail.watch(body));
            if is_spare {
                request.extensions_mut().insert(Spare);
            }
            service.call(request)
        });
        let connection = places.builder.serve_connection(TokioIo::new(socket), service);
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
        let ended = async {
            for places in [&self.places, &self.spare] {
                let _ = places.free.acquire_many(places.n).await;
            }
        };
        let _ = tokio::time::timeout(time, ended).await;
    }
}
