//! The endpoint behind a real HTTP connection: answers of the handshake byte by byte, and the official client library of Rust.

use std::net::{Ipv4Addr, SocketAddr};

use futures_util::{SinkExt, StreamExt};
use http::HeaderName;
use hyper_util::service::TowerToHyperService;
use prometheus::Registry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::{
    model::{Encoding, Version},
    transport::{TrustedProxies, testing::Echo},
};

struct Server {
    echo: Echo,
    address: SocketAddr,
    tasks: Tasks,
}

fn config(compression: bool) -> Config {
    Config {
        disabled: false,
        handler_prefix: "/connection/websocket".to_owned(),
        compression,
        compression_min_size: 0,
        compression_level: 1,
        write_timeout: Duration::from_secs(1),
        message_size_limit: 65536,
        decompressed_message_size_limit: 0,
    }
}

fn endpoint(echo: Echo, tasks: Tasks, config: &Config) -> Endpoint<Echo> {
    let client = ClientConfig {
        allowed_origins: vec!["http://app.example.com".to_owned()],
        ping_interval: None,
        pong_timeout: None,
        stale_close_delay: Duration::from_secs(10),
        user_id_http_header: "x-user".to_owned(),
    };
    Endpoint::new(Parts {
        serve: echo,
        config,
        uni: None,
        client: &client,
        origins: Arc::new(Origins::new(&client.allowed_origins).unwrap()),
        peers: Arc::new(PeerRules {
            trusted: TrustedProxies::default(),
            user_header: HeaderName::try_from(&client.user_id_http_header).ok(),
            kept: vec![HeaderName::from_static("x-kept")],
        }),
        tasks,
        metrics: Metrics::new(&Registry::new(), "centrifugo").unwrap(),
    })
}

/// An endpoint on a listener of its own; `auto` as on a port that speaks HTTP/2 as well.
async fn start(auto: bool) -> Server {
    start_with(auto, &config(false)).await
}

async fn start_with(auto: bool, config: &Config) -> Server {
    let (echo, tasks) = (Echo::default(), Tasks::default());
    let endpoint = endpoint(echo.clone(), tasks.clone(), config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = TowerToHyperService::new(endpoint.into_router());
    let connections = tasks.clone();
    tasks.spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (io, service) = (TokioIo::new(socket), service.clone());
            connections.spawn(async move {
                let ended = if auto {
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let builder = hyper_util::server::conn::auto::Builder::new(executor);
                    builder
                        .serve_connection_with_upgrades(io, service)
                        .await
                        .is_ok()
                } else {
                    let connection = hyper::server::conn::http1::Builder::new();
                    connection
                        .serve_connection(io, service)
                        .with_upgrades()
                        .await
                        .is_ok()
                };
                assert!(ended);
            });
        }
    });
    Server {
        echo,
        address,
        tasks,
    }
}

impl Server {
    /// Head and body of the answer to a request, without the date.
    async fn ask(&self, method: &str, query: &str, headers: &[(&str, &str)]) -> (String, String) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let mut request = format!("{method} /connection/websocket?{query} HTTP/1.1\r\nHost: x\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        socket
            .write_all(format!("{request}\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\n") || !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            assert_ne!(socket.read_buf(&mut answer).await.unwrap(), 0);
        }
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut head: Vec<_> = head
            .lines()
            .filter(|line| !line.starts_with("date:"))
            .collect();
        head[1..].sort_unstable();
        (head.join("\n"), body.to_owned())
    }
}

const GOOD: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn good(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    GOOD.iter().chain(more).copied().collect()
}

const REFUSED: &str = "content-type: text/plain; charset=utf-8\n\
    sec-websocket-version: 13\nx-content-type-options: nosniff";

