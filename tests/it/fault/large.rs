//! A gap that holds more than a connection has room for is repaired like any other.

use serde_json::json;

use super::proxy::Proxy;
use crate::{
    harness::{Metric, Transport, eventually, on_every_transport, server},
    support::{RedisServer, Server, needed},
};

on_every_transport!(a_gap_larger_than_the_queue_closes_nobody);

/// Bytes of a payload.
const SIZE: usize = 50_000;
/// More than kernels, windows and the queue hold for one that does not read.
const MOST: u64 = 300;

async fn node(address: &str) -> Server {
    let settings = json!({
        "engine": {"type": "redis", "redis": {"address": address}},
        "websocket": {"write_timeout": "30s"},
        // Small enough that it is always too small.
        "client": {"queue_max_size": 4 * SIZE},
        "channel": {"without_namespace": {
            "allow_subscribe_for_client": true, "force_positioning": true,
            "history_size": 2 * MOST, "history_ttl": "300s",
        }},
    });
    server(settings).await
}

async fn a_gap_larger_than_the_queue_closes_nobody(on: Transport) {
    if needed("CENTRIPETAL_REDIS").is_none() {
        return;
    }
    let redis = RedisServer::start("").await;
    let link = Proxy::to(redis.port()).await;
    let hears = node(&format!("redis://127.0.0.1:{}", link.port())).await;
    let publishes = node(&format!("redis://127.0.0.1:{}", redis.port())).await;
    let mut client = on.user(&hears, "reader").await;
    client.subscribe(json!({"channel": "news"})).await;
    let late = Metric::of(&hears, "centripetal_lagging_deliveries_total", &[]).await;
    link.breaks(|faults| faults.lost = 1.0);
    let data = json!("x".repeat(SIZE));
    for _ in 1..MOST {
        publishes.publish("news", &data).await;
    }
    link.breaks(|faults| faults.lost = 0.0);
    publishes.publish("news", &data).await;
    let behind = || async { late.value().await > late.before };
    eventually("the reader falls behind", behind).await;
    let all: Vec<_> = (1..=MOST).collect();
    assert_eq!(client.offsets(MOST).await, all);
    // Live again.
    publishes.publish("news", &json!(1)).await;
    assert_eq!(client.offsets(MOST + 1).await, [MOST + 1]);
}
