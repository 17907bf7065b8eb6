//! The types of this module against `proto/api.proto`, and what tests of the adapters share.

use prost::Message;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use serde_json::{Value, json};

use super::{
    json::{Json, decode_text},
    method::UNSERVED,
    request::{self, Command},
    result, *,
};

/// A node that knows none of the channels used here. Tests stop before the node or at its 102.
pub(super) fn node() -> Node {
    Node::for_test()
}

/// An API with its own registry.
pub(super) fn api(config: Config) -> (Api, prometheus::Registry, CancellationToken) {
    let registry = prometheus::Registry::new();
    let metrics = Metrics::new(&registry, "centrifugo").unwrap();
    let stopping = CancellationToken::new();
    let api = Api::new(node(), config, metrics, stopping.clone());
    (api, registry, stopping)
}

pub(super) const CONFIG: Config = Config {
    max_request_body_size: 16 * 1024 * 1024,
    strict_unsubscribe: false,
};

/// A recorded file.
pub(super) fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/api/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

fn schema() -> FileDescriptorProto {
    let set: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    FileDescriptorSet::decode(set)
        .unwrap()
        .file
        .into_iter()
        .find(|file| file.package() == "centrifugal.centrifugo.api")
        .unwrap()
}

fn message<'a>(schema: &'a FileDescriptorProto, name: &str) -> &'a DescriptorProto {
    let found = schema.message_type.iter().find(|m| m.name() == name);
    found.unwrap_or_else(|| panic!("{name} is missing"))
}

/// A message with every field set, in both encodings.
struct Sample {
    wire: Vec<u8>,
    json: Value,
}

/// `depth` ends recursive messages; `skip` are fields that the type leaves out.
fn sample(
    schema: &FileDescriptorProto,
    message: &DescriptorProto,
    depth: usize,
    skip: &[i32],
) -> Sample {
    let mut wire = Vec::new();
    let mut object = serde_json::Map::new();
    for field in message.field.iter().filter(|f| !skip.contains(&f.number())) {
        let nested = field.type_name().rsplit('.').next().unwrap();
        let entry = message.nested_type.iter().find(|n| n.name() == nested);
        let value = match entry {
            Some(entry) => {
                let key = field_value(schema, &entry.field[0], depth);
                let value = field_value(schema, &entry.field[1], depth);
                let json = json!({ key.json.as_str().unwrap(): value.json });
                embed(field, [key.wire, value.wire].concat(), json)
            }
            None if field.r#type() == Type::Message && depth == 0 => continue,
            None => field_value(schema, field, depth),
        };
        wire.extend(value.wire);
        let repeated = field.label() == Label::Repeated && entry.is_none();
        let json = if repeated {
            json!([value.json])
        } else {
            value.json
        };
        object.insert(field.name().to_owned(), json);
    }
    Sample {
        wire,
        json: Value::Object(object),
    }
}

fn field_value(schema: &FileDescriptorProto, field: &FieldDescriptorProto, depth: usize) -> Sample {
    let number = field.number();
    let varint = |value: usize| {
        let mut wire = Vec::new();
        prost::encode_length_delimiter((number as usize) << 3, &mut wire).unwrap();
        prost::encode_length_delimiter(value, &mut wire).unwrap();
        wire
    };
    match field.r#type() {
        Type::String => {
            let text = format!("text {number}");
            embed(field, text.clone().into_bytes(), json!(text))
        }
        Type::Bytes => {
            let payload = json!({ "field": number });
            embed(field, payload.to_string().into_bytes(), payload)
        }
        Type::Bool => Sample {
            wire: varint(1),
            json: json!(true),
        },
        Type::Uint32 | Type::Uint64 | Type::Int32 | Type::Int64 => Sample {
            wire: varint(number as usize + 100),
            json: json!(number + 100),
        },
        Type::Double => {
            let mut wire = Vec::new();
            prost::encode_length_delimiter((number as usize) << 3 | 1, &mut wire).unwrap();
            wire.extend((f64::from(number) + 0.5).to_le_bytes());
            Sample {
                wire,
                json: json!(f64::from(number) + 0.5),
            }
        }
        Type::Message => {
            let name = field.type_name().rsplit('.').next().unwrap();
            let inner = sample(schema, message(schema, name), depth - 1, skipped(name));
            embed(field, inner.wire, inner.json)
        }
        other => panic!("no sample for {other:?}"),
    }
}

fn embed(field: &FieldDescriptorProto, body: Vec<u8>, json: Value) -> Sample {
    let mut wire = Vec::new();
    prost::encode_length_delimiter((field.number() as usize) << 3 | 2, &mut wire).unwrap();
    prost::encode_length_delimiter(body.len(), &mut wire).unwrap();
    wire.extend(body);
    Sample { wire, json }
}

/// Fields that our types leave out: the process of a node, and commands that are not served.
fn skipped(name: &str) -> &'static [i32] {
    match name {
        "NodeResult" => &[9],
        "Command" => &[
            17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
            39, 40, 41, 42,
        ],
        _ => &[],
    }
}

