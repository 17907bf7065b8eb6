//! Control messages against what a Centrifugo node sent, and laws over random ones.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn bytes(hex: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len() / 2).map(|n| digit(2 * n)).collect()
}

/// Every recorded control message of every run: its bytes and what it says.
fn recorded() -> Vec<(Bytes, Value)> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/redis/pubsub.json"
    );
    let recording: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let runs = recording["runs"].as_object().unwrap();
    runs.values()
        .flat_map(|run| run.as_array().unwrap())
        .filter(|message| message["decoded"]["kind"] == "control")
        .map(|message| {
            (
                bytes(message["payload"].as_str().unwrap()),
                message["decoded"]["command"].clone(),
            )
        })
        .collect()
}

#[test]
fn what_a_centrifugo_node_sent_is_understood_and_said_the_same_way() {
    let recorded = recorded();
    assert!(recorded.len() > 50, "{}", recorded.len());
    for (data, said) in recorded {
        let (from, control) = decode(data.clone()).unwrap();
        assert_eq!(from.as_str(), said["uid"]);
        let again = encode(&from, &control);
        if said["node"]["metrics"].is_null() {
            assert_eq!(again, data, "{said}");
        } else {
            // Items of a map have no order, and zeros in it are written or not.
            assert_eq!(decode(again).unwrap(), (from, control.clone()), "{said}");
        }
        assert_eq!(told(&control), named(&said), "{said}");
    }
}

/// A message in the words of the recording.
fn told(control: &Control) -> Value {
    let mut value = match control {
        Control::Node(node) => serde_json::json!({"node": {
            "uid": node.uid.as_str(), "name": node.name, "version": node.version, "uptime": node.uptime,
            "num_clients": node.num_clients, "num_users": node.num_users, "num_channels": node.num_channels,
            "num_subs": node.num_subs,
            "metrics": node.metrics.as_ref().map(|(interval, items)| serde_json::json!({"interval": interval, "items": items})),
        }}),
        Control::Shutdown => serde_json::json!({"shutdown": {}}),
        Control::Unsubscribe(target, channel, why) => serde_json::json!({"unsubscribe": {
            "channel": channel.as_str(), "code": why.code, "reason": why.reason, "target": told_target(target),
        }}),
        Control::Subscribe(target, command) => serde_json::json!({"subscribe": {
            "channel": command.channel.as_str(), "emit_presence": command.options.presence,
            "emit_join_leave": command.options.join_leave, "expire_at": command.options.expire_at,
            "position": command.options.positioned, "recover": command.options.recoverable,
            "channel_info": String::from_utf8_lossy(&command.options.info),
            "data": String::from_utf8_lossy(&command.options.data),
            "recover_since": command.recover_since.as_ref().map(|since| {
                serde_json::json!({"offset": since.offset, "epoch": since.epoch.to_string()})
            }),
            "push_join_leave": command.options.push_join_leave, "source": command.options.source as u32,
            "target": told_target(target),
        }}),
        Control::Disconnect(target, why, keep) => serde_json::json!({"disconnect": {
            "code": why.code, "reason": why.reason, "target": told_target(target),
            "whitelist": keep.iter().map(ClientId::as_str).collect::<Vec<_>>(),
        }}),
        Control::Refresh(target, refresh) => serde_json::json!({"refresh": {
            "expired": refresh.expired, "expire_at": refresh.expire_at,
            "info": String::from_utf8_lossy(&refresh.info), "target": told_target(target),
        }}),
        Control::SurveyRequest(request) => serde_json::json!({"survey_request": {
            "id": request.id, "op": request.op, "data": shown(&request.data),
        }}),
        Control::SurveyResponse(response) => serde_json::json!({"survey_response": {
            "id": response.id, "code": response.code, "data": shown(&response.data),
        }}),
        Control::Notification(note) => serde_json::json!({"notification": {"op": note.op}}),
    };
    let (_, part) = value.as_object_mut().unwrap().iter_mut().next().unwrap();
    let part = part.as_object_mut().unwrap();
    if let Some(Value::Object(target)) = part.remove("target") {
        part.extend(target);
    }
    part.retain(|_, value| !is_default(value));
    value
}

