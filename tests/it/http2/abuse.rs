//! Peers that cost more than they should: either GOAWAY, or bounded memory and work, and never anybody else's connection.

use std::time::Duration;

use serde_json::{Value, json};

use super::peer::{End, Peer, code, field, flag, frame, kind, message, open, setting};
use crate::{
    harness::{Calm, Metric, eventually, server, watched},
    support::Server,
};

/// Turns deeds, `async fn name(on: Listener)`, into one test for each listener that speaks HTTP/2.
macro_rules! on_both_listeners {
    ($($deed:ident),+ $(,)?) => {$(
        mod $deed {
            use super::Listener;

            #[tokio::test]
            async fn grpc() {
                Box::pin(super::$deed(Listener::Grpc)).await;
            }

            #[tokio::test]
            async fn shared() {
                Box::pin(super::$deed(Listener::Shared)).await;
            }
        }
    )+};
}

on_both_listeners!(
    rapid_reset,
    resets_in_small_bursts,
    headers_without_end,
    headers_beyond_the_limit,
    headers_out_of_the_table,
    settings_and_pings,
    settings_and_pings_whose_answers_are_not_read,
    priorities_and_windows,
    data_without_bytes,
    data_of_one_byte,
    windows_of_zero,
    windows_without_end_and_no_reader,
    streams_without_commands,
    streams_beyond_the_limit,
    streams_closed_by_half,
);

/// Where HTTP/2 is spoken.
#[derive(Clone, Copy, Debug)]
enum Listener {
    /// The port of gRPC.
    Grpc,
    /// The port of HTTP, with `centripetal.grpc.shared`.
    Shared,
}

/// A server under attack.
struct Scene {
    server: Server,
    target: String,
    calm: Calm,
}

impl Scene {
    async fn new(on: Listener) -> Self {
        let channel = json!({"allow_subscribe_for_client": true});
        let settings = json!({
            "client": {"insecure": true, "stale_close_delay": "3s"},
            "channel": {"without_namespace": channel},
            "centripetal": {"grpc": {"shared": true}},
        });
        Self::with(on, settings).await
    }

    /// A server that soon gives up who does not answer PINGs.
    async fn impatient(on: Listener) -> Self {
        let keepalive =
            json!({"shared": true, "keepalive_interval": "2s", "keepalive_timeout": "2s"});
        let settings = json!({
            "client": {"insecure": true},
            "channel": {"without_namespace": {"allow_subscribe_for_client": true}},
            "centripetal": {"grpc": keepalive},
        });
        Self::with(on, settings).await
    }

    async fn with(on: Listener, settings: Value) -> Self {
        let server = server(settings).await;
        let target = match on {
            Listener::Grpc => server.grpc_target(),
            Listener::Shared => server.http_target(),
        };
        let calm = Calm::before(&server);
        Self {
            server,
            target,
            calm,
        }
    }

    /// Somebody does something. What is returned stays, connections for example, until the server is calm again.
    async fn survives<T>(&mut self, deed: impl AsyncFnOnce(&Server, &str) -> T) -> T {
        let deed = async {
            let done = deed(&self.server, &self.target).await;
            self.calm.bounded(&self.server);
            done
        };
        let done = watched(&self.server, deed).await;
        self.calm.again(&mut self.server).await;
        done
    }

    /// Sends all of it, which must end the connection with this code, and be counted.
    async fn ends(&mut self, bytes: &[u8], goaway: u32, counted: &'static str) {
        let name = "centripetal_http2_errors_total";
        let deed = async |server: &Server, target: &str| {
            let counter = Metric::of(server, name, &[("reason", counted)]).await;
            let end = Peer::usual(target).await.flood(bytes).await;
            assert_eq!(end, End::Goaway(goaway));
            counter.increased().await;
        };
        self.survives(deed).await;
    }

