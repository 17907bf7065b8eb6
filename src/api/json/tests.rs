//! Rows of the mapping tables, server-api.md 4.1 and 4.2, and the examples of 8.14.

use std::collections::BTreeMap;

use super::*;
use crate::api::{
    Call, Method, Outcome,
    batch::Batch,
    legacy::Reply,
    request::{
        BroadcastRequest, DisconnectRequest, HistoryRequest, PublishRequest, SubscribeRequest,
    },
    result::{
        BroadcastResult, ChannelInfo, ChannelsResult, ClientInfo, HistoryResult, InfoResult,
        NodeResult, PresenceResult, PresenceStatsResult, Publication, PublishResponse,
        PublishResult, Snapshot,
    },
};

fn publish(body: &str) -> Result<PublishRequest, Error> {
    decode(body.as_bytes())
}

/// A publish to `x` with payload 1 and one more field, as `"name":value`.
fn with(field: &str) -> Result<PublishRequest, Error> {
    publish(&format!("{{\"channel\":\"x\",\"data\":1,{field}}}"))
}

#[test]
fn names_match_without_case_and_unknown_ones_are_ignored() {
    let request = publish(
        "{\"CHANNEL\":\"x\",\"Data\":1,\"B64DATA\":\"e\",\"nosuch\":{\"a\":[1]},\"user\":5}",
    );
    let expected = PublishRequest {
        channel: "x".to_owned(),
        data: Bytes::from_static(b"1"),
        b64data: "e".to_owned(),
        ..PublishRequest::default()
    };
    assert_eq!(request.unwrap(), expected);
    let escaped = publish("{\"\\u0063hannel\":\"y\",\"\\ud800\":1}");
    assert_eq!(escaped.unwrap().channel, "y");
}

#[test]
fn the_last_of_repeated_names_wins() {
    let request = publish(
        "{\"channel\":\"a\",\"channel\":\"b\",\"data\":1,\"Data\":[2],\"tags\":{\"a\":\"1\"},\"tags\":{\"b\":\"2\"},\"channel\":null}",
    )
    .unwrap();
    assert_eq!(request.channel, "b", "null is absence");
    assert_eq!(request.data, "[2]");
    assert_eq!(
        request.tags,
        BTreeMap::from([("b".to_owned(), "2".to_owned())])
    );
    let request: BroadcastRequest =
        decode(b"{\"channels\":[\"a\",\"b\"],\"channels\":[\"c\"]}").unwrap();
    assert_eq!(request.channels, ["c"]);
    let request: HistoryRequest =
        decode(b"{\"since\":{\"offset\":1,\"epoch\":\"e\"},\"since\":{\"offset\":2}}").unwrap();
    assert_eq!(request.since.unwrap().epoch, "");
}

#[test]
fn null_is_absence_save_for_payloads() {
    let nothing =
        "\"channel\":null,\"tags\":null,\"skip_history\":null,\"version\":null,\"b64data\":null";
    assert_eq!(
        publish(&format!("{{{nothing}}}")).unwrap(),
        PublishRequest::default()
    );
    assert_eq!(publish("{\"data\":null}").unwrap().data, "null");
    let request: SubscribeRequest = decode(
        b"{\"override\":null,\"recover_since\":null,\"label_filter\":null,\"expire_at\":null}",
    )
    .unwrap();
    assert_eq!(request, SubscribeRequest::default());
    let request: DisconnectRequest = decode(b"{\"whitelist\":null,\"disconnect\":null}").unwrap();
    assert_eq!(request, DisconnectRequest::default());
}

#[test]
fn a_null_body_is_an_empty_object_and_other_values_are_errors() {
    assert_eq!(publish("null").unwrap(), PublishRequest::default());
    assert_eq!(publish(" {} \n").unwrap(), PublishRequest::default());
    assert_eq!(
        publish("[]").unwrap(),
        PublishRequest::default(),
        "PHP's empty map"
    );
    for body in [
        "",
        " ",
        "5",
        "\"x\"",
        "true",
        "[1]",
        "[{}]",
        "not json",
        "{",
        "{\"channel\"}",
        "{\"channel\":\"x\",}",
        "\u{feff}{}",
    ] {
        assert!(publish(body).is_err(), "{body}");
    }
    assert!(matches!(
        decode::<PublishRequest>(b"{\"channel\":\"\xff\"}"),
        Err(Error::Encoding)
    ));
}

