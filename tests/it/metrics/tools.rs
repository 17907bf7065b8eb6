//! Prometheus' own tools on what this server says, and on what is shipped for operators.

use std::{collections::BTreeSet, path::Path, process::Stdio};

use serde_json::json;
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::load::loaded;
use crate::{
    harness::Metric,
    support::{RedisServer, needed},
};

/// Shown from the first fault of a peer on; the tests of those faults read them.
const OF_PEERS: [&str; 4] = [
    "centripetal_http2_errors_total",
    "centripetal_proxy_protocol_errors_total",
    "centripetal_tls_handshake_errors_total",
    "centripetal_tokens_rejected_total",
];

const DISLIKED: &str = include_str!("../../golden/metrics/disliked.txt");

/// Runs promtool with something to read; its exit code and everything it wrote.
async fn promtool(arguments: &[&str], input: &str) -> Option<(Option<i32>, String)> {
    let program = needed("CENTRIPETAL_PROMTOOL")?;
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let (written, output) = tokio::join!(
        async {
            pipe.write_all(input.as_bytes()).await.unwrap();
            drop(pipe);
        },
        child.wait_with_output()
    );
    let ((), output) = (written, output.unwrap());
    let text = [output.stdout, output.stderr].concat();
    Some((
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    ))
}

#[tokio::test]
async fn promtool_dislikes_only_names_that_must_be_kept() {
    if needed("CENTRIPETAL_PROMTOOL").is_none() {
        return;
    }
    let redis = RedisServer::start("").await;
    let address = format!("redis://{}", redis.address());
    let engine = json!({"engine": {"type": "redis", "redis": {"address": address}}});
    let server = loaded(&engine).await;
    let errors = Metric::of(&server, "centrifugo_broker_redis_pub_sub_errors", &[]).await;
    redis.command("CLIENT KILL TYPE pubsub").await;
    errors.increased().await;
    let metrics = server.get("/metrics").await.1;
    let (_, said) = promtool(&["check", "metrics"], &metrics).await.unwrap();
    let found: BTreeSet<_> = said.lines().filter(|line| !line.is_empty()).collect();
    let known: BTreeSet<_> = DISLIKED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert!(found.is_subset(&known), "{:#?}", found.difference(&known));
    assert!(known.is_subset(&found), "{:#?}", known.difference(&found));
    let own = known.iter().find(|line| line.starts_with("centripetal_"));
    assert_eq!(own, None, "what is not inherited has no excuse");
}

#[tokio::test]
async fn promtool_accepts_the_alert_rules_and_tests_them() {
    let Some((code, said)) = promtool(&["check", "rules", "grafana/alerts.yml"], "").await else {
        return;
    };
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = promtool(&["test", "rules", "grafana/alerts.test.yml"], "")
        .await
        .unwrap();
    assert_eq!(code, Some(0), "{said}");
}

/// Names of metrics in a text.
pub(super) fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let begins = ["centrifugo_", "centripetal_", "process_"];
    // A name that ends in an underline stands for several.
    let words = words.filter(|word| !word.ends_with('_'));
    let metrics = words.filter(|word| begins.iter().any(|begin| word.starts_with(begin)));
    metrics.map(str::to_owned).collect()
}

#[tokio::test]
async fn every_metric_that_is_shipped_or_documented_exists() {
    let redis = RedisServer::start("").await;
    let address = format!("redis://{}", redis.address());
    let engine = json!({"engine": {"type": "redis", "redis": {"address": address}}});
    let server = loaded(&engine).await;
    let errors = Metric::of(&server, "centrifugo_broker_redis_pub_sub_errors", &[]).await;
    redis.command("CLIENT KILL TYPE pubsub").await;
    errors.increased().await;
    let on_redis = super::scrape::Scrape::of(&server).await;
    let pinged = super::scrape::Scrape::of(&super::load::pinged().await).await;
    let refusing = super::lost::everything().await;
    for file in [
        "grafana/centripetal.json",
        "grafana/alerts.yml",
        "docs/metrics.md",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let named = names(&text);
        assert!(named.len() > 10, "{file}");
        for name in named {
            if OF_PEERS.contains(&&*name) {
                continue;
            }
            let there = ["", "_bucket", "_count", "_sum"].iter().any(|suffix| {
                name.strip_suffix(suffix).is_some_and(|family| {
                    let families = [&on_redis.families, &pinged.families, &refusing.families];
                    families
                        .iter()
                        .any(|families| families.contains_key(family))
                })
            });
            assert!(there, "{file} names {name}, which does not exist");
        }
    }
}