    /// Sends all of it, which the server must put up with.
    async fn tolerates(&mut self, bytes: &[u8]) {
        let deed = async |_: &Server, target: &str| {
            let mut peer = Peer::usual(target).await;
            peer.tolerated(bytes).await;
            peer
        };
        self.survives(deed).await;
    }
}

/// Identifiers of so many streams of a client.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|n| 2 * n + 1)
}

fn reset(stream: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// {"id":1,"connect":{}} and {"id":2,"subscribe":{"channel":"busy"}} on a stream of their own.
fn subscribed(stream: u32) -> Vec<u8> {
    let connect = message(stream, b"\x08\x01\x22\x00");
    let subscribe = message(stream, b"\x08\x02\x2a\x06\x0a\x04busy");
    [open(stream), connect, subscribe].concat()
}

async fn rapid_reset(on: Listener) {
    let pairs = streams(5000).map(|stream| [open(stream), reset(stream)].concat());
    let bytes: Vec<u8> = pairs.flatten().collect();
    let mut scene = Scene::new(on).await;
    scene
        .ends(&bytes, code::ENHANCE_YOUR_CALM, "enhance_your_calm")
        .await;
}

async fn resets_in_small_bursts(on: Listener) {
    const BURST: u32 = 50;
    let mut scene = Scene::new(on).await;
    let deed = async |_: &Server, target: &str| {
        let mut peer = Peer::usual(target).await;
        for burst in 0..60 {
            let ids = streams(BURST).map(|id| id + burst * (BURST + 1) * 2);
            let bytes: Vec<u8> = ids.flat_map(|id| [open(id), reset(id)].concat()).collect();
            // A call that is not reset, and answered after those before it were looked at.
            let last = 2 * (BURST + burst * (BURST + 1)) + 1;
            let end = frame(kind::DATA, flag::END_STREAM, last, b"");
            peer.send(&[bytes, open(last), end].concat()).await.unwrap();
            peer.until(|frame| frame.kind == kind::HEADERS && frame.stream == last)
                .await;
        }
        peer
    };
    scene.survives(deed).await;
}

async fn headers_without_end(on: Listener) {
    let mut scene = Scene::new(on).await;
    let begin = frame(kind::HEADERS, 0, 1, &[0x83, 0x86]);
    let part = |payload: &[u8]| frame(kind::CONTINUATION, 0, 1, payload);
    for (part, times) in [
        (part(b""), 100_000),
        (part(&field("x", "y")), 50_000),
        (part(&field("x", &"y".repeat(16_000))), 500),
    ] {
        let bytes = [begin.clone(), part.repeat(times)].concat();
        scene
            .ends(&bytes, code::ENHANCE_YOUR_CALM, "enhance_your_calm")
            .await;
    }
    // One string that goes on and on.
    let name = [
        &[0, 1, b'x', 0x7f, 0xff, 0xff, 0xff, 0x7f][..],
        &[b'y'; 8000],
    ]
    .concat();
    let endless = [part(&name), part(&[b'y'; 16_000]).repeat(500)].concat();
    let bytes = [begin, endless].concat();
    scene
        .ends(&bytes, code::ENHANCE_YOUR_CALM, "enhance_your_calm")
        .await;
}

async fn headers_beyond_the_limit(on: Listener) {
    let mut scene = Scene::new(on).await;
    // 23 kB as HTTP/2 counts, in 600 fields.
    let fields: Vec<u8> = (0..600)
        .flat_map(|n| field(&format!("x-{n:03}"), "y"))
        .collect();
    let block = [super::peer::call(), fields].concat();
    let headers = frame(kind::HEADERS, flag::END_HEADERS, 1, &block);
    let deed = async |server: &Server, target: &str| {
        let name = "centripetal_http_headers_too_large_total";
        let counter = Metric::of(server, name, &[]).await;
        let mut peer = Peer::usual(target).await;
        peer.send(&headers).await.unwrap();
        let answer = peer.until(|frame| frame.kind == kind::HEADERS).await;
        // 431 is not in the static table: the value of `:status` comes as text.
        let payload = answer.payload;
        assert!(
            payload.windows(3).any(|part| part == b"431") || huffman_431(&payload),
            "{payload:x?}"
        );
        counter.increased().await;
        peer.tolerated(&open(3)).await;
        peer
    };
    scene.survives(deed).await;
}

/// "431" in HPACK's Huffman code: 0x1a, 0x19 and 0x1 in 6, 6 and 5 bits, filled up with ones.
fn huffman_431(payload: &[u8]) -> bool {
    payload.windows(3).any(|part| part == [0x69, 0x90, 0xff])
}

async fn headers_out_of_the_table(on: Listener) {
    let mut scene = Scene::new(on).await;
    // A field of 4000 bytes is put into the table and then named 16,000 times with a byte each: 64 MB of headers.
    let large = field("x", &"y".repeat(3900));
    let stored = [&[0x40][..], &large[1..]].concat();
    let begin = frame(kind::HEADERS, 0, 1, &[&[0x83, 0x86][..], &stored].concat());
    let named = frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[0xbe; 16_000]);
    scene
        .ends(
            &[begin, named].concat(),
            code::ENHANCE_YOUR_CALM,
            "enhance_your_calm",
        )
        .await;
}

