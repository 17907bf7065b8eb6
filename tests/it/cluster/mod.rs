//! Several nodes on one Redis: whatever is asked at one node reaches clients of the others (engines.md 1.8; server-api.md
//! 7.8, 8.3 to 8.6, 8.11, 8.13), and the others notice when a node ends.

mod recorded;

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    harness::{Client, Metric, Transport, eventually, now, on_every_transport, server},
    support::{RedisServer, Server},
};

on_every_transport!(
    what_is_published_at_one_node_arrives_at_all,
    calls_reach_clients_of_another_node,
    conditions_narrow_on_another_node,
    presence_and_numbers_are_those_of_all_nodes,
    the_newest_connection_displaces_one_at_another_node,
    a_node_that_drains_is_forgotten_at_once,
);

/// How long the others may take to notice that a node is dead: 7 to 16 seconds, and this machine has other work.
const NOTICED: Duration = Duration::from_secs(40);

/// Some nodes on one Redis.
pub(crate) struct Fleet<const N: usize> {
    redis: RedisServer,
    pub(crate) nodes: [Server; N],
}

fn settings() -> Value {
    json!({
        "client": {"subscribe_to_user_personal_channel": {
            "enabled": true, "personal_channel_namespace": "personal", "single_connection": true,
        }},
        "shutdown": {"timeout": "10s"},
        "channel": {
            "without_namespace": {"allow_subscribe_for_client": true},
            "namespaces": [
                {"name": "personal", "presence": true},
                {"name": "full", "allow_subscribe_for_client": true, "presence": true, "join_leave": true,
                 "force_push_join_leave": true, "history_size": 10, "history_ttl": "60s", "force_recovery": true},
            ],
        },
    })
}

/// The same for users that may have many connections.
fn many() -> Value {
    let mut settings = settings();
    settings["client"] = json!({});
    settings
}

impl<const N: usize> Fleet<N> {
    /// Starts nodes with these settings, that know each other.
    pub(crate) async fn start(settings: Value) -> Self {
        let redis = RedisServer::start("").await;
        let mut nodes = Vec::new();
        for n in 0..N {
            let mut settings = settings.clone();
            settings["node"] = json!({"name": format!("n{n}")});
            settings["engine"] = json!({"type": "redis", "redis": {"address": [redis.address()]}});
            nodes.push(server(settings).await);
        }
        let fleet = Self {
            redis,
            nodes: nodes.try_into().unwrap(),
        };
        for node in &fleet.nodes {
            known(node, N).await;
        }
        fleet
    }
}

/// Names of the nodes that a node knows, itself first.
async fn names(node: &Server) -> Vec<String> {
    let info = node.api("info", &json!({})).await;
    let nodes = info["nodes"].as_array().unwrap();
    let name = |node: &Value| node["name"].as_str().unwrap().to_owned();
    nodes.iter().map(name).collect()
}

