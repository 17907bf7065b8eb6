//! What Graphite gets, read by a TCP listener: names, values and times, as they were recorded.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, net::TcpListener, time::timeout};

use crate::{
    harness::{Transport, server},
    support::Server,
};

const RECORDED: &str = include_str!("../../golden/telemetry/graphite.json");

const PATIENCE: Duration = Duration::from_secs(30);

/// One batch: values by path, and the times that were in it.
#[derive(Debug, Default)]
struct Batch {
    values: BTreeMap<String, String>,
    times: BTreeSet<i64>,
}

struct Graphite(TcpListener);

impl Graphite {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn port(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }

    async fn batch(&self) -> Batch {
        let (mut stream, _) = timeout(PATIENCE, self.0.accept()).await.unwrap().unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let mut batch = Batch::default();
        for line in text.lines() {
            let fields: Vec<_> = line.split(' ').collect();
            let [path, value, time] = fields[..] else {
                panic!("{line}");
            };
            batch.times.insert(time.parse().unwrap());
            let before = batch.values.insert(path.to_owned(), value.to_owned());
            assert_eq!(before, None, "{line} is there twice");
        }
        batch
    }
}

fn recorded(name: &str) -> Value {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let cases = recorded["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == name);
    case.unwrap()["expected"]["lines"].clone()
}

async fn started(graphite: &Graphite, node: &str, more: Value) -> Server {
    let mut settings = json!({
        "node": {"name": node},
        "channel": {"namespaces": [
            {"name": "hi", "history_size": 10, "history_ttl": "60s", "presence": true},
        ]},
        "client": {"allow_anonymous_connect_without_token": true},
        "graphite": {
            "enabled": true, "host": "127.0.0.1", "port": graphite.port(), "interval": "1s",
        },
    });
    for (key, value) in more.as_object().unwrap() {
        settings["graphite"][key] = value.clone();
    }
    server(settings).await
}

/// What was done while the recording was made.
async fn load(server: &Server) -> impl Sized {
    let key = Some(Server::API_KEY);
    for (method, body) in [
        ("publish", json!({"channel": "c", "data": {}})),
        ("publish", json!({"channel": "no:c", "data": {}})),
        (
            "broadcast",
            json!({"channels": ["a", "b", "no:c"], "data": {}}),
        ),
        ("history", json!({"channel": "hi:c"})),
    ] {
        let path = format!("/api/{method}");
        assert_eq!(server.post(&path, key, body.to_string()).await.0, 200);
    }
    let mut client = Transport::Json.connect(server, json!({})).await;
    client.call(json!({"subscribe": {"channel": "no:x"}})).await;
    client
}

/// The recorded path as this server has it: it has no edition, and spaces are written as underlines.
fn ours(path: &str) -> String {
    let version = concat!(env!("CARGO_PKG_VERSION"));
    path.replace("<version> OSS", version).replace(' ', "_")
}

/// Recorded lines of what does not exist yet or is done otherwise.
fn differs(path: &str) -> bool {
    let part = |part: &str| path.contains(part);
    // Maps do not exist yet. A subscribe to an unknown channel touches neither hub nor broker here.
    part("map.broker")
        || part("shared.poll")
        || part("broker_unsubscribe")
        || part("remove_subscription")
}

async fn compare(tags: bool, case: &str) {
    let graphite = Graphite::new().await;
    let server = started(&graphite, "n1", json!({"tags": tags})).await;
    let client = load(&server).await;
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    let mut kinds: BTreeMap<String, bool> = BTreeMap::new();
    let mut before = 0;
    for _ in 0..3 {
        let batch = graphite.batch().await;
        assert_eq!(batch.times.len(), 1, "all lines carry the same time");
        let time = *batch.times.first().unwrap();
        assert!(time > before, "a second lies between two batches");
        before = time;
        for (path, value) in batch.values {
            let whole = value.bytes().all(|c| c.is_ascii_digit());
            let decimals = value
                .rsplit_once('.')
                .map_or(0, |(_, decimals)| decimals.len());
            assert!(whole || decimals == 6, "{path} {value}");
            kinds.insert(path.clone(), whole);
            *sums.entry(path).or_default() += value.parse::<f64>().unwrap();
        }
    }
    drop(client);
    let mut problems = Vec::new();
    for (path, expected) in recorded(case).as_object().unwrap() {
        if differs(path) {
            continue;
        }
        let path = ours(path);
        let Some(sum) = sums.get(&path) else {
            problems.push(format!("{path} is missing"));
            continue;
        };
        let whole = expected.is_number() || expected == "<integer>";
        if kinds[&path] != whole {
            problems.push(format!("{path} is of the wrong kind"));
        }
        if let Some(number) = expected.as_f64()
            && (sum - number).abs() > 1e-9
        {
            problems.push(format!("{path} is {sum}, not {number}"));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(
        sums.keys()
            .any(|path| path.starts_with("centrifugo.n1.process.cpu.seconds_total"))
    );
}

#[tokio::test]
async fn lines_are_as_recorded() {
    compare(false, "load").await;
}

#[tokio::test]
async fn labels_are_tags_when_wanted() {
    compare(true, "load with tags").await;
}

#[tokio::test]
async fn prefix_and_node_are_cleaned_and_a_server_that_was_away_misses_nothing() {
    let graphite = Graphite::new().await;
    let port = graphite.port();
    let server = started(&graphite, "n.1 äx", json!({"prefix": "a.b."})).await;
    drop(graphite);
    let client = load(&server).await;
    let failed = crate::harness::Metric::of(
        &server,
        "centripetal_graphite_batches_total",
        &[("result", "failed")],
    )
    .await;
    failed.increased().await;
    assert!(server.log().contains("error sending metrics to graphite"));
    let graphite = Graphite(TcpListener::bind(("127.0.0.1", port)).await.unwrap());
    let batch = graphite.batch().await;
    let path = "a.b.n_1__x.centrifugo.node.messages_sent_count.type.publication";
    assert_eq!(batch.values[path], "3", "{batch:?}");
    drop(client);
}
