//! Publishing by clients and by the server API, and what it does to payloads (client-protocol.md 4.5, 5.2; server-api.md 7, 8).

use serde_json::{Value, json};

use crate::{
    harness::{HEX, Transport, eventually, on_every_transport, server},
    support::Server,
};

on_every_transport!(
    permissions_decide_who_may_publish,
    refusals_have_their_codes,
    publishing_nowhere_ends_the_connection,
    publishers_hear_themselves,
    payloads_have_a_format,
    bytes_that_are_no_json_stay_as_they_are,
    there_are_no_remote_procedures,
    the_api_publishes_to_many,
    the_api_publishes_once,
    older_versions_are_left_out,
);

fn settings() -> Value {
    json!({
        "client": {"allow_anonymous_connect_without_token": true},
        "channel": {
            "without_namespace": {"allow_subscribe_for_client": true, "allow_publish_for_client": true},
            "namespaces": [
                {"name": "closed", "allow_subscribe_for_client": true},
                {"name": "subscribers", "allow_subscribe_for_client": true,
                    "allow_publish_for_subscriber": true},
                {"name": "all", "allow_publish_for_client": true, "allow_publish_for_anonymous": true},
                {"name": "json", "allow_publish_for_client": true, "publication_data_format": "json"},
                {"name": "object", "allow_publish_for_client": true,
                    "publication_data_format": "json_object"},
                {"name": "binary", "allow_publish_for_client": true, "publication_data_format": "binary"},
                {"name": "stored", "allow_subscribe_for_client": true, "history_size": 10,
                    "history_ttl": "60s"},
            ],
        },
    })
}

fn publish(channel: &str, data: &Value) -> Value {
    json!({"publish": {"channel": channel, "data": data}})
}

async fn permissions_decide_who_may_publish(on: Transport) {
    let server = server(settings()).await;
    let done = json!({"publish": {}});
    let mut client = on.user(&server, "alice").await;
    assert_eq!(client.call(publish("news", &json!(1))).await, done);
    let denied = json!({"error": {"code": 103, "message": "permission denied"}});
    for channel in ["closed:x", "subscribers:x"] {
        assert_eq!(client.call(publish(channel, &json!(1))).await, denied);
        client.subscribe(json!({"channel": channel})).await;
    }
    assert_eq!(client.call(publish("closed:x", &json!(1))).await, denied);
    assert_eq!(client.call(publish("subscribers:x", &json!(1))).await, done);
    let mut anonymous = on.connect(&server, json!({})).await;
    assert_eq!(anonymous.call(publish("news", &json!(1))).await, denied);
    assert_eq!(anonymous.call(publish("all:x", &json!(1))).await, done);
}

async fn refusals_have_their_codes(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    for (request, code, message) in [
        (publish("unknown:x", &json!(1)), 102, "unknown channel"),
        (publish("näws", &json!(1)), 107, "bad request"),
        (json!({"publish": {"channel": "news"}}), 107, "bad request"),
    ] {
        let reply = client.call(request.clone()).await;
        let expected = json!({"error": {"code": code, "message": message}});
        assert_eq!(reply, expected, "{request}");
    }
    for (channel, code) in [("unknown:x", 102), ("closed:x", 103), ("news", 108)] {
        // Type 1 is a key of a map, which may be empty; no channel here is a map.
        let key = json!({"publish": {"channel": channel, "type": 1}});
        assert_eq!(client.refused(key).await, code, "{channel}");
    }
    // `channel_max_length` is for subscribing only.
    assert_eq!(
        client.call(publish(&"n".repeat(300), &json!(1))).await,
        json!({"publish": {}})
    );
}

async fn publishing_nowhere_ends_the_connection(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    client.request(json!({"publish": {"data": 1}})).await;
    client.closed(3501, "bad request").await;
}

async fn publishers_hear_themselves(on: Transport) {
    let server = server(settings()).await;
    let token = Server::token(&json!({"sub": "alice", "info": {"name": "Alice"}}));
    let mut client = on.connect(&server, json!({"token": token})).await;
    let claims = json!({"sub": "alice", "channel": "news", "info": [7]});
    let request = json!({"channel": "news", "token": Server::token(&claims)});
    client.subscribe(request).await;
    client.publish("news", json!({"text": "hi"})).await;
    let info = json!({"user": "alice", "client": client.id, "conn_info": {"name": "Alice"}, "chan_info": [7]});
    let expected = json!({"channel": "news", "pub": {"data": {"text": "hi"}, "info": info}});
    assert_eq!(client.push().await, expected);
    // Not subscribed: no info of the channel.
    client
        .call(json!({"unsubscribe": {"channel": "news"}}))
        .await;
    let mut other = on.user(&server, "bob").await;
    other.subscribe(json!({"channel": "news"})).await;
    client.publish("news", json!(null)).await;
    let info = json!({"user": "alice", "client": client.id, "conn_info": {"name": "Alice"}});
    let expected = json!({"channel": "news", "pub": {"data": null, "info": info}});
    assert_eq!(other.push().await, expected);
}

