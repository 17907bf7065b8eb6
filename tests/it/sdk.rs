//! The official SDKs, from their registries, against the real server.
//!
//! What is checked is written in the programs below `tests/sdk`, each in the language of its SDK.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Program, Running, Server, sdk_go, sdk_javascript, sdk_python};

/// `open` allows everything the programs do, `closed` and `bare` nothing; there is no `nowhere`.
pub(crate) fn settings() -> Value {
    json!({
        "channel": {
            "namespaces": [
                {
                    "name": "open",
                    "presence": true,
                    "join_leave": true,
                    "force_push_join_leave": true,
                    "history_size": 100,
                    "history_ttl": "300s",
                    "force_recovery": true,
                    "allow_subscribe_for_client": true,
                    "allow_publish_for_subscriber": true,
                    "allow_presence_for_subscriber": true,
                    "allow_history_for_subscriber": true,
                },
                {"name": "closed"},
                {"name": "bare"},
            ],
        },
    })
}

async fn passes(program: Option<Program>, arguments: &[&str]) {
    passes_with(settings(), program, arguments).await;
}

/// Against a server that compresses.
async fn passes_compressed(program: Option<Program>, arguments: &[&str]) {
    let mut settings = settings();
    settings["websocket"] = json!({"compression": true});
    passes_with(settings, program, arguments).await;
}

pub(crate) async fn passes_with(settings: Value, program: Option<Program>, arguments: &[&str]) {
    let Some(program) = program else {
        return;
    };
    let server = Server::start(settings).await;
    let output = program.run(&server, arguments).await;
    // A program that checks nothing must not pass.
    assert!(output.contains("checks passed"), "{output}");
}

#[tokio::test]
async fn javascript_v2_json() {
    passes(sdk_javascript("v2.mjs"), &["json"]).await;
}

#[tokio::test]
async fn javascript_v2_protobuf() {
    passes(sdk_javascript("v2.mjs"), &["protobuf"]).await;
}

#[tokio::test]
async fn javascript_v2_http_stream_json() {
    passes(sdk_javascript("v2.mjs"), &["json:http_stream"]).await;
}

#[tokio::test]
async fn javascript_v2_http_stream_protobuf() {
    passes(sdk_javascript("v2.mjs"), &["protobuf:http_stream"]).await;
}

#[tokio::test]
async fn javascript_v2_sse() {
    passes(sdk_javascript("v2.mjs"), &["json:sse"]).await;
}

#[tokio::test]
async fn javascript_v1_json() {
    passes(sdk_javascript("v1.cjs"), &["json"]).await;
}

#[tokio::test]
async fn javascript_v1_protobuf() {
    passes(sdk_javascript("v1.cjs"), &["protobuf"]).await;
}

#[tokio::test]
async fn javascript_v2_compressed() {
    passes_compressed(sdk_javascript("v2.mjs"), &["json"]).await;
}

#[tokio::test]
async fn javascript_ws_compressed() {
    passes_compressed(sdk_javascript("deflate.cjs"), &[]).await;
}

#[tokio::test]
async fn python_compressed() {
    passes_compressed(sdk_python("tests/sdk/python/client.py"), &["protobuf"]).await;
}

#[tokio::test]
async fn python_websockets_compressed() {
    passes_compressed(sdk_python("tests/sdk/python/deflate.py"), &[]).await;
}

#[tokio::test]
async fn python_json() {
    passes(sdk_python("tests/sdk/python/client.py"), &["json"]).await;
}

#[tokio::test]
async fn python_protobuf() {
    passes(sdk_python("tests/sdk/python/client.py"), &["protobuf"]).await;
}

#[tokio::test]
async fn python_server_api() {
    passes(sdk_python("tests/sdk/python/server_api.py"), &[]).await;
}

#[tokio::test]
async fn grpcio_v2() {
    passes(sdk_python("tests/sdk/python/grpc_client.py"), &["v2"]).await;
}

#[tokio::test]
async fn grpcio_v1() {
    passes(sdk_python("tests/sdk/python/grpc_client.py"), &["v1"]).await;
}

#[tokio::test]
async fn go_json() {
    passes(sdk_go(), &["client", "json"]).await;
}

#[tokio::test]
async fn go_protobuf() {
    passes(sdk_go(), &["client", "protobuf"]).await;
}

#[tokio::test]
async fn go_server_api() {
    passes(sdk_go(), &["api"]).await;
}

/// Messages of each client.
const MESSAGES: usize = 100;

/// One client of each kind.
fn kinds() -> Vec<(&'static str, Option<Program>, Vec<&'static str>)> {
    let python = || sdk_python("tests/sdk/python/client.py");
    let grpc = || sdk_python("tests/sdk/python/grpc_client.py");
    vec![
        ("js-v2-json", sdk_javascript("v2.mjs"), vec!["json"]),
        ("js-v2-protobuf", sdk_javascript("v2.mjs"), vec!["protobuf"]),
        ("js-v1-json", sdk_javascript("v1.cjs"), vec!["json"]),
        ("js-v1-protobuf", sdk_javascript("v1.cjs"), vec!["protobuf"]),
        ("python-json", python(), vec!["json"]),
        ("python-protobuf", python(), vec!["protobuf"]),
        ("go-json", sdk_go(), vec!["client", "json"]),
        ("go-protobuf", sdk_go(), vec!["client", "protobuf"]),
        ("grpc-v1", grpc(), vec!["v1"]),
        ("grpc-v2", grpc(), vec!["v2"]),
    ]
}

#[tokio::test]
async fn every_kind_of_client_sees_every_message_once_and_in_one_order() {
    let server = Server::start(settings()).await;
    let kinds: Vec<_> = kinds()
        .into_iter()
        .filter_map(|(name, program, arguments)| Some((name, program?, arguments)))
        .collect();
    let total = kinds.len() * MESSAGES;
    let mut clients = Vec::new();
    for (name, program, mut arguments) in kinds {
        let total = total.to_string();
        arguments.extend(["mixed", name, "open:mixed", &total]);
        clients.push(program.start(&server, &arguments, name));
    }
    for client in &mut clients {
        assert_eq!(json!({"ready": client.name()}), message(client).await);
    }
    for client in &mut clients {
        client.tell("go").await;
    }
    let mut first: Option<Vec<Value>> = None;
    for mut client in clients {
        let mut seen = Vec::new();
        for _ in 0..total {
            seen.push(message(&mut client).await);
        }
        match &first {
            Some(first) => assert_eq!(&seen, first, "{} differs", client.name()),
            None => first = Some(seen),
        }
        client.end().await;
    }
    let seen = first.unwrap_or_default();
    let different: BTreeSet<String> = seen.iter().map(Value::to_string).collect();
    assert_eq!((seen.len(), different.len()), (total, total));
}

async fn message(client: &mut Running) -> Value {
    let line = client.line().await;
    serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}: {line}", client.name()))
}