/// SETTINGS that change the table and the window, PING, and frames of an unknown kind.
fn chatter() -> Vec<u8> {
    let change = [
        setting(1, 0),
        setting(1, 4096),
        setting(4, 100),
        setting(4, 65_535),
    ]
    .concat();
    let ping = frame(kind::PING, 0, 0, b"12345678");
    let unknown = frame(0x33, 0xff, 0, b"what");
    [change, ping, unknown].concat()
}

async fn settings_and_pings(on: Listener) {
    let mut scene = Scene::new(on).await;
    let chatter = chatter().repeat(20_000);
    scene.tolerates(&[open(1), chatter].concat()).await;
}

async fn settings_and_pings_whose_answers_are_not_read(on: Listener) {
    let mut scene = Scene::impatient(on).await;
    let deed = async |_: &Server, target: &str| {
        let mut peers = Vec::new();
        for _ in 0..20 {
            let mut peer = Peer::usual(target).await;
            let chatter = chatter().repeat(1000);
            let poured = peer.pour(&chatter, 1000, Duration::from_millis(300)).await;
            assert!(poured < 1000, "answers to {poured} parts wait somewhere");
            peers.push(peer);
        }
        peers
    };
    let _peers = scene.survives(deed).await;
    gone(&scene.server, 20.0).await;
}

/// Who does not even answer PINGs is not kept, though nothing can be written to it.
async fn gone(server: &Server, peers: f64) {
    let counter = Metric::of(server, "centripetal_http2_errors_total", &[]).await;
    let what = "connections of silent peers are closed";
    eventually(what, || async { counter.value().await >= peers }).await;
}

async fn priorities_and_windows(on: Listener) {
    let mut scene = Scene::new(on).await;
    let priority = |id: u32| frame(kind::PRIORITY, 0, id, &[0, 0, 0, 1, 16]);
    let window = |id: u32| frame(kind::WINDOW_UPDATE, 0, id, &[0, 0, 0, 1]);
    let flood: Vec<u8> = (3..20_003)
        .flat_map(|id| [priority(id), window(0), window(1)].concat())
        .collect();
    scene.tolerates(&[open(1), flood].concat()).await;
}

async fn data_without_bytes(on: Listener) {
    let mut scene = Scene::new(on).await;
    let empty = frame(kind::DATA, 0, 1, b"");
    let bytes = [open(1), empty.repeat(100_000)].concat();
    scene
        .ends(&bytes, code::ENHANCE_YOUR_CALM, "enhance_your_calm")
        .await;
}