#[test]
fn nothing_may_follow_but_white_space() {
    assert!(publish(" {\"channel\":\"x\"} \r\n\t ").is_ok());
    for tail in ["{}", "x", " x", "null", ","] {
        assert!(publish(&format!("{{}}{tail}")).is_err(), "{tail}");
    }
}

#[test]
fn integers_are_strict() {
    assert_eq!(
        with("\"version\":18446744073709551615").unwrap().version,
        u64::MAX
    );
    for value in [
        "5.0",
        "1e3",
        "\"5\"",
        "-1",
        "18446744073709551616",
        "true",
        "[]",
        "{}",
        "+1",
        "01",
    ] {
        assert!(with(&format!("\"version\":{value}")).is_err(), "{value}");
    }
    let limit = |value: &str| decode::<HistoryRequest>(format!("{{\"limit\":{value}}}").as_bytes());
    assert_eq!(limit("2147483647").unwrap().limit, i32::MAX);
    assert_eq!(limit("-7").unwrap().limit, -7);
    for value in ["2147483648", "-2147483649", "\"2\"", "2.5"] {
        assert!(limit(value).is_err(), "{value}");
    }
    let expire: SubscribeRequest = decode(b"{\"expire_at\":-9223372036854775808}").unwrap();
    assert_eq!(expire.expire_at, i64::MIN);
    assert!(decode::<DisconnectRequest>(b"{\"disconnect\":{\"code\":-1}}").is_err());
    assert!(decode::<DisconnectRequest>(b"{\"disconnect\":{\"code\":\"4000\"}}").is_err());
}

#[test]
fn booleans_and_strings_are_strict() {
    assert!(with("\"skip_history\":true").unwrap().skip_history);
    for value in ["\"true\"", "1", "0", "[]"] {
        assert!(
            with(&format!("\"skip_history\":{value}")).is_err(),
            "{value}"
        );
    }
    assert!(with("\"delta\":\"fossil\"").is_err());
    for value in ["5", "true", "{}", "[]", "\"a\nb\"", "\"\\q\"", "\"\\u12\""] {
        assert!(
            publish(&format!("{{\"channel\":{value}}}")).is_err(),
            "{value}"
        );
    }
}

#[test]
fn escapes_are_decoded_and_unpaired_surrogates_replaced() {
    for (raw, expected) in [
        ("\"канал\"", "канал"),
        ("\"a\\n\\u0000\\/\\\"\"", "a\n\0/\""),
        ("\"\\ud83d\\ude00\"", "😀"),
        ("\"\\ud800\"", "\u{FFFD}"),
        ("\"a\\udfffb\\ud800\\u0041\"", "a\u{FFFD}b\u{FFFD}A"),
        ("\"\\u00ed\\ud83d\\ude00\\ud83d\"", "í😀\u{FFFD}"),
    ] {
        assert_eq!(
            publish(&format!("{{\"channel\":{raw}}}")).unwrap().channel,
            expected
        );
    }
}

#[test]
fn maps_and_lists_of_strings() {
    assert_eq!(
        with("\"tags\":{\"a\":null,\"b\\t\":\"x\"}").unwrap().tags,
        BTreeMap::from([
            ("a".to_owned(), String::new()),
            ("b\t".to_owned(), "x".to_owned())
        ])
    );
    assert!(
        with("\"tags\":[]").unwrap().tags.is_empty(),
        "PHP's empty map"
    );
    for value in ["{\"a\":1}", "{\"a\":{}}", "[1]", "\"a\"", "5", "true"] {
        assert!(with(&format!("\"tags\":{value}")).is_err(), "{value}");
    }
    let channels =
        |list: &str| decode::<BroadcastRequest>(format!("{{\"channels\":{list}}}").as_bytes());
    assert_eq!(
        channels("[\"a\",null,\"b\"]").unwrap().channels,
        ["a", "", "b"]
    );
    for list in ["{}", "\"a\"", "[5]", "[[]]", "5"] {
        assert!(channels(list).is_err(), "{list}");
    }
}

#[test]
fn wrappers_are_objects() {
    let over = |value: &str| {
        decode::<SubscribeRequest>(format!("{{\"override\":{{\"presence\":{value}}}}}").as_bytes())
            .map(|request| {
                request
                    .r#override
                    .unwrap()
                    .presence
                    .map(|presence| presence.value)
            })
    };
    assert_eq!(over("{\"value\":true}").unwrap(), Some(true));
    assert_eq!(over("{}").unwrap(), Some(false));
    assert_eq!(over("null").unwrap(), None);
    assert!(over("true").is_err());
    assert!(decode::<HistoryRequest>(b"{\"since\":5}").is_err());
}

