//! The rules for what is written, and for what a client reads: client-protocol.md 1.9 to 1.11 and 2.1, one by one.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{VERSIONS, form, hex};
use crate::{
    model::{ClientError, ClientInfo, Disconnect, Encoding, Publication, Unsubscribe, Version},
    protocol::{
        Command, ConnectResult, HistoryResult, Malformed, PresenceResult, PresenceStatsResult,
        Push, PushBody, RefreshResult, Reply, ReplyBody, Request, SubscribeResult, decode_replies,
        decode_reply, encode_command,
        frame::{self, Framing, Inappropriate, PositionFormat, WireForm},
        json::{is_json, is_json_object},
    },
};

/// JSON of a reply in the form of a generation.
fn json(version: Version, body: ReplyBody) -> String {
    let id = u32::from(!matches!(body, ReplyBody::Push(_)));
    let bytes = frame::encode(form(version, Encoding::Json), &Reply { id, body }).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn push(channel: &str, body: PushBody) -> ReplyBody {
    ReplyBody::Push(Push {
        channel: channel.into(),
        body,
    })
}

fn publication(data: &'static [u8]) -> Arc<Publication> {
    Arc::new(Publication {
        data: Bytes::from_static(data),
        ..Publication::default()
    })
}

// 2.1 JSON output

#[test]
fn strings_are_escaped_as_deployed_servers_do() {
    let text = "\"\\/<>&\u{2028}\u{2029}\n\r\t\u{8}\u{c}\u{1}\u{1f}\u{7f}\u{e9}\u{1f600}";
    assert_eq!(
        json(Version::V2, push(text, PushBody::Refresh(None))),
        "{\"push\":{\"channel\":\"\\\"\\\\/\\u003c\\u003e\\u0026\\u2028\\u2029\\n\\r\\t\\u0008\\u000c\\u0001\\u001f\u{7f}\u{e9}\u{1f600}\",\"refresh\":{}}}"
    );
}

#[test]
fn payloads_are_embedded_without_line_breaks() {
    let push = push(
        "c",
        PushBody::Publication(publication(b"{ \"b\" : 1,\r\n \"a\" : \"\\u00e9<&>\" }")),
    );
    assert_eq!(
        json(Version::V2, push),
        r#"{"push":{"channel":"c","pub":{"data":{ "b" : 1, "a" : "\u00e9<&>" }}}}"#
    );
}

#[test]
fn payloads_that_are_no_json_are_refused_in_json_only() {
    for data in [
        &b"\xff\x00"[..],
        b"x",
        b"  ",
        b"1 2",
        b"{}\n{}",
        b"1},\"id\":{}",
        b"\"\xff\"",
    ] {
        for version in VERSIONS {
            let reply = Reply {
                id: 0,
                body: push("c", PushBody::Publication(publication(data))),
            };
            assert_eq!(
                frame::encode(form(version, Encoding::Json), &reply),
                Err(Inappropriate)
            );
            assert!(frame::encode(form(version, Encoding::Protobuf), &reply).is_ok());
        }
        let command = Command {
            id: 1,
            request: Request::Send(Bytes::from_static(data)),
        };
        assert_eq!(
            encode_command(Version::V2, Encoding::Json, &command),
            Err(Inappropriate)
        );
    }
}

#[test]
fn zeros_are_left_out_with_exceptions() {
    for (body, v2, v1) in [
        (
            push("", PushBody::Publication(publication(b""))),
            r#"{"push":{"pub":{}}}"#,
            r#"{"result":{"data":{"data":null}}}"#,
        ),
        (
            push("", PushBody::Join(Arc::default())),
            r#"{"push":{"join":{"info":{"user":"","client":""}}}}"#,
            r#"{"result":{"type":1,"data":{"info":{"user":"","client":""}}}}"#,
        ),
        (
            push("", PushBody::Message(Bytes::new())),
            r#"{"push":{"message":{}}}"#,
            r#"{"result":{"type":4,"data":{}}}"#,
        ),
        (
            ReplyBody::Connect(Box::default()),
            r#"{"id":1,"connect":{}}"#,
            r#"{"id":1,"result":{"client":"","version":""}}"#,
        ),
        (
            ReplyBody::Refresh(RefreshResult::default()),
            r#"{"id":1,"refresh":{}}"#,
            r#"{"id":1,"result":{"client":"","version":""}}"#,
        ),
        (
            ReplyBody::Presence(PresenceResult::default()),
            r#"{"id":1,"presence":{"presence":{}}}"#,
            r#"{"id":1,"result":{"presence":{}}}"#,
        ),
        (
            ReplyBody::PresenceStats(PresenceStatsResult::default()),
            r#"{"id":1,"presence_stats":{"num_clients":0,"num_users":0}}"#,
            r#"{"id":1,"result":{"num_clients":0,"num_users":0}}"#,
        ),
        (
            ReplyBody::History(HistoryResult::default()),
            r#"{"id":1,"history":{"publications":[],"epoch":"","offset":0}}"#,
            r#"{"id":1,"result":{"publications":[],"epoch":"","offset":0}}"#,
        ),
        (
            ReplyBody::Rpc(Bytes::new()),
            r#"{"id":1,"rpc":{}}"#,
            r#"{"id":1,"result":{}}"#,
        ),
        (
            ReplyBody::Unsubscribe,
            r#"{"id":1,"unsubscribe":{}}"#,
            r#"{"id":1,"result":{}}"#,
        ),
    ] {
        assert_eq!(json(Version::V2, body.clone()), v2);
        assert_eq!(json(Version::V1, body), v1);
    }
}

#[test]
fn unsubscribes_have_code_and_reason() {
    let unsubscribe = |reason: &'static str| {
        push(
            "c",
            PushBody::Unsubscribe(Unsubscribe {
                code: 2600,
                reason: reason.into(),
            }),
        )
    };
    assert_eq!(
        json(Version::V2, unsubscribe("")),
        r#"{"push":{"channel":"c","unsubscribe":{"code":2600,"reason":""}}}"#
    );
    assert_eq!(
        json(Version::V1, unsubscribe("x")),
        r#"{"result":{"type":3,"channel":"c","data":{"resubscribe":true,"code":2600,"reason":"x"}}}"#
    );
    assert_eq!(
        json(
            Version::V1,
            push("c", PushBody::Unsubscribe(Unsubscribe::SERVER))
        ),
        r#"{"result":{"type":3,"channel":"c","data":{"code":2000,"reason":"server unsubscribe"}}}"#
    );
}

