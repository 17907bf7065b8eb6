//! nginx reloads and dies, nodes restart and die, and 2000 publications arrive at every kind of client once and in order.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    harness::server,
    support::{
        Nginx, Program, RedisServer, Running, Server, centripetal, needed, sdk_go, sdk_javascript,
        sdk_python,
    },
};

/// What everybody must get.
const LAST: u64 = 2000;

/// Everybody is back in this time.
const PATIENCE: Duration = Duration::from_secs(60);

const CHANNEL: &str = "open:follow";

fn settings() -> Value {
    json!({
        "client": {"recovery_max_publication_limit": 3000, "allowed_origins": ["*"]},
        "shutdown": {"timeout": "10s"},
        "channel": {"namespaces": [{
            "name": "open", "presence": true, "allow_subscribe_for_client": true,
            "history_size": 3000, "history_ttl": "300s", "force_recovery": true,
        }]},
    })
}

/// A client that prints what comes: its name, and the last number it has.
type Follower = (&'static str, Arc<AtomicU64>);

/// What a client has lived through.
#[derive(Debug)]
struct Life {
    name: &'static str,
    numbers: Vec<u64>,
    /// Every subscription of an SDK: before how many numbers it came, and whether it was told that it has everything.
    subscribed: Vec<(usize, bool)>,
}

impl Life {
    /// Every number came, once and in order.
    fn complete(&self) {
        let got: BTreeSet<u64> = self.numbers.iter().copied().collect();
        let lost: Vec<u64> = (1..=LAST).filter(|n| !got.contains(n)).collect();
        let doubled = self.numbers.len() - got.len();
        let name = self.name;
        assert_eq!((lost, doubled), (vec![], 0), "lost, doubled: {name}");
        assert!(self.numbers.is_sorted(), "order: {name}");
    }
}

/// Clients of every kind, behind nginx.
#[derive(Debug)]
struct Crowd {
    followers: Vec<Follower>,
    lives: JoinSet<Life>,
}

impl Crowd {
    async fn gather(servers: &[&Server], nginx: &Nginx) -> Self {
        let number = LAST.to_string();
        let mut crowd = Self {
            followers: Vec::new(),
            lives: JoinSet::new(),
        };
        let start = |program: Program, arguments: &[&str], name| {
            let program = program.through(nginx.port(), &nginx.authority());
            program.start(servers[0], arguments, name)
        };
        let python = || sdk_python("tests/sdk/python/client.py");
        let grpcio = sdk_python("tests/sdk/python/grpc_client.py");
        let programs = [
            ("js-json", sdk_javascript("v2.mjs"), vec!["json"]),
            ("js-protobuf", sdk_javascript("v2.mjs"), vec!["protobuf"]),
            ("go-protobuf", sdk_go(), vec!["client", "protobuf"]),
            ("python-json", python(), vec!["json"]),
            ("grpcio", grpcio, vec!["v2"]),
        ];
        for (name, program, mut arguments) in programs {
            arguments.extend(["follow", name, CHANNEL, &number]);
            if let Some(program) = program {
                crowd.add(name, start(program, &arguments, name));
            }
        }
        let token = Server::token(&json!({"sub": "rust"}));
        let authority = nginx.authority();
        let url = format!("grpcs://localhost:{}", nginx.port());
        let arguments = [
            "sub",
            CHANNEL,
            "--recover",
            "--json",
            "--url",
            &url,
            "--token",
            &token,
            "--ca-file",
            authority.to_str().unwrap(),
        ];
        crowd.add("rust", start(centripetal(), &arguments, "rust"));
        crowd.complete(servers).await;
        crowd
    }

    fn add(&mut self, name: &'static str, running: Running) {
        let got = Arc::new(AtomicU64::new(0));
        self.followers.push((name, Arc::clone(&got)));
        self.lives.spawn(live(name, running, got));
    }

    /// Waits until everybody is subscribed, somewhere.
    async fn complete(&self, servers: &[&Server]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut there = 0;
            for server in servers {
                there += present(server).await;
            }
            if there == self.followers.len() as u64 {
                return;
            }
            assert!(Instant::now() < deadline, "{there} of {:?}", self.followers);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until everybody has got this number.
    async fn reached(&self, number: u64) {
        let deadline = Instant::now() + PATIENCE;
        let reached = |(_, got): &Follower| got.load(Ordering::Relaxed) >= number;
        while !self.followers.iter().all(reached) {
            assert!(Instant::now() < deadline, "{number}: {:?}", self.followers);
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything came once and in order; returns whether each subscription after the first was told so.
    async fn end(self) -> Vec<(&'static str, Vec<bool>)> {
        let lives = self.lives.join_all().await;
        for life in &lives {
            life.complete();
        }
        let told = lives.into_iter().filter(|life| life.name != "rust");
        let told = told.map(|life| {
            let again = life.subscribed.iter().filter(|(before, _)| *before > 0);
            (life.name, again.map(|(_, recovered)| *recovered).collect())
        });
        told.collect()
    }
}

/// Reads what a client prints until it has the last number.
async fn live(name: &'static str, mut running: Running, got: Arc<AtomicU64>) -> Life {
    let mut life = Life {
        name,
        numbers: Vec::new(),
        subscribed: Vec::new(),
    };
    while life.numbers.last() != Some(&LAST) {
        let line = running.line().await;
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{name}: {line}"));
        let n = value["n"].as_u64().or_else(|| value["data"]["n"].as_u64());
        if let Some(n) = n {
            life.numbers.push(n);
            got.store(n, Ordering::Relaxed);
        } else {
            let recovered = value["subscribed"]["recovered"].as_bool();
            let recovered = recovered.unwrap_or_else(|| panic!("{name}: {line}"));
            life.subscribed.push((life.numbers.len(), recovered));
        }
    }
    life
}

async fn present(server: &Server) -> u64 {
    let stats = server
        .api("presence_stats", &json!({"channel": CHANNEL}))
        .await;
    stats["num_clients"].as_u64().unwrap()
}

async fn publish(server: &Server, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        server.publish(CHANNEL, &json!({"n": n})).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_when_nginx_reloads_and_when_it_dies() {
    let server = server(settings()).await;
    let short = [("worker_shutdown_timeout 10m", "worker_shutdown_timeout 1s")];
    let Some(mut nginx) = Nginx::changed(Nginx::SHIPPED, &server, &short).await else {
        return;
    };
    let crowd = Crowd::gather(&[&server], &nginx).await;
    publish(&server, 1..=400).await;
    let old = nginx.workers();
    nginx.reload().await;
    publish(&server, 401..=700).await;
    // The old workers have cut what they had.
    nginx.gone(&old).await;
    publish(&server, 701..=1000).await;
    crowd.complete(&[&server]).await;
    crowd.reached(1000).await;
    nginx.kill().await;
    publish(&server, 1001..=1500).await;
    nginx.restart().await;
    publish(&server, 1501..=LAST).await;
    for (name, again) in crowd.end().await {
        assert!(again.len() >= 2, "{name} came back {again:?}");
        assert!(!again.contains(&false), "{name}: {again:?}");
    }
}

#[tokio::test]
async fn nothing_is_lost_when_the_node_restarts() {
    let mut server = server(settings()).await;
    let Some(nginx) = Nginx::start(Nginx::SHIPPED, &server).await else {
        return;
    };
    let crowd = Crowd::gather(&[&server], &nginx).await;
    publish(&server, 1..=1000).await;
    // What the node has accepted it delivers before it ends.
    server.terminate();
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
    server.restart().await;
    crowd.complete(&[&server]).await;
    publish(&server, 1001..=LAST).await;
    for (name, again) in crowd.end().await {
        // The history was the process's.
        assert!(again.contains(&false), "{name}: {again:?}");
    }
}

/// The shipped configuration for several nodes, with these two.
async fn in_front_of(one: &Server, other: &Server) -> Option<Nginx> {
    let program = needed("CENTRIPETAL_NGINX")?;
    let replacements = [
        ("10.0.0.11:8000".to_owned(), one.http_target()),
        ("10.0.0.11:8001".to_owned(), one.grpc_target()),
        ("10.0.0.12:8000".to_owned(), other.http_target()),
        ("10.0.0.12:8001".to_owned(), other.grpc_target()),
    ];
    Some(Nginx::run(program.into(), Nginx::CLUSTER, &replacements).await)
}

/// On Redis the other node knows what was missed.
#[tokio::test]
async fn nothing_is_lost_when_one_of_two_nodes_is_killed() {
    let redis = RedisServer::start("").await;
    let mut settings = settings();
    settings["engine"] = json!({"type": "redis", "redis": {"address": redis.address()}});
    let (mut one, other) = (server(settings.clone()).await, server(settings).await);
    let Some(nginx) = in_front_of(&one, &other).await else {
        return;
    };
    // Either node counts the clients of both.
    let crowd = Crowd::gather(&[&other], &nginx).await;
    publish(&other, 1..=700).await;
    tokio::join!(one.kill(), publish(&other, 701..=1400));
    publish(&other, 1401..=LAST).await;
    let lives = crowd.end().await;
    let back = lives.iter().filter(|(_, again)| !again.is_empty());
    assert!(back.count() > 0, "nobody was at the node that died");
    assert!(
        lives.iter().all(|(_, again)| !again.contains(&false)),
        "{lives:?}"
    );
}

/// Without an engine that both nodes use, the other node cannot know what was missed, and says so; nothing more is lost.
#[tokio::test]
async fn clients_of_a_killed_node_go_to_the_other() {
    let (mut one, other) = (server(settings()).await, server(settings()).await);
    let Some(nginx) = in_front_of(&one, &other).await else {
        return;
    };
    let crowd = Crowd::gather(&[&one, &other], &nginx).await;
    let stay = present(&other).await;
    let move_over = present(&one).await;
    assert!(stay > 0 && move_over > 0, "{stay} and {move_over}");
    for node in [&one, &other] {
        publish(node, 1..=1000).await;
    }
    crowd.reached(1000).await;
    one.kill().await;
    crowd.complete(&[&other]).await;
    publish(&other, 1001..=LAST).await;
    let lives = crowd.end().await;
    let told = lives.iter().filter(|(_, again)| again.contains(&false));
    let told = told.count() as u64;
    // The Rust client prints no subscriptions.
    assert!((move_over - 1..=move_over).contains(&told), "{lives:?}");
}
