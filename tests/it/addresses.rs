//! Where connections come from: `X-Forwarded-For` and the PROXY protocol, from trusted networks only (gateway.md 4, 7).
//! The address is seen in the log, which is the only place that shows it.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Duration, timeout},
};
use tonic::transport::Channel;

use crate::{
    harness::{Client, Offer, Transport, eventually, on_every_transport},
    support::{Certificates, Server, free_ports, http_client},
};

on_every_transport!(forwarded_addresses_count_from_trusted_networks);

/// Nothing a test waits for takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

fn settings(own: &Value) -> Value {
    json!({
        "log": {"level": "debug"},
        "client": {"allow_anonymous_connect_without_token": true},
        "prometheus": {"enabled": true},
        "centripetal": own,
    })
}

/// Addresses of the connections of clients, in order.
fn addresses(server: &Server) -> Vec<String> {
    let log = server.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let established = lines.filter(|line| line["message"] == "client connection established");
    established
        .map(|line| line["addr"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Waits for the next address and compares it.
async fn seen(server: &Server, count: usize, address: &str) {
    eventually(address, || async { addresses(server).len() >= count }).await;
    assert_eq!(addresses(server)[count - 1], address);
}

async fn forwarded_addresses_count_from_trusted_networks(on: Transport) {
    let forged = [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
        ("x-real-ip", "7.7.7.7"),
    ];
    for (trusted, with, without) in [
        (json!([]), "127.0.0.1", "127.0.0.1"),
        (json!(["10.0.0.0/8"]), "127.0.0.1", "127.0.0.1"),
        (json!(["127.0.0.0/8"]), "203.0.113.9", "127.0.0.1"),
        (
            json!(["127.0.0.1", "203.0.113.0/24"]),
            "6.6.6.6",
            "127.0.0.1",
        ),
    ] {
        let server = Server::start(settings(&json!({"trusted_proxies": trusted}))).await;
        let mut client = on.open_with(&server, &forged).await.unwrap();
        client.connect(json!({})).await;
        seen(&server, 1, with).await;
        on.connect(&server, json!({})).await;
        seen(&server, 2, without).await;
    }
}

#[tokio::test]
async fn origins_are_checked_whoever_forwards() {
    let mut settings = settings(&json!({"trusted_proxies": ["127.0.0.1"]}));
    settings["client"]["allowed_origins"] = json!(["https://app.example"]);
    let server = Server::start(settings).await;
    let offer = |origin| {
        [
            ("origin", origin),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-host", "evil.example"),
        ]
    };
    let headers = offer("https://evil.example");
    let refused = Offer {
        headers: &headers,
        ..Offer::default()
    };
    assert_eq!(refused.refused(&server).await, 403);
    let headers = offer("https://app.example");
    let allowed = Offer {
        headers: &headers,
        ..Offer::default()
    };
    assert!(allowed.handshake(&server).await.is_ok());
}

/// A server that wants the PROXY protocol from these; operators have a port of their own.
struct Behind {
    server: Server,
    internal: u16,
}

impl Behind {
    async fn new(trusted: &str, tls: Option<&Certificates>) -> Self {
        let [internal] = free_ports();
        let mut settings =
            settings(&json!({"proxy_protocol": "required", "trusted_proxies": [trusted]}));
        settings["http_server"] =
            json!({"internal_port": internal.to_string(), "tls_external": true});
        settings["client"]["stale_close_delay"] = json!("2s");
        if let Some(certificates) = tls {
            settings["http_server"]["tls"] = certificates.settings();
            settings["centripetal"]["grpc"] = json!({"tls": certificates.settings()});
        }
        let health = format!("http://127.0.0.1:{internal}/health");
        let server = Server::start_asked(settings, async |_| {
            http_client().get(&health).send().await.is_ok()
        });
        Self {
            server: server.await,
            internal,
        }
    }

    /// What comes back after these bytes on a new connection.
    async fn say(&self, target: &str, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(target).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is dropped with unread bytes is reset.
        drop(
            timeout(PATIENCE, socket.read_to_end(&mut answer))
                .await
                .unwrap(),
        );
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Waits until connections were refused so often.
    async fn refused(&self, listener: &str, reason: &str, times: u64) {
        let url = format!("http://127.0.0.1:{}/metrics", self.internal);
        let series = format!(
            "centripetal_proxy_protocol_errors_total{{listener=\"{listener}\",reason=\"{reason}\"}} {times}"
        );
        eventually(&series, || async {
            let answer = http_client().get(&url).send().await.unwrap();
            let text = answer.text().await.unwrap();
            text.lines().any(|line| line == series)
        })
        .await;
    }
}

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n";

/// The same in version 2, with an addition.
fn v2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10".to_vec();
    header.extend([203, 0, 113, 7, 127, 0, 0, 1, 18, 103, 0, 80]);
    header.extend([4, 0, 1, 0]);
    header
}

fn request(headers: &str) -> String {
    format!("GET /connection/websocket HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")
}

/// A WebSocket handshake that is followed by connecting and leaving.
fn visit(headers: &str) -> Vec<u8> {
    let mut bytes = format!(
        "GET /connection/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}\r\n"
    )
    .into_bytes();
    // A close frame of code 1000, masked with zeros.
    bytes.extend([0x88, 0x82, 0, 0, 0, 0, 3, 232]);
    bytes
}

#[tokio::test]
async fn the_proxy_protocol_tells_where_connections_come_from() {
    let behind = Behind::new("127.0.0.1", None).await;
    let target = behind.server.http_target();
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".to_vec();
    let forged = "X-Forwarded-For: 6.6.6.6\r\n";
    let ours = [
        (V1.to_vec(), "", "203.0.113.7"),
        (v2(), "", "203.0.113.7"),
        (unknown, "", "127.0.0.1"),
        (local.clone(), "", "127.0.0.1"),
        // The announced address is no trusted proxy, the one of the socket is.
        (V1.to_vec(), forged, "203.0.113.7"),
        (local, forged, "6.6.6.6"),
    ];
    for (index, (header, headers, address)) in ours.into_iter().enumerate() {
        let answer = behind
            .say(&target, &[header, visit(headers)].concat())
            .await;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        seen(&behind.server, index + 1, address).await;
    }
    // The same on the listener of the stream.
    let channel = announced(&behind.server, V1.to_vec(), None).await;
    let mut stream = Client::stream(&channel, &[]).await.unwrap();
    stream.connect(json!({})).await;
    seen(&behind.server, 7, "203.0.113.7").await;
}

/// A connection to the stream's listener that begins with this header.
async fn announced(server: &Server, header: Vec<u8>, tls: Option<&Certificates>) -> Channel {
    let target = server.grpc_target();
    let connector = tower::service_fn(move |_| {
        let (target, header) = (target.clone(), header.clone());
        async move {
            let mut socket = TcpStream::connect(target).await?;
            socket.write_all(&header).await?;
            Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(socket))
        }
    });
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Channel::from_shared(format!("{scheme}://localhost")).unwrap();
    if let Some(certificates) = tls {
        let authority = std::fs::read(certificates.path("ca.pem")).unwrap();
        let authority = tonic::transport::Certificate::from_pem(authority);
        let tls = tonic::transport::ClientTlsConfig::new().ca_certificate(authority);
        endpoint = endpoint.tls_config(tls).unwrap();
    }
    endpoint.connect_with_connector(connector).await.unwrap()
}

#[tokio::test]
async fn the_proxy_protocol_comes_before_tls() {
    let certificates = Certificates::new();
    let behind = Behind::new("127.0.0.1", Some(&certificates)).await;
    let channel = announced(&behind.server, v2(), Some(&certificates)).await;
    let mut stream = Client::stream(&channel, &[]).await.unwrap();
    stream.connect(json!({})).await;
    seen(&behind.server, 1, "203.0.113.7").await;
    // TLS without the header is no header.
    assert!(
        certificates
            .connect(&behind.server.grpc_target(), &[])
            .await
            .is_err()
    );
    behind.refused("grpc", "malformed", 1).await;
}

#[tokio::test]
async fn who_does_not_announce_itself_is_refused_and_counted() {
    let behind = Behind::new("127.0.0.1", None).await;
    let target = behind.server.http_target();
    let plain = request("").into_bytes();
    assert_eq!(behind.say(&target, &plain).await, "");
    behind.refused("http", "malformed", 1).await;
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat();
    assert_eq!(behind.say(&target, &long).await, "");
    behind.refused("http", "malformed", 2).await;
    // Nothing, and half of it: the clock ends both.
    let (first, second) = tokio::join!(behind.say(&target, b""), behind.say(&target, &V1[..20]));
    assert_eq!((&*first, &*second), ("", ""));
    behind.refused("http", "timeout", 2).await;
    drop(TcpStream::connect(&target).await.unwrap());
    behind.refused("http", "closed", 1).await;
    let grpc = behind.server.grpc_target();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(behind.say(&grpc, preface).await, "");
    behind.refused("grpc", "malformed", 1).await;
    assert!(addresses(&behind.server).is_empty());
}

#[tokio::test]
async fn only_trusted_proxies_announce_anybody() {
    let behind = Behind::new("10.0.0.0/8", None).await;
    let target = behind.server.http_target();
    let bytes = [V1.to_vec(), visit("")].concat();
    assert_eq!(behind.say(&target, &bytes).await, "");
    behind.refused("http", "untrusted", 1).await;
    assert!(addresses(&behind.server).is_empty());
}
