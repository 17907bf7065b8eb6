//! The link on real sockets, seen by a peer that speaks raw bytes.

use std::net::Ipv4Addr;

use prometheus::{Encoder, Registry, TextEncoder};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    model::{Encoding, Peer},
    transport::{Serve, Tasks, testing::Echo},
};

const MILLIS: Duration = Duration::from_millis(1);

struct Server {
    echo: Echo,
    registry: Registry,
    tasks: Tasks,
    peer: TcpStream,
}

fn peer() -> Peer {
    Peer {
        transport: "websocket",
        encoding: Encoding::Json,
        version: None,
        address: None,
        credentials: None,
        refused: None,
        certified: None,
        user_header: None,
        headers: Arc::from([]),
    }
}

/// Two ends of a connection, one of them a link with an echo behind it.
async fn start(native_ping: bool, write_timeout: Duration) -> Server {
    let terms = Terms {
        native_ping,
        deflate: false,
    };
    start_with(terms, write_timeout).await
}

async fn start_with(terms: Terms, write_timeout: Duration) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let peer_side = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    let registry = Registry::new();
    let settings = Arc::new(Settings {
        message_size_limit: 65536,
        deflate: Some((Compression::new(1, 10), 655_360)),
        write_timeout,
        ping: (1000 * MILLIS, 800 * MILLIS),
        metrics: Metrics::new(&registry, "centrifugo").unwrap(),
        name: "websocket",
        uni: None,
    });
    let link = WebSocketLink::new(socket, &[], terms, settings);
    let (echo, tasks) = (Echo::default(), Tasks::default());
    let serve = echo.clone();
    tasks.spawn(async move { serve.serve(link, peer()).await });
    Server {
        echo,
        registry,
        tasks,
        peer: peer_side,
    }
}

async fn normal() -> Server {
    start(false, 1000 * MILLIS).await
}

/// A frame of the peer, masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![
        first,
        0x80 | u8::try_from(payload.len()).unwrap(),
        0,
        0,
        0,
        0,
    ];
    out.extend(payload);
    out
}

impl Server {
    async fn say(&mut self, text: &str) {
        self.raw(&masked(0x81, text.as_bytes())).await;
    }

    async fn raw(&mut self, bytes: &[u8]) {
        self.peer.write_all(bytes).await.unwrap();
    }

    /// First byte and payload of the next short frame; `None` at the end.
    async fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.peer.read_exact(&mut head).await.ok()?;
        assert!(head[1] < 126, "a masked or long frame");
        let mut payload = vec![0; head[1].into()];
        self.peer.read_exact(&mut payload).await.ok()?;
        Some((head[0], payload))
    }

    async fn hears(&mut self, first: u8, payload: &[u8]) {
        assert_eq!(self.hear().await, Some((first, payload.to_vec())));
    }

    async fn hears_close(&mut self, code: u16, reason: &str) {
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        self.hears(0x88, &payload).await;
    }

    fn metrics(&self) -> String {
        let mut out = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut out)
            .unwrap();
        String::from_utf8(out).unwrap()
    }
}

#[tokio::test]
async fn frames_come_back_in_order() {
    let mut server = normal().await;
    let many = ["a", "b", "c"]
        .map(|text| masked(0x82, text.as_bytes()))
        .concat();
    server.raw(&many).await;
    for text in ["a", "b", "c"] {
        server.hears(0x82, text.as_bytes()).await;
    }
}

#[tokio::test]
async fn compression_goes_both_ways_where_it_was_agreed_upon() {
    let terms = Terms {
        deflate: true,
        ..Terms::default()
    };
    let mut server = start_with(terms, 1000 * MILLIS).await;
    // "Hello" of RFC 7692 7.2.3.1, below the size from which answers are compressed.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    server.raw(&masked(0xc1, &hello)).await;
    server.hears(0x81, b"Hello").await;
    server.say(&"long".repeat(20)).await;
    let (first, payload) = server.hear().await.unwrap();
    assert_eq!(first, 0xc1);
    let mut plain = Vec::with_capacity(100);
    let end = [&payload[..], &[0, 0, 0xff, 0xff]].concat();
    flate2::Decompress::new(false)
        .decompress_vec(&end, &mut plain, flate2::FlushDecompress::Sync)
        .unwrap();
    assert_eq!(plain, "long".repeat(20).into_bytes());
    server.raw(&masked(0xc1, &[0xff; 9])).await;
    let (first, payload) = server.hear().await.unwrap();
    assert_eq!((first, &payload[..2]), (0x88, &1002_u16.to_be_bytes()[..]));
}

