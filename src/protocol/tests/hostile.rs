//! Input of peers that mean no good: nothing panics, nothing is believed before it is compared (gateway.md 8).

use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    ENCODINGS, LIMIT, VERSIONS, commands, form, hex, json_command,
    values::{command, reply},
    websocket,
};
use crate::{
    model::{Encoding, Publication, Version},
    protocol::{
        Decoder, Malformed, Request, decode_replies, encode_commands,
        frame::{self, Framing, WireForm},
        json::is_json,
    },
};

/// One change to a frame.
#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Cut(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let byte = || prop_oneof![any::<u8>(), select(&b"{}[]\":,\\\n0\xff\x80\x00"[..])];
    prop_oneof![
        (any::<prop::sample::Index>(), byte()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<prop::sample::Index>(), byte()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        any::<prop::sample::Index>().prop_map(Change::Remove),
        any::<prop::sample::Index>().prop_map(Change::Cut),
    ]
}

fn changed(bytes: &[u8], changes: &[Change]) -> Bytes {
    let mut bytes = bytes.to_vec();
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match change {
            Change::Set(at, byte) => bytes[at.index(length)] = *byte,
            Change::Insert(at, byte) => bytes.insert(at.index(length), *byte),
            Change::Remove(at) => drop(bytes.remove(at.index(length))),
            Change::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes.into()
}

/// Reads a frame in every way there is.
fn read_everything(frame: &Bytes) {
    for encoding in ENCODINGS {
        for framing in [Framing::WebSocket, Framing::None] {
            for version in [None, Some(Version::V1), Some(Version::V2)] {
                let mut decoder = Decoder::new(encoding, version, framing, LIMIT);
                let all = commands(&mut decoder, frame.clone());
                assert!(!all.is_empty(), "a frame is commands or an error");
                let broken = all.iter().position(Result::is_err);
                assert!(
                    broken.is_none_or(|at| at == all.len() - 1),
                    "nothing follows an error"
                );
            }
            for _ in decode_replies(encoding, framing, frame.clone()) {}
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(frame in vec(any::<u8>(), 0..300)) {
        read_everything(&frame.into());
    }

    #[test]
    fn any_text_is_survived(frame in vec(select(&b"{}[]\":,\\u09ade-.\n\r \xff\xc3"[..]), 0..60)) {
        read_everything(&frame.into());
    }

    #[test]
    fn spoiled_commands_are_survived(
        (version, encoding, batch) in (select(&VERSIONS[..]), select(&ENCODINGS[..])).prop_flat_map(
            |(version, encoding)| {
                (Just(version), Just(encoding), vec(command(version, encoding), 1..3))
            },
        ),
        changes in vec(change(), 1..4),
    ) {
        let frame = encode_commands(version, encoding, &batch).unwrap();
        read_everything(&changed(&frame, &changes));
    }

    #[test]
    fn spoiled_replies_are_survived(
        (encoding, reply) in select(&ENCODINGS[..]).prop_flat_map(|encoding| (Just(encoding), reply(encoding))),
        changes in vec(change(), 1..4),
    ) {
        for version in VERSIONS {
            let bytes = frame::encode(form(version, encoding), &reply).unwrap();
            read_everything(&changed(&bytes, &changes));
        }
    }
}

#[test]
fn declared_lengths_cost_nothing() {
    let lengths = [
        // 2⁶², 2⁶³, the largest there is, and the largest of 32 bits.
        "80 80 80 80 80 80 80 80 40",
        "80 80 80 80 80 80 80 80 80 01",
        "ff ff ff ff ff ff ff ff ff 01",
        "ff ff ff ff 0f",
        // Just above what is there, and just above the limit.
        "05 08 01 22",
        "81 80 04",
    ];
    let inside = |length: &str| {
        // The same lengths for the messages inside: a connect, its token, a subscription.
        let length = hex(length);
        [&b"\x22"[..], b"\x22\x0b\x0a", b"\x22\x0b\x1a"].map(|head| {
            let message = [head, &*length].concat();
            Bytes::from([&[u8::try_from(message.len()).unwrap()], &*message].concat())
        })
    };
    for length in lengths {
        for frame in [hex(length)].into_iter().chain(inside(length)) {
            let mut decoder = websocket(Encoding::Protobuf);
            let mut result = None;
            let cost = measure(|| {
                result = decoder.frame(frame).next(&mut decoder);
            });
            assert_eq!(result, Some(Err(Malformed)), "{length}");
            assert!(
                cost.bytes_total < 1024,
                "{length}: {} bytes",
                cost.bytes_total
            );
        }
    }
}

#[test]
fn varints_have_ten_bytes_at_most() {
    let mut decoder = websocket(Encoding::Protobuf);
    // Eleven bytes; ten bytes and more than 64 bits; without an end.
    for frame in [
        "84 80 80 80 80 80 80 80 80 80 00 08 01 22 00",
        "84 80 80 80 80 80 80 80 80 02 08 01 22 00",
        "80",
        "80 80 80 80 80 80 80 80 80 80 80 80",
    ] {
        assert_eq!(
            commands(&mut decoder, hex(frame)),
            [Err(Malformed)],
            "{frame}"
        );
    }
    // Padded, but within ten bytes: as good as any.
    let padded = hex("84 80 80 80 80 80 80 80 80 00 08 01 22 00");
    assert!(commands(&mut decoder, padded)[0].is_ok());
}

#[test]
fn memory_is_bounded_by_the_input() {
    let entries = |count: u16| -> Vec<u8> {
        // Every entry has a name of its own and no value.
        (0..count)
            .flat_map(|name| [&b"\x1a\x04\x0a\x02"[..], &name.to_be_bytes()].concat())
            .collect()
    };
    let protobuf = {
        let body = entries(8000);
        let mut message = b"\x08\x01\x22".to_vec();
        prost::encoding::encode_varint(body.len() as u64, &mut message);
        [message, body].concat()
    };
    let subs: Vec<_> = (0..4000).map(|name| format!(r#""{name}":{{}}"#)).collect();
    let json = format!(r#"{{"id":1,"connect":{{"subs":{{{}}}}}}}"#, subs.join(","));
    let escapes = format!(
        r#"{{"id":1,"connect":{{"token":"{}"}}}}"#,
        r"\u0041".repeat(8000)
    );
    let brackets = format!(
        r#"{{"id":1,"rpc":{{"data":{}{}}}}}"#,
        "[".repeat(30_000),
        "]".repeat(30_000)
    );
    for (encoding, bytes) in [
        (Encoding::Protobuf, protobuf),
        (Encoding::Json, json.into_bytes()),
        (Encoding::Json, escapes.into_bytes()),
        (Encoding::Json, brackets.into_bytes()),
    ] {
        let size = bytes.len() as u64;
        let mut decoder = Decoder::new(encoding, None, Framing::None, LIMIT);
        let cost = measure(|| {
            assert!(
                decoder
                    .frame(bytes.into())
                    .next(&mut decoder)
                    .is_some_and(|command| command.is_ok())
            );
        });
        assert!(
            cost.bytes_max < 100 * size,
            "{} bytes for {size}",
            cost.bytes_max
        );
    }
}

#[test]
fn payloads_may_be_deep() {
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"[{"a":"#, "}]")] {
        for depth in [1, 63, 64, 65, 128, 129, 500, 9000] {
            let payload = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(is_json(payload.as_bytes()));
            for (version, command) in [
                (
                    Version::V2,
                    format!(r#"{{"id":4,"publish":{{"channel":"a","data":{payload}}}}}"#),
                ),
                (
                    Version::V1,
                    format!(r#"{{"id":4,"method":3,"params":{{"channel":"a","data":{payload}}}}}"#),
                ),
            ] {
                let mut decoder =
                    Decoder::new(Encoding::Json, Some(version), Framing::None, 1 << 20);
                let decoded = commands(&mut decoder, command).remove(0).unwrap();
                let Request::Publish(publish) = decoded.request else {
                    panic!("a publish");
                };
                assert_eq!(publish.data, payload);
            }
            let unbalanced = format!("{}1{}", open.repeat(depth), close.repeat(depth - 1));
            assert!(!is_json(unbalanced.as_bytes()));
        }
    }
    assert!(is_json(
        format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000)).as_bytes()
    ));
}

#[test]
fn nothing_else_may_be_deep() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let frames = |deep: &str| {
        [
            (Version::V2, format!(r#"{{"id":1,"foo":{deep}}}"#)),
            (
                Version::V2,
                format!(r#"{{"id":1,"params":{deep},"connect":{{}}}}"#),
            ),
            (
                Version::V2,
                format!(r#"{{"id":1,"connect":{{"foo":{deep}}}}}"#),
            ),
            (
                Version::V2,
                format!(r#"{{"id":1,"connect":{{"subs":{{"a":{{"foo":{deep}}}}}}}}}"#),
            ),
            (
                Version::V2,
                format!(r#"{{"id":1,"subscribe":{{"tf":{{"foo":{deep}}}}}}}"#),
            ),
            (Version::V2, format!(r#"{{"id":1,"ping":{{"a":{deep}}}}}"#)),
            (Version::V1, format!(r#"{{"id":1,"connect":{deep}}}"#)),
            (
                Version::V1,
                format!(r#"{{"id":1,"params":{{"foo":{deep}}}}}"#),
            ),
        ]
    };
    for (version, frame) in frames(&deep(128)) {
        assert!(json_command(version, &frame).is_ok(), "{frame}");
    }
    for depth in [129, 10_000] {
        for (version, frame) in frames(&deep(depth)) {
            assert_eq!(json_command(version, &frame), Err(Malformed));
        }
    }
}

#[test]
fn groups_are_skipped_and_bounded() {
    let command = |fields: &str| {
        let mut decoder = Decoder::new(Encoding::Protobuf, None, Framing::None, LIMIT);
        commands(&mut decoder, hex(&format!("08 01 22 00 {fields}"))).remove(0)
    };
    // Field 100: groups in groups, with values of every kind inside.
    let inner = "a3 06 08 01 11 00 00 00 00 00 00 00 00 1a 01 00 25 00 00 00 00 a4 06";
    assert!(command(&format!("a3 06 {inner} {inner} a4 06")).is_ok());
    for broken in [
        "a3 06".to_owned(),
        "a4 06".to_owned(),
        "a3 06".repeat(50_000 / 5),
        "a3 06 1a 05 00 a4 06".to_owned(),
        // Wire types 6 and 7 do not exist, nor does field 0.
        "0e".to_owned(),
        "0f".to_owned(),
        "02 00".to_owned(),
    ] {
        assert_eq!(command(&broken), Err(Malformed), "{:.30}", broken);
    }
}

#[test]
fn hot_paths_hardly_allocate() {
    let publication = Publication {
        data: Bytes::from(br#"{"text":"hello"}"#.to_vec()),
        offset: 5,
        ..Publication::default()
    };
    let channel = "news".into();
    for encoding in ENCODINGS {
        let form = WireForm {
            framing: Framing::WebSocket,
            ..form(Version::V2, encoding)
        };
        let cost = measure(|| {
            frame::publication(form, &channel, &publication).unwrap();
        });
        // The buffer, and the count of those who share it.
        assert!(cost.count_total <= 2, "{encoding:?}: {}", cost.count_total);
    }
    let frame = br#"{"id":3,"publish":{"channel":"news","data":{"text":"hello"}}}"#.to_vec();
    let mut decoder = Decoder::new(Encoding::Json, Some(Version::V2), Framing::None, LIMIT);
    let cost = measure(|| {
        assert!(decoder.frame(frame.into()).next(&mut decoder).is_some());
    });
    // The channel, and the count of those who share the frame.
    assert!(cost.count_total <= 2, "{}", cost.count_total);
}

#[test]
fn a_full_frame_of_small_commands_is_read_in_time() {
    let frame = "{\"id\":1,\"connect\":{}}\n".repeat(40_000);
    let mut decoder = Decoder::new(Encoding::Json, None, Framing::WebSocket, 1 << 20);
    let begin = tokio::time::Instant::now();
    assert_eq!(commands(&mut decoder, frame).len(), 40_000);
    // Quadratic time would take minutes.
    assert!(begin.elapsed() < Duration::from_secs(20));
}