#[tokio::test]
async fn answers_are_as_recorded() {
    let server = start(false).await;
    let (head, body) = server
        .ask("GET", "", &good(&[("Origin", "http://app.example.com")]))
        .await;
    assert_eq!(
        head,
        "HTTP/1.1 101 Switching Protocols\nconnection: Upgrade\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\nupgrade: websocket"
    );
    assert_eq!(body, "");
    let (head, _) = server
        .ask(
            "GET",
            "",
            &good(&[("Sec-WebSocket-Protocol", "centrifuge-json")]),
        )
        .await;
    assert!(
        head.contains("\nsec-websocket-protocol: centrifuge-json\n"),
        "{head}"
    );
    let (head, body) = server
        .ask("GET", "", &good(&[("Origin", "http://evil.example.org")]))
        .await;
    assert_eq!(
        head,
        format!("HTTP/1.1 403 Forbidden\ncontent-length: 10\n{REFUSED}")
    );
    assert_eq!(body, "Forbidden\n");
    let (head, body) = server
        .ask("GET", "", &[("Origin", "http://evil.example.org")])
        .await;
    assert_eq!(
        head,
        format!("HTTP/1.1 400 Bad Request\ncontent-length: 12\n{REFUSED}")
    );
    assert_eq!(body, "Bad Request\n");
    let (head, body) = server.ask("POST", "", &good(&[])).await;
    assert_eq!(
        head,
        format!(
            "HTTP/1.1 405 Method Not Allowed\naccess-control-allow-credentials: true\n\
             access-control-allow-origin: \ncontent-length: 19\n{REFUSED}"
        )
    );
    assert_eq!(body, "Method Not Allowed\n");
    let (head, _) = server
        .ask("OPTIONS", "", &[("Origin", "http://app.example.com")])
        .await;
    assert!(
        head.contains("access-control-allow-origin: http://app.example.com"),
        "{head}"
    );
}

#[tokio::test]
async fn an_unknown_version_is_a_plain_400() {
    let server = start(false).await;
    let (head, body) = server
        .ask("GET", "cf_protocol_version=v9", &good(&[]))
        .await;
    assert_eq!(
        head,
        "HTTP/1.1 400 Bad Request\ncontent-length: 12\n\
         content-type: text/plain; charset=utf-8\nx-content-type-options: nosniff"
    );
    assert_eq!(body, "Bad Request\n");
}

#[tokio::test]
async fn compression_is_agreed_upon_where_it_is_on_and_offered() {
    const ANSWER: &str = "\nsec-websocket-extensions: permessage-deflate; \
        server_no_context_takeover; client_no_context_takeover\n";
    for (compression, offered, agreed) in [
        (true, "permessage-deflate; client_max_window_bits", true),
        (
            true,
            "foo, permessage-deflate; server_max_window_bits=10",
            true,
        ),
        (true, "x-webkit-deflate-frame", false),
        (false, "permessage-deflate; client_max_window_bits", false),
    ] {
        let server = start_with(false, &config(compression)).await;
        let offer = ("Sec-WebSocket-Extensions", offered);
        let (head, _) = server.ask("GET", "", &good(&[offer])).await;
        assert!(head.contains(" 101 "), "{head}");
        assert_eq!(head.contains(ANSWER), agreed, "{offered}: {head}");
        assert_eq!(head.contains("extensions"), agreed, "{offered}: {head}");
    }
}

#[test]
fn what_is_decompressed_has_a_limit_of_its_own() {
    let mut config = config(true);
    config.message_size_limit = 1000;
    assert_eq!(config.deflate().unwrap().1, 10_000);
    config.decompressed_message_size_limit = 300;
    assert_eq!(config.deflate().unwrap().1, 300);
    config.compression = false;
    assert_eq!(config.deflate(), None);
}

#[tokio::test]
async fn a_real_client_is_served_either_way() {
    for auto in [false, true] {
        let server = start(auto).await;
        let url = format!("ws://{}/connection/websocket", server.address);
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        for size in [0, 125, 126, 60_000] {
            let text = "x".repeat(size);
            socket.send(Message::text(text.clone())).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
        }
        socket.send(Message::text("close 4000 x")).await.unwrap();
        let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else {
            panic!("no close frame");
        };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4000, "x"));
        assert!(socket.next().await.is_none());
        assert_eq!(server.echo.ended(1).await[0].code, 4000);
    }
}

#[tokio::test]
async fn a_frame_right_behind_the_handshake_is_not_lost() {
    for auto in [false, true] {
        let server = start(auto).await;
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let mut bytes = b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec();
        for (name, value) in GOOD {
            bytes.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        bytes.extend(b"\r\n\x81\x85\0\0\0\0early");
        socket.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\x81\x05early") {
            assert_ne!(socket.read_buf(&mut answer).await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn the_peer_is_described() {
    let server = start(false).await;
    let headers = good(&[("X-User", "42"), ("X-Kept", "a"), ("X-Other", "b")]);
    server
        .ask("GET", "format=protobuf&cf_protocol_version=v1", &headers)
        .await;
    server.echo.ended(1).await;
    let peers = server.echo.peers.lock();
    assert_eq!(
        (peers[0].encoding, peers[0].version),
        (Encoding::Protobuf, Some(Version::V1))
    );
    assert_eq!(peers[0].user_header.as_ref().unwrap().as_str(), "42");
    assert_eq!(&*peers[0].headers, [("x-kept".to_owned(), "a".to_owned())]);
    server.tasks.abort_all();
}
