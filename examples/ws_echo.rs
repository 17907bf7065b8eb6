//! A WebSocket echo made of the gateway's own transport: handshake, frames, compression and close are those of the
//! server, behind them is a few lines. Conformance suites are played against it (`tests/it/autobahn.rs`).
//!
//! ```text
//! cargo run --example ws_echo -- 127.0.0.1:9001
//! ```

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use centripetal::{
    config::Config,
    model::{Disconnect, Peer, Version},
    node::{Close, Inbound, Link},
    protocol::frame::{self, Kind},
    transport::{Metrics, Origins, Serve, Tasks, websocket},
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use prometheus::Registry;
use tokio::{net::TcpListener, task::JoinSet};

/// Longest message that is echoed, compressed or not.
const LIMIT: usize = 64 << 20;

/// 1007: a text is no text. The gateway leaves this to its decoder, a bare echo has none.
const NOT_TEXT: Disconnect = Disconnect {
    code: 1007,
    reason: std::borrow::Cow::Borrowed("invalid UTF-8"),
};

/// Sends every message back as what it came.
#[derive(Clone, Debug)]
struct Echo;

impl Serve for Echo {
    async fn serve<L: Link>(&self, mut link: L, _peer: Peer) {
        let disconnect = loop {
            if let Err(why) = echo(&mut link).await {
                break why;
            }
        };
        link.close(Close {
            disconnect,
            version: Version::V2,
            undecodable: false,
            error: None,
        })
        .await;
    }
}

async fn echo<L: Link>(link: &mut L) -> Result<(), Disconnect> {
    let mut batch: Vec<Bytes> = Vec::new();
    match link.recv().await? {
        // The link has a pong to send, and does so with whatever else is sent.
        Inbound::Flush | Inbound::Connect(_) => {}
        Inbound::Frame(message, Kind::Text) if std::str::from_utf8(&message).is_err() => {
            return Err(NOT_TEXT);
        }
        Inbound::Frame(message, kind) => {
            batch.push(frame::message(link.traits().framing, kind, &message));
        }
    }
    link.send(&mut batch).await
}

/// Echoes on all connections of a listener.
///
/// # Errors
/// When the listener fails, or a setting is broken.
pub(crate) async fn serve(listener: &TcpListener) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = Config::from_value(serde_json::json!({"websocket": {
        "compression": true,
        "message_size_limit": LIMIT,
        "decompressed_message_size_limit": LIMIT,
        "write_timeout": "60s",
    }}))?;
    let sessions = Tasks::default();
    let endpoint = websocket::Endpoint::new(websocket::Parts {
        serve: Echo,
        config: &config.section("websocket")?,
        uni: None,
        client: &config.section("client")?,
        origins: Arc::new(Origins::new(&["*".to_owned()])?),
        peers: Arc::default(),
        tasks: sessions.clone(),
        metrics: Metrics::new(&Registry::new(), "echo")?,
    });
    let service = TowerToHyperService::new(endpoint.into_router());
    let mut handshakes = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await?;
        let service = service.clone();
        handshakes.spawn(async move {
            let connection = http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .with_upgrades();
            // A peer that goes away in the middle of a handshake is its own business.
            drop(tokio::time::timeout(Duration::from_secs(10), connection).await);
        });
        while handshakes.try_join_next().is_some() {}
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
        failed = serve(&listener) => failed,
    }
}