#[test]
fn requests_are_those_of_the_schema() {
    fn check<T: Message + Default + Json + PartialEq + std::fmt::Debug>(
        schema: &FileDescriptorProto,
        name: &str,
    ) {
        let sample = sample(schema, message(schema, name), 3, skipped(name));
        let from_wire = T::decode(sample.wire.as_slice()).unwrap();
        assert_eq!(from_wire.encode_to_vec(), sample.wire, "numbers of {name}");
        let from_json: T = decode_text(&sample.json.to_string()).unwrap();
        assert_eq!(from_json, from_wire, "names of {name}");
    }
    let schema = schema();
    check::<request::PublishRequest>(&schema, "PublishRequest");
    check::<request::BroadcastRequest>(&schema, "BroadcastRequest");
    check::<request::SubscribeRequest>(&schema, "SubscribeRequest");
    check::<request::UnsubscribeRequest>(&schema, "UnsubscribeRequest");
    check::<request::DisconnectRequest>(&schema, "DisconnectRequest");
    check::<request::RefreshRequest>(&schema, "RefreshRequest");
    check::<request::PresenceRequest>(&schema, "PresenceRequest");
    check::<request::PresenceStatsRequest>(&schema, "PresenceStatsRequest");
    check::<request::HistoryRequest>(&schema, "HistoryRequest");
    check::<request::HistoryRemoveRequest>(&schema, "HistoryRemoveRequest");
    check::<request::InfoRequest>(&schema, "InfoRequest");
    check::<request::RpcRequest>(&schema, "RPCRequest");
    check::<request::ChannelsRequest>(&schema, "ChannelsRequest");
    check::<Command>(&schema, "Command");
}

#[test]
fn results_are_those_of_the_schema() {
    fn check<T: Message + Default + serde::Serialize>(schema: &FileDescriptorProto, name: &str) {
        let sample = sample(schema, message(schema, name), 3, skipped(name));
        let result = T::decode(sample.wire.as_slice()).unwrap();
        assert_eq!(result.encode_to_vec(), sample.wire, "numbers of {name}");
        assert_eq!(
            serde_json::to_value(&result).unwrap(),
            sample.json,
            "names of {name}"
        );
    }
    let schema = schema();
    check::<Failure>(&schema, "Error");
    check::<result::PublishResult>(&schema, "PublishResult");
    check::<result::PublishResponse>(&schema, "PublishResponse");
    check::<result::BroadcastResult>(&schema, "BroadcastResult");
    check::<result::SubscribeResult>(&schema, "SubscribeResult");
    check::<result::UnsubscribeResult>(&schema, "UnsubscribeResult");
    check::<result::DisconnectResult>(&schema, "DisconnectResult");
    check::<result::RefreshResult>(&schema, "RefreshResult");
    check::<result::PresenceResult>(&schema, "PresenceResult");
    check::<result::PresenceStatsResult>(&schema, "PresenceStatsResult");
    check::<result::HistoryResult>(&schema, "HistoryResult");
    check::<result::HistoryRemoveResult>(&schema, "HistoryRemoveResult");
    check::<result::InfoResult>(&schema, "InfoResult");
    check::<result::RpcResult>(&schema, "RPCResult");
    check::<result::ChannelsResult>(&schema, "ChannelsResult");
}

#[test]
fn methods_are_those_of_the_schema() {
    let schema = schema();
    let mut declared: Vec<&str> = schema.service[0].method.iter().map(|m| m.name()).collect();
    let mut known = vec!["Batch"];
    known.extend(Method::ALL.iter().map(|method| method.rpc_name()));
    known.extend(UNSERVED.iter().map(|(_, rpc_name)| *rpc_name));
    declared.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, declared);
    assert_eq!(schema.service[0].name(), "CentrifugoApi");
    for method in &schema.service[0].method {
        let package = ".centrifugal.centrifugo.api.";
        assert_eq!(
            method.input_type(),
            format!("{package}{}Request", method.name())
        );
        assert_eq!(
            method.output_type(),
            format!("{package}{}Response", method.name())
        );
        let response = message(&schema, &format!("{}Response", method.name()));
        if method.name() != "Batch" {
            let fields: Vec<_> = response
                .field
                .iter()
                .map(|f| (f.number(), f.name()))
                .collect();
            assert_eq!(fields, [(1, "error"), (2, "result")]);
        }
    }
    for (name, message_name) in [("Command", "Request"), ("Reply", "Result")] {
        let fields = &message(&schema, name).field;
        for method in Method::ALL {
            let field = fields
                .iter()
                .find(|f| f.number() as usize == method.field())
                .unwrap();
            assert_eq!(field.name(), method.name());
            let expected = format!(
                ".centrifugal.centrifugo.api.{}{message_name}",
                method.rpc_name()
            );
            assert_eq!(field.type_name(), expected);
        }
        for (unserved, rpc_name) in UNSERVED {
            let field = fields.iter().find(|f| f.name() == *unserved).unwrap();
            assert!(
                field
                    .type_name()
                    .ends_with(&format!(".{rpc_name}{message_name}"))
            );
        }
    }
}

