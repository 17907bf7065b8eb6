//! 3500 hostile connections, of every kind at once (gateway.md 8): nobody else misses a publication, the process lives, and
//! afterwards it is as it was before.
//!
//! What each kind gets for an answer is in `limits`, `http2` and `wire`; here only the others count.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    harness::{Calm, Metric, server, watched},
    http2::peer::{flag, frame, kind, message, open, setting},
    support::Server,
};

/// Connections.
const COUNT: u64 = 3500;
/// Of them at a time.
const AT_ONCE: usize = 64;
/// The time they are given; a machine under load may take longer, and then nothing is shown about a minute.
const MINUTE: Duration = Duration::from_secs(60);
/// How long one stays to see what happens to it.
const STAY: Duration = Duration::from_millis(200);

/// Numbers that follow from the first one, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % below
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next(256)).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    /// Some bytes changed, some cut out, some put in.
    fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.next(4) {
            let at = self.next(bytes.len().max(1));
            match self.next(3) {
                0 if !bytes.is_empty() => bytes[at] = self.byte(),
                1 => bytes.truncate(at),
                _ => {
                    let more = self.next(20);
                    let more = self.bytes(more);
                    bytes.splice(at.min(bytes.len())..at.min(bytes.len()), more);
                }
            }
        }
        bytes
    }
}

/// What a hostile connection does: where it goes, and the bytes it sends.
struct Deed {
    grpc: bool,
    bytes: Vec<u8>,
}

const KINDS: usize = 14;

/// Commands of a good client: connect, subscribe, publish.
const JSON: &str = r#"{"id":1,"connect":{}}
{"id":2,"subscribe":{"channel":"news"}}
{"id":3,"publish":{"channel":"news","data":{"a":[1,2,{"b":null}]}}}"#;
/// The same, each with its length.
const PROTOBUF: &[u8] = b"\x04\x08\x01\x22\x00\x0a\x08\x02\x2a\x06\x0a\x04news\
    \x0e\x08\x03\x3a\x0a\x0a\x04news\x12\x02{}";

fn deed(kind: usize, dice: &mut Dice) -> Deed {
    let half = kind == KINDS - 1;
    let (grpc, bytes) = if half {
        // Half a handshake, at either door.
        let mut bytes = upgraded(false, b"");
        bytes.truncate(dice.next(bytes.len()));
        (dice.next(2) == 0, bytes)
    } else if kind < 6 {
        (true, to_grpc(kind, dice))
    } else {
        (false, to_http(kind, dice))
    };
    Deed { grpc, bytes }
}

/// What goes to the port of gRPC.
fn to_grpc(kind: usize, dice: &mut Dice) -> Vec<u8> {
    let size = 1 + dice.next(4000);
    match kind {
        // Random bytes, at the door and behind it.
        0 => dice.bytes(size),
        1 => preface(&dice.bytes(size)),
        // A good command with faults in it.
        2 => {
            let command = dice.mutated(b"\x08\x02\x2a\x06\x0a\x04news".to_vec());
            let connect = message(1, b"\x08\x01\x22\x00");
            preface(&[open(1), connect, message(1, &command)].concat())
        }
        // A length that is not true.
        3 => {
            let head = frame(kind::DATA, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff]);
            preface(&[open(1), head].concat())
        }
        // HTTP/2 within the letter of the rules.
        4 => {
            let reset = |id| frame(kind::RST_STREAM, 0, id, &[0, 0, 0, 8]);
            let pairs = (0..200).map(|n| [open(2 * n + 1), reset(2 * n + 1)].concat());
            preface(&pairs.collect::<Vec<_>>().concat())
        }
        _ => {
            let floods = [
                frame(kind::PING, 0, 0, b"12345678"),
                setting(4, 1),
                frame(kind::CONTINUATION, 0, 1, b""),
                frame(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
                frame(kind::PRIORITY, 0, 1, &[0, 0, 0, 3, 1]),
                frame(kind::DATA, 0, 1, b""),
            ];
            let flood = floods[dice.next(floods.len())].repeat(2000);
            let begin = match dice.next(2) {
                0 => open(1),
                _ => frame(kind::HEADERS, 0, 1, &[0x83]),
            };
            let end = frame(kind::DATA, flag::END_STREAM, 1, b"");
            preface(&[begin, flood, end].concat())
        }
    }
}

