//! A real Prometheus scrapes a loaded node, in both formats; its queries return what the load client has counted.

use std::{process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    harness::server,
    support::{Folder, Server, free_ports, http_client, needed},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running Prometheus that scrapes one server; killed when dropped.
struct Prometheus {
    _child: Child,
    folder: Folder,
    port: u16,
}

impl Prometheus {
    async fn start(server: &Server, features: &[&str]) -> Option<Self> {
        let program = needed("CENTRIPETAL_PROMETHEUS")?;
        let [port] = free_ports();
        let folder = Folder::new().unwrap();
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/grafana/alerts.yml");
        let config = json!({
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{
                "job_name": "centripetal",
                "static_configs": [{"targets": [server.http_target()]}],
            }],
        });
        let file = folder.path().join("prometheus.yml");
        // JSON is YAML.
        std::fs::write(&file, config.to_string()).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(features)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let prometheus = Self {
            _child: child,
            folder,
            port,
        };
        prometheus.until("up", |value| value == 1.0).await;
        Some(prometheus)
    }

    async fn get(&self, path: &str, query: &str) -> Value {
        let mut url: reqwest::Url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port)
            .parse()
            .unwrap();
        url.query_pairs_mut().append_pair("query", query);
        match http_client().get(url).send().await {
            Ok(answer) => serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default(),
            Err(_not_yet) => Value::Null,
        }
    }

    /// The only value that a query returns.
    async fn value(&self, query: &str) -> Option<f64> {
        let answer = self.get("query", query).await;
        let results = answer["data"]["result"].as_array()?;
        let value = results.first()?["value"][1].as_str()?.parse().ok()?;
        assert_eq!(results.len(), 1, "{query}: {answer}");
        Some(value)
    }

    /// Waits until a query returns what is wished.
    async fn until(&self, query: &str, wished: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.value(query).await;
            if value.is_some_and(&wished) {
                return;
            }
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{query}: {value:?}\n{log}");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Runs the load client and returns its report.
async fn bench(server: &Server) -> Value {
    let (url, api) = (server.ws_url(), server.api_url());
    let output = Command::new(env!("CARGO_BIN_EXE_centripetal"))
        .args(["bench", "fanout", "--json", "--url", &url])
        .args(["-n", "8", "-m", "50", "--rate", "0"])
        .args(["--api", &api, "--api-key", Server::API_KEY])
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text} {output:?}"))
}

#[expect(clippy::float_cmp, reason = "counts are whole numbers")]
async fn counts_agree(features: &[&str]) {
    let server = server(json!({
        "client": {"insecure": true},
        "channel": {"without_namespace": {"history_size": 1000, "history_ttl": "60s", "force_recovery": true}},
    }))
    .await;
    let Some(prometheus) = Prometheus::start(&server, features).await else {
        return;
    };
    let report = bench(&server).await;
    assert_eq!(report["counted"]["lost"], 0, "{report}");
    let delivered = report["deliver"]["count"].as_f64().unwrap();
    let published = report["publish"]["count"].as_f64().unwrap();
    assert!(delivered >= 400.0 && published >= 50.0, "{report}");
    for (query, expected) in [
        (
            r#"sum(centrifugo_transport_messages_sent{frame_type="push_publication"})"#,
            delivered,
        ),
        (
            r#"sum(centrifugo_node_messages_sent_count{type="publication"})"#,
            published,
        ),
        (
            r#"sum(centrifugo_node_broadcast_duration_seconds_bucket{le="+Inf"})"#,
            published,
        ),
        (
            r#"sum(centrifugo_api_command_duration_seconds_count{method="publish"})"#,
            published,
        ),
        (
            r#"sum(centrifugo_client_connections_accepted{transport="websocket"})"#,
            8.0,
        ),
        ("sum(centrifugo_client_connections_inflight)", 0.0),
    ] {
        prometheus.until(query, |value| value == expected).await;
    }
    for query in [
        r#"centrifugo_api_command_duration_seconds{method="publish",quantile="0.99"}"#,
        "histogram_quantile(0.99, sum by (le) (centrifugo_api_command_duration_seconds_histogram_bucket))",
        "histogram_quantile(0.5, sum by (le) (centripetal_delivery_duration_seconds_bucket))",
        "process_resident_memory_bytes / 1e6",
    ] {
        prometheus.until(query, |value| value > 0.0).await;
    }
    every_panel_can_be_asked(&prometheus).await;
    // Nothing is wrong with this node, so nobody is woken.
    let alerts = prometheus.get("alerts", "").await;
    assert_eq!(alerts["data"]["alerts"], json!([]), "{alerts}");
}

/// Every query of the dashboard is one that Prometheus understands.
async fn every_panel_can_be_asked(prometheus: &Prometheus) {
    let dashboard: Value =
        serde_json::from_str(include_str!("../../../grafana/centripetal.json")).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap();
            let query = query
                .replace("$__rate_interval", "1m")
                .replace("$job", "centripetal")
                .replace("$instance", ".*");
            let answer = prometheus.get("query", &query).await;
            assert_eq!(answer["status"], "success", "{query}: {answer}");
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked}");
}

#[tokio::test]
async fn queries_return_what_the_load_client_counted() {
    counts_agree(&[]).await;
}

#[tokio::test]
async fn the_same_is_true_of_protobuf() {
    // With this feature Prometheus asks for Protobuf first.
    counts_agree(&["--enable-feature=native-histograms"]).await;
}
