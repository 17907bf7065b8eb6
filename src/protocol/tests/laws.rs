//! What holds for all commands, replies and payloads.

use bytes::Bytes;
use proptest::{prelude::*, sample::select};
use serde_json::value::RawValue;

use super::{
    ENCODINGS, LIMIT, VERSIONS, commands, form, unframe,
    values::{command, payload, publication, reply, text, v1_reply, v2_reply},
};
use crate::{
    model::{Channel, Encoding, Version},
    protocol::{
        Command, Decoder, Push, PushBody, Reply, ReplyBody, Request, decode_replies, decode_reply,
        encode_command, encode_commands,
        frame::{self, Compression, Framing, PositionFormat, WireForm},
        json::{is_json, is_json_object},
    },
};

fn dialect() -> impl Strategy<Value = (Version, Encoding)> {
    (select(&VERSIONS[..]), select(&ENCODINGS[..]))
}

fn any_command() -> impl Strategy<Value = (Version, Encoding, Command)> {
    dialect().prop_flat_map(|(version, encoding)| {
        (Just(version), Just(encoding), command(version, encoding))
    })
}

fn any_batch() -> impl Strategy<Value = (Version, Encoding, Vec<Command>)> {
    dialect().prop_flat_map(|(version, encoding)| {
        let commands = proptest::collection::vec(command(version, encoding), 1..5);
        (Just(version), Just(encoding), commands)
    })
}

fn any_reply() -> impl Strategy<Value = (Encoding, Reply)> {
    select(&ENCODINGS[..]).prop_flat_map(|encoding| (Just(encoding), reply(encoding)))
}