/// What goes to the port of HTTP.
fn to_http(kind: usize, dice: &mut Dice) -> Vec<u8> {
    let size = 1 + dice.next(4000);
    match kind {
        // Random bytes, at the door and behind it.
        6 => dice.bytes(size),
        7 => upgraded(false, &dice.bytes(size)),
        // Good commands with faults in them.
        8 => {
            let text = dice.mutated(JSON.as_bytes().to_vec());
            upgraded(false, &masked(0x81, &text))
        }
        9 => {
            let message = dice.mutated(PROTOBUF.to_vec());
            upgraded(true, &masked(0x82, &message))
        }
        // Lengths that are not true: of a frame, of a message in it.
        10 => upgraded(false, &[&[0x81, 0xff][..], &[0x3f; 8]].concat()),
        11 => {
            let huge = [&[0xff; 9][..], b"\x01\x0a"].concat();
            upgraded(true, &masked(0x82, &huge))
        }
        // Frames that are unmasked, have reserved bits, or go on for ever.
        _ => {
            let first = [0x81, 0xc1, 0x83, 0x80, 0x09][dice.next(5)];
            let mut bytes = masked(first, b"{}");
            if first == 0x81 {
                bytes[1] &= 0x7f;
            }
            let endless = [masked(0x01, b"{"), masked(0x00, &[b' '; 100]).repeat(1000)].concat();
            let fragmented = dice.next(2) == 0;
            upgraded(false, if fragmented { &endless } else { &bytes })
        }
    }
}

/// A WebSocket handshake, and what follows without waiting for the answer.
fn upgraded(protobuf: bool, bytes: &[u8]) -> Vec<u8> {
    let query = if protobuf { "?format=protobuf" } else { "" };
    let head = format!(
        "GET /connection/websocket{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    [head.as_bytes(), bytes].concat()
}

/// The beginning of HTTP/2, and what follows.
fn preface(bytes: &[u8]) -> Vec<u8> {
    let settings = frame(kind::SETTINGS, 0, 0, &[]);
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..], bytes].concat()
}

/// A WebSocket frame masked with zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let head = match length {
        0..126 => vec![first, 0x80 | u8::try_from(length).unwrap()],
        _ => [&[first, 0xfe][..], &length.to_be_bytes()].concat(),
    };
    [&head[..], &[0; 4], payload].concat()
}

/// Sends, listens for a while, and goes; every third without a word.
async fn done(server: &Server, deed: Deed, number: u64) {
    let target = match deed.grpc {
        true => server.grpc_target(),
        false => server.http_target(),
    };
    let mut socket = TcpStream::connect(target).await.unwrap();
    let (mut read, mut write) = socket.split();
    let send = async { drop(write.write_all(&deed.bytes).await) };
    let mut heard = Vec::new();
    let listen = async { drop(read.read_to_end(&mut heard).await) };
    drop(timeout(STAY, async { tokio::join!(send, listen) }).await);
    if number.is_multiple_of(3) {
        drop(socket.set_zero_linger());
    }
}

#[tokio::test]
async fn thousands_of_them_change_nothing_for_the_others() {
    let settings = json!({
        "client": {"allow_anonymous_connect_without_token": true},
        "channel": {"without_namespace": {"allow_subscribe_for_client": true,
            "allow_subscribe_for_anonymous": true, "allow_publish_for_client": true}},
    });
    let mut server = server(settings).await;
    let dice = RefCell::new(Dice(0x2545_f491_4f6c_dd1d));
    let storm = async |numbers: std::ops::Range<u64>| {
        let deeds = stream::iter(numbers).map(|number| {
            let kind = usize::try_from(number).unwrap() % KINDS;
            let deed = deed(kind, &mut dice.borrow_mut());
            done(&server, deed, number)
        });
        deeds.buffer_unordered(AT_ONCE).count().await
    };
    let calm = Calm::before(&server);
    let took = Cell::new(Duration::ZERO);
    let attack = async {
        let begun = Instant::now();
        let done = storm(0..COUNT).await;
        took.set(begun.elapsed());
        done
    };
    let done = watched(&server, attack).await;
    assert_eq!(u64::try_from(done).unwrap(), COUNT);
    assert!(took.get() < MINUTE, "{:?}", took.get());
    // They did come through, each kind to where it wanted.
    for (name, labels) in [
        ("centripetal_http2_errors_total", &[][..]),
        (
            "centrifugo_client_num_server_disconnects",
            &[("code", "3501")],
        ),
        (
            "centrifugo_transport_outgoing_close_count",
            &[("code", "1002")],
        ),
        (
            "centrifugo_transport_outgoing_close_count",
            &[("code", "1009")],
        ),
    ] {
        let counted = Metric::of(&server, name, labels).await.before;
        assert!(counted >= 10.0, "{name} {labels:?}: {counted}");
    }
    calm.again(&mut server).await;
}
