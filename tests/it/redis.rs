//! Several nodes on one Redis: what one takes, the clients of the others get; and what happens without Redis.

use serde_json::{Value, json};

use crate::{
    harness::{Client, Transport, on_every_transport, server},
    support::{RedisServer, Server, centripetal, needed},
};

on_every_transport!(
    nodes_share_channels,
    presence_and_publications_have_their_own_servers,
);

fn settings(engine: &Value) -> Value {
    let mut settings = json!({"channel": {
        "without_namespace": {"allow_subscribe_for_client": true, "allow_publish_for_client": true},
        "namespaces": [{
            "name": "kept", "allow_subscribe_for_client": true, "history_size": 10, "history_ttl": "60s",
            "force_recovery": true, "presence": true, "join_leave": true, "force_push_join_leave": true,
        }],
    }});
    for (key, value) in engine.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
    settings
}

fn with_redis(redis: &RedisServer) -> Value {
    settings(&json!({"engine": {"type": "redis", "redis": {"address": redis.address()}}}))
}

/// A client of either of two nodes gets what happens on the other. The clients stay.
async fn exchanged(on: Transport, nodes: [&Server; 2]) -> [Client; 2] {
    let mut reader = on.user(nodes[0], "alice").await;
    let mut writer = on.user(nodes[1], "bob").await;
    reader.subscribe(json!({"channel": "news"})).await;
    writer.publish("news", json!({"n": 1})).await;
    assert_eq!(reader.push().await["pub"]["data"], json!({"n": 1}));
    let first = reader.subscribe(json!({"channel": "kept:x"})).await;
    nodes[1].publish("kept:x", &json!(7)).await;
    let mut offset = Value::Null;
    while offset.is_null() {
        // Its own join comes as well.
        offset = reader.push().await["pub"]["offset"].clone();
    }
    assert_eq!(offset.to_string().trim_matches('"'), "1");
    let second = writer.subscribe(json!({"channel": "kept:x"})).await;
    assert_eq!(first["epoch"], second["epoch"]);
    for node in nodes {
        let present = node
            .api("presence_stats", &json!({"channel": "kept:x"}))
            .await;
        assert_eq!(present, json!({"num_clients": 2, "num_users": 2}));
        let history = node
            .api("history", &json!({"channel": "kept:x", "limit": 10}))
            .await;
        assert_eq!(history["publications"][0]["data"], json!(7));
    }
    [reader, writer]
}

async fn nodes_share_channels(on: Transport) {
    if needed("CENTRIPETAL_REDIS").is_none() {
        return;
    }
    let redis = RedisServer::start("").await;
    let nodes = [
        server(with_redis(&redis)).await,
        server(with_redis(&redis)).await,
    ];
    drop(exchanged(on, [&nodes[0], &nodes[1]]).await);
}

async fn presence_and_publications_have_their_own_servers(on: Transport) {
    if needed("CENTRIPETAL_REDIS").is_none() {
        return;
    }
    let (broker, presence) = (RedisServer::start("").await, RedisServer::start("").await);
    let settings = settings(&json!({
        "broker": {"enabled": true, "type": "redis", "redis": {"address": broker.address()}},
        "presence_manager": {"enabled": true, "type": "redis", "redis": {"address": presence.address()}},
    }));
    let nodes = [server(settings.clone()).await, server(settings).await];
    let clients = exchanged(on, [&nodes[0], &nodes[1]]).await;
    let keys = presence.command("KEYS *").await;
    assert!(
        keys.contains("presence.data.kept:x") && !keys.contains("stream"),
        "{keys}"
    );
    let keys = broker.command("KEYS *").await;
    assert!(
        !keys.contains("presence") && keys.contains("stream.kept:x"),
        "{keys}"
    );
    drop(clients);
}

#[tokio::test]
async fn without_redis_the_start_fails_and_says_why() {
    for (address, said) in [
        ("127.0.0.1:1", "cannot connect to Redis at 127.0.0.1:1"),
        ("http://x", "unknown scheme http"),
    ] {
        let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
        let file = folder.join(format!("no-redis-{}.json", uuid::Uuid::new_v4()));
        let settings = json!({
            "engine": {"type": "redis", "redis": {"address": address}}, "http_server": {"port": 0},
        });
        std::fs::write(&file, settings.to_string()).unwrap();
        let limit = std::time::Duration::from_secs(30);
        let arguments = ["--config", &file.display().to_string()];
        let output = centripetal().run_alone(&arguments, limit).await;
        drop(std::fs::remove_file(&file));
        assert!(
            !output.success && output.text.contains(said),
            "{}",
            output.text
        );
    }
}