#[test]
fn payloads_keep_their_bytes() {
    for payload in [
        "{ \"z\" : \"<&> \\ud800\" , \"a\":[1, 2.50] }",
        "5",
        "\"\"",
        "null",
        "-0.0e+10",
        "{\"a\":1,\"a\":2}",
    ] {
        assert_eq!(
            publish(&format!("{{\"data\": {payload} \n}}"))
                .unwrap()
                .data,
            payload
        );
    }
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(
        publish(&format!("{{\"data\":{deep},\"x\":{deep}}}"))
            .unwrap()
            .data,
        deep
    );
    for broken in ["{\"a\":}", "[1,]", "01", "\"\n\"", "nul", "{'a':1}"] {
        assert!(
            publish(&format!("{{\"data\":{broken}}}")).is_err(),
            "{broken}"
        );
    }
}

#[test]
fn nesting_outside_payloads_is_bounded() {
    let deep = "{\"nodes\":[".repeat(500);
    let body = format!("{{\"label_filter\":{deep}");
    assert!(decode::<SubscribeRequest>(body.as_bytes()).is_err());
}

#[test]
fn errors_do_not_show_what_was_sent() {
    let error = with("\"version\":\"hidden\"").unwrap_err().to_string();
    assert!(
        error.starts_with("value of a wrong type at line 1 column "),
        "{error}"
    );
    assert!(!error.contains("hidden"));
}