async fn data_of_one_byte(on: Listener) {
    let mut scene = Scene::new(on).await;
    // The length of a message of 60,000 bytes, then its bytes one by one: slow, but no more than that.
    let head = frame(kind::DATA, 0, 1, &[0, 0, 0, 0xea, 0x60]);
    let byte = frame(kind::DATA, 0, 1, b"x");
    let deed = async |_: &Server, target: &str| {
        let mut peer = Peer::usual(target).await;
        peer.tolerated(&[subscribed(1), head].concat()).await;
        for _ in 0..100 {
            peer.tolerated(&byte.repeat(500)).await;
        }
        peer
    };
    scene.survives(deed).await;
}

/// Publishes so many times 10 kB where the hostile streams listen.
async fn publish(server: &Server, times: usize) {
    let data: Value = json!("x".repeat(10_000));
    for _ in 0..times {
        server.publish("busy", &data).await;
    }
}

async fn windows_of_zero(on: Listener) {
    let mut scene = Scene::new(on).await;
    let deed = async |server: &Server, target: &str| {
        let mut peer = Peer::new(target, &setting(4, 0)).await;
        let bytes: Vec<u8> = streams(500).flat_map(subscribed).collect();
        peer.tolerated(&bytes).await;
        publish(server, 100).await;
        // Each session has something to say and cannot; each is given up, and the connection is not.
        let mut given_up = 0;
        while given_up < 500 {
            peer.until(|frame| frame.kind == kind::RST_STREAM).await;
            given_up += 1;
        }
        peer.tolerated(b"").await;
        peer
    };
    scene.survives(deed).await;
}

async fn windows_without_end_and_no_reader(on: Listener) {
    const LARGEST: u32 = (1 << 31) - 1;
    let mut scene = Scene::impatient(on).await;
    let deed = async |server: &Server, target: &str| {
        let mut peer = Peer::new(target, &setting(4, LARGEST)).await;
        let grown = (LARGEST - 65_535).to_be_bytes();
        let window = frame(kind::WINDOW_UPDATE, 0, 0, &grown);
        let bytes: Vec<u8> = streams(300).flat_map(subscribed).collect();
        peer.tolerated(&[window, bytes].concat()).await;
        publish(server, 200).await;
        peer
    };
    let _peer = scene.survives(deed).await;
    gone(&scene.server, 1.0).await;
}

async fn streams_without_commands(on: Listener) {
    let mut scene = Scene::new(on).await;
    let deed = async |_: &Server, target: &str| {
        let mut peer = Peer::usual(target).await;
        let bytes: Vec<u8> = streams(1000).flat_map(open).collect();
        peer.tolerated(&bytes).await;
        // Each is told that it took too long.
        let mut ended = 0;
        while ended < 1000 {
            let last = |frame: &super::peer::Frame| {
                frame.kind == kind::HEADERS && frame.flags & flag::END_STREAM != 0
            };
            peer.until(last).await;
            ended += 1;
        }
        peer
    };
    scene.survives(deed).await;
}

async fn streams_beyond_the_limit(on: Listener) {
    let mut scene = Scene::new(on).await;
    let bytes: Vec<u8> = streams(8000).flat_map(open).collect();
    scene
        .ends(&bytes, code::ENHANCE_YOUR_CALM, "enhance_your_calm")
        .await;
}

async fn streams_closed_by_half(on: Listener) {
    let mut scene = Scene::new(on).await;
    let deed = async |_: &Server, target: &str| {
        // Nothing can be written to them, not even the end.
        let mut peer = Peer::new(target, &setting(4, 0)).await;
        for part in 0..20 {
            let ids = streams(200).map(|id| id + part * 400);
            let bytes: Vec<u8> = ids
                .flat_map(|id| {
                    let end = frame(kind::DATA, flag::END_STREAM, id, b"");
                    [subscribed(id), end].concat()
                })
                .collect();
            peer.tolerated(&bytes).await;
        }
        peer
    };
    scene.survives(deed).await;
}
