//! Readers that stop for a while and keep their connection (`slow_policy`), however short the write time limit.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::{
    harness::{Client, Metric, Transport, on_every_transport, server},
    support::Server,
};

on_every_transport!(
    a_stopped_reader_is_brought_up_to_date_from_history,
    a_stopped_reader_gets_the_newest_publication,
);

/// Bytes of a payload.
const SIZE: usize = 50_000;
/// More than kernels and windows hold for one that does not read.
const MOST: u64 = 600;
/// Much longer than the write time limit.
const STOPPED: Duration = Duration::from_secs(1);

async fn stage(on: Transport, policy: &str) -> (Server, Client) {
    let server = server(json!({
        "prometheus": {"enabled": true},
        "websocket": {"write_timeout": "100ms"},
        "channel": {"without_namespace": {
            "allow_subscribe_for_client": true, "force_positioning": true, "slow_policy": policy,
            "history_size": 2 * MOST, "history_ttl": "300s",
        }},
    }))
    .await;
    let client = on.user(&server, "reader").await;
    (server, client)
}

/// Publishes to somebody who does not read, until that shows, and for a while after; the top then.
async fn stopped(server: &Server) -> u64 {
    let late = Metric::of(server, "centripetal_lagging_deliveries_total", &[]).await;
    let data = json!("x".repeat(SIZE));
    let mut begun = None;
    for _ in 0..MOST {
        let published = server.publish("news", &data).await;
        if begun.is_none() && late.value().await > late.before {
            begun = Some(Instant::now());
        }
        if begun.is_some_and(|begun| begun.elapsed() > STOPPED) {
            return published["offset"].as_u64().unwrap();
        }
    }
    panic!("{MOST} publications for somebody who does not read, and none was late");
}

async fn a_stopped_reader_is_brought_up_to_date_from_history(on: Transport) {
    let (server, mut client) = stage(on, "recover").await;
    client.subscribe(json!({"channel": "news"})).await;
    let top = stopped(&server).await;
    let all: Vec<_> = (1..=top).collect();
    assert_eq!(client.offsets(top).await, all);
    // Live again.
    server.publish("news", &json!(1)).await;
    assert_eq!(client.offsets(top + 1).await, [top + 1]);
}

async fn a_stopped_reader_gets_the_newest_publication(on: Transport) {
    let (server, mut client) = stage(on, "latest").await;
    client.subscribe(json!({"channel": "news"})).await;
    let top = stopped(&server).await;
    let some = client.offsets(top).await;
    assert!(some.is_sorted_by(|a, b| a < b), "{some:?}");
    assert!((some.len() as u64) < top, "nothing was left out");
    server.publish("news", &json!(1)).await;
    assert_eq!(client.offsets(top + 1).await, [top + 1]);
}
