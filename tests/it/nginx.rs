//! One public address: everything through nginx with the files that are shipped (gateway.md 4).

use std::path::PathBuf;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    harness::{Front, Offer, Transport, on_every_transport, server},
    support::{Nginx, Server, examine, repository},
};

on_every_transport!(everything_works_on_one_port);

fn settings() -> Value {
    json!({
        "client": {"allowed_origins": ["https://example.com"]},
        "centripetal": {"trusted_proxies": ["127.0.0.1"]},
        "channel": {"without_namespace": {
            "allow_subscribe_for_client": true, "allow_publish_for_client": true,
            "history_size": 10, "history_ttl": "60s", "force_recovery": true,
        }},
    })
}

fn front(nginx: &Nginx) -> Front {
    Front::new(nginx.port(), &nginx.authority())
}

async fn everything_works_on_one_port(on: Transport) {
    let server = server(settings()).await;
    let Some(nginx) = Nginx::start(Nginx::SHIPPED, &server).await else {
        return;
    };
    let mut client = on.through(&front(&nginx)).await;
    let token = Server::token(&json!({"sub": "alice"}));
    client.connect(json!({"token": token})).await;
    client.subscribe(json!({"channel": "news"})).await;
    client.publish("news", json!({"n": 1})).await;
    let own = client.push().await;
    assert_eq!(own["pub"]["data"], json!({"n": 1}));
    server.publish("news", &json!({"n": 2})).await;
    let other = client.push().await;
    assert_eq!(other["pub"]["data"], json!({"n": 2}));
}
