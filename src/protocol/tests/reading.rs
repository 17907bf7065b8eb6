//! The rules for what is read: client-protocol.md 1.2, 1.3, 1.8, 2.1 and 2.2, one by one.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{LIMIT, commands, hex, json_command, websocket};
use crate::{
    model::{Encoding, StreamPosition, Version},
    protocol::{
        Command, Decoder, HistoryRequest, Malformed, PublishRequest, Request, RpcRequest,
        SubscribeRequest, frame::Framing, json::is_json,
    },
};

fn v2(frame: impl AsRef<[u8]>) -> Result<Command, Malformed> {
    json_command(Version::V2, frame)
}

fn v1(frame: impl AsRef<[u8]>) -> Result<Command, Malformed> {
    json_command(Version::V1, frame)
}

fn request(id: u32, request: Request) -> Result<Command, Malformed> {
    Ok(Command { id, request })
}

// 1.2 Choosing the generation

#[test]
fn generation_is_that_of_the_first_command() {
    for (frame, version) in [
        (r#"{"connect":{},"id":1}"#, Some(Version::V2)),
        (
            r#"{"id":1,"connect":{},"params":{},"method":7}"#,
            Some(Version::V2),
        ),
        (
            r#"{"method":"x","params":5,"connect":{},"id":1}"#,
            Some(Version::V2),
        ),
        (r#"{"id":1,"ping":{}}"#, Some(Version::V2)),
        (r#"{"send":{}}"#, Some(Version::V2)),
        (r#"{"id":1}"#, Some(Version::V1)),
        (r#"{"id":1,"connect":null}"#, Some(Version::V1)),
        (r#"{"id":1,"foo":{}}"#, Some(Version::V1)),
        (r#"{"params":{}}"#, Some(Version::V1)),
        (r#"{"method":0}"#, Some(Version::V1)),
        // Undecided, or not decodable.
        ("{}", None),
        (r#"{"foo":1}"#, None),
        (
            r#"{"id":0,"connect":null,"params":null,"method":null}"#,
            None,
        ),
        (r#"{"id":1,"connect":{"token":5}}"#, None),
        (r#"{"id":1,"params":{"token":5}}"#, None),
        ("hello", None),
    ] {
        let mut decoder = websocket(Encoding::Json);
        let decoded = commands(&mut decoder, frame).remove(0);
        assert_eq!(decoder.version(), version, "{frame}");
        assert_eq!(decoded.is_ok(), version.is_some(), "{frame}");
    }
    for (message, version) in [
        ("08 01 22 00", Some(Version::V2)),
        ("22 00", Some(Version::V2)),
        ("10 05 22 00", Some(Version::V2)),
        ("08 01", Some(Version::V1)),
        ("10 00", Some(Version::V1)),
        ("1a 00", Some(Version::V1)),
        ("", None),
        ("08 00", None),
        ("c8 3e 01", None),
        ("08 01 20 01", None),
    ] {
        let mut decoder = Decoder::new(Encoding::Protobuf, None, Framing::None, LIMIT);
        let decoded = commands(&mut decoder, hex(message)).remove(0);
        assert_eq!(decoder.version(), version, "{message}");
        assert_eq!(decoded.is_ok(), version.is_some(), "{message}");
    }
}

#[test]
fn generation_stays() {
    let mut decoder = websocket(Encoding::Json);
    let frame = "{\"id\":1}\n{\"id\":2,\"method\":7,\"connect\":{}}\n{}";
    let decoded = commands(&mut decoder, frame);
    assert_eq!(decoded[1], request(2, Request::Ping));
    assert_eq!(decoded[2], request(0, Request::Connect(Box::default())));
    assert_eq!(decoder.version(), Some(Version::V1));

    let mut decoder = websocket(Encoding::Json);
    let frame =
        "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"method\":\"x\",\"params\":[]}\n{\"method\":7}";
    let decoded = commands(&mut decoder, frame);
    assert_eq!(decoded[1], request(2, Request::Nothing));
    assert_eq!(decoded[2], request(0, Request::Pong));
    assert_eq!(decoder.version(), Some(Version::V2));
}

#[test]
fn the_request_may_name_the_generation() {
    assert_eq!(v2(r#"{"id":1}"#), request(1, Request::Nothing));
    assert_eq!(v2("{}"), request(0, Request::Pong));
    assert_eq!(
        v1(r#"{"id":1,"connect":{}}"#),
        request(1, Request::Connect(Box::default()))
    );
    assert_eq!(v1("{}"), request(0, Request::Connect(Box::default())));
}

// 1.3 Requests

#[test]
fn the_first_request_counts() {
    let a = || {
        Request::Subscribe(Box::new(SubscribeRequest {
            channel: "a".into(),
            ..Default::default()
        }))
    };
    for frame in [
        r#"{"id":2,"unsubscribe":{"channel":"b"},"subscribe":{"channel":"a"}}"#,
        r#"{"id":2,"subscribe":{"channel":"a"},"unsubscribe":{"channel":"b"}}"#,
        r#"{"id":2,"ping":{},"subscribe":{"channel":"a"}}"#,
    ] {
        assert_eq!(v2(frame), request(2, a()), "{frame}");
    }
    let rpc = v2(r#"{"id":2,"send":{"data":1},"rpc":{"method":"x"},"refresh":{}}"#).unwrap();
    assert!(matches!(rpc.request, Request::Rpc(_)));
    let mut decoder = Decoder::new(Encoding::Protobuf, Some(Version::V2), Framing::None, LIMIT);
    let decoded = commands(&mut decoder, hex("08 02 32 03 0a 01 62 2a 03 0a 01 61"));
    assert_eq!(decoded, [request(2, a())]);
}

#[test]
fn commands_without_id_are_pongs_unless_they_send() {
    assert_eq!(
        v2(r#"{"subscribe":{"channel":"a"}}"#),
        request(0, Request::Pong)
    );
    assert_eq!(v2(r#"{"id":0,"connect":{}}"#), request(0, Request::Pong));
    assert_eq!(
        v2(r#"{"send":{"data":1}}"#),
        request(0, Request::Send(Bytes::from("1")))
    );
    // Something else goes before the send, and that needs an id.
    assert_eq!(
        v2(r#"{"send":{"data":1},"rpc":{}}"#),
        request(0, Request::Nothing)
    );
    assert_eq!(
        v2(r#"{"id":3,"send":{}}"#),
        request(3, Request::Send(Bytes::new()))
    );
}

#[test]
fn commands_with_an_id_ask_something() {
    for frame in [
        r#"{"id":2}"#,
        r#"{"id":2,"foo":{}}"#,
        r#"{"id":2,"ping":{}}"#,
        r#"{"id":2,"rpc":null}"#,
    ] {
        assert_eq!(v2(frame), request(2, Request::Nothing), "{frame}");
    }
}

// 1.8 Requests of V1

#[test]
fn v1_methods_are_numbers_or_names() {
    assert_eq!(v1(r#"{"id":1,"method":7}"#), request(1, Request::Ping));
    assert_eq!(v1(r#"{"id":1,"method":"PING"}"#), request(1, Request::Ping));
    assert_eq!(v1(r#"{"id":1,"method":"pinG"}"#), request(1, Request::Ping));
    for unknown in ["12", "99", "4294967295", r#""x""#, r#""""#] {
        // What the parameters of an unknown method are nobody knows.
        let frame = format!(r#"{{"id":1,"method":{unknown},"params":[1]}}"#);
        assert_eq!(v1(&frame), request(1, Request::UnknownMethod), "{frame}");
    }
    for broken in ["-1", "1.5", "1e0", "4294967296", "{}", "true"] {
        let frame = format!(r#"{{"id":1,"method":{broken}}}"#);
        assert_eq!(v1(&frame), Err(Malformed), "{frame}");
    }
}

#[test]
fn v1_params_may_be_missing() {
    for params in ["", r#","params":null"#, r#","params":{}"#] {
        for (method, empty) in [
            (0, Request::Connect(Box::default())),
            (1, Request::Subscribe(Box::default())),
            (3, Request::Publish(PublishRequest::default())),
            (6, Request::History(HistoryRequest::default())),
            (9, Request::Rpc(RpcRequest::default())),
        ] {
            let frame = format!(r#"{{"id":1,"method":{method}{params}}}"#);
            assert_eq!(v1(&frame), request(1, empty), "{frame}");
        }
    }
    for params in [
        "5",
        r#""x""#,
        "[]",
        r#"{"channel":5}"#,
        r#"{"channel":"a"}x"#,
    ] {
        let frame = format!(r#"{{"id":1,"method":1,"params":{params}}}"#);
        assert_eq!(v1(&frame), Err(Malformed), "{frame}");
    }
}

#[test]
fn v1_ignores_fields_of_v2() {
    let Ok(Command {
        request: Request::Connect(connect),
        ..
    }) = v1(
        r#"{"id":1,"params":{"headers":{"a":"b"},"flag":1,"dict":"d","profile":5,"name":"js","subs":{"a":{"flag":"x","offset":3}}}}"#,
    )
    else {
        panic!("a connect");
    };
    assert_eq!(
        (connect.headers.len(), connect.flag, &*connect.name),
        (0, 0, "js")
    );
    assert_eq!(connect.subs["a"].offset, 3);
    let Ok(Command {
        request: Request::Subscribe(subscribe),
        ..
    }) = v1(
        r#"{"id":1,"method":1,"params":{"channel":"a","seq":5,"gen":1,"positioned":1,"recoverable":true,"join_leave":true,"delta":"fossil","tf":5,"flag":1,"type":4}}"#,
    )
    else {
        panic!("a subscribe");
    };
    assert_eq!((subscribe.seq, subscribe.r#gen), (5, 1));
    assert!(!subscribe.recoverable && !subscribe.join_leave && subscribe.tags_filter.is_none());
    assert_eq!(
        (&*subscribe.delta, subscribe.flag, subscribe.kind),
        ("", 0, 0)
    );
}

/// V1 history with these fields behind the channel, in JSON and in Protobuf.
fn v1_history(json: &str, protobuf: &str) -> [HistoryRequest; 2] {
    let frame = format!(r#"{{"id":1,"method":6,"params":{{"channel":"c"{json}}}}}"#);
    let length = 3 + hex(protobuf).len();
    let message = hex(&format!("08 01 10 06 1a {length:02x} 0a 01 63 {protobuf}"));
    let mut decoder = Decoder::new(Encoding::Protobuf, None, Framing::None, LIMIT);
    let decoded = [v1(frame), commands(&mut decoder, message).remove(0)];
    decoded.map(|command| match command.unwrap().request {
        Request::History(request) => request,
        other => panic!("{other:?}"),
    })
}

#[test]
fn v1_history_has_three_generations() {
    let at = |offset, epoch: &str| {
        let epoch = epoch.into();
        Some(StreamPosition { offset, epoch })
    };
    for (json, protobuf, limit, since) in [
        ("", "", None, None),
        (
            r#","use_limit":true,"limit":3"#,
            "28 01 30 03",
            Some(3),
            None,
        ),
        (r#","use_limit":true"#, "28 01", Some(0), None),
        (r#","limit":3"#, "38 03", Some(3), None),
        (
            r#","limit":-1"#,
            "38 ff ff ff ff ff ff ff ff ff 01",
            Some(-1),
            None,
        ),
        (r#","offset":5,"epoch":"x""#, "18 05 22 01 78", None, None),
        (
            r#","use_since":true,"offset":5,"epoch":"x""#,
            "10 01 18 05 22 01 78",
            None,
            at(5, "x"),
        ),
        (
            r#","since":{"offset":6,"epoch":"y"},"use_since":true,"offset":5"#,
            "42 05 08 06 12 01 79 10 01 18 05",
            None,
            at(6, "y"),
        ),
        (r#","since":{}"#, "42 00", None, at(0, "")),
        // Only JSON can tell that there is a limit of 0, only Protobuf has two fields for it.
        (r#","limit":null"#, "38 00", None, None),
        (
            r#","limit":7,"use_limit":true"#,
            "28 01 30 03 38 07",
            Some(7),
            None,
        ),
        ("", "30 03", None, None),
    ] {
        let expected = HistoryRequest {
            channel: "c".into(),
            limit,
            since,
            reverse: false,
        };
        assert_eq!(
            v1_history(json, protobuf),
            [expected.clone(), expected],
            "{json}"
        );
    }
    assert_eq!(
        v1_history(r#","limit":0"#, "").map(|request| request.limit),
        [Some(0), None]
    );
}

// 2.1 JSON input

#[test]
fn lines_are_commands() {
    let x = r#"{"id":2,"unsubscribe":{"channel":"x"}}"#;
    for (frame, good, broken) in [
        (x.to_owned(), 1, false),
        (format!("{x}\n"), 1, false),
        (format!("{x}\r\n{x}\r\n"), 2, false),
        (format!("{x}\n{x}"), 2, false),
        (format!(" \t{x} \n\r {x}\t"), 2, false),
        (String::new(), 0, true),
        ("\n".to_owned(), 0, true),
        ("  ".to_owned(), 0, true),
        ("\r\n".to_owned(), 0, true),
        (format!("\n{x}"), 0, true),
        (format!("{x}\n\n"), 1, true),
        (format!("{x}\n "), 1, true),
        (format!("{x}\n\n{x}"), 1, true),
        (format!("{x} x"), 0, true),
        (format!("{x}{x}"), 0, true),
        (format!("{x}\n{x},\n{x}"), 1, true),
        (format!("{x}\n{{oops\n{x}"), 1, true),
        (format!("{x}\n{{\n}}"), 1, true),
        ("{\"id\":2,\n\"unsubscribe\":{}}".to_owned(), 0, true),
        ("[]".to_owned(), 0, true),
        ("null".to_owned(), 0, true),
        ("5".to_owned(), 0, true),
        ("\"x\"".to_owned(), 0, true),
    ] {
        let decoded = commands(&mut websocket(Encoding::Json), frame.clone());
        let (ok, err): (Vec<_>, Vec<_>) = decoded.iter().partition(|command| command.is_ok());
        assert_eq!(
            (ok.len(), err.len()),
            (good, usize::from(broken)),
            "{frame:?}"
        );
    }
}

#[test]
fn commands_take_effect_before_later_ones_are_looked_at() {
    let mut decoder = websocket(Encoding::Json);
    let mut rest = decoder.frame(Bytes::from("{\"id\":1,\"connect\":{}}\n{oops"));
    assert!(rest.next(&mut decoder).unwrap().is_ok());
    assert_eq!(decoder.version(), Some(Version::V2));
    assert_eq!(rest.next(&mut decoder), Some(Err(Malformed)));
    assert_eq!(rest.next(&mut decoder), None);
}

#[test]
fn numbers_are_strict() {
    for (id, expected) in [
        ("4294967295", Some(u32::MAX)),
        ("0", Some(0)),
        ("4294967296", None),
        ("-1", None),
        ("-0", None),
        ("1.5", None),
        ("1.0", None),
        ("1e1", None),
        ("01", None),
        ("+1", None),
        ("\"1\"", None),
        ("true", None),
        ("[]", None),
        ("null", Some(0)),
    ] {
        let decoded = v2(format!(r#"{{"id":{id},"rpc":{{}}}}"#));
        assert_eq!(decoded.ok().map(|command| command.id), expected, "{id}");
    }
    let offset = |offset: &str| {
        v2(format!(
            r#"{{"id":1,"subscribe":{{"offset":{offset},"flag":-3}}}}"#
        ))
    };
    assert!(offset("18446744073709551615").is_ok());
    assert_eq!(offset("18446744073709551616"), Err(Malformed));
    assert_eq!(v2(r#"{"id":1,"subscribe":{"recover":1}}"#), Err(Malformed));
    assert_eq!(v2(r#"{"id":1,"connect":{"token":5}}"#), Err(Malformed));
    assert_eq!(v2(r#"{"id":1,"connect":[]}"#), Err(Malformed));
    assert_eq!(v2(r#"{"id":1,"subscribe":{"tf":[]}}"#), Err(Malformed));
}

#[test]
fn keys_are_exact_and_the_last_one_wins() {
    assert_eq!(v2(r#"{"ID":3,"Rpc":{}}"#), request(0, Request::Pong));
    assert_eq!(
        v2(r#"{"id":1,"id":2,"unsubscribe":{"channel":"a"}}"#)
            .unwrap()
            .id,
        2
    );
    assert_eq!(
        v2(r#"{"id":3,"unsubscribe":{"channel":"a"},"unsubscribe":{"channel":""}}"#),
        request(3, Request::Unsubscribe("".into()))
    );
    assert_eq!(
        v2(r#"{"\u0069d":3,"unsubscribe":{"channel":"a","channel":"\u0062"}}"#),
        request(3, Request::Unsubscribe("b".into()))
    );
}

#[test]
fn null_is_as_good_as_nothing_except_for_payloads() {
    let Ok(Command {
        request: Request::Subscribe(subscribe),
        ..
    }) = v2(
        r#"{"id":2,"subscribe":{"channel":"a","token":null,"data":null,"tf":null,"epoch":null,"recover":null,"offset":null}}"#,
    )
    else {
        panic!("a subscribe");
    };
    assert_eq!((&*subscribe.token, &subscribe.tags_filter), ("", &None));
    assert_eq!(subscribe.data, "null");
    let Ok(Command {
        request: Request::Connect(connect),
        ..
    }) = v2(r#"{"id":1,"connect":{"subs":null,"headers":{"a":null,"b":"c"}}}"#)
    else {
        panic!("a connect");
    };
    assert_eq!(
        connect.headers,
        BTreeMap::from([("b".to_owned(), "c".to_owned())])
    );
}

#[test]
fn payloads_are_kept_as_written() {
    for payload in [
        r#"{ "k" : "\u00e9<&>\u2028" }"#,
        r#""a\nb""#,
        "null",
        "1.50e1",
        "[ ]",
        "\"\u{e9}\u{2028}\"",
        r#""\ud800""#,
        "-0",
    ] {
        let decoded = v2(format!(
            "{{\"id\":1,\"rpc\":{{\"data\": \t {payload}\r }}}}"
        ));
        let Ok(Command {
            request: Request::Rpc(rpc),
            ..
        }) = decoded
        else {
            panic!("{payload}");
        };
        assert_eq!(rpc.data, payload);
    }
    for broken in [
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "\"\t\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "01",
        "1.",
        ".5",
        "1e",
        "-",
        "tru",
        "nul",
        "'a'",
        "[1 2]",
        "{\"a\" 1}",
        "]",
        "",
    ] {
        let frame = format!(r#"{{"id":1,"rpc":{{"data":{broken}}}}}"#);
        assert_eq!(v2(&frame), Err(Malformed), "{frame}");
        assert!(!is_json(broken.as_bytes()), "{broken}");
    }
}

#[test]
fn payloads_are_slices_of_the_frame() {
    let frame = Bytes::from(r#"{"id":1,"rpc":{"data":{"a":1}}}"#.to_owned());
    let mut decoder = Decoder::new(Encoding::Json, None, Framing::None, LIMIT);
    let decoded = commands(&mut decoder, frame.clone()).remove(0).unwrap();
    let Request::Rpc(rpc) = decoded.request else {
        panic!("an rpc");
    };
    assert!(frame.as_ptr_range().contains(&rpc.data.as_ptr()));
}

#[test]
fn text_is_unescaped_and_repaired() {
    let channel = |text: &[u8]| {
        let frame = [br#"{"id":4,"unsubscribe":{"channel":""#, text, br#""}}"#].concat();
        match v2(frame).unwrap().request {
            Request::Unsubscribe(channel) => channel.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        channel(br#"a\u0062\n\t\"\\\/\b\f\r"#),
        "ab\n\t\"\\/\u{8}\u{c}\r"
    );
    assert_eq!(channel(br"\ud83d\ude00x"), "\u{1f600}x");
    // Halves of pairs.
    assert_eq!(channel(br"\ud83dx"), "\u{fffd}x");
    assert_eq!(channel(br"\ude00"), "\u{fffd}");
    assert_eq!(channel(br"\ud83d\u0041"), "\u{fffd}A");
    assert_eq!(channel(br"\ud83d\ud83d\ude00"), "\u{fffd}\u{1f600}");
    // Bytes that are no UTF-8.
    assert_eq!(channel(b"open:\xff"), "open:\u{fffd}");
    assert_eq!(channel(b"\\u0061\xff\\u0062"), "a\u{fffd}b");
}

#[test]
fn payloads_are_utf8() {
    let bad = b"{\"id\":3,\"publish\":{\"channel\":\"a\",\"data\":\"\xff\"}}";
    assert_eq!(v2(bad), Err(Malformed));
    assert_eq!(
        v1(b"{\"id\":3,\"method\":3,\"params\":{\"data\":\"\xff\"}}"),
        Err(Malformed)
    );
    // Elsewhere it does not matter, also not for a good payload beside it.
    let good =
        b"{\"id\":3,\"x\":\"\xff\",\"publish\":{\"channel\":\"\xff\",\"data\":\"\xc3\xa9\"}}";
    assert!(v2(good).is_ok());
    assert!(!is_json(b"\"\xff\""));
}

#[test]
fn a_command_has_a_limit() {
    let frame = "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"rpc\":{\"data\":12}}\n{\"id\":3,\"rpc\":{\"data\":123}}";
    let mut decoder = Decoder::new(Encoding::Json, None, Framing::WebSocket, 26);
    let decoded = commands(&mut decoder, frame);
    assert_eq!(
        decoded.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, true, false]
    );

    let frame = hex("04 08 01 22 00 05 08 02 22 01 00");
    let mut decoder = Decoder::new(Encoding::Protobuf, None, Framing::WebSocket, 4);
    let decoded = commands(&mut decoder, frame);
    assert_eq!(
        decoded.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false]
    );
}

// 2.2 Protobuf input

#[test]
fn protobuf_frames_are_prefixed_messages() {
    for (frame, good, broken) in [
        ("04 08 01 22 00", 1, false),
        ("04 08 01 22 00 00", 2, false),
        // Unknown fields, known fields of the other generation.
        ("09 08 01 22 00 c8 3e 01 10 05 00", 2, false),
        ("", 0, true),
        ("00", 0, true),
        ("80", 0, true),
        ("05 08 01 22", 0, true),
        ("02 ff ff", 0, true),
        ("04 08 01 22 00 04 08 02 2a", 1, true),
        ("04 01 02 03 04", 0, true),
        // A number where a message is expected, and the other way round.
        ("04 08 01 20 00", 0, true),
        ("05 0a 01 00 22 00", 0, true),
        // A field that goes beyond its message.
        ("07 08 01 22 01 0a 01 61", 0, true),
    ] {
        let decoded = commands(&mut websocket(Encoding::Protobuf), hex(frame));
        let (ok, err): (Vec<_>, Vec<_>) = decoded.iter().partition(|command| command.is_ok());
        assert_eq!(
            (ok.len(), err.len()),
            (good, usize::from(broken)),
            "{frame}"
        );
    }
}

#[test]
fn protobuf_text_is_repaired_and_payloads_are_not() {
    let mut decoder = Decoder::new(Encoding::Protobuf, Some(Version::V2), Framing::None, LIMIT);
    let frame = hex("08 02 3a 08 0a 03 61 3a ff 12 01 ff");
    let decoded = commands(&mut decoder, frame).remove(0).unwrap();
    let Request::Publish(publish) = decoded.request else {
        panic!("a publish");
    };
    assert_eq!(publish.channel.as_str(), "a:\u{fffd}");
    assert_eq!(publish.data, &b"\xff"[..]);
}

#[test]
fn protobuf_map_entries_may_lack_parts() {
    // subs: value before name; no value; nothing at all.
    let frame = hex("08 01 22 11 1a 07 12 02 38 05 0a 01 61 1a 03 0a 01 62 1a 00 00");
    let mut decoder = Decoder::new(Encoding::Protobuf, None, Framing::None, LIMIT);
    assert_eq!(commands(&mut decoder, frame), [Err(Malformed)]);
    let frame = hex("08 01 22 10 1a 07 12 02 38 05 0a 01 61 1a 03 0a 01 62 1a 00");
    let Request::Connect(connect) = commands(&mut decoder, frame).remove(0).unwrap().request else {
        panic!("a connect");
    };
    let offsets: Vec<_> = connect
        .subs
        .iter()
        .map(|(name, sub)| (name.as_str(), sub.offset))
        .collect();
    assert_eq!(offsets, [("", 0), ("a", 5), ("b", 0)]);
}