async fn known(node: &Server, count: usize) {
    let deadline = Instant::now() + NOTICED;
    loop {
        let names = names(node).await;
        if names.len() == count {
            return;
        }
        assert!(Instant::now() < deadline, "{count} nodes, not {names:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn full(on: Transport, node: &Server, user: &str) -> Client {
    let mut client = on.user(node, user).await;
    client.subscribe(json!({"channel": "full:x"})).await;
    client
}

/// The next push that is neither a join nor a leave.
async fn said(client: &mut Client) -> Value {
    loop {
        let push = client.push().await;
        if push["join"].is_null() && push["leave"].is_null() {
            return push;
        }
    }
}

async fn what_is_published_at_one_node_arrives_at_all(on: Transport) {
    let fleet = Fleet::<3>::start(many()).await;
    let mut clients = Vec::new();
    for (n, node) in fleet.nodes.iter().enumerate() {
        clients.push(full(on, node, &n.to_string()).await);
    }
    for (n, node) in fleet.nodes.iter().enumerate() {
        let result = node.publish("full:x", &json!(n)).await;
        assert_eq!(result["offset"], n + 1);
    }
    for client in &mut clients {
        for n in 0..3 {
            let push = said(client).await;
            assert_eq!(
                (&push["pub"]["data"], &push["pub"]["offset"]),
                (&json!(n), &json!(n + 1))
            );
        }
    }
    let params = json!({"channel": "full:x", "limit": 10});
    let mut histories = Vec::new();
    for node in &fleet.nodes {
        histories.push(node.api("history", &params).await);
    }
    assert_eq!(histories[0]["publications"].as_array().unwrap().len(), 3);
    assert!(histories.iter().all(|history| *history == histories[0]));
}

async fn calls_reach_clients_of_another_node(on: Transport) {
    let fleet = Fleet::<2>::start(many()).await;
    let [a, b] = &fleet.nodes;
    let mut client = on.user(b, "alice").await;
    let mut other = on.user(b, "bob").await;
    let params = json!({"channel": "full:x", "user": "alice", "data": {"d": 1}, "info": {"i": 1}});
    a.api("subscribe", &params).await;
    let push = client.push().await;
    assert_eq!(push["channel"], "full:x");
    let subscribe = &push["subscribe"];
    assert_eq!(
        (
            &subscribe["recoverable"],
            &subscribe["positioned"],
            &subscribe["data"]
        ),
        (&json!(true), &json!(true), &json!({"d": 1})),
        "{push}"
    );
    let join = client.push().await;
    assert_eq!(join["join"]["info"]["chan_info"], json!({"i": 1}), "{join}");
    a.publish("full:x", &json!("there")).await;
    assert_eq!(client.push().await["pub"]["data"], "there");
    a.api(
        "unsubscribe",
        &json!({"channel": "full:x", "user": "alice"}),
    )
    .await;
    let told = json!({"code": 2000, "reason": "server unsubscribe"});
    let push = said(&mut client).await;
    assert_eq!(push, json!({"channel": "full:x", "unsubscribe": told}));
    a.api(
        "refresh",
        &json!({"user": "alice", "expire_at": now() + 100}),
    )
    .await;
    let push = client.push().await;
    assert_eq!(push["refresh"]["expires"], true, "{push}");
    a.api("disconnect", &json!({"user": "alice"})).await;
    client.closed(3503, "force disconnect").await;
    let mut expired = on.user(b, "alice").await;
    a.api("refresh", &json!({"user": "alice", "expired": true}))
        .await;
    expired.closed(3005, "connection expired").await;
    assert_eq!(other.so_far().await, Vec::<Value>::new());
}

async fn conditions_narrow_on_another_node(on: Transport) {
    let fleet = Fleet::<2>::start(many()).await;
    let [a, b] = &fleet.nodes;
    let mut clients = Vec::new();
    for node in [b, b, a, b] {
        clients.push(on.user(node, "alice").await);
    }
    let params = json!({"user": "alice", "whitelist": [clients[0].id, clients[1].id]});
    a.api("disconnect", &params).await;
    for mut client in clients.drain(2..) {
        client.closed(3503, "force disconnect").await;
    }
    let params = json!({"user": "alice", "client": clients[1].id,
        "disconnect": {"code": 4001, "reason": "come back"}});
    a.api("disconnect", &params).await;
    clients.remove(1).closed(4001, "come back").await;
    // A session is nobody's, and the empty user is not everybody.
    for params in [
        json!({"user": "alice", "session": "s"}),
        json!({"user": ""}),
    ] {
        a.api("disconnect", &params).await;
    }
    // Commands of one user are carried out in order, so this one comes after them.
    let params = json!({"channel": "news", "user": "alice"});
    a.api("subscribe", &params).await;
    assert_eq!(clients[0].push().await["channel"], "news");
}

async fn presence_and_numbers_are_those_of_all_nodes(on: Transport) {
    let fleet = Fleet::<3>::start(many()).await;
    let mut clients = Vec::new();
    for (node, user) in fleet.nodes.iter().zip(["alice", "bob", "alice"]) {
        clients.push(full(on, node, user).await);
    }
    clients[1].subscribe(json!({"channel": "news"})).await;
    let channels = json!({"full:x": {"num_clients": 3}, "news": {"num_clients": 1}});
    for node in &fleet.nodes {
        let presence = node.api("presence", &json!({"channel": "full:x"})).await;
        for client in &clients {
            assert_eq!(
                presence["presence"][&client.id]["client"],
                client.id.as_str()
            );
        }
        let stats = node
            .api("presence_stats", &json!({"channel": "full:x"}))
            .await;
        assert_eq!(stats, json!({"num_clients": 3, "num_users": 2}));
        let told = node.api("channels", &json!({})).await;
        assert_eq!(told["channels"], channels);
        let told = node.api("channels", &json!({"pattern": "n*"})).await;
        assert_eq!(told["channels"], json!({"news": {"num_clients": 1}}));
        eventually("every node tells of its client", || async {
            let info = node.api("info", &json!({})).await;
            let nodes = info["nodes"].as_array().unwrap();
            nodes.len() == 3 && nodes.iter().all(|node| node["num_clients"] == 1)
        })
        .await;
        let info = node.api("info", &json!({})).await;
        for node in info["nodes"].as_array().unwrap() {
            assert!(node["uid"].as_str().unwrap().len() == 36, "{node}");
        }
        let own = &info["nodes"][0]["metrics"]["items"];
        assert!(own["centrifugo.node.num_clients"].is_number(), "{own}");
        let survey = "centrifugo_node_survey_duration_seconds_count";
        let counted = Metric::of(node, survey, &[("op", "channels")]).await;
        assert_eq!(counted.before, 2.0);
        eventually("the gauge of nodes", || async {
            let gauge = Metric::of(node, "centrifugo_node_num_nodes", &[]).await;
            gauge.before == 3.0
        })
        .await;
    }
    let mut gone = clients.remove(0);
    gone.raw(Vec::new()).await;
    drop(gone);
    let leave = loop {
        let push = clients[1].push().await;
        if !push["leave"].is_null() {
            break push;
        }
    };
    assert_eq!(leave["leave"]["info"]["user"], "alice");
}

async fn the_newest_connection_displaces_one_at_another_node(on: Transport) {
    let fleet = Fleet::<2>::start(settings()).await;
    let [a, b] = &fleet.nodes;
    let mut first = on.user(a, "alice").await;
    let mut other = on.user(a, "bob").await;
    let mut second = on.user(b, "alice").await;
    first.closed(3504, "connection limit").await;
    b.publish("personal:#alice", &json!("you")).await;
    a.publish("personal:#bob", &json!("you")).await;
    for client in [&mut second, &mut other] {
        assert_eq!(client.push().await["pub"]["data"], "you");
    }
}

async fn a_node_that_drains_is_forgotten_at_once(on: Transport) {
    let mut fleet = Fleet::<2>::start(many()).await;
    let mut watcher = full(on, &fleet.nodes[0], "alice").await;
    let mut leaving = full(on, &fleet.nodes[1], "bob").await;
    let started = Instant::now();
    fleet.nodes[1].terminate();
    leaving.closed(3001, "shutdown").await;
    let leave = loop {
        let push = watcher.push().await;
        if !push["leave"].is_null() {
            break push;
        }
    };
    assert_eq!(leave["leave"]["info"]["user"], "bob");
    known(&fleet.nodes[0], 1).await;
    let took = started.elapsed();
    assert!(
        took < Duration::from_secs(5),
        "told, not found out: {took:?}"
    );
    let stats = fleet.nodes[0]
        .api("presence_stats", &json!({"channel": "full:x"}))
        .await;
    assert_eq!(stats["num_clients"], 1);
    // Nobody waits for its answer.
    let told = fleet.nodes[0].api("channels", &json!({})).await;
    assert_eq!(told["channels"], json!({"full:x": {"num_clients": 1}}));
    assert_eq!(fleet.nodes[1].ended().await, Some(0));
}

#[tokio::test]
async fn a_killed_node_is_forgotten_and_its_presence_lapses() {
    let mut settings = many();
    settings["client"] = json!({"presence_update_interval": "1s"});
    let redis = RedisServer::start("").await;
    let address = json!([redis.address()]);
    settings["engine"] =
        json!({"type": "redis", "redis": {"address": address, "presence_ttl": "4s"}});
    let a = server(settings.clone()).await;
    let mut b = server(settings).await;
    known(&a, 2).await;
    let mut clients = Vec::new();
    for on in Transport::ALL {
        clients.push((full(on, &a, "here").await, full(on, &b, "there").await));
    }
    let stats = json!({"channel": "full:x"});
    assert_eq!(a.api("presence_stats", &stats).await["num_clients"], 6);
    let died = Instant::now();
    b.kill().await;
    eventually("the entries of the dead node lapse", || async {
        a.api("presence_stats", &stats).await["num_clients"] == 3
    })
    .await;
    known(&a, 1).await;
    assert!(
        died.elapsed() > Duration::from_secs(4),
        "it could have been alive"
    );
    // Those of the living are still there, and are served.
    assert_eq!(a.api("presence_stats", &stats).await["num_clients"], 3);
    let told = a.api("channels", &json!({})).await;
    assert_eq!(told["channels"], json!({"full:x": {"num_clients": 3}}));
    a.publish("full:x", &json!("still")).await;
    for (here, _) in &mut clients {
        assert_eq!(said(here).await["pub"]["data"], "still");
    }
    // It comes back as another node.
    b.restart().await;
    known(&a, 2).await;
    let mut back = full(Transport::Grpc, &b, "there").await;
    a.publish("full:x", &json!("again")).await;
    assert_eq!(said(&mut back).await["pub"]["data"], "again");
}

#[tokio::test]
async fn a_dead_redis_refuses_actions_and_spares_connections() {
    let mut fleet = Fleet::<2>::start(many()).await;
    let mut client = full(Transport::Json, &fleet.nodes[0], "alice").await;
    client.push().await;
    fleet.redis.kill();
    let body = json!({"user": "alice"}).to_string();
    let (_, answer) = fleet.nodes[0]
        .post("/api/disconnect", Some(Server::API_KEY), body)
        .await;
    assert!(answer.contains("100"), "{answer}");
    assert_eq!(
        client.so_far().await,
        Vec::<Value>::new(),
        "not done here either"
    );
}