#[test]
fn keys_are_in_the_order_of_their_numbers() {
    let publication = Publication {
        offset: 1,
        epoch: "e".into(),
        data: Bytes::from("1"),
        info: Some(Arc::new(ClientInfo {
            user: "u".into(),
            client: "c".into(),
            conn_info: Bytes::from("2"),
            chan_info: Bytes::from("3"),
        })),
        tags: Some(Arc::new(BTreeMap::from([(
            "k<".to_owned(),
            "v".to_owned(),
        )]))),
        version: 7,
        time: 9,
        ..Publication::default()
    };
    let body = push("x", PushBody::Publication(Arc::new(publication)));
    assert_eq!(
        json(Version::V2, body.clone()),
        r#"{"push":{"channel":"x","pub":{"data":1,"info":{"user":"u","client":"c","conn_info":2,"chan_info":3},"offset":1,"tags":{"k\u003c":"v"},"epoch":"e","version":7}}}"#
    );
    // Epoch and version are not for V1.
    assert_eq!(
        json(Version::V1, body),
        r#"{"result":{"channel":"x","data":{"data":1,"info":{"user":"u","client":"c","conn_info":2,"chan_info":3},"offset":1,"tags":{"k\u003c":"v"}}}}"#
    );
    let connect = ReplyBody::Connect(Box::new(ConnectResult {
        client: "c".into(),
        version: "v".into(),
        ttl: Some(3),
        data: Bytes::from("{}"),
        subs: [(
            "s".into(),
            SubscribeResult {
                was_recovering: true,
                ..Default::default()
            },
        )]
        .into(),
        ping: 25,
        pong: true,
        session: "s".into(),
        node: "n".into(),
        time: -5,
    }));
    assert_eq!(
        json(Version::V2, connect.clone()),
        r#"{"id":1,"connect":{"client":"c","version":"v","expires":true,"ttl":3,"data":{},"subs":{"s":{"was_recovering":true}},"ping":25,"pong":true,"session":"s","node":"n","time":-5}}"#
    );
    assert_eq!(
        json(Version::V1, connect),
        r#"{"id":1,"result":{"client":"c","version":"v","expires":true,"ttl":3,"data":{},"subs":{"s":{}}}}"#
    );
}