#[tokio::test]
async fn without_agreement_nothing_is_compressed() {
    let mut server = normal().await;
    server.say(&"long".repeat(20)).await;
    server.hears(0x81, "long".repeat(20).as_bytes()).await;
}

#[tokio::test]
async fn pings_are_answered_each() {
    let mut server = normal().await;
    let pings = ["1", "2", "3"]
        .map(|text| masked(0x89, text.as_bytes()))
        .concat();
    server.raw(&pings).await;
    for text in ["1", "2", "3"] {
        server.hears(0x8a, text.as_bytes()).await;
    }
    server.raw(&masked(0x8a, b"unasked")).await;
    server
        .raw(&[masked(0x89, b"p"), masked(0x81, b"m")].concat())
        .await;
    server.hears(0x8a, b"p").await;
    server.hears(0x81, b"m").await;
}

#[tokio::test]
async fn a_close_of_the_peer_is_echoed_without_reason() {
    let mut server = normal().await;
    server.raw(&masked(0x88, b"\x0f\xa2bye")).await;
    server.hears_close(4002, "").await;
    assert_eq!(server.hear().await, None);
    assert_eq!(server.echo.ended(1).await, [Disconnect::CONNECTION_CLOSED]);
    let mut server = normal().await;
    server.raw(&masked(0x88, b"")).await;
    server.hears(0x88, b"").await;
    assert_eq!(server.hear().await, None);
    assert!(!server.metrics().contains("close_count"));
}

#[tokio::test]
async fn a_close_of_the_server_has_code_and_reason() {
    let mut server = normal().await;
    server.say("close 3001 shutdown").await;
    server.hears_close(3001, "shutdown").await;
    // Data of the peer that was under way plays no part; its close frame ends the wait.
    server
        .raw(&[masked(0x81, b"late"), masked(0x88, b"\x0b\xb9")].concat())
        .await;
    assert_eq!(server.hear().await, None);
    let count = r#"centrifugo_transport_outgoing_close_count{code="3001",transport="websocket"} 1"#;
    assert!(server.metrics().contains(count), "{}", server.metrics());
    server.tasks.finished().await;
}

