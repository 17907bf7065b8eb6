//! Ways to Redis: sockets, users, TLS, sentinels, clusters, shards; each with two nodes that hear each other.

use std::{path::Path, process::Command, sync::Arc};

use super::*;
use crate::{
    engine::{
        Broker as _, Control as _, Event, HistoryQuery, Presence as _, PublishOptions, redis::Tls,
    },
    model::{Channel, ChannelEvent, ClientInfo, Control, Publication},
};

/// Longest wait for something that has to come.
pub(super) const SOON: Duration = Duration::from_secs(30);

pub(super) fn kept() -> PublishOptions {
    PublishOptions {
        history_size: 10,
        history_ttl: Duration::from_secs(60),
        ..PublishOptions::default()
    }
}

pub(super) fn numbered(number: usize) -> Publication {
    Publication {
        data: number.to_string().into(),
        ..Publication::default()
    }
}

/// The next event of any queue.
pub(super) async fn event(events: &mut [EventReceiver]) -> Event {
    use futures_util::future::{FutureExt as _, select_all};
    let next = select_all(events.iter_mut().map(|events| events.recv().boxed()));
    let (event, ..) = tokio::time::timeout(SOON, next).await.unwrap();
    event.unwrap()
}

/// The stream began anew: that is told before its first publication.
pub(super) async fn first_of_another_epoch(events: &mut [EventReceiver]) -> (Channel, String) {
    match event(events).await {
        Event::Channel(_, ChannelEvent::InsufficientState(_)) => publication(events).await,
        other => panic!("unexpected {other:?}"),
    }
}

pub(super) async fn publication(events: &mut [EventReceiver]) -> (Channel, String) {
    match event(events).await {
        Event::Channel(channel, ChannelEvent::Publication(publication, _))
        | Event::Late(channel, ChannelEvent::Publication(publication, _)) => (
            channel,
            String::from_utf8(publication.data.to_vec()).unwrap(),
        ),
        other => panic!("unexpected {other:?}"),
    }
}

/// Two nodes: what one publishes, with and without history, the other hears and reads; presence and commands as well.
pub(super) async fn two_nodes_meet(options: Options) {
    // A test may meet on the same servers several times, as another fleet with the next prefix.
    let options = Options {
        prefix: format!("centrifugo.{}", uuid::Uuid::new_v4()),
        ..options
    };
    let (one, _) = open(options.clone()).await.unwrap();
    let (other, mut heard) = open(options).await.unwrap();
    for number in 0..20 {
        seen_by(&one, &other, &mut heard, number).await;
    }
    tops_are_read(&one).await;
    commands_travel(&one, &other, &mut heard).await;
}

/// One publication and one entry of presence, from one node to the other.
async fn seen_by(one: &Redis, other: &Redis, heard: &mut [EventReceiver], number: usize) {
    let channel = Channel::from(format!("room:{number}"));
    other.subscribe(&channel).await.unwrap();
    let options = if number.is_multiple_of(2) {
        kept()
    } else {
        PublishOptions::default()
    };
    one.publish(&channel, numbered(number), &options)
        .await
        .unwrap();
    let expected = (channel.clone(), number.to_string());
    assert_eq!(publication(heard).await, expected);
    let query = HistoryQuery::default();
    let history = other.history(&channel, &query).await.unwrap();
    assert_eq!(
        history.publications.len(),
        usize::from(number.is_multiple_of(2))
    );
    let info = Arc::new(ClientInfo {
        client: "c".into(),
        user: "u".into(),
        ..ClientInfo::default()
    });
    one.add(&channel, &info).await.unwrap();
    assert_eq!(other.list(&channel).await.unwrap().len(), 1);
}

async fn tops_are_read(one: &Redis) {
    let channels = [Channel::from("room:0"), Channel::from("nobody")];
    let tops = one.tops(&channels).await.unwrap();
    assert_eq!(tops[0].as_ref().unwrap().offset, 1);
    assert_eq!(tops[1], None);
}