#[test]
fn errors_of_v1_are_never_temporary() {
    assert_eq!(
        json(Version::V1, ReplyBody::Error(ClientError::INTERNAL)),
        r#"{"id":1,"error":{"code":100,"message":"internal server error"}}"#
    );
}

#[test]
fn recovered_publications_may_have_another_position_format() {
    let publication = Arc::new(Publication {
        data: Bytes::from("1"),
        offset: 6,
        ..Default::default()
    });
    let result = |publication_positions| {
        let body = ReplyBody::Subscribe(Box::new(SubscribeResult {
            publications: vec![publication.clone()],
            publication_positions,
            offset: 6,
            ..Default::default()
        }));
        let positions = PositionFormat::Both;
        let form = WireForm {
            positions,
            ..form(Version::V1, Encoding::Json)
        };
        let bytes = frame::encode(form, &Reply { id: 1, body }).unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let around = |publication: &str| {
        format!(r#"{{"id":1,"result":{{"seq":6,"publications":[{publication}],"offset":6}}}}"#)
    };
    assert_eq!(result(None), around(r#"{"seq":6,"data":1,"offset":6}"#));
    assert_eq!(
        result(Some(PositionFormat::SeqGen)),
        around(r#"{"seq":6,"data":1}"#)
    );
    assert_eq!(
        result(Some(PositionFormat::Offset)),
        around(r#"{"data":1,"offset":6}"#)
    );
}

// Client direction

#[test]
fn unknown_pushes_are_left_out() {
    let frame = "{\"push\":{\"id\":3,\"connect\":{}}}\n{}\n{\"push\":{}}";
    let replies: Vec<_> =
        decode_replies(Encoding::Json, Framing::WebSocket, frame.into()).collect();
    assert_eq!(
        replies,
        [Ok(Reply {
            id: 0,
            body: ReplyBody::Ping
        })]
    );
    assert_eq!(
        decode_reply(Encoding::Json, r#"{"push":{"new":{}}}"#.into()),
        Err(Malformed)
    );
    assert_eq!(
        decode_reply(Encoding::Json, "{}\n{}".into()),
        Err(Malformed)
    );
    assert_eq!(decode_reply(Encoding::Json, "".into()), Err(Malformed));
    assert_eq!(decode_reply(Encoding::Protobuf, hex("08")), Err(Malformed));
}

// 1.11 Close reasons

#[test]
fn close_reasons_fit_a_control_frame() {
    let reason = |version, text: &str| {
        let reason = text.to_owned().into();
        frame::close_reason(version, &Disconnect { code: 4001, reason })
    };
    assert_eq!(reason(Version::V2, &"r".repeat(130)), "r".repeat(123));
    // Cut before a character that does not fit.
    assert_eq!(reason(Version::V2, &"é".repeat(70)), "é".repeat(61));
    assert_eq!(reason(Version::V2, ""), "");
    for text in ["r", "é", "\"", "<", "\u{2028}", "\u{1f600}", "\u{1}é", "r<"] {
        for count in [0, 1, 10, 15, 16, 40, 90, 91, 92, 93, 200, 5000] {
            let text = text.repeat(count);
            let closed = reason(Version::V1, &text);
            assert!(closed.len() <= 123, "{closed}");
            let parsed: serde_json::Value = serde_json::from_str(&closed).unwrap();
            let kept = parsed["reason"].as_str().unwrap();
            assert!(text.starts_with(kept));
            assert_eq!(parsed["reconnect"], true);
            if let Some(next) = text[kept.len()..].chars().next() {
                // Nothing was cut that would have had room.
                let mut escaped = Vec::new();
                crate::protocol::json::string(&mut escaped, &next.to_string());
                assert!(closed.len() + escaped.len() - 2 > 123, "{closed}");
            }
        }
    }
}

#[test]
fn objects_are_told_from_other_json() {
    assert!(is_json_object(b" {\"a\":[]}\n"));
    for other in [&b"[]"[..], b"1", b"", b"{", b"{}{}", b"\"{}\"", b"null"] {
        assert!(!is_json_object(other));
    }
    assert!(is_json(b" 1\n"));
    assert!(!is_json(b""));
}