fn told_target(target: &Target) -> Value {
    serde_json::json!({
        "user": target.user.as_str(), "client": target.client.as_ref().map(ClientId::as_str),
        "session": target.session, "all_users": target.all_users,
    })
}

fn shown(data: &[u8]) -> String {
    if data.is_empty() {
        return String::new();
    }
    data.iter()
        .fold("hex:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(_) => false,
    }
}

/// What the recording says, without sender and explanations.
fn named(said: &Value) -> Value {
    let mut said = said.clone();
    let parts = said.as_object_mut().unwrap();
    parts.remove("uid");
    for part in parts.values_mut() {
        part.as_object_mut().unwrap().remove("data_decoded");
    }
    said
}

#[test]
fn of_two_parts_only_the_first_is_taken() {
    let data = bytes(
        "0a2431313131313131312d323232322d343333332d383434342d3535353535353535353535352a150a07706c61696e3a\
         721202753128d00f3203627965320c0a02753118942322036f7574",
    );
    let (_, control) = decode(data).unwrap();
    assert!(matches!(control, Control::Unsubscribe(..)), "{control:?}");
}

#[test]
fn hostile_messages_are_refused_with_a_reason() {
    let refused = |data: &[u8]| decode(Bytes::copy_from_slice(data)).unwrap_err();
    assert!(matches!(refused(b"\xff\xff"), Error::Malformed(_)));
    assert!(matches!(refused(b""), Error::Sender));
    // A shutdown of nobody, of a node with an endless name, and information on a node without identifier.
    assert!(matches!(refused(b"\x3a\x00"), Error::Sender));
    let long = "n".repeat(NODE_ID_MAX + 1);
    let of = |from: &str, control| encode(&NodeId::from(from), &control);
    assert!(matches!(
        refused(&of(&long, Control::Shutdown)),
        Error::Sender
    ));
    let nobody = Control::Node(Box::default());
    assert!(matches!(refused(&of("n", nobody)), Error::Sender));
    // Only a field that nobody knows.
    assert!(matches!(refused(b"\x0a\x01n\xea\x04\x01x"), Error::Unknown));
}

#[test]
fn endless_nesting_is_refused() {
    let mut filter = LabelFilter::default();
    for _ in 0..500 {
        filter = LabelFilter {
            op: "not".to_owned(),
            nodes: vec![filter],
            ..LabelFilter::default()
        };
    }
    let target = Target {
        labels: Some(Box::new(filter)),
        ..Target::default()
    };
    let data = encode(
        &NodeId::from("n"),
        &Control::Refresh(target, Refresh::default()),
    );
    assert!(matches!(decode(data), Err(Error::Malformed(_))));
}

fn any_bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn any_labels() -> impl Strategy<Value = LabelFilter> {
    let leaf = ("[a-z]{0,3}", "[a-z]{0,3}", "[a-z]{0,3}").prop_map(|(key, cmp, val)| LabelFilter {
        key,
        cmp,
        vals: vec![val.clone()],
        val,
        ..LabelFilter::default()
    });
    leaf.prop_recursive(4, 16, 3, |inner| {
        let op = prop_oneof!["and", "or", "not"];
        (op, proptest::collection::vec(inner, 0..3)).prop_map(|(op, nodes)| LabelFilter {
            op,
            nodes,
            ..LabelFilter::default()
        })
    })
}

prop_compose! {
    fn any_target()(
        user in "\\PC{0,8}",
        client in proptest::option::of("[a-f0-9-]{1,36}"),
        session in proptest::option::of("[a-z]{1,8}"),
        labels in proptest::option::of(any_labels()),
        all_users in any::<bool>(),
    ) -> Target {
        Target {
            user: user.into(),
            client: client.map(ClientId::from),
            session,
            labels: labels.map(Box::new),
            all_users,
        }
    }
}

