//! One channel with many subscribers: on one node with its memory, and on two nodes with Redis between them. The publications
//! are made at one node; the time of each is from the call until a subscriber has it.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use centripetal::client::{Client, Events, SubscribeOptions, Subscription, SubscriptionEvent};
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, interval, sleep, timeout},
};

use super::{Faults, Plan, fixture::RedisServer, line};

const CHANNEL: &str = "spread";
/// How long a node may take to start, and the last publication to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node as a process of its own, killed when dropped.
struct Gateway {
    child: Child,
    folder: PathBuf,
    site: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Gateway {
    async fn start(engine: Value) -> Self {
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = std::env::temp_dir().join(format!("bench-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("config.json");
        let settings = json!({
            "http_server": {"address": "127.0.0.1", "port": port},
            "client": {"insecure": true, "allowed_origins": ["*"]},
            "http_api": {"insecure": true},
            "health": {"enabled": true},
            "log": {"level": "error"},
            "centripetal": {"grpc": {"enabled": false}},
            "engine": engine,
            "channel": {"without_namespace": {
                "allow_subscribe_for_client": true, "force_recovery": true,
                "history_size": 1000, "history_ttl": "300s",
            }},
        });
        std::fs::write(&file, settings.to_string()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_centripetal"))
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let gateway = Self {
            child,
            folder,
            site: format!("127.0.0.1:{port}"),
        };
        let up = async {
            while reqwest::get(format!("http://{}/health", gateway.site))
                .await
                .is_err()
            {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, up).await.expect("the node starts");
        gateway
    }

    async fn subscriber(&self) -> Subscriber {
        let url = format!("ws://{}/connection/websocket", self.site);
        let (client, events) = Client::builder(url).build().unwrap();
        client.connect().await.unwrap();
        let mut subscription = client
            .subscribe(CHANNEL, SubscribeOptions::new().recover())
            .await
            .unwrap();
        loop {
            match subscription.next().await {
                Some(SubscriptionEvent::Subscribed(_)) => break,
                Some(_) => {}
                None => panic!("the subscription ended"),
            }
        }
        (client, subscription, events)
    }
}

/// A client in the channel, and its events, which nobody needs.
type Subscriber = (Client, Subscription, Events);

/// What one subscriber saw: offsets in their order, and the time each took.
type Seen = (Vec<u64>, Vec<Duration>);

/// Takes publications until the last one, or silence.
async fn follow(
    (client, mut subscription, _events): Subscriber,
    begun: Instant,
    last: u64,
) -> Seen {
    let mut seen: Seen = Default::default();
    while seen.0.last() != Some(&last) {
        let Ok(Some(event)) = timeout(PATIENCE, subscription.next()).await else {
            break;
        };
        if let SubscriptionEvent::Publication(publication) = event {
            let data: Value = serde_json::from_slice(&publication.data).unwrap();
            let sent = Duration::from_micros(data["at"].as_u64().unwrap());
            seen.0.push(publication.offset);
            seen.1.push(begun.elapsed().saturating_sub(sent));
        }
    }
    client.close().await;
    seen
}

/// The time within which 99 of 100 deliveries were made.
async fn spread(nodes: &[Gateway], plan: Plan) -> (Duration, Faults) {
    let mut opening = Vec::new();
    for number in 0..plan.subscribers {
        opening.push(nodes[number % nodes.len()].subscriber().await);
    }
    let last = plan.time.as_secs() * u64::from(plan.rate);
    let begun = Instant::now();
    let mut followers = JoinSet::new();
    for subscriber in opening {
        followers.spawn(follow(subscriber, begun, last));
    }
    publish(&nodes[0], begun, (last, plan.rate)).await;
    let (mut times, mut faults) = (Vec::new(), Faults::default());
    while let Some(seen) = followers.join_next().await {
        let (offsets, took) = seen.unwrap();
        faults = faults.plus(Faults::judged(&offsets, last));
        times.extend(took);
    }
    times.sort();
    let p99 = times.get(times.len() * 99 / 100).copied();
    (p99.expect("something arrived"), faults)
}

async fn publish(node: &Gateway, begun: Instant, (last, rate): (u64, u32)) {
    let client = reqwest::Client::new();
    let mut pace = interval(Duration::from_secs(1) / rate);
    for number in 1..=last {
        pace.tick().await;
        let at = u64::try_from(begun.elapsed().as_micros()).unwrap();
        let body =
            json!({"channel": CHANNEL, "data": {"n": number, "at": at, "text": "x".repeat(80)}});
        let request = client
            .post(format!("http://{}/api/publish", node.site))
            .body(body.to_string());
        let answer = request.send().await.unwrap().text().await.unwrap();
        assert!(answer.contains("offset"), "{answer}");
    }
}

pub(super) async fn measure(plan: Plan) -> Faults {
    let subscribers = plan.subscribers;
    let alone = [Gateway::start(json!({"type": "memory"})).await];
    let (memory, first) = spread(&alone, plan).await;
    drop(alone);
    let server = Arc::new(RedisServer::start("").await);
    let engine = json!({"type": "redis", "redis": {"address": server.address()}});
    let nodes = [
        Gateway::start(engine.clone()).await,
        Gateway::start(engine).await,
    ];
    let (redis, second) = spread(&nodes, plan).await;
    let milliseconds = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    line(
        &format!("publication to {subscribers} subscribers, memory, p99"),
        &milliseconds(memory),
        "",
    );
    let most = memory.mul_f64(1.3) + Duration::from_millis(5);
    line(
        &format!("publication to {subscribers} subscribers, Redis, two nodes, p99"),
        &milliseconds(redis),
        &format!("at most {}", milliseconds(most)),
    );
    let faults = first.plus(second);
    line("  of these", &faults.to_string(), "nothing");
    faults
}
