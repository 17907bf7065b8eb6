//! permessage-deflate: compressed and plain subscribers get the same bytes, and nobody gains by what only looks compressed
//! (client-protocol.md 3.2; config.md 8.16; RFC 7692).

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Duration, timeout},
};

use crate::{
    harness::{Bystander, Metric, Transport, server},
    support::Server,
};

/// Nothing a test waits for takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

fn settings(websocket: &Value) -> Value {
    json!({
        "websocket": websocket,
        "channel": {"without_namespace": {
            "allow_subscribe_for_client": true, "allow_publish_for_client": true,
        }},
    })
}

/// What a client makes of a message.
fn deflate(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 1024);
    let mut stream = Compress::new(flate2::Compression::best(), false);
    stream
        .compress_vec(message, &mut out, FlushCompress::Sync)
        .unwrap();
    assert_eq!(stream.total_in(), message.len() as u64);
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

/// A client that compresses with its own hands.
struct Packed(TcpStream);

impl Packed {
    /// Agrees upon compression.
    async fn open(server: &Server) -> Self {
        let target = server.http_target();
        let mut tcp = TcpStream::connect(&target).await.unwrap();
        let request = format!(
            "GET /connection/websocket HTTP/1.1\r\nHost: {target}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains("permessage-deflate"), "{head}");
        Self(tcp)
    }

    /// One frame with this first byte.
    async fn send(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..=125 => frame.push(0x80 | u8::try_from(length).unwrap()),
            length @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// First byte and payload of the next frame.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let read = async {
            let first = self.0.read_u8().await.unwrap();
            let length = match self.0.read_u8().await.unwrap() {
                126 => self.0.read_u16().await.unwrap().into(),
                127 => self.0.read_u64().await.unwrap(),
                short => short.into(),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.unwrap();
            (first, payload)
        };
        timeout(PATIENCE, read).await.unwrap()
    }

    /// The next message, and how many bytes it was when it was compressed.
    async fn message(&mut self) -> (Value, Option<usize>) {
        let (first, payload) = self.frame().await;
        if first == 0x81 {
            return (serde_json::from_slice(&payload).unwrap(), None);
        }
        assert_eq!(first, 0xc1, "neither a text nor a compressed text");
        let whole = [&payload[..], &[0, 0, 0xff, 0xff]].concat();
        let mut plain = Vec::with_capacity(1 << 20);
        let mut stream = Decompress::new(false);
        stream
            .decompress_vec(&whole, &mut plain, FlushDecompress::Sync)
            .unwrap();
        assert_eq!(stream.total_in(), whole.len() as u64);
        (serde_json::from_slice(&plain).unwrap(), Some(payload.len()))
    }

    /// Sends a command compressed and returns the reply.
    async fn call(&mut self, command: Value) -> Value {
        self.send(0xc1, &deflate(command.to_string().as_bytes()))
            .await;
        let (reply, _) = self.message().await;
        assert_eq!(reply["id"], command["id"], "{reply}");
        reply
    }

    /// Connects and subscribes.
    async fn subscribe(server: &Server, channel: &str) -> Self {
        let mut client = Self::open(server).await;
        let token = Server::token(&json!({"sub": "packed"}));
        let connect = json!({"id": 1, "connect": {"token": token}});
        assert!(client.call(connect).await["connect"].is_object());
        let subscribe = json!({"id": 2, "subscribe": {"channel": channel}});
        assert!(client.call(subscribe).await["subscribe"].is_object());
        client
    }

    /// The code of the close frame that comes next.
    async fn closed(&mut self) -> u16 {
        let (first, payload) = self.frame().await;
        assert_eq!(first, 0x88, "no close frame but {payload:02x?}");
        u16::from_be_bytes([payload[0], payload[1]])
    }
}

#[tokio::test]
async fn compressed_and_plain_subscribers_get_the_same() {
    let server = server(settings(&json!({"compression": true}))).await;
    let mut packed = [
        Packed::subscribe(&server, "mixed").await,
        Packed::subscribe(&server, "mixed").await,
    ];
    let mut plain = Vec::new();
    for on in Transport::ALL {
        let mut client = on.user(&server, "plain").await;
        client.subscribe(json!({"channel": "mixed"})).await;
        plain.push(client);
    }
    let long = "one two three ".repeat(4000);
    let texts = ["", "short", "äöü€😀", &long].map(|text| json!({"text": text}));
    for data in texts {
        server.publish("mixed", &data).await;
        let push = json!({"channel": "mixed", "pub": {"data": data}});
        for client in &mut plain {
            assert_eq!(client.push().await, push);
        }
        for client in &mut packed {
            let (message, length) = client.message().await;
            assert_eq!(message, json!({"push": push}));
            let message = message.to_string().len();
            let length = length.unwrap_or(usize::MAX);
            assert!(
                message < 1000 || length < message / 20,
                "{length} bytes of {message}"
            );
        }
    }
    // And in the other direction.
    let publish = json!({"id": 3, "publish": {"channel": "mixed", "data": "x".repeat(60_000)}});
    let [publisher, other] = &mut packed;
    publisher
        .send(0xc1, &deflate(publish.to_string().as_bytes()))
        .await;
    assert_eq!(plain[0].push().await["pub"]["data"], "x".repeat(60_000));
    let (push, _) = other.message().await;
    assert_eq!(push["push"]["pub"]["data"], "x".repeat(60_000));
}

#[tokio::test]
async fn what_is_small_stays_as_it_is() {
    let settings = settings(&json!({
        "compression": true, "compression_min_size": 500, "compression_level": 9,
    }));
    let server = server(settings).await;
    let mut client = Packed::subscribe(&server, "news").await;
    for (data, compressed) in [("x".repeat(400), false), ("x".repeat(500), true)] {
        server.publish("news", &json!(data)).await;
        let (message, length) = client.message().await;
        assert_eq!(message["push"]["pub"]["data"], data);
        assert_eq!(length.is_some(), compressed, "{length:?}");
    }
}

/// A message of several commands may be longer than a frame may be.
#[tokio::test]
async fn decompressed_messages_have_a_limit_of_their_own() {
    let server = server(settings(&json!({
        "compression": true, "message_size_limit": 2000, "decompressed_message_size_limit": 10_000,
    })))
    .await;
    let mut client = Packed::subscribe(&server, "large").await;
    let mut other = Packed::subscribe(&server, "large").await;
    let publish = |size| {
        let data = "x".repeat(size);
        json!({"id": 3, "publish": {"channel": "large", "data": data}}).to_string()
    };
    client.send(0xc1, &deflate(publish(9_000).as_bytes())).await;
    let (push, _) = other.message().await;
    assert_eq!(push["push"]["pub"]["data"], "x".repeat(9_000));
    other.send(0x81, publish(9_000).as_bytes()).await;
    assert_eq!(other.closed().await, 1009);
    let mut other = Packed::open(&server).await;
    other.send(0xc1, &deflate(publish(10_001).as_bytes())).await;
    assert_eq!(other.closed().await, 1009);
}

#[tokio::test]
async fn bombs_cost_their_sender_the_connection_and_nobody_else_anything() {
    let server = server(settings(&json!({
        "compression": true, "message_size_limit": 131_072, "decompressed_message_size_limit": 655_360,
    })))
    .await;
    let mut bystander = Bystander::of(&server).await;
    let labels = [("code", "1009")];
    let closes = Metric::of(&server, "centripetal_connection_closes_total", &labels).await;
    // 100 MB of blanks in a frame of 100 KB.
    let bomb = deflate(&vec![b' '; 100 << 20]);
    assert!(bomb.len() < 110_000, "{} bytes", bomb.len());
    // Whatever the first ones make resident for good is not theirs.
    let mut first = Packed::open(&server).await;
    first.send(0xc1, &bomb).await;
    assert_eq!(first.closed().await, 1009);
    let before = server.peak_memory();
    let bombers = (0..20).map(|_| async {
        let mut client = Packed::open(&server).await;
        client.send(0xc1, &bomb).await;
        assert_eq!(client.closed().await, 1009);
    });
    join_all(bombers).await;
    let grown = server.peak_memory() - before;
    assert!(grown < 24 << 20, "{grown} bytes more for 20 bombs");
    closes.increased().await;
    bystander.served(&server).await;
}

#[tokio::test]
async fn broken_compression_is_1002() {
    let server = server(settings(&json!({"compression": true}))).await;
    let mut bystander = Bystander::of(&server).await;
    let whole = deflate(&br#"{"id":1,"connect":{}}"#.repeat(9));
    let half = &whole[..whole.len() / 2];
    for (first, payload) in [(0xc1, &[0xff; 40][..]), (0xc2, &[0x07]), (0xc1, half)] {
        let mut client = Packed::open(&server).await;
        client.send(first, payload).await;
        assert_eq!(client.closed().await, 1002, "{payload:02x?}");
    }
    // The bit is for the first frame of a message only.
    let mut client = Packed::open(&server).await;
    client.send(0x41, half).await;
    client.send(0xc0, half).await;
    assert_eq!(client.closed().await, 1002);
    bystander.served(&server).await;
}
