//! Test driver in place of a node: sends frames back and obeys a few words, so that transports are tested alone.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Serve;
use crate::{
    model::{Disconnect, Peer, Version},
    node::{Close, Inbound, Link},
    protocol::frame::{self, Kind},
};

/// Sends every frame back. `close CODE REASON` closes, `v1` fixes the generation, `flood COUNT SIZE` sends until the
/// link is full, `broken` closes as for a frame that cannot be decoded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Echo {
    /// Peers of all connections.
    pub(crate) peers: Arc<Mutex<Vec<Peer>>>,
    /// Why connections ended, in the words of the link.
    pub(crate) ends: Arc<Mutex<Vec<Disconnect>>>,
}

impl Echo {
    /// Waits until so many connections have ended and returns why.
    pub(crate) async fn ended(&self, count: usize) -> Vec<Disconnect> {
        loop {
            let ends = self.ends.lock().clone();
            if ends.len() >= count {
                return ends;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

/// What a frame asks for.
async fn obey<L: Link>(
    link: &mut L,
    (frame, kind): (&[u8], Kind),
    version: &mut Version,
) -> Result<(), (Disconnect, bool)> {
    let framing = link.traits().framing;
    let text = String::from_utf8_lossy(frame);
    let mut words = text.splitn(3, ' ');
    let mut batch = Vec::new();
    match (words.next(), words.next(), words.next()) {
        (Some("close"), Some(code), reason) => {
            let code = code.parse().unwrap();
            let reason = reason.unwrap_or_default().to_owned().into();
            return Err((Disconnect { code, reason }, false));
        }
        (Some("broken"), ..) => return Err((Disconnect::BAD_REQUEST, true)),
        (Some("v1"), ..) => {
            *version = Version::V1;
            link.decided(Version::V1);
            batch.push(frame::message(framing, kind, b"v1"));
        }
        (Some("flood"), Some(count), Some(size)) => {
            let frame = frame::message(framing, kind, &vec![b'x'; size.parse().unwrap()]);
            batch.resize(count.parse().unwrap(), frame);
        }
        _ => batch.push(frame::message(framing, kind, frame)),
    }
    link.send(&mut batch).await.map_err(|end| (end, false))
}

impl Serve for Echo {
    async fn serve<L: Link>(&self, mut link: L, peer: Peer) {
        let mut version = peer.version.unwrap_or(Version::V2);
        self.peers.lock().push(peer);
        let (disconnect, undecodable) = loop {
            let outcome = match link.recv().await {
                Ok(Inbound::Frame(frame, kind)) => {
                    obey(&mut link, (&frame, kind), &mut version).await
                }
                Ok(Inbound::Connect(request)) => {
                    let text = format!("connect {}", request.name);
                    obey(&mut link, (text.as_bytes(), Kind::Text), &mut version).await
                }
                Ok(Inbound::Flush) => link.send(&mut Vec::new()).await.map_err(|end| (end, false)),
                Err(end) => Err((end, false)),
            };
            if let Err(end) = outcome {
                break end;
            }
        };
        self.ends.lock().push(disconnect.clone());
        link.close(Close {
            disconnect,
            version,
            undecodable,
            error: None,
        })
        .await;
    }
}

/// Section `centripetal.grpc` with its defaults.
pub(crate) fn grpc_config() -> super::grpc::Config {
    use std::time::Duration;
    super::grpc::Config {
        enabled: true,
        address: "127.0.0.1".to_owned(),
        port: 0,
        shared: false,
        api: false,
        reflection: false,
        require_credentials: false,
        identity: String::new(),
        compression: false,
        message_size_limit: 65536,
        max_concurrent_streams: 4096,
        keepalive_interval: Duration::from_secs(25),
        keepalive_timeout: Duration::from_secs(10),
        max_connection_age: Duration::ZERO,
    }
}
