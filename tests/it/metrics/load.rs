//! A node that has seen everything that can happen to it: every transport, command, error and end.

use serde_json::{Value, json};

use super::scrape::Scrape;
use crate::{
    harness::{Transport, eventually, server},
    support::{Server, free_ports},
};

/// Settings under which everything can be asked for. Backends are named, and nobody answers there.
pub(super) fn settings(more: &Value) -> Value {
    let [nobody] = free_ports();
    let backend = |path: &str| json!({"endpoint": format!("http://127.0.0.1:{nobody}/{path}")});
    let mut settings = json!({
        "prometheus": {
            "enabled": true,
            "recovered_publications_histogram": true,
            "instrument_http_handlers": true,
        },
        "client": {
            "allow_anonymous_connect_without_token": true,
            "proxy": {"refresh": {"enabled": true, "endpoint": format!("http://127.0.0.1:{nobody}/refresh")}},
        },
        "rpc": {"proxy": backend("rpc"), "without_namespace": {"proxy_enabled": true}},
        "channel": {
            "proxy": {"publish": backend("publish"), "subscribe": backend("subscribe")},
            "without_namespace": {
                "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true,
                "allow_publish_for_client": true,
            },
            "namespaces": [
                {
                    "name": "hist", "history_size": 10, "history_ttl": "60s", "presence": true,
                    "join_leave": true, "force_push_join_leave": true, "force_recovery": true,
                    "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true,
                    "allow_publish_for_client": true,
                    "allow_history_for_client": true, "allow_presence_for_client": true,
                },
                {"name": "prox", "publish_proxy_enabled": true, "subscribe_proxy_enabled": true},
            ],
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
    settings
}

/// Starts such a node and does everything to it.
pub(super) async fn loaded(more: &Value) -> Server {
    let server = server(settings(more)).await;
    for on in Transport::ALL {
        commands(&server, on).await;
        recoveries(&server, on).await;
    }
    calls(&server).await;
    ends(&server).await;
    server
}

async fn commands(server: &Server, on: Transport) {
    let token = Server::token(&json!({"sub": "u1"}));
    let connect = json!({"token": token, "name": "tester", "version": "1.0"});
    let mut client = on.connect(server, connect).await;
    for (method, request) in [
        ("subscribe", json!({"channel": "hist:a"})),
        ("subscribe", json!({"channel": "news"})),
        ("publish", json!({"channel": "hist:a", "data": {}})),
        ("publish", json!({"channel": "news", "data": {}})),
        ("presence", json!({"channel": "hist:a"})),
        ("presence_stats", json!({"channel": "hist:a"})),
        ("history", json!({"channel": "hist:a", "limit": 5})),
        ("subscribe", json!({"channel": "nope:x"})),
        ("subscribe", json!({"channel": "prox:a"})),
        ("presence", json!({"channel": "news"})),
        ("history", json!({"channel": "news"})),
        ("rpc", json!({"method": "m", "data": {}})),
        ("unsubscribe", json!({"channel": "news"})),
    ] {
        let reply = client.call(json!({method: request})).await;
        assert!(reply.is_object(), "{method}: {reply}");
    }
    client.send(json!({"send": {"data": {}}})).await;
    // Broken tokens may end the connection.
    let refreshes = [
        json!({"sub_refresh": {"channel": "news", "token": "x"}}),
        json!({"refresh": {"token": "x"}}),
    ];
    for refresh in refreshes {
        let mut client = on.user(server, "u9").await;
        client.call(json!({"subscribe": {"channel": "news"}})).await;
        client.request(refresh).await;
        while client
            .try_next()
            .await
            .is_ok_and(|reply| reply.get("push").is_some())
        {}
    }
}

async fn recoveries(server: &Server, on: Transport) {
    for _ in 0..3 {
        server.publish("hist:r", &json!({})).await;
    }
    let state = server.api("history", &json!({"channel": "hist:r"})).await;
    let mut client = on.user(server, "u3").await;
    for (epoch, behind) in [
        (state["epoch"].clone(), 2),
        (state["epoch"].clone(), 0),
        (json!("wrong"), 2),
    ] {
        let offset = state["offset"].as_u64().unwrap() - behind;
        let request =
            json!({"channel": "hist:r", "recover": true, "epoch": epoch, "offset": offset});
        client.call(json!({"subscribe": request})).await;
        client
            .call(json!({"unsubscribe": {"channel": "hist:r"}}))
            .await;
    }
}

async fn calls(server: &Server) {
    for (method, body) in [
        ("publish", json!({"channel": "news", "data": {}})),
        ("publish", json!({})),
        ("publish", json!({"channel": "nope:x", "data": {}})),
        (
            "broadcast",
            json!({"channels": ["news", "nope:x"], "data": {}}),
        ),
        ("subscribe", json!({"user": "u5", "channel": "hist:a"})),
        ("unsubscribe", json!({"user": "u5", "channel": "hist:a"})),
        ("unsubscribe", json!({"channel": "nope:x"})),
        ("presence", json!({"channel": "hist:a"})),
        ("presence_stats", json!({"channel": "hist:a"})),
        ("history", json!({"channel": "hist:a", "limit": 5})),
        ("history_remove", json!({"channel": "hist:rm"})),
        ("info", json!({})),
        ("rpc", json!({"method": "x"})),
        ("refresh", json!({"user": "u1", "expired": false})),
        ("channels", json!({})),
        (
            "batch",
            json!({"commands": [{"publish": {"channel": "news", "data": {}}}, {"publish": {}}, {}]}),
        ),
        (
            "publish",
            json!({"channel": "hist:a", "data": {}, "idempotency_key": "k"}),
        ),
        (
            "publish",
            json!({"channel": "hist:a", "data": {}, "idempotency_key": "k"}),
        ),
        (
            "publish",
            json!({"channel": "hist:v", "data": {}, "version": 1}),
        ),
        (
            "publish",
            json!({"channel": "hist:v", "data": {}, "version": 1}),
        ),
    ] {
        let path = format!("/api/{method}");
        let (status, answer) = server
            .post(&path, Some(Server::API_KEY), body.to_string())
            .await;
        assert!(!answer.is_empty(), "{method}: {status}");
    }
    server
        .post("/api/publish", Some(Server::API_KEY), "broken")
        .await;
}

/// Ends that the server decides.
async fn ends(server: &Server) {
    let mut kicked = Transport::Json.user(server, "u6").await;
    kicked.call(json!({"subscribe": {"channel": "news"}})).await;
    let request = json!({"user": "u6", "channel": "news"});
    server.api("unsubscribe", &request).await;
    let disconnect = json!({"user": "u6", "disconnect": {"code": 4001, "reason": "x"}});
    server.api("disconnect", &disconnect).await;
    kicked.close().await;
}

/// A node that pings often: one client answers, one does not.
pub(super) async fn pinged() -> Server {
    let settings = json!({"client": {"ping_interval": "1s", "pong_timeout": "900ms"}});
    let server = server(settings).await;
    let mut silent = Transport::Json.user(&server, "silent").await;
    let pongs = "centrifugo_client_ping_pong_duration_seconds_count";
    let mut patient = Transport::Json.user(&server, "patient").await;
    // The first message that nobody asked for is the ping.
    assert_eq!(patient.next().await, json!({}));
    patient.send(json!({})).await;
    eventually("a pong is counted", || async {
        Scrape::of(&server).await.sum(pongs, &[]) > 0.0
    })
    .await;
    silent.closed(3012, "no pong").await;
    server
}
