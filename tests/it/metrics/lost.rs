//! Every way in which a message can fail to arrive is made to happen, and its metric has to show it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::scrape::Scrape;
use crate::{
    harness::{Metric, Transport, eventually, server},
    support::{RedisServer, Server, free_ports},
};

/// What has to be more than zero in the end.
const SHOWN: [&str; 25] = [
    "centripetal_build_info",
    "centripetal_client_insufficient_state_total",
    "centripetal_client_slow_total",
    "centripetal_config_reloads_total{result=error}",
    "centripetal_config_reloads_total{result=ok}",
    "centripetal_connection_closes_total",
    "centripetal_delivery_duration_seconds_count",
    "centripetal_engine_duration_seconds_count{operation=publish}",
    "centripetal_engine_errors_total{operation=publish}",
    "centripetal_graphite_batches_total{result=failed}",
    "centripetal_insufficient_state_channels_total",
    "centripetal_proxy_failures_total",
    "centripetal_proxy_wait_duration_seconds_count",
    "centripetal_runtime_lag_seconds_count",
    "centripetal_runtime_tasks",
    "centripetal_runtime_workers",
    "centripetal_sequencer_gaps_total",
    "centripetal_sequencer_insufficient_total",
    "centripetal_sequencer_reconnects_total",
    "centripetal_sequencer_repair_duration_seconds_count",
    "centripetal_sequencer_repaired_total",
    "centripetal_sequencer_sweeps_total",
    "centrifugo_client_num_server_unsubscribes{channel_namespace=,code=2500}",
    "centrifugo_node_pub_sub_lag_seconds_count",
    "centrifugo_proxy_errors",
];

/// Gauges that are more than zero only for a while; they are waited for.
const WAITING: [&str; 2] = [
    "centripetal_mailbox_bytes",
    "centripetal_mailbox_largest_bytes",
];

fn settings(redis: &RedisServer, silent: u16) -> Value {
    let [nobody] = free_ports();
    json!({
        "prometheus": {"enabled": true},
        "node": {"info_metrics_aggregate_interval": "100ms"},
        "engine": {"type": "redis", "redis": {"address": format!("redis://{}", redis.address())}},
        // So much that it cannot all come in between two looks at what waits.
        "client": {"queue_max_size": 30_000_000, "concurrency": 4},
        "websocket": {"write_timeout": "100s"},
        "rpc": {
            "proxy": {"endpoint": format!("http://127.0.0.1:{silent}/x"), "timeout": "200ms"},
            "without_namespace": {"proxy_enabled": true},
        },
        "channel": {
            "without_namespace": {"allow_subscribe_for_client": true},
            "namespaces": [{
                "name": "hist", "history_size": 10, "history_ttl": "60s", "force_recovery": true,
                "allow_subscribe_for_client": true,
            }],
        },
        "graphite": {"enabled": true, "host": "127.0.0.1", "port": nobody, "interval": "1s"},
        "centripetal": {"proxy": {"concurrency": 1}},
    })
}

/// Makes all of it happen, and returns what the node shows then.
pub(super) async fn everything() -> Scrape {
    let mut redis = RedisServer::start("").await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let server = server(settings(&redis, port)).await;
    gaps(&server, &redis).await;
    slow(&server).await;
    waits(&server).await;
    reloads(&server).await;
    let reconnects = Metric::of(&server, "centripetal_sequencer_reconnects_total", &[]).await;
    let failed = Metric::of(&server, "centripetal_engine_errors_total", &[]).await;
    redis.kill();
    let body = json!({"channel": "news", "data": {}}).to_string();
    let key = Some(Server::API_KEY);
    while failed.value().await <= failed.before {
        server.post("/api/publish", key, body.clone()).await;
    }
    redis.restart().await;
    reconnects.increased().await;
    let failed = [("result", "failed")];
    let batches = Metric::of(&server, "centripetal_graphite_batches_total", &failed).await;
    batches.increased().await;
    Scrape::of(&server).await
}

/// A gap that history closes, and one that it does not.
async fn gaps(server: &Server, redis: &RedisServer) {
    let mut client = Transport::Json.user(server, "reader").await;
    client.subscribe(json!({"channel": "hist:a"})).await;
    let data = json!({});
    server.publish("hist:a", &data).await;
    client.push().await;
    // Another publisher's publication is kept, but its message never comes.
    let skip = "HINCRBY centrifugo.stream.meta.hist:a s 1";
    redis.command(skip).await;
    redis
        .command(r#"XADD centrifugo.stream.hist:a 2 d "\x22\x02{}""#)
        .await;
    server.publish("hist:a", &data).await;
    let offsets =
        [client.push().await, client.push().await].map(|push| push["pub"]["offset"].clone());
    assert_eq!(offsets, [json!(2), json!(3)], "the gap was closed");
    // Its position is taken, but it is nowhere.
    redis.command(skip).await;
    server.publish("hist:a", &data).await;
    let push = client.push().await;
    assert_eq!(push["unsubscribe"]["code"], 2500, "{push}");
}

/// A client that reads nothing: first its mail waits, then it has to go.
async fn slow(server: &Server) {
    let mut lazy = Transport::Json.user(server, "lazy").await;
    lazy.subscribe(json!({"channel": "news"})).await;
    let data = json!("x".repeat(100_000));
    let mut waited = false;
    for n in 0.. {
        assert!(n < 1000, "100 MB for somebody who does not read");
        server.publish("news", &data).await;
        let scrape = Scrape::of(server).await;
        waited |= WAITING.iter().all(|name| scrape.sum(name, &[]) > 100_000.0);
        if scrape.sum("centripetal_client_slow_total", &[]) > 0.0 {
            break;
        }
    }
    assert!(waited, "nothing has waited in between");
    lazy.close().await;
    let name = WAITING[0];
    eventually("nothing waits any more", || async {
        Scrape::of(server).await.sum(name, &[]) < 1.0
    })
    .await;
}

/// Two questions to a backend that takes one at a time and does not answer.
async fn waits(server: &Server) {
    let mut client = Transport::Json.user(server, "asker").await;
    let request = || json!({"rpc": {"method": "x", "data": {}}});
    let asked = [
        client.request(request()).await,
        client.request(request()).await,
    ];
    for id in asked {
        assert_eq!(client.answer(id).await["error"]["code"], 100);
    }
}

async fn reloads(server: &Server) {
    let reloads = "centripetal_config_reloads_total";
    let file = server.folder().join("config.json");
    let good = std::fs::read_to_string(&file).unwrap();
    for (result, text) in [("ok", good.as_str()), ("error", "{")] {
        let counted = Metric::of(server, reloads, &[("result", result)]).await;
        std::fs::write(&file, text).unwrap();
        server.hang_up();
        counted.increased().await;
    }
    std::fs::write(&file, good).unwrap();
}

#[tokio::test]
async fn each_own_metric_shows_what_happened() {
    let scrape = everything().await;
    let mut silent = Vec::new();
    for wanted in SHOWN {
        let (name, labels) = wanted.split_once('{').unwrap_or((wanted, ""));
        let sum = scrape.sum(name, &[labels.trim_end_matches('}')]);
        if sum <= 0.0 {
            silent.push(wanted);
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
    // Nothing of its own that operators are not told of.
    let documented = super::tools::names(include_str!("../../../docs/metrics.md"));
    let own = scrape
        .families
        .keys()
        .filter(|name| name.starts_with("centripetal_"));
    let untold: BTreeSet<_> = own.filter(|name| !documented.contains(*name)).collect();
    assert!(untold.is_empty(), "not in docs/metrics.md: {untold:#?}");
}
