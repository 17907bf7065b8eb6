//! Calls from the official SDKs and gRPC clients, and the same backend in another language.

use serde_json::{Value, json};

use super::{Backend, Way, introduced, on_both_ways, rpc};
use crate::{
    harness::{Transport, server},
    support::{Program, sdk_go, sdk_javascript, sdk_python},
};

on_both_ways!(the_backend_in_python_is_the_same_application);

async fn the_backend_in_python_is_the_same_application(way: Way) {
    let Some(backend) = Backend::python().await else {
        return;
    };
    let server = server(backend.settings(way)).await;
    let mut client = introduced(Transport::Json, &server, "ann").await;
    let result = client.subscribe(json!({"channel": "rooms:one"})).await;
    assert_eq!(result["data"], json!({"topic": "one"}));
    let secret = json!({"subscribe": {"channel": "rooms:secret"}});
    assert_eq!(client.refused(secret).await, 1403);
    client.subscribe(json!({"channel": "said:all"})).await;
    client.publish("said:all", json!({"text": "hi"})).await;
    let push = client.push().await;
    assert_eq!(push["pub"]["data"], json!({"text": "hi", "checked": true}));
    let sum = rpc(&mut client, "add", json!({"a": 2, "b": 3})).await;
    assert_eq!(sum, json!({"sum": 5}));
    let told = rpc(&mut client, "whoami", Value::Null).await;
    assert_eq!(told["user"], "ann");
    let unknown = json!({"rpc": {"method": "unknown"}});
    assert_eq!(client.refused(unknown).await, 1404);
    let mut expiring = Transport::Json.open(&server).await;
    expiring
        .connect(json!({"data": {"name": "gone", "ttl": 1}}))
        .await;
    expiring.closed(3005, "connection expired").await;
    let mut nobody = Transport::Json.open(&server).await;
    let request = json!({"connect": {"data": {"name": "nobody"}}});
    assert_eq!(nobody.refused(request).await, 1001);
}

/// A program that calls `add`, `unknown` and `quit`.
async fn calls(program: Option<Program>, arguments: &[&str]) {
    let Some(program) = program else {
        return;
    };
    let backend = Backend::start().await;
    for way in [Way::Http, Way::Grpc] {
        let server = server(backend.settings(way)).await;
        let output = program.run(&server, arguments).await;
        assert!(output.contains("checks passed"), "{output}");
    }
}

#[tokio::test]
async fn from_javascript() {
    calls(sdk_javascript("v2.mjs"), &["json", "rpc"]).await;
}

#[tokio::test]
async fn from_go() {
    calls(sdk_go(), &["client", "protobuf", "rpc"]).await;
}

#[tokio::test]
async fn from_python() {
    calls(sdk_python("tests/sdk/python/client.py"), &["json", "rpc"]).await;
}

#[tokio::test]
async fn from_grpcio() {
    calls(sdk_python("tests/sdk/python/grpc_client.py"), &["rpc"]).await;
}