prop_compose! {
    fn any_subscribe()(
        channel in "\\PC{0,12}",
        flags in any::<[bool; 5]>(),
        expire_at in proptest::option::of(1..i64::MAX),
        (info, data) in (any_bytes(), any_bytes()),
        since in proptest::option::of((any::<u64>(), "[a-z]{0,8}")),
        source in 0..14_u32,
    ) -> SubscribeCommand {
        let [presence, join_leave, push_join_leave, positioned, recoverable] = flags;
        // Recovery implies a position, so the message does not tell of it.
        let positioned = positioned && !recoverable;
        SubscribeCommand {
            channel: channel.into(),
            options: SubscribeOptions {
                presence, join_leave, push_join_leave, positioned, recoverable,
                expire_at, info, data, source: source.into(),
                ..SubscribeOptions::default()
            },
            recover_since: since.map(|(offset, epoch)| StreamPosition { offset, epoch: epoch.into() }),
        }
    }
}

prop_compose! {
    fn any_node()(
        uid in "[a-z0-9-]{1,36}",
        (name, version) in ("\\PC{0,8}", "[0-9.]{0,8}"),
        numbers in any::<[u32; 5]>(),
        metrics in proptest::option::of((0.0..1e9, proptest::collection::btree_map("[a-z.]{1,9}", -1e9..1e9, 0..4))),
        data in any_bytes(),
    ) -> NodeInfo {
        let [num_clients, num_users, num_channels, num_subs, uptime] = numbers;
        NodeInfo {
            uid: uid.into(), name, version, num_clients, num_users, num_channels, num_subs, uptime, metrics, data,
        }
    }
}

fn any_control() -> impl Strategy<Value = Control> {
    prop_oneof![
        (any_target(), any_subscribe())
            .prop_map(|(target, command)| Control::Subscribe(target, Box::new(command))),
        (any_target(), "\\PC{0,8}", any::<u32>(), "\\PC{0,8}").prop_map(
            |(target, channel, code, reason)| {
                let reason = reason.into();
                Control::Unsubscribe(target, channel.into(), Unsubscribe { code, reason })
            }
        ),
        (
            any_target(),
            any::<u32>(),
            proptest::collection::vec("[a-f]{0,4}", 0..3)
        )
            .prop_map(|(target, code, keep)| {
                let reason = "bye".into();
                let keep = keep.into_iter().map(ClientId::from).collect();
                Control::Disconnect(target, Disconnect { code, reason }, keep)
            }),
        (any_target(), any::<bool>(), any::<i64>(), any_bytes()).prop_map(
            |(target, expired, expire_at, info)| {
                let refresh = Refresh {
                    expired,
                    expire_at,
                    info,
                };
                Control::Refresh(target, refresh)
            }
        ),
        any_node().prop_map(|node| Control::Node(Box::new(node))),
        Just(Control::Shutdown),
        (any::<u64>(), "\\PC{0,8}", any_bytes())
            .prop_map(|(id, op, data)| Control::SurveyRequest(SurveyRequest { id, op, data })),
        (any::<u64>(), any::<u32>(), any_bytes()).prop_map(|(id, code, data)| {
            Control::SurveyResponse(SurveyResponse { id, code, data })
        }),
        ("\\PC{0,8}", any_bytes())
            .prop_map(|(op, data)| Control::Notification(Notification { op, data })),
    ]
}

proptest! {
    #[test]
    fn decode_after_encode_is_identity(from in "[a-z0-9-]{1,36}", control in any_control()) {
        let from = NodeId::from(from);
        let data = encode(&from, &control);
        prop_assert_eq!(decode(data).unwrap(), (from, control));
    }

    #[test]
    fn no_bytes_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(decode(Bytes::from(data)));
    }

    #[test]
    fn no_damage_panics(
        control in any_control(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut data = encode(&NodeId::from("node"), &control).to_vec();
        for (index, byte) in damage {
            let at = index.index(data.len());
            data[at] = byte;
        }
        drop(decode(Bytes::from(data)));
    }

    #[test]
    fn unknown_fields_are_skipped(control in any_control(), number in 100..1000_u32, value in any::<u64>()) {
        let from = NodeId::from("node");
        let mut data = encode(&from, &control).to_vec();
        prost::encoding::uint64::encode(number, &value, &mut data);
        prop_assert_eq!(decode(Bytes::from(data)).unwrap(), (from, control));
    }
}
