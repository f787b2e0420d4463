//! What a server is told, and why it does not start.

use std::{io, net::SocketAddr, time::Duration};

/// How to serve.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Names of the model: the first is what it is called, the others are accepted too.
    pub model_names: Vec<String>,
    /// Keys that are accepted, each a tenant of its own; none lets everybody in.
    pub api_keys: Vec<String>,
    /// Lets everybody in who reaches an address that is not the loopback device's.
    pub insecure_no_auth: bool,
    /// Names of the server beside its own, for the check of `Host`.
    pub allowed_hosts: Vec<String>,
    /// Origins of pages that may ask: `https://example.org`.
    pub cors_origins: Vec<String>,
    /// Bounds on what clients can use up.
    pub limits: Limits,
}

/// Bounds on what clients can use up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once. More are told that there is no place, but for probes, and for those whose key has few texts under way.
    pub n_connections: usize,
    /// For the head of a request, and for the next request on a connection.
    pub head_time: Duration,
    /// For the body of a request.
    pub body_time: Duration,
    /// Bytes of a body.
    pub body_len: usize,
    /// For what is in a body, until its texts wait for their turn: seconds of one processor.
    pub parse_time: Duration,
    /// For an answer, from the request on.
    pub answer_time: Duration,
    /// For a client to take some of what is sent to it.
    pub write_time: Duration,
    /// At a shutdown, for whoever asks `/ready` to see that it is not, before connections are refused.
    pub notice_time: Duration,
    /// For the answers under way at a shutdown.
    pub drain_time: Duration,
    /// With something to do and nothing done, the server is not ready any more.
    pub stall_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            n_connections: 512,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            body_len: 2 << 20,
            parse_time: Duration::from_secs(1),
            answer_time: Duration::from_secs(600),
            write_time: Duration::from_secs(30),
            notice_time: Duration::from_secs(5),
            drain_time: Duration::from_secs(10),
            stall_time: Duration::from_secs(60),
        }
    }
}

impl ServerOptions {
    pub(super) fn check(&self, address: SocketAddr) -> Result<(), ServerError> {
        if self.api_keys.is_empty() && !self.insecure_no_auth && !address.ip().is_loopback() {
            return Err(ServerError::Open { address });
        }
        // A key has to fit into a header.
        match self
            .api_keys
            .iter()
            .position(|key| key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()))
        {
            Some(index) => Err(ServerError::Key { index }),
            None => Ok(()),
        }
    }
}

/// Why a server does not start, or ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// Others could reach the server, and everybody would be let in.
    #[error(
        "{address} can be reached from other machines, and without an API key everybody there could use the model: \
         give --api-key, or --insecure-no-auth if that is meant"
    )]
    Open {
        /// The address.
        address: SocketAddr,
    },
    /// A key that no client could send.
    #[error("API key {} is empty or has a character that is not printable ASCII", index + 1)]
    Key {
        /// Which one.
        index: usize,
    },
    /// The device's work has ended.
    #[error("the device is lost: {error}")]
    Device {
        /// The error.
        error: String,
    },
}
