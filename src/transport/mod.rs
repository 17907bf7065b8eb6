//! Bytes in, bytes out: adapters of the [`crate::node::Link`] trait.
//!
//! Owns handshakes, framing, the form of a close on each transport, origin rules, and what can be told of a peer from its
//! request. Never decides whether something is allowed: it hands [`crate::model::Credentials`] found in a request on, and
//! everything else is the node's. Called by `server`, or by an embedder who mounts the services on a router of its own.

use std::{
    future::Future,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use tokio::net::TcpStream;

use crate::{
    model::Peer,
    node::{Link, Node},
};

mod close;
pub mod emulated;
pub mod grpc;
mod lent;
mod metrics;
mod origin;
mod outlet;
mod peer;
pub mod sockjs;
mod stream;
mod tasks;
#[cfg(test)]
pub(crate) mod testing;
pub mod uni;
pub mod websocket;

pub use lent::Lent;
pub use metrics::Metrics;
pub use origin::{InvalidOrigin, Origins};
pub use peer::{InvalidNetwork, PeerRules, TrustedProxies};
pub use tasks::Tasks;

/// What transports read of the section `client`.
#[derive(Clone, Debug, Deserialize)]
pub struct ClientConfig {
    /// Glob patterns of allowed origins; empty allows only requests without `Origin`, `*` any.
    pub allowed_origins: Vec<String>,
    /// Period of pings; `None` switches them off.
    pub ping_interval: Option<Duration>,
    /// Longest wait for a pong; `None` expects none.
    pub pong_timeout: Option<Duration>,
    /// Longest time until the connect command, and until a handshake is complete.
    pub stale_close_delay: Duration,
    /// Request header with the user identifier, set by a trusted proxy; empty for none.
    pub user_id_http_header: String,
}

/// Longest wait until the peer has taken the end of a stream.
const END_WAIT: Duration = Duration::from_secs(5);

/// Bytes of an unwanted request body that are read before its answer.
const UNWANTED: usize = 1024 * 1024;

/// Reads a request that nobody wants to its end, within reason. An HTTP/2 stream that is answered earlier is reset, and what
/// is still under way then counts as a fault of a peer that has done nothing wrong.
pub(crate) async fn drained(body: impl http_body::Body<Data = Bytes>) {
    let (mut body, mut read) = (std::pin::pin!(body), 0);
    while read < UNWANTED
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}

/// Where links go: the node, or something of a test.
pub trait Serve: Clone + Send + Sync + 'static {
    /// Serves one connection until it ends.
    fn serve<L: Link>(&self, link: L, peer: Peer) -> impl Future<Output = ()> + Send;
}

impl Serve for Node {
    fn serve<L: Link>(&self, link: L, peer: Peer) -> impl Future<Output = ()> + Send {
        Self::serve(self, link, peer)
    }
}

/// What a listener with TLS serves. The WebSocket endpoint takes exactly this back out of hyper, or else a [`TcpStream`], both
/// [`Lent`] or not; anything else stays behind hyper's wrapper.
pub type SecuredStream = Box<tokio_rustls::server::TlsStream<TcpStream>>;

/// Response extension: the body ends with its session and not before, so that whoever serves the connection can be rid of what
/// is only for its other requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unending;

/// Request extension: the other end of the connection, put there by the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteAddress(pub SocketAddr);

impl RemoteAddress {
    /// The address without port, IPv4 in its own form.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0.ip().to_canonical()
    }
}