async fn payloads_have_a_format(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    let done = json!({"publish": {}});
    for (channel, data) in [
        ("json:x", json!([1, "2"])),
        ("object:x", json!({"a": {}})),
        ("binary:x", json!("text")),
    ] {
        assert_eq!(
            client.call(publish(channel, &data)).await,
            done,
            "{channel}"
        );
    }
    for data in [json!([1]), json!("a"), json!(null), json!(1)] {
        assert_eq!(
            client.refused(publish("object:x", &data)).await,
            107,
            "{data}"
        );
    }
    for channel in ["json:x", "object:x", "news"] {
        let nothing = json!({"publish": {"channel": channel}});
        assert_eq!(client.refused(nothing).await, 107, "{channel}");
    }
    // The payload comes before the permission.
    let nothing = json!({"publish": {"channel": "closed:x"}});
    assert_eq!(client.refused(nothing).await, 107);
    assert_eq!(
        client
            .call(json!({"publish": {"channel": "binary:x"}}))
            .await,
        done
    );
    if !on.is_json() {
        let bytes = json!({HEX: "7b22"});
        for channel in ["json:x", "object:x"] {
            assert_eq!(
                client.refused(publish(channel, &bytes)).await,
                107,
                "{channel}"
            );
        }
        for channel in ["binary:x", "news"] {
            assert_eq!(
                client.call(publish(channel, &bytes)).await,
                done,
                "{channel}"
            );
        }
    }
}

async fn bytes_that_are_no_json_stay_as_they_are(on: Transport) {
    let server = server(settings()).await;
    let (mut watcher, mut other) = (
        on.user(&server, "alice").await,
        on.user(&server, "bob").await,
    );
    watcher.subscribe(json!({"channel": "news"})).await;
    other.subscribe(json!({"channel": "other"})).await;
    let mut publisher = Transport::Grpc.user(&server, "carol").await;
    let bytes = json!({HEX: "00ff0a7b80"});
    publisher.publish("news", bytes.clone()).await;
    if on.is_json() {
        watcher.closed(3506, "inappropriate protocol").await;
    } else {
        assert_eq!(watcher.push().await["pub"]["data"], bytes);
    }
    publisher.publish("other", json!(1)).await;
    assert_eq!(other.push().await["pub"]["data"], 1);
}

async fn there_are_no_remote_procedures(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    for request in [
        json!({"method": "m", "data": {}}),
        json!({"data": 1}),
        json!({}),
    ] {
        let reply = client.call(json!({"rpc": request})).await;
        let expected = json!({"error": {"code": 108, "message": "not available"}});
        assert_eq!(reply, expected, "{request}");
    }
    client.request(json!({"send": {"data": 1}})).await;
    client.closed(3508, "not available").await;
}

async fn the_api_publishes_to_many(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    for channel in ["a", "b"] {
        client.subscribe(json!({"channel": channel})).await;
    }
    let params =
        json!({"channels": ["a", "unknown:x", "b", ""], "data": {"n": 1}, "tags": {"k": "v"}});
    let result = server.api("broadcast", &params).await;
    let error = |code: u32, message: &str| json!({"error": {"code": code, "message": message}});
    let expected = json!([
        {"result": {}}, error(102, "unknown channel"), {"result": {}}, error(107, "bad request"),
    ]);
    assert_eq!(result["responses"], expected);
    let mut pushes = [client.push().await, client.push().await];
    pushes.sort_by_key(|push| push["channel"].to_string());
    let push =
        |channel: &str| json!({"channel": channel, "pub": {"data": {"n": 1}, "tags": {"k": "v"}}});
    assert_eq!(pushes, [push("a"), push("b")]);
}

async fn the_api_publishes_once(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    client.subscribe(json!({"channel": "stored:x"})).await;
    let params = json!({"channel": "stored:x", "data": 1, "idempotency_key": "k"});
    let first = server.api("publish", &params).await;
    assert_eq!(first["offset"], 1, "{first}");
    assert_eq!(server.api("publish", &params).await, first);
    let skipped = json!({"channel": "stored:x", "data": 2, "skip_history": true});
    assert_eq!(server.api("publish", &skipped).await, json!({}));
    server.publish("stored:x", &json!(3)).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let push = client.push().await;
        seen.push((push["pub"]["data"].clone(), push["pub"]["offset"].as_u64()));
    }
    let expected = [(json!(1), Some(1)), (json!(2), None), (json!(3), Some(2))];
    assert_eq!(seen, expected);
}

async fn older_versions_are_left_out(on: Transport) {
    let server = server(settings()).await;
    let mut client = on.user(&server, "alice").await;
    client.subscribe(json!({"channel": "stored:x"})).await;
    for (version, data) in [(2, "two"), (1, "one"), (2, "two again"), (3, "three")] {
        let params = json!({"channel": "stored:x", "data": data, "version": version});
        server.api("publish", &params).await;
    }
    for (data, version, offset) in [("two", 2, 1), ("three", 3, 2)] {
        let publication = client.push().await["pub"].take();
        assert_eq!(publication["data"], data);
        assert_eq!(publication["version"], version);
        assert_eq!(publication["offset"], offset);
    }
    let suppressed = || async {
        let (_, metrics) = server.get("/metrics").await;
        metrics.contains("centrifugo_broker_publish_suppressed_count{channel_namespace=\"\",reason=\"version\"} 2")
    };
    eventually("suppressed publishes are counted", suppressed).await;
}