/// A V1 reply in the clothes of V2, so that the one decoder of replies can read it. What the reply is to has to be known.
fn json_v1_as_v2(bytes: &Bytes, original: &Reply) -> Bytes {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        id: Option<u32>,
        #[serde(borrow)]
        result: Option<&'a RawValue>,
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    #[derive(serde::Deserialize)]
    struct PushV1<'a> {
        #[serde(default)]
        r#type: usize,
        #[serde(default)]
        channel: String,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).unwrap();
    let id = envelope.id.unwrap_or(0);
    if let Some(error) = envelope.error {
        return format!(r#"{{"id":{id},"error":{error}}}"#).into();
    }
    let Some(result) = envelope.result else {
        return format!(r#"{{"id":{id}}}"#).into();
    };
    if id == 0 {
        let push: PushV1<'_> = serde_json::from_str(result.get()).unwrap();
        let channel = serde_json::to_string(&push.channel).unwrap();
        let name = [
            "pub",
            "join",
            "leave",
            "unsubscribe",
            "message",
            "subscribe",
            "connect",
            "disconnect",
            "refresh",
        ][push.r#type];
        let data = push.data;
        return format!(r#"{{"push":{{"channel":{channel},"{name}":{data}}}}}"#).into();
    }
    let name = match original.body {
        ReplyBody::Connect(_) => "connect",
        ReplyBody::Subscribe(_) => "subscribe",
        ReplyBody::Unsubscribe => "unsubscribe",
        ReplyBody::Publish => "publish",
        ReplyBody::Presence(_) => "presence",
        ReplyBody::PresenceStats(_) => "presence_stats",
        ReplyBody::History(_) => "history",
        ReplyBody::Rpc(_) => "rpc",
        ReplyBody::Refresh(_) => "refresh",
        ReplyBody::SubRefresh(_) => "sub_refresh",
        _ => panic!("no result"),
    };
    format!(r#"{{"id":{id},"{name}":{result}}}"#).into()
}

fn framings() -> [Framing; 3] {
    let deflate = Framing::WebSocketDeflate(Compression::new(1, 40));
    [Framing::WebSocket, deflate, Framing::None]
}

/// Every wire form there is.
fn forms() -> impl Iterator<Item = WireForm> {
    let positions = [
        PositionFormat::Offset,
        PositionFormat::SeqGen,
        PositionFormat::Both,
    ];
    VERSIONS.into_iter().flat_map(move |version| {
        ENCODINGS.into_iter().flat_map(move |encoding| {
            positions.into_iter().flat_map(move |positions| {
                framings().map(|framing| WireForm {
                    version,
                    encoding,
                    positions,
                    framing,
                    bare: false,
                })
            })
        })
    })
}

/// A permessage-deflate payload, whose end its sender has left out.
fn inflated(payload: &[u8], length: usize) -> Vec<u8> {
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut out = Vec::with_capacity(length + 1);
    let mut stream = flate2::Decompress::new(false);
    let status = stream.decompress_vec(&whole, &mut out, flate2::FlushDecompress::Sync);
    assert!(status.is_ok() && stream.total_in() == whole.len() as u64);
    out
}

proptest! {
    #[test]
    fn commands_survive_the_wire((version, encoding, command) in any_command()) {
        let bytes = encode_command(version, encoding, &command).unwrap();
        let mut decoder = Decoder::new(encoding, Some(version), Framing::None, LIMIT);
        prop_assert_eq!(commands(&mut decoder, bytes), [Ok(command)]);
    }

    #[test]
    fn first_command_tells_the_generation((version, encoding, command) in any_command()) {
        // An empty command tells nothing.
        if command.request == Request::Pong {
            return Ok(());
        }
        let bytes = encode_command(version, encoding, &command).unwrap();
        let mut decoder = Decoder::new(encoding, None, Framing::None, LIMIT);
        prop_assert_eq!(commands(&mut decoder, bytes), [Ok(command)]);
        prop_assert_eq!(decoder.version(), Some(version));
    }

    #[test]
    fn batches_survive_the_wire((version, encoding, batch) in any_batch()) {
        let bytes = encode_commands(version, encoding, &batch).unwrap();
        let mut decoder = Decoder::new(encoding, Some(version), Framing::WebSocket, LIMIT);
        let batch: Vec<_> = batch.into_iter().map(Ok).collect();
        prop_assert_eq!(commands(&mut decoder, bytes), batch);
    }

    #[test]
    fn replies_of_v2_survive_the_wire((encoding, reply) in any_reply()) {
        let bytes = frame::encode(form(Version::V2, encoding), &reply).unwrap();
        prop_assert_eq!(decode_reply(encoding, bytes), Ok(v2_reply(reply)));
    }

    #[test]
    fn json_replies_of_v1_survive_the_wire(reply in reply(Encoding::Json)) {
        // V1 has no server pings.
        if reply.body == ReplyBody::Ping {
            return Ok(());
        }
        let bytes = frame::encode(form(Version::V1, Encoding::Json), &reply).unwrap();
        let decoded = decode_reply(Encoding::Json, json_v1_as_v2(&bytes, &reply));
        prop_assert_eq!(decoded, Ok(v1_reply(reply, Encoding::Json)));
    }

    #[test]
    fn websocket_frames_hold_the_bare_message((encoding, reply) in any_reply()) {
        for form in forms().filter(|form| form.encoding == encoding) {
            let bare = frame::encode(WireForm { framing: Framing::None, ..form }, &reply).unwrap();
            let whole = frame::encode(WireForm { framing: Framing::WebSocket, ..form }, &reply).unwrap();
            match encoding {
                Encoding::Json => prop_assert_eq!(unframe(&whole, 0x81), bare),
                Encoding::Protobuf => {
                    let inner = unframe(&whole, 0x82);
                    let mut prefix = Vec::new();
                    prost::encoding::encode_varint(bare.len() as u64, &mut prefix);
                    prop_assert_eq!(inner, Bytes::from([prefix, bare.to_vec()].concat()));
                }
            }
        }
    }

    #[test]
    fn compressed_frames_hold_the_same_message((encoding, reply) in any_reply(), level in 1..=9_u32, min in 0..200_usize) {
        let deflate = Framing::WebSocketDeflate(Compression::new(level, min));
        let first = match encoding { Encoding::Json => 0x81, Encoding::Protobuf => 0x82 };
        for form in forms().filter(|form| form.encoding == encoding) {
            let plain = frame::encode(WireForm { framing: Framing::WebSocket, ..form }, &reply).unwrap();
            let packed = frame::encode(WireForm { framing: deflate, ..form }, &reply).unwrap();
            let message = unframe(&plain, first);
            if message.len() < min || reply.body == ReplyBody::Ping && reply.id == 0 {
                prop_assert_eq!(packed, plain);
            } else {
                prop_assert_eq!(inflated(&unframe(&packed, first | 0x40), message.len()), message);
            }
        }
    }

    #[test]
    fn several_replies_share_a_frame((encoding, reply) in any_reply(), count in 1..4usize) {
        let form = WireForm { framing: Framing::WebSocket, ..form(Version::V2, encoding) };
        let first = match encoding { Encoding::Json => 0x81, Encoding::Protobuf => 0x82 };
        let separator: &[u8] = match encoding { Encoding::Json => b"\n", Encoding::Protobuf => b"" };
        let message = unframe(&frame::encode(form, &reply).unwrap(), first);
        let frame = vec![message.to_vec(); count].join(separator);
        let replies: Vec<_> = decode_replies(encoding, Framing::WebSocket, frame.into()).collect();
        prop_assert_eq!(replies, vec![Ok(v2_reply(reply)); count]);
    }

    #[test]
    fn publications_are_encoded_as_their_pushes(
        channel in text(),
        publication in select(&ENCODINGS[..]).prop_flat_map(publication),
    ) {
        let channel = Channel::from(channel);
        let body = PushBody::Publication(publication.clone());
        let reply = Reply { id: 0, body: ReplyBody::Push(Push { channel: channel.clone(), body }) };
        for form in forms() {
            // Payloads that are no JSON fail alike.
            prop_assert_eq!(frame::publication(form, &channel, &publication), frame::encode(form, &reply));
        }
    }

    #[test]
    fn json_output_is_json((_, reply) in any_reply()) {
        for form in forms().filter(|form| form.encoding == Encoding::Json && form.framing == Framing::None) {
            if let Ok(bytes) = frame::encode(form, &reply) {
                prop_assert!(is_json_object(&bytes));
                prop_assert!(!bytes.contains(&b'\n'));
            }
        }
    }

    #[test]
    fn validity_of_json_is_what_others_think(
        mut json in payload(Encoding::Json).prop_map(|json| json.to_vec()),
        at in any::<prop::sample::Index>(),
        byte in proptest::option::of(select(&b"{}[]\",:\\u0-.e+tn \n\t\x01\xff"[..])),
    ) {
        if let Some(byte) = byte && !json.is_empty() {
            let at = at.index(json.len());
            json[at] = byte;
        }
        let theirs = std::str::from_utf8(&json)
            .is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        prop_assert_eq!(is_json(&json), theirs, "{}", String::from_utf8_lossy(&json));
        let object = theirs && json.trim_ascii_start().starts_with(b"{");
        prop_assert_eq!(is_json_object(&json), object);
    }
}