#[tokio::test]
async fn v1_gets_its_reason_as_json() {
    let mut server = normal().await;
    server.say("v1").await;
    server.hears(0x81, b"v1").await;
    server.say("close 3502 stale").await;
    server
        .hears_close(3502, r#"{"reason":"stale","reconnect":false}"#)
        .await;
}

#[tokio::test]
async fn long_reasons_are_cut() {
    let mut server = normal().await;
    server.say(&format!("close 4001 {}", "r".repeat(110))).await;
    server.hears_close(4001, &"r".repeat(110)).await;
}

#[tokio::test]
async fn some_codes_are_never_written() {
    for code in ["3000", "5000", "70000"] {
        let mut server = normal().await;
        server.say(&format!("close {code} x")).await;
        assert_eq!(server.hear().await, None, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_closes_is_dropped_after_five_seconds() {
    let mut server = normal().await;
    server.say("close 3001 shutdown").await;
    server.hears_close(3001, "shutdown").await;
    let start = tokio::time::Instant::now();
    assert_eq!(server.hear().await, None);
    assert!(start.elapsed() >= CLOSE_WAIT && start.elapsed() < CLOSE_WAIT + 500 * MILLIS);
}

#[tokio::test]
async fn a_message_too_big_is_1009_without_reading_it() {
    let mut server = normal().await;
    let mut header = vec![0x81, 0xff];
    header.extend(65537_u64.to_be_bytes());
    header.extend([0; 4]);
    server.raw(&header).await;
    server.hears_close(1009, "").await;
    // The rest of the message still comes, then the close.
    server.raw(&vec![0; 65537]).await;
    server.raw(&masked(0x88, b"\x03\xf1")).await;
    assert_eq!(server.hear().await, None);
    server.tasks.finished().await;
}

#[tokio::test]
async fn broken_framing_is_1002() {
    for bytes in [
        &[0x81, 0x02, 0x7b, 0x7d][..],
        &masked(0xc1, b"x"),
        &masked(0x83, b"x"),
        &masked(0x80, b"x"),
    ] {
        let mut server = normal().await;
        server.raw(bytes).await;
        let (first, payload) = server.hear().await.unwrap();
        assert_eq!((first, &payload[..2]), (0x88, &1002_u16.to_be_bytes()[..]));
        server.peer.shutdown().await.unwrap();
        assert_eq!(server.hear().await, None);
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_ends_with_3009() {
    let mut server = start(false, 200 * MILLIS).await;
    server.say("flood 1000 60000").await;
    assert_eq!(server.echo.ended(1).await, [Disconnect::WRITE_ERROR]);
    server.tasks.finished().await;
    assert!(!server.metrics().contains("3009"));
}

#[tokio::test]
async fn a_slow_peer_is_waited_for_frame_by_frame() {
    let mut server = start(false, 500 * MILLIS).await;
    let (count, size) = (300, 60_000);
    server.say(&format!("flood {count} {size}")).await;
    let mut left = count * (size + 4);
    let mut buffer = vec![0; 256 * 1024];
    while left > 0 {
        let read = server.peer.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "{left} bytes missing");
        left -= read;
        tokio::time::sleep(10 * MILLIS).await;
    }
    server.say("alive").await;
    server.hears(0x81, b"alive").await;
}

#[tokio::test]
async fn native_pings_want_pongs() {
    let mut server = start(true, 1000 * MILLIS).await;
    server.hears(0x89, b"").await;
    server.raw(&masked(0x8a, b"")).await;
    server.hears(0x89, b"").await;
    // No pong now: dropped without a close frame.
    assert_eq!(server.hear().await, None);
    assert_eq!(server.echo.ended(1).await, [Disconnect::CONNECTION_CLOSED]);
}

#[tokio::test(start_paused = true)]
async fn v1_is_pinged_and_dropped_when_silent() {
    let mut server = normal().await;
    server.say("v1").await;
    server.hears(0x81, b"v1").await;
    let start = tokio::time::Instant::now();
    server.hears(0x89, b"").await;
    assert_eq!(start.elapsed().as_secs(), 25);
    server.raw(&masked(0x8a, b"")).await;
    server.hears(0x89, b"").await;
    assert_eq!(start.elapsed().as_secs(), 50);
    assert_eq!(server.hear().await, None);
    assert_eq!(start.elapsed().as_secs(), 58);
}

#[tokio::test]
async fn an_idle_link_holds_no_buffer() {
    let (mut near, far) = tokio::io::duplex(100_000);
    let settings = Settings {
        message_size_limit: 65536,
        deflate: Some((Compression::new(1, 0), 655_360)),
        write_timeout: 1000 * MILLIS,
        ping: (MILLIS, MILLIS),
        metrics: Metrics::new(&Registry::new(), "c").unwrap(),
        name: "websocket",
        uni: None,
    };
    let terms = Terms {
        deflate: true,
        ..Terms::default()
    };
    let mut link = WebSocketLink::new(far, &masked(0x81, b"early"), terms, Arc::new(settings));
    let early = link.recv().await.unwrap();
    assert!(matches!(early, Inbound::Frame(frame, _) if frame == "early"));
    let mut large = vec![0x81, 0xfe];
    large.extend(60_000_u16.to_be_bytes());
    large.resize(8 + 60_000, 0);
    near.write_all(&large).await.unwrap();
    let frame = link.recv().await.unwrap();
    assert!(matches!(frame, Inbound::Frame(frame, _) if frame.len() == 60_000));
    // A dropped wait loses nothing.
    let mut wait = tokio_test::task::spawn(link.recv());
    tokio_test::assert_pending!(wait.poll());
    drop(wait);
    assert_eq!(link.reader.held() + link.owed.capacity(), 0);
    near.write_all(&masked(0x81, b"x")[..4]).await.unwrap();
    let mut wait = tokio_test::task::spawn(link.recv());
    tokio_test::assert_pending!(wait.poll());
    drop(wait);
    near.write_all(&masked(0x81, b"x")[4..]).await.unwrap();
    assert!(matches!(link.recv().await.unwrap(), Inbound::Frame(frame, _) if frame == "x"));
}