#[test]
fn errors_have_the_numbers_texts_and_statuses_of_the_table() {
    for (error, code, text, status) in [
        (Error::Internal, 100, "internal server error", 500),
        (Error::UnknownChannel, 102, "unknown channel", 404),
        (Error::NotFound, 104, "not found", 404),
        (Error::BadRequest, 107, "bad request", 400),
        (Error::NotAvailable, 108, "not available", 400),
        (
            Error::UnrecoverablePosition,
            112,
            "unrecoverable position",
            416,
        ),
    ] {
        assert_eq!((error.code(), error.to_string().as_str()), (code, text));
        assert_eq!(error.http_status().as_u16(), status);
    }
    for (error, code) in [
        (node::Error::UnknownChannel, 102),
        (node::Error::BadRequest, 107),
        (node::Error::NotAvailable, 108),
        (node::Error::UnrecoverablePosition, 112),
        (node::Error::Internal(None), 100),
    ] {
        assert_eq!(
            refused(Method::History, &Channel::from("c"), &error).code(),
            code
        );
    }
}

#[tokio::test]
async fn arguments_are_checked_before_the_node_is_asked() {
    let (api, _, _) = api(CONFIG);
    let publish = |channel: &str, b64data: &str| {
        api.publish(request::PublishRequest {
            channel: channel.to_owned(),
            b64data: b64data.to_owned(),
            ..Default::default()
        })
    };
    assert_eq!(publish("", "").await, Err(Error::BadRequest));
    assert_eq!(
        publish("nope:x", "?").await,
        Err(Error::BadRequest),
        "base64 comes before the channel"
    );
    assert_eq!(publish("nope:x", "").await, Err(Error::UnknownChannel));
    let subscribe = |channel: &str, b64data: &str| {
        api.subscribe(request::SubscribeRequest {
            channel: channel.to_owned(),
            b64data: b64data.to_owned(),
            ..Default::default()
        })
    };
    assert_eq!(subscribe("", "").await, Err(Error::BadRequest));
    assert_eq!(
        subscribe("nope:x", "?").await,
        Err(Error::UnknownChannel),
        "the channel comes before base64"
    );
    let history = api.history(request::HistoryRequest::default());
    assert_eq!(history.await, Err(Error::BadRequest));
    let remove = api.history_remove(request::HistoryRemoveRequest::default());
    assert_eq!(remove.await, Err(Error::BadRequest));
    let presence = api.presence(request::PresenceRequest::default());
    assert_eq!(presence.await, Err(Error::BadRequest));
    let stats = api.presence_stats(request::PresenceStatsRequest::default());
    assert_eq!(stats.await, Err(Error::BadRequest));
    let rpc = |method: &str| {
        api.rpc(request::RpcRequest {
            method: method.to_owned(),
            ..Default::default()
        })
    };
    assert_eq!(rpc("").await, Err(Error::BadRequest));
    assert_eq!(rpc("x").await, Err(Error::NotFound));
    let channels = api.channels(request::ChannelsRequest {
        pattern: "[".to_owned(),
    });
    assert_eq!(channels.await, Err(Error::Internal));
}

#[tokio::test]
async fn broadcast_reports_each_channel_in_order() {
    let (api, registry, _) = api(CONFIG);
    let broadcast = |channels: &[&str], b64data: &str| request::BroadcastRequest {
        channels: channels.iter().map(|&c| c.to_owned()).collect(),
        b64data: b64data.to_owned(),
        ..Default::default()
    };
    assert_eq!(
        api.broadcast(broadcast(&[], "")).await,
        Err(Error::BadRequest)
    );
    assert_eq!(
        api.broadcast(broadcast(&["a"], "?")).await,
        Err(Error::BadRequest)
    );
    let call = broadcast(&["nope:a", "", "nope:a"], "").into();
    let Ok(Outcome::Broadcast(result)) = api.call(Via::Http, call).await else {
        panic!("a broadcast succeeds as a whole");
    };
    let codes: Vec<_> = result
        .responses
        .iter()
        .map(|r| r.error.as_ref().map(|e| e.code))
        .collect();
    assert_eq!(codes, [Some(102), Some(107), Some(102)]);
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap();
    assert!(
        text.contains(
            "errors_total{error=\"102\",method=\"broadcast_publish\",protocol=\"http\"} 2"
        ),
        "{text}"
    );
    assert!(
        !text.contains(
            "method=\"broadcast\",protocol=\"http\"} 1\n# TYPE centrifugo_api_command_errors"
        ),
        "{text}"
    );
}

#[tokio::test]
async fn an_unsubscribe_without_channel_is_refused_in_strict_mode_only() {
    let strict = Config {
        strict_unsubscribe: true,
        ..CONFIG
    };
    for (config, refused) in [(CONFIG, false), (strict, true)] {
        let (api, _, _) = api(config);
        let answer = api
            .unsubscribe(request::UnsubscribeRequest::default())
            .await;
        assert_eq!(answer == Err(Error::BadRequest), refused);
    }
}
