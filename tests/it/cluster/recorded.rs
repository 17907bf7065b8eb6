//! What a node does with messages of other nodes, as recorded of Centrifugo: `tests/golden/redis/receive.json`.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    harness::{Client, Transport, eventually, server, unhex},
    support::{RedisServer, Server},
};

/// The node that the recorded messages come from.
const FOREIGN: &str = "11111111-2222-4333-8444-555555555555";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn recorded() -> Vec<Value> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/redis/receive.json"
    );
    let recording: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    recording["runs"]["receive"].as_array().unwrap().clone()
}

fn named(begins: &str) -> Vec<Value> {
    let cases = recorded().into_iter();
    let cases: Vec<_> = cases
        .filter(|case| case["case"].as_str().unwrap().starts_with(begins))
        .collect();
    assert!(!cases.is_empty(), "{begins}");
    cases
}

fn settings(redis: &RedisServer) -> Value {
    json!({
        "node": {"name": "a"},
        "engine": {"type": "redis", "redis": {"address": [redis.address()]}},
        "channel": {"namespaces": [
            {"name": "plain", "allow_subscribe_for_client": true},
            {"name": "hist", "history_size": 3, "history_ttl": "300s", "force_recovery": true,
             "allow_subscribe_for_client": true},
        ]},
    })
}

fn connection(redis: &RedisServer) -> redis::Client {
    redis::Client::open(format!("redis://{}", redis.address())).unwrap()
}

/// Publishes a recorded payload; the expirations in it are of the past.
async fn publish(redis: &RedisServer, channel: &str, payload: &[u8]) {
    let client = connection(redis);
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let receivers: i64 = redis::cmd("PUBLISH")
        .arg(channel)
        .arg(payload)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(receivers > 0, "nobody listens to {channel}");
}

fn payload(case: &Value) -> Vec<u8> {
    unhex(case["payload"].as_str().unwrap())
}

async fn subscribed(node: &Server) -> Client {
    let mut client = Transport::Json.user(node, "u1").await;
    for channel in ["plain:r", "hist:r"] {
        client.subscribe(json!({"channel": channel})).await;
    }
    client
}

#[tokio::test]
async fn actions_of_another_node_are_carried_out_as_recorded() {
    let redis = RedisServer::start("").await;
    let node = server(settings(&redis)).await;
    for case in named("control: ") {
        let name = case["case"].as_str().unwrap();
        // These name a moment or a node of the recording.
        if ["control: refresh", "control: own uid is ignored"].contains(&name) {
            continue;
        }
        let mut client = subscribed(&node).await;
        publish(&redis, "centrifugo.control", &payload(&case)).await;
        if let Value::Object(close) = &case["close"] {
            let code = u32::try_from(close["code"].as_u64().unwrap()).unwrap();
            // 0 is no code that a WebSocket may carry: a client takes it for broken framing.
            let seen = if code == 0 { 1002 } else { code };
            assert_eq!(client.close().await.code, seen, "{name}");
            continue;
        }
        for told in case["client_gets"].as_array().unwrap() {
            let mut push = client.push().await;
            // Every program has its epochs, and this one says the code and reason of an unsubscribe always.
            if let Some(subscribe) = push["subscribe"].as_object_mut() {
                subscribe.remove("epoch");
            }
            let mut told = told.clone();
            if let Some(subscribe) = told["subscribe"].as_object_mut() {
                subscribe.remove("epoch");
            }
            if told["unsubscribe"] == json!({}) {
                told["unsubscribe"] = json!({"code": 0, "reason": ""});
            }
            for key in ["subscribe", "unsubscribe"] {
                // Looking for a key has made it.
                for message in [&mut push, &mut told] {
                    let message = message.as_object_mut().unwrap();
                    message.retain(|name, value| name != key || !value.is_null());
                }
            }
            assert_eq!(push, told, "{name}");
        }
        // What is asked of the user next comes after it, and nothing came in between.
        let marker = json!({"channel": "plain:marker", "user": "u1"});
        node.api("subscribe", &marker).await;
        assert_eq!(client.push().await["channel"], "plain:marker", "{name}");
    }
}

#[tokio::test]
async fn questions_and_newcomers_are_answered_as_recorded() {
    let redis = RedisServer::start("").await;
    let node = server(settings(&redis)).await;
    let _client = subscribed(&node).await;
    let info = node.api("info", &json!({})).await;
    let id = info["nodes"][0]["uid"].as_str().unwrap().to_owned();
    let client = connection(&redis);
    let mut answers = client.get_async_pubsub().await.unwrap();
    for addressee in [FOREIGN, "other"] {
        let channel = format!("centrifugo.node.{addressee}");
        answers.subscribe(channel).await.unwrap();
    }
    let mut answers = answers.on_message();
    let mut cases = named("survey: ");
    cases.extend(named("node: "));
    for case in cases {
        let channel = case["channel"].as_str().unwrap().replace('@', &id);
        publish(&redis, &channel, &payload(&case)).await;
        let name = case["case"].as_str().unwrap();
        if case["node_answers"] == json!([]) {
            // An answer would be taken for that of the next case, and be the wrong one.
            continue;
        }
        let answer = timeout(PATIENCE, answers.next()).await;
        let answer = answer
            .unwrap_or_else(|_elapsed| panic!("{name}: no answer"))
            .unwrap();
        let expected = &case["node_answers"][0];
        assert_eq!(expected[0], answer.get_channel_name(), "{name}");
        let mut rest = answer.get_payload_bytes();
        assert_eq!(text(&mut rest), id, "{name}");
        let response = &expected[1]["survey_response"];
        if response.is_null() {
            // Field 4: it introduces itself.
            assert_eq!(rest[0], 0x22, "{name}");
            continue;
        }
        let mut wanted = Vec::new();
        let id = u8::try_from(response["id"].as_u64().unwrap()).unwrap();
        wanted.extend([0x08, id]);
        if let Some(code) = response["code"].as_u64() {
            wanted.extend([0x10, u8::try_from(code).unwrap()]);
        }
        if let Some(data) = response["data"].as_str() {
            let data = unhex(data.strip_prefix("hex:").unwrap());
            wanted.extend([0x1a, u8::try_from(data.len()).unwrap()]);
            // The order of a map is nobody's business: compared sorted.
            assert_eq!(
                sorted(&rest[2..]),
                sorted(&[&wanted[..], &data].concat()),
                "{name}"
            );
            continue;
        }
        assert_eq!(&rest[2..], wanted, "{name}");
    }
    // The strangers are nodes now, until they say that they leave.
    let names = || async {
        let info = node.api("info", &json!({})).await;
        info["nodes"].as_array().unwrap().len()
    };
    assert_eq!(names().await, 3);
    let shutdown = [&[0x0a, 36][..], FOREIGN.as_bytes(), &[0x3a, 0]].concat();
    publish(&redis, "centrifugo.control", &shutdown).await;
    eventually("it is forgotten", || async { names().await == 2 }).await;
}

/// Takes field 1, a short text.
fn text(rest: &mut &[u8]) -> String {
    assert_eq!(rest[0], 0x0a);
    let (text, after) = rest[2..].split_at(usize::from(rest[1]));
    *rest = after;
    String::from_utf8(text.to_vec()).unwrap()
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.sort_unstable();
    bytes
}
