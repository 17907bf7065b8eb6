//! Messages in HTTP bodies, and those of clients that only listen (rows 62, 63 and 87 to 92 of client-protocol.md 8).

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::model::{Channel, Publication};
use crate::protocol::{
    ConnectResult, Push, PushBody, Reply, ReplyBody, decode_emulation_request,
    frame::{self, Framing, Kind, Look, WireForm},
    json_text,
};

fn in_form(encoding: Encoding, framing: Framing, bare: bool) -> WireForm {
    WireForm {
        framing,
        bare,
        ..form(Version::V2, encoding)
    }
}

fn pushed(channel: &str, body: PushBody) -> Reply {
    let channel = channel.into();
    Reply {
        id: 0,
        body: ReplyBody::Push(Push { channel, body }),
    }
}

fn publication(offset: u64) -> Reply {
    let publication = Publication {
        data: Bytes::from_static(br#"{"a":1}"#),
        offset,
        ..Publication::default()
    };
    pushed("news", PushBody::Publication(Arc::new(publication)))
}

#[test]
fn listeners_get_pushes_without_replies() {
    let connect = ConnectResult {
        client: "6b1c1f5e".into(),
        ping: 25,
        ..ConnectResult::default()
    };
    let connect = pushed("", PushBody::Connect(Box::new(connect)));
    for (reply, json, protobuf) in [
        (
            publication(0),
            r#"{"channel":"news","pub":{"data":{"a":1}}}"#,
            "12 04 6e 65 77 73 22 09 22 07 7b 22 61 22 3a 31 7d",
        ),
        (
            connect,
            r#"{"connect":{"client":"6b1c1f5e","ping":25}}"#,
            "52 0c 0a 08 36 62 31 63 31 66 35 65 38 19",
        ),
    ] {
        let encode =
            |encoding, framing| frame::encode(in_form(encoding, framing, true), &reply).unwrap();
        assert_eq!(encode(Encoding::Json, Framing::None), json);
        assert_eq!(encode(Encoding::Json, Framing::Stream), format!("{json}\n"));
        assert_eq!(
            encode(Encoding::Json, Framing::Event),
            format!("data: {json}\n\n")
        );
        assert_eq!(encode(Encoding::Protobuf, Framing::None), hex(protobuf));
    }
    let ping = Reply {
        id: 0,
        body: ReplyBody::Ping,
    };
    let ping = |encoding| frame::encode(in_form(encoding, Framing::None, true), &ping).unwrap();
    assert_eq!(
        (&ping(Encoding::Json)[..], &ping(Encoding::Protobuf)[..]),
        (&b"{}"[..], &b""[..])
    );
}

#[test]
fn messages_of_bodies() {
    let encode = |encoding, framing, reply: &Reply| {
        frame::encode(in_form(encoding, framing, false), reply).unwrap()
    };
    let event = r#"data: {"push":{"channel":"news","pub":{"data":{"a":1},"offset":6}}}"#;
    let told = encode(Encoding::Json, Framing::Event, &publication(6));
    assert_eq!(told, format!("{event}\n\n"));
    let ping = Reply {
        id: 0,
        body: ReplyBody::Ping,
    };
    assert_eq!(encode(Encoding::Json, Framing::Stream, &ping), "{}\n");
    assert_eq!(
        encode(Encoding::Protobuf, Framing::Stream, &ping),
        hex("00")
    );
    assert_eq!(
        encode(Encoding::Json, Framing::Event, &ping),
        "data: {}\n\n"
    );
    for (framing, kind, expected) in [
        (Framing::Stream, Kind::Text, &b"x\n"[..]),
        (Framing::Stream, Kind::Binary, b"\x01x"),
        (Framing::Event, Kind::Text, b"data: x\n\n"),
    ] {
        assert_eq!(frame::message(framing, kind, b"x"), expected);
    }
}

#[test]
fn a_socket_and_a_body_share_their_bytes() {
    let of_size = |size| Publication {
        data: Bytes::from(format!("\"{}\"", "x".repeat(size))),
        ..Publication::default()
    };
    let channel = Channel::from("news");
    let look = Look::default();
    for publication in [70_000, 300, 6].map(of_size) {
        for encoding in [Encoding::Json, Encoding::Protobuf] {
            for bare in [false, true] {
                let form = |framing| in_form(encoding, framing, bare);
                let alone = |framing| frame::publication(form(framing), &channel, &publication);
                let (socket, body) =
                    frame::publication_pair(form(Framing::WebSocket), look, &channel, &publication)
                        .unwrap();
                assert_eq!(socket, alone(Framing::WebSocket).unwrap());
                assert_eq!(body, alone(Framing::Stream).unwrap());
                let shared = socket.as_ptr_range().contains(&body.as_ptr());
                assert!(shared, "{encoding:?}");
            }
        }
    }
    let broken = Publication {
        data: Bytes::from_static(b"nope"),
        ..Publication::default()
    };
    let form = in_form(Encoding::Json, Framing::Stream, false);
    assert!(frame::publication_pair(form, look, &channel, &broken).is_err());
}

#[test]
fn frames_of_requests() {
    for (body, frame) in [
        (r#"{"session":"s1","node":"n1","data":"{}"}"#, "{}"),
        (
            r#"{"session":"s1","node":"n1","data":"{\"subscribe\":{\"channel\":\"news\",\"flag\":1},\"id\":2}"}"#,
            r#"{"subscribe":{"channel":"news","flag":1},"id":2}"#,
        ),
    ] {
        let request = decode_emulation_request(Encoding::Json, &Bytes::from(body)).unwrap();
        assert_eq!((&*request.session, &*request.node), ("s1", "n1"));
        assert_eq!(json_text(&request.data).unwrap(), frame);
    }
    let pong = hex("0a 02 6e 31 12 02 73 31 1a 01 00");
    let request = decode_emulation_request(Encoding::Protobuf, &pong).unwrap();
    assert_eq!((&*request.node, &request.data[..]), ("n1", &b"\0"[..]));
}

#[test]
fn every_form_has_a_place_of_its_own() {
    let mut seen = std::collections::BTreeSet::new();
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        for framing in [
            Framing::WebSocket,
            Framing::WebSocketDeflate(frame::Compression::new(1, 0)),
            Framing::None,
            Framing::Stream,
            Framing::Event,
            Framing::SockJs,
        ] {
            for bare in [false, true] {
                assert!(seen.insert(in_form(encoding, framing, bare).index()));
            }
            for positions in [
                frame::PositionFormat::Offset,
                frame::PositionFormat::SeqGen,
                frame::PositionFormat::Both,
            ] {
                let form = WireForm {
                    framing,
                    positions,
                    ..form(Version::V1, encoding)
                };
                assert!(seen.insert(form.index()));
            }
        }
    }
    assert_eq!(seen.last(), Some(&(WireForm::COUNT - 1)));
}