async fn commands_travel(one: &Redis, other: &Redis, heard: &mut [EventReceiver]) {
    let node = other.node.clone();
    for to in [None, Some(&node), None, Some(&node)] {
        one.send(to, &Control::Shutdown).await.unwrap();
        match event(heard).await {
            Event::Control(from, command) => {
                assert_eq!((from, *command), (one.node.clone(), Control::Shutdown));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn one_server() {
    let server = RedisServer::start("").await;
    two_nodes_meet(at(format!("redis://{}/3", server.address()))).await;
}

#[tokio::test]
async fn a_socket_in_the_file_system() {
    let server = RedisServer::start("unixsocket {folder}/s").await;
    let path = server.folder().join("s");
    two_nodes_meet(at(format!("unix://{}", path.display()))).await;
}

#[tokio::test]
async fn a_user_who_may_only_what_is_needed() {
    let rules = "user app on >s3cret ~centrifugo.* &centrifugo.* +@all -@admin -flushall";
    let server = RedisServer::start(&format!("{rules}\nuser default off")).await;
    let options = Options {
        user: "app".to_owned(),
        password: "s3cret".into(),
        client_name: "centripetal".to_owned(),
        ..at(server.address())
    };
    two_nodes_meet(options).await;
}

#[tokio::test]
async fn several_servers_share_the_channels() {
    let servers = [
        RedisServer::start("").await,
        RedisServer::start("").await,
        RedisServer::start("").await,
    ];
    let options = Options {
        address: servers.iter().map(RedisServer::address).collect(),
        ..Options::default()
    };
    two_nodes_meet(options).await;
    for (shard, server) in servers.iter().enumerate() {
        let keys = server.command("KEYS *.stream.meta.*").await;
        for number in (0..20).step_by(2) {
            let channel = format!("room:{number}");
            let here = super::super::hash::jump(&channel, 3) == shard;
            assert_eq!(
                keys.contains(&format!("meta.{channel}\r")),
                here,
                "{channel}"
            );
        }
    }
}

/// Certificates of the project's own script.
fn certificates(folder: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/certs/make.sh");
    let made = Command::new(script)
        .arg(folder)
        .args(["localhost", "127.0.0.1"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[tokio::test]
async fn tls_with_and_without_a_client_certificate() {
    let folder = std::env::temp_dir().join(format!("redis-tls-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir_all(&folder).unwrap();
    certificates(&folder);
    let file = |name: &str| folder.join(name).display().to_string();
    let tls = |auth: &str, port: u16| {
        format!(
            "tls-port {port}\ntls-auth-clients {auth}\ntls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}",
            file("server.pem"),
            file("server.key"),
            file("ca.pem"),
        )
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let server = RedisServer::start(&tls("yes", port)).await;
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let identified = Tls {
        authority: read("ca.pem"),
        identity: Some((read("client.pem"), read("client.key").into())),
        server_name: "localhost".to_owned(),
        ..Tls::default()
    };
    let address = format!("rediss://127.0.0.1:{port}");
    let with = |tls: Tls| Options {
        tls: Some(tls),
        ..at(address.clone())
    };
    two_nodes_meet(with(identified.clone())).await;
    let unknown = Tls {
        authority: String::new(),
        ..identified.clone()
    };
    assert!(
        open(with(unknown.clone())).await.is_err(),
        "an unknown authority"
    );
    two_nodes_meet(with(Tls {
        insecure_skip_verify: true,
        ..unknown
    }))
    .await;
    let other = Tls {
        server_name: "example.org".to_owned(),
        ..identified.clone()
    };
    assert!(open(with(other)).await.is_err(), "another name");
    assert!(
        open(with(Tls {
            identity: None,
            ..identified
        }))
        .await
        .is_err(),
        "no client certificate"
    );
    drop(server);
    drop(std::fs::remove_dir_all(&folder));
}

#[tokio::test]
async fn the_master_behind_sentinels_and_its_successor() {
    let mut master = RedisServer::start("").await;
    let replica = RedisServer::start(&format!("replicaof 127.0.0.1 {}", master.port())).await;
    replica
        .until("INFO replication", |info| {
            info.contains("master_link_status:up")
        })
        .await;
    let monitor = format!(
        "sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000",
        master.port(),
    );
    let sentinel = RedisServer::start(&monitor).await;
    sentinel
        .until("SENTINEL REPLICAS main", |known| {
            known.contains(&replica.port().to_string())
        })
        .await;
    let options = at(format!(
        "redis+sentinel://{}?sentinel_master_name=main",
        sentinel.address()
    ));
    two_nodes_meet(options.clone()).await;
    let (node, mut heard) = open(options).await.unwrap();
    let channel = Channel::from("after");
    node.subscribe(&channel).await.unwrap();
    master.kill();
    replica.until("ROLE", |role| role.contains("master")).await;
    // Publishes fail until the sentinels have told; then the listener is on the new master as well.
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        let published = node.publish(&channel, numbered(7), &kept()).await;
        let arrived = tokio::time::timeout(Duration::from_millis(500), event(&mut heard)).await;
        if published.is_ok() && arrived.is_ok() {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{published:?}");
    }
}

#[tokio::test]
async fn a_cluster_of_three_servers() {
    let servers = RedisServer::start_cluster_of(3, 0).await;
    two_nodes_meet(at(format!("redis+cluster://{}", servers[1].address()))).await;
    // An address that does not say so is a cluster all the same.
    two_nodes_meet(at(servers[2].address())).await;
    let counts =
        futures_util::future::join_all(servers.iter().map(|server| server.command("DBSIZE"))).await;
    assert!(counts.iter().all(|count| count != ":0\r\n"), "{counts:?}");
}

#[tokio::test]
async fn a_slot_that_has_moved_is_followed() {
    let servers = RedisServer::start_cluster_of(3, 0).await;
    let (node, mut heard) = open(at(servers[0].address())).await.unwrap();
    let channel = Channel::from("foo");
    node.subscribe(&channel).await.unwrap();
    node.publish(&channel, numbered(1), &kept()).await.unwrap();
    assert_eq!(publication(&mut heard).await.1, "1");
    // Slot 12182 goes from the third to the first server; its keys are dropped, so the stream begins anew.
    let id = servers[0].command("CLUSTER MYID").await;
    let id = id.lines().nth(1).unwrap().to_owned();
    servers[2].command("FLUSHALL").await;
    for server in [&servers[0], &servers[2], &servers[1]] {
        server
            .command(&format!("CLUSTER SETSLOT 12182 NODE {id}"))
            .await;
    }
    let result = node.publish(&channel, numbered(2), &kept()).await.unwrap();
    assert_eq!(result.position.offset, 1);
    assert_eq!(first_of_another_epoch(&mut heard).await.1, "2");
}