#[test]
fn batches_have_commands_and_order() {
    let batch: Batch = decode(
        b"{\"Commands\":[{\"nosuch\":{}},null,{\"PUBLISH\":{\"channel\":\"x\"}},{\"publish\":null},{\"info\":{}},[]],\"parallel\":true}",
    )
    .unwrap();
    assert!(batch.parallel);
    let calls: Vec<_> = batch
        .commands
        .into_iter()
        .map(|command| command.map(|command| command.into_call().map(|call| call.method())))
        .collect();
    assert_eq!(
        calls,
        [
            Some(None),
            None,
            Some(Some(Method::Publish)),
            Some(None),
            Some(Some(Method::Info)),
            Some(None)
        ]
    );
    for body in [
        "{\"commands\":{}}",
        "{\"commands\":[5]}",
        "{\"commands\":[{\"publish\":{\"channel\":5}}]}",
    ] {
        assert!(decode::<Batch>(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn the_first_field_in_order_is_run() {
    let order = [
        "publish",
        "broadcast",
        "subscribe",
        "unsubscribe",
        "disconnect",
        "history",
        "history_remove",
        "presence",
        "presence_stats",
        "info",
        "rpc",
        "refresh",
        "channels",
    ];
    for first in 0..order.len() {
        // Written backwards: the order in the body does not count.
        let fields: Vec<String> = order[first..]
            .iter()
            .rev()
            .map(|name| format!("\"{name}\":{{}}"))
            .collect();
        let body = format!(
            "{{\"commands\":[{{\"connections\":{{}},{}}}]}}",
            fields.join(",")
        );
        let mut batch: Batch = decode(body.as_bytes()).unwrap();
        let call = batch.commands.remove(0).unwrap().into_call().unwrap();
        assert_eq!(call.method().name(), order[first]);
    }
}

fn envelope(outcome: impl Into<Option<Outcome>>) -> String {
    let answer = outcome.into().ok_or(crate::api::Error::UnknownChannel);
    serde_json::to_string(&Reply::new(0, &answer)).unwrap()
}

#[test]
fn envelopes_have_a_result_or_an_error() {
    assert_eq!(
        envelope(Outcome::Publish(PublishResult {
            offset: 7,
            epoch: "kQzP".to_owned()
        })),
        "{\"result\":{\"offset\":7,\"epoch\":\"kQzP\"}}"
    );
    assert_eq!(
        envelope(Outcome::Publish(PublishResult::default())),
        "{\"result\":{}}"
    );
    assert_eq!(
        envelope(None),
        "{\"error\":{\"code\":102,\"message\":\"unknown channel\"}}"
    );
    let answer = Err(crate::api::Error::NotFound);
    assert_eq!(
        serde_json::to_string(&Reply::new(3, &answer)).unwrap(),
        "{\"id\":3,\"error\":{\"code\":104,\"message\":\"not found\"}}"
    );
}

#[test]
fn examples_of_results() {
    let responses = vec![
        PublishResponse::from(Ok(PublishResult::default())),
        PublishResponse::from(Err(crate::api::Error::UnknownChannel)),
    ];
    assert_eq!(
        envelope(Outcome::Broadcast(BroadcastResult { responses })),
        "{\"result\":{\"responses\":[{\"result\":{}},{\"error\":{\"code\":102,\"message\":\"unknown channel\"}}]}}"
    );
    let ann = ClientInfo {
        user: "42".to_owned(),
        client: "9336a229".to_owned(),
        conn_info: Bytes::from_static(b"{\"name\":\"Ann\"}"),
        chan_info: Bytes::new(),
    };
    assert_eq!(
        envelope(Outcome::Presence(PresenceResult {
            presence: BTreeMap::from([("9336a229".to_owned(), ann)])
        })),
        "{\"result\":{\"presence\":{\"9336a229\":{\"user\":\"42\",\"client\":\"9336a229\",\"conn_info\":{\"name\":\"Ann\"}}}}}"
    );
    assert_eq!(
        envelope(Outcome::PresenceStats(PresenceStatsResult {
            num_clients: 1,
            num_users: 1
        })),
        "{\"result\":{\"num_clients\":1,\"num_users\":1}}"
    );
    let publication = |data: &'static str, offset, tags: &[(&str, &str)]| Publication {
        data: Bytes::from_static(data.as_bytes()),
        info: None,
        offset,
        tags: tags
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
    };
    assert_eq!(
        envelope(Outcome::History(HistoryResult {
            publications: vec![
                publication("{\"text\":\"hi\"}", 7, &[("lang", "en")]),
                publication("{\"text\":\"yo\"}", 6, &[])
            ],
            epoch: "kQzP".to_owned(),
            offset: 7,
        })),
        "{\"result\":{\"publications\":[{\"data\":{\"text\":\"hi\"},\"offset\":7,\"tags\":{\"lang\":\"en\"}},{\"data\":{\"text\":\"yo\"},\"offset\":6}],\"epoch\":\"kQzP\",\"offset\":7}}"
    );
    assert_eq!(
        envelope(Outcome::Channels(ChannelsResult {
            channels: BTreeMap::from([("chat:1".to_owned(), ChannelInfo { num_clients: 1 })])
        })),
        "{\"result\":{\"channels\":{\"chat:1\":{\"num_clients\":1}}}}"
    );
}

#[test]
fn an_info_with_metrics_always_has_items() {
    let node = NodeResult {
        uid: "f844".to_owned(),
        name: "host_8000".to_owned(),
        version: "v".to_owned(),
        num_clients: 1,
        num_users: 1,
        num_channels: 1,
        uptime: 60,
        metrics: Some(Snapshot {
            interval: 60.0,
            items: BTreeMap::new(),
        }),
        num_subs: 1,
    };
    assert_eq!(
        envelope(Outcome::Info(InfoResult { nodes: vec![node] })),
        "{\"result\":{\"nodes\":[{\"uid\":\"f844\",\"name\":\"host_8000\",\"version\":\"v\",\"num_clients\":1,\"num_users\":1,\"num_channels\":1,\"uptime\":60,\"metrics\":{\"interval\":60,\"items\":{}},\"num_subs\":1}]}}"
    );
    let items = BTreeMap::from([
        ("a".to_owned(), 1.5),
        ("b".to_owned(), -3.0),
        ("c".to_owned(), 1e300),
        ("d".to_owned(), 9_007_199_254_740_992.0),
    ]);
    assert_eq!(
        serde_json::to_string(&Snapshot {
            interval: 0.5,
            items
        })
        .unwrap(),
        "{\"interval\":0.5,\"items\":{\"a\":1.5,\"b\":-3,\"c\":1e+300,\"d\":9007199254740992}}"
    );
}

#[test]
fn empty_results_keep_the_fields_that_are_always_written() {
    for (outcome, expected) in [
        (Outcome::Broadcast(BroadcastResult::default()), "{}"),
        (
            Outcome::Presence(PresenceResult::default()),
            "{\"presence\":{}}",
        ),
        (
            Outcome::PresenceStats(PresenceStatsResult::default()),
            "{\"num_clients\":0,\"num_users\":0}",
        ),
        (
            Outcome::History(HistoryResult::default()),
            "{\"publications\":[],\"epoch\":\"\",\"offset\":0}",
        ),
        (
            Outcome::Channels(ChannelsResult::default()),
            "{\"channels\":{}}",
        ),
        (
            Outcome::Info(InfoResult {
                nodes: vec![NodeResult::default()],
            }),
            "{\"nodes\":[{\"uid\":\"\",\"name\":\"\",\"version\":\"\",\"num_clients\":0,\"num_users\":0,\"num_channels\":0,\"num_subs\":0}]}",
        ),
    ] {
        assert_eq!(envelope(outcome), format!("{{\"result\":{expected}}}"));
    }
    let info = ClientInfo::default();
    assert_eq!(
        serde_json::to_string(&info).unwrap(),
        "{\"user\":\"\",\"client\":\"\"}"
    );
    let largest = PublishResult {
        offset: u64::MAX,
        epoch: String::new(),
    };
    assert_eq!(
        serde_json::to_string(&largest).unwrap(),
        "{\"offset\":18446744073709551615}"
    );
}

#[test]
fn payloads_are_embedded_or_told_apart() {
    let write = |data: &'static [u8]| {
        let publication = Publication {
            data: Bytes::from_static(data),
            offset: 1,
            ..Publication::default()
        };
        serde_json::to_string(&publication).unwrap()
    };
    assert_eq!(
        write(b" { \"z\" : \"<&>\" } "),
        "{\"data\":{ \"z\" : \"<&>\" },\"offset\":1}"
    );
    assert_eq!(write(b"null"), "{\"data\":null,\"offset\":1}");
    assert_eq!(
        write(b"{\n\"a\":\r\n1}"),
        "{\"data\":{\"a\":1},\"offset\":1}"
    );
    assert_eq!(
        write(b"\xff\x00\x3e"),
        "{\"b64data\":\"/wA+\",\"offset\":1}"
    );
    assert_eq!(write(b"{}{}"), "{\"b64data\":\"e317fQ==\",\"offset\":1}");
    assert_eq!(write(b"1\n2"), "{\"b64data\":\"MQoy\",\"offset\":1}");
    assert_eq!(write(b""), "{\"offset\":1}");
    let info = ClientInfo {
        conn_info: Bytes::from_static(b"\xff"),
        ..ClientInfo::default()
    };
    assert!(
        serde_json::to_string(&info).is_err(),
        "infos have no base64 twin"
    );
}

#[test]
fn examples_of_requests() {
    for (method, body) in [
        (
            Method::Publish,
            "{\"channel\":\"chat:1\",\"data\":{\"text\":\"hi\"},\"idempotency_key\":\"m-1\",\"tags\":{\"lang\":\"en\"}}",
        ),
        (
            Method::Broadcast,
            "{\"channels\":[\"a\",\"nope:b\"],\"b64data\":\"eyJ4IjoxfQ==\"}",
        ),
        (
            Method::Subscribe,
            "{\"user\":\"42\",\"channel\":\"chat:1\",\"override\":{\"force_recovery\":{\"value\":true}},\"recover_since\":{\"offset\":5,\"epoch\":\"kQzP\"}}",
        ),
        (
            Method::Disconnect,
            "{\"user\":\"42\",\"disconnect\":{\"code\":4000,\"reason\":\"moved\",\"reconnect\":true},\"whitelist\":[\"9336a229\"]}",
        ),
        (Method::Presence, "{\"channel\":\"chat:1\"}"),
        (
            Method::History,
            "{\"channel\":\"chat:1\",\"limit\":2,\"reverse\":true}",
        ),
        (Method::Info, "{}"),
        (Method::Channels, "{\"pattern\":\"chat:*\"}"),
        (
            Method::Refresh,
            "{\"user\":\"42\",\"expire_at\":1900000000}",
        ),
    ] {
        let call = Call::from_json(method, body.as_bytes()).unwrap();
        assert_eq!(call.method(), method);
        match call {
            Call::Publish(request) => {
                assert_eq!(
                    (request.idempotency_key.as_str(), &request.data[..]),
                    ("m-1", &b"{\"text\":\"hi\"}"[..])
                );
            }
            Call::Broadcast(request) => assert_eq!(request.channels, ["a", "nope:b"]),
            Call::Subscribe(request) => {
                assert_eq!(request.recover_since.unwrap().offset, 5);
                assert!(request.r#override.unwrap().force_recovery.unwrap().value);
            }
            Call::Disconnect(request) => {
                let disconnect = request.disconnect.unwrap();
                assert_eq!(
                    (disconnect.code, disconnect.reason.as_str()),
                    (4000, "moved")
                );
                assert_eq!(request.whitelist, ["9336a229"]);
            }
            Call::History(request) => assert!(request.limit == 2 && request.reverse),
            Call::Refresh(request) => assert_eq!(request.expire_at, 1_900_000_000),
            Call::Channels(request) => assert_eq!(request.pattern, "chat:*"),
            _ => {}
        }
    }
}
