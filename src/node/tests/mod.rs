//! A node with the memory engine and links made of channels: the whole way of a publication, without a socket.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use prometheus::Registry;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::{
    ChannelConfig, ClientConfig, Close, Inbound, Link, LinkTraits, Node, NodeConfig, OwnConfig,
    Parts, PrometheusConfig, Publish, UnidirectionalDisconnects, shared::Shared,
};
use crate::{
    engine::{self, Engine, HistoryQuery, memory::Memory},
    hooks::{
        Client, ConnectAnswer, ConnectQuestion, Hooks, PublishAnswer, Read, RefreshAnswer,
        SubRefreshAnswer, SubscribeAnswer, SubscribeQuestion,
    },
    model::{
        Channel, ChannelOptions, ClientError, Direction, Disconnect, Encoding, Peer, Rejection,
        SubscribeCommand, SubscribeOptions, Target, Unsubscribe,
    },
    protocol::frame::{Framing, Kind},
};

mod bus;
mod control;
mod interest;
mod nodes;

/// Hooks that allow everything; only channels beginning with `ch` are known, and rpc `slow` takes its time.
struct Open;

fn options() -> ChannelOptions {
    ChannelOptions {
        presence: true,
        join_leave: true,
        history_size: 100,
        history_ttl: Duration::from_secs(60),
        history_meta_ttl: Duration::from_secs(600),
        subscribe: SubscribeOptions {
            server_side_refresh: true,
            ..granted()
        },
        ..ChannelOptions::default()
    }
}

fn granted() -> SubscribeOptions {
    SubscribeOptions {
        presence: true,
        join_leave: true,
        push_join_leave: true,
        positioned: true,
        recoverable: true,
        ..SubscribeOptions::default()
    }
}

#[async_trait]
impl Hooks for Open {
    fn channel(&self, channel: &Channel) -> Result<Arc<ChannelOptions>, ClientError> {
        if !channel.as_str().starts_with("ch") {
            return Err(ClientError::UNKNOWN_CHANNEL);
        }
        Ok(Arc::new(options()))
    }

    async fn connect(
        &self,
        _: &Client,
        question: ConnectQuestion,
    ) -> Result<ConnectAnswer, Rejection> {
        if question.token == "refused" {
            return Err(ClientError::TOKEN_EXPIRED.into());
        }
        // A user that may be there once.
        let single_connection = (question.token == "single").then(|| Channel::from("ch#single"));
        let channels = single_connection
            .iter()
            .map(|channel| (channel.clone(), granted()));
        Ok(ConnectAnswer {
            channels: channels.collect(),
            user: question.token.into(),
            single_connection,
            ..ConnectAnswer::default()
        })
    }

    async fn subscribe(
        &self,
        _: &Client,
        question: SubscribeQuestion,
    ) -> Result<SubscribeAnswer, Rejection> {
        self.channel(&question.channel)?;
        let mut options = granted();
        options.push_join_leave = question.join_leave;
        Ok(options.into())
    }

    async fn publish(
        &self,
        _: &Client,
        _: &Channel,
        _: bool,
        data: Bytes,
    ) -> Result<PublishAnswer, Rejection> {
        Ok(data.into())
    }

    async fn read(&self, _: &Client, _: &Channel, _: bool, _: Read) -> Result<(), Rejection> {
        Ok(())
    }

    async fn rpc(&self, _: &Client, method: &str, data: Bytes) -> Result<Bytes, Rejection> {
        if method == "slow" {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        Ok(data)
    }

    async fn message(&self, _: &Client, _: Bytes) -> Result<(), Rejection> {
        Err(Disconnect::NOT_AVAILABLE.into())
    }

    async fn refresh(&self, _: &Client, _: &str) -> Result<RefreshAnswer, Rejection> {
        Ok(RefreshAnswer::default())
    }

    async fn sub_refresh(
        &self,
        _: &Client,
        channel: &Channel,
        _: &str,
    ) -> Result<SubRefreshAnswer, Rejection> {
        Ok(SubRefreshAnswer {
            channel: channel.clone(),
            ..SubRefreshAnswer::default()
        })
    }
}

struct ChannelLink {
    incoming: mpsc::Receiver<Bytes>,
    outgoing: mpsc::Sender<Bytes>,
    closed: oneshot::Sender<Close>,
}

impl Link for ChannelLink {
    fn traits(&self) -> LinkTraits {
        LinkTraits {
            framing: Framing::WebSocket,
            message_size_limit: 65536,
            close_carries_reason: true,
            discards_after_refusal: true,
            native_ping: false,
            direction: Direction::Both,
        }
    }

    async fn recv(&mut self) -> Result<Inbound, Disconnect> {
        self.incoming
            .recv()
            .await
            .map(|frame| Inbound::Frame(frame, Kind::Binary))
            .ok_or(Disconnect::CONNECTION_CLOSED)
    }

    async fn send(&mut self, batch: &mut Vec<Bytes>) -> Result<(), Disconnect> {
        for frame in batch.drain(..) {
            self.outgoing
                .send(frame)
                .await
                .map_err(|_gone| Disconnect::WRITE_ERROR)?;
        }
        Ok(())
    }

    fn close(self, close: Close) -> impl Future<Output = ()> + Send {
        // A test that does not look at the close has dropped its end.
        drop(self.closed.send(close));
        std::future::ready(())
    }
}

/// A client of the test.
struct Remote {
    commands: mpsc::Sender<Bytes>,
    replies: mpsc::Receiver<Bytes>,
    closed: oneshot::Receiver<Close>,
}

impl Remote {
    async fn send(&self, commands: &[Value]) {
        let lines: Vec<_> = commands.iter().map(Value::to_string).collect();
        self.commands.send(lines.join("\n").into()).await.unwrap();
    }

    /// The next message; frames are short, so their header has two bytes, or four.
    async fn next(&mut self) -> Value {
        let frame = self.replies.recv().await.expect("still open");
        let header = if frame[1] < 126 { 2 } else { 4 };
        serde_json::from_slice(&frame[header..]).unwrap()
    }

    async fn close_code(self) -> u32 {
        self.closed
            .await
            .expect("closed by the node")
            .disconnect
            .code
    }
}

fn peer() -> Peer {
    Peer {
        transport: "test",
        encoding: Encoding::Json,
        version: None,
        address: None,
        credentials: None,
        refused: None,
        certified: None,
        user_header: None,
        headers: Arc::from([]),
    }
}

fn config() -> super::Config {
    super::Config {
        client: ClientConfig {
            ping_interval: Some(Duration::from_secs(25)),
            pong_timeout: Some(Duration::from_secs(8)),
            expired_close_delay: Duration::from_secs(25),
            expired_sub_close_delay: Duration::from_secs(25),
            stale_close_delay: Duration::from_secs(10),
            channel_limit: 128,
            queue_max_size: 4096,
            write_delay: Duration::ZERO,
            max_messages_in_frame: 0,
            presence_update_interval: Duration::from_secs(27),
            concurrency: 0,
            channel_position_check_delay: Duration::from_secs(40),
            channel_position_max_time_lag: Duration::ZERO,
            user_connection_limit: 0,
            connect_include_server_time: false,
            history_max_publication_limit: 300,
            recovery_max_publication_limit: 300,
            connect_code_to_unidirectional_disconnect: UnidirectionalDisconnects::default(),
        },
        channel: ChannelConfig { max_length: 255 },
        node: NodeConfig {
            name: "n".to_owned(),
            info_metrics_aggregate_interval: Duration::from_secs(60),
        },
        prometheus: PrometheusConfig::default(),
        centripetal: OwnConfig::default(),
    }
}

impl Node {
    /// A node for tests of other modules: it knows the channels of [`Open`] whose name begins with `ch`, and runs without
    /// a runtime of the test's own.
    pub(crate) fn for_test() -> Self {
        static RUNTIME: std::sync::LazyLock<tokio::runtime::Runtime> =
            std::sync::LazyLock::new(|| tokio::runtime::Runtime::new().unwrap());
        let _entered = RUNTIME.enter();
        start()
    }
}

fn start() -> Node {
    let (sender, events) = engine::event_channel(2, 1024, Duration::from_secs(5));
    let memory = Arc::new(Memory::new(sender));
    let engine = Engine {
        broker: memory.clone(),
        presence: memory.clone(),
        control: memory,
    };
    Node::start(Parts {
        id: "node".into(),
        config: config(),
        hooks: Arc::new(Open),
        engine,
        events,
        registry: Registry::new(),
    })
    .unwrap()
}

/// Opens a connection whose link takes at most `window` frames that are not read.
fn open(node: &Node, window: usize) -> Remote {
    let (commands, incoming) = mpsc::channel(16);
    let (outgoing, replies) = mpsc::channel(window);
    let (closed, close) = oneshot::channel();
    let (node, link) = (
        node.clone(),
        ChannelLink {
            incoming,
            outgoing,
            closed,
        },
    );
    node.shared
        .pumps
        .clone()
        .spawn(async move { node.serve(link, peer()).await });
    Remote {
        commands,
        replies,
        closed: close,
    }
}

async fn connected(node: &Node, user: &str) -> Remote {
    let mut remote = open(node, 64);
    remote
        .send(&[json!({"id": 1, "connect": {"token": user}})])
        .await;
    let reply = remote.next().await;
    assert_eq!(reply["connect"]["ping"], 25);
    remote
}

async fn subscribed(node: &Node, user: &str, join_leave: bool) -> Remote {
    let mut remote = connected(node, user).await;
    let subscribe = json!({"id": 2, "subscribe": {"channel": "ch", "join_leave": join_leave}});
    remote.send(&[subscribe]).await;
    let reply = remote.next().await;
    assert_eq!(reply["subscribe"]["recoverable"], true, "{reply}");
    remote
}

fn publish(data: &str) -> Publish {
    Publish {
        data: Bytes::copy_from_slice(data.as_bytes()),
        ..Publish::default()
    }
}

#[tokio::test]
async fn a_publication_travels_from_one_client_to_another_and_to_its_publisher() {
    let node = start();
    let (mut a, mut b) = (
        subscribed(&node, "a", false).await,
        subscribed(&node, "b", false).await,
    );
    a.send(&[json!({"id": 3, "publish": {"channel": "ch", "data": {"n": 1}}})])
        .await;
    let push = b.next().await;
    assert_eq!(push["push"]["pub"]["data"], json!({"n": 1}));
    assert_eq!(push["push"]["pub"]["info"]["user"], "a");
    assert_eq!(push["push"]["pub"]["offset"], 1);
    let (one, other) = (a.next().await, a.next().await);
    assert!(one["publish"].is_object() || other["publish"].is_object());
    assert!(one["push"]["pub"].is_object() || other["push"]["pub"].is_object());
}

#[tokio::test]
async fn commands_of_one_frame_are_answered_in_order() {
    let node = start();
    let mut remote = open(&node, 64);
    let commands = [
        json!({"connect": {}, "id": 1}),
        json!({"subscribe": {"channel": "ch"}, "id": 2}),
        json!({"publish": {"channel": "nope", "data": 1}, "id": 3}),
        json!({"rpc": {"method": "m", "data": 5}, "id": 4}),
    ];
    remote.send(&commands).await;
    let mut ids = Vec::new();
    while ids.len() < 4 {
        let reply = remote.next().await;
        ids.extend(reply["id"].as_u64());
    }
    assert_eq!(ids, [1, 2, 3, 4]);
}

#[tokio::test]
async fn joins_and_leaves_are_told_and_presence_shows_who_is_there() {
    let node = start();
    let mut a = subscribed(&node, "a", true).await;
    assert_eq!(a.next().await["push"]["join"]["info"]["user"], "a");
    let b = subscribed(&node, "b", false).await;
    assert_eq!(a.next().await["push"]["join"]["info"]["user"], "b");
    assert_eq!(node.presence(&"ch".into()).await.unwrap().len(), 2);
    drop(b);
    assert_eq!(a.next().await["push"]["leave"]["info"]["user"], "b");
    let stats = node.presence_stats(&"ch".into()).await.unwrap();
    assert_eq!((stats.clients, stats.users), (1, 1));
}

#[tokio::test]
async fn what_was_missed_is_recovered() {
    let node = start();
    let channel = Channel::from("ch");
    let mut remote = connected(&node, "a").await;
    let epoch = node
        .publish(&channel, publish("1"))
        .await
        .unwrap()
        .position
        .epoch;
    for data in ["2", "3"] {
        node.publish(&channel, publish(data)).await.unwrap();
    }
    let recover = json!({"channel": "ch", "recover": true, "offset": 1, "epoch": epoch.as_str()});
    remote.send(&[json!({"id": 2, "subscribe": recover})]).await;
    let result = remote.next().await["subscribe"].clone();
    assert_eq!(
        (result["recovered"].clone(), result["offset"].clone()),
        (json!(true), json!(1))
    );
    let offsets: Vec<_> = result["publications"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["offset"].clone())
        .collect();
    assert_eq!(offsets, [2, 3]);
}

#[tokio::test]
async fn the_server_api_subscribes_unsubscribes_refreshes_and_disconnects_by_user() {
    let node = start();
    let (mut a, mut b) = (connected(&node, "a").await, connected(&node, "b").await);
    let target = || Target {
        user: "a".into(),
        ..Target::default()
    };
    let command = SubscribeCommand {
        channel: "ch".into(),
        options: granted(),
        recover_since: None,
    };
    node.subscribe(target(), command).await.unwrap();
    assert_eq!(a.next().await["push"]["subscribe"]["recoverable"], true);
    assert_eq!(a.next().await["push"]["join"]["info"]["user"], "a");
    node.unsubscribe(target(), "ch".into(), Unsubscribe::SERVER)
        .await
        .unwrap();
    assert_eq!(a.next().await["push"]["unsubscribe"]["code"], 2000);
    let refresh = crate::model::Refresh {
        expired: false,
        expire_at: 0,
        info: Bytes::new(),
    };
    node.refresh(target(), refresh).await.unwrap();
    assert_eq!(a.next().await, json!({"push": {"refresh": {}}}));
    node.disconnect(target(), Disconnect::FORCE_DISCONNECT, vec![])
        .await
        .unwrap();
    assert_eq!(a.close_code().await, 3503);
    b.send(&[json!({"id": 2, "presence": {"channel": "ch"}})])
        .await;
    assert_eq!(b.next().await["presence"]["presence"], json!({}));
}

#[tokio::test]
async fn a_slow_reader_is_closed_and_the_others_feel_nothing() {
    let node = start();
    let mut slow = open(&node, 1);
    slow.send(&[json!({"id": 1, "connect": {}})]).await;
    slow.next().await;
    slow.send(&[json!({"id": 2, "subscribe": {"channel": "ch"}})])
        .await;
    slow.next().await;
    let mut quick = subscribed(&node, "quick", false).await;
    let payload = format!("\"{}\"", "x".repeat(500));
    for n in 1..=40 {
        node.publish(&"ch".into(), publish(&payload)).await.unwrap();
        assert_eq!(quick.next().await["push"]["pub"]["offset"], n);
    }
    drop(slow.commands);
    while slow.replies.recv().await.is_some() {}
    assert_eq!(slow.closed.await.unwrap().disconnect, Disconnect::SLOW);
}

#[tokio::test(start_paused = true)]
async fn a_drain_tells_everyone_and_replies_that_are_owed_arrive() {
    let node = start();
    let mut busy = connected(&node, "a").await;
    let idle = open(&node, 64);
    busy.send(&[json!({"id": 2, "rpc": {"method": "slow", "data": {"owed": true}}})])
        .await;
    tokio::task::yield_now().await;
    let draining = node.clone();
    node.shared
        .pumps
        .spawn(async move { draining.drain().await });
    assert_eq!(idle.close_code().await, 3001);
    assert_eq!(busy.next().await["rpc"]["data"]["owed"], true);
    assert_eq!(busy.close_code().await, 3001);
    assert_eq!(
        open(&node, 64).close_code().await,
        3001,
        "who comes later is sent on"
    );
}

#[tokio::test(start_paused = true)]
async fn silence_is_stale_and_a_missing_pong_is_noticed() {
    let node = start();
    assert_eq!(open(&node, 64).close_code().await, 3502);
    let mut remote = connected(&node, "a").await;
    assert_eq!(remote.next().await, json!({}));
    assert_eq!(remote.close_code().await, 3012);
}

#[tokio::test]
async fn a_command_before_connect_is_3501() {
    let node = start();
    let remote = open(&node, 64);
    remote
        .send(&[json!({"id": 1, "subscribe": {"channel": "ch"}})])
        .await;
    assert_eq!(remote.close_code().await, 3501);
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_lingers_unheard_and_ends_without_a_code() {
    let node = start();
    let mut remote = open(&node, 64);
    remote
        .send(&[
            json!({"id": 1, "connect": {"token": "refused"}}),
            json!({"id": 2, "connect": {}}),
        ])
        .await;
    assert_eq!(remote.next().await["error"]["code"], 109);
    remote.send(&[json!({"id": 3, "connect": {}})]).await;
    let before = tokio::time::Instant::now();
    assert_eq!(remote.close_code().await, 3000);
    assert_eq!(before.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn garbage_is_3501_after_what_came_before_it() {
    let node = start();
    let mut remote = open(&node, 64);
    remote
        .commands
        .send(Bytes::from_static(b"{\"id\":1,\"connect\":{}}\nnot json"))
        .await
        .unwrap();
    assert!(remote.next().await["connect"].is_object());
    assert_eq!(remote.close_code().await, 3501);
}

#[tokio::test]
async fn a_binary_payload_closes_json_subscribers_only() {
    let node = start();
    let remote = subscribed(&node, "a", false).await;
    let data = Bytes::from_static(b"\xff\x00");
    node.publish(
        &"ch".into(),
        Publish {
            data,
            ..Publish::default()
        },
    )
    .await
    .unwrap();
    assert_eq!(remote.close_code().await, 3506);
}

#[tokio::test]
async fn the_node_answers_its_api() {
    let node = start();
    let remote = subscribed(&node, "a", false).await;
    let unknown = node.publish(&"nope".into(), publish("1")).await;
    assert!(matches!(unknown, Err(super::Error::UnknownChannel)));
    assert!(matches!(
        node.publish(&"ch".into(), publish("")).await,
        Err(super::Error::BadRequest)
    ));
    let first = node.publish(&"ch".into(), publish("1")).await.unwrap();
    assert_eq!(first.position.offset, 1);
    let history = node
        .history(&"ch".into(), HistoryQuery::default())
        .await
        .unwrap();
    assert_eq!(history.publications.len(), 1);
    node.remove_history(&"ch".into()).await.unwrap();
    let history = node
        .history(&"ch".into(), HistoryQuery::default())
        .await
        .unwrap();
    assert_eq!(
        (history.publications.len(), history.position.offset),
        (0, 1)
    );
    let channels = node.channels("ch").await.unwrap();
    assert_eq!(channels[&Channel::from("ch")], 1);
    let info = node.info();
    assert_eq!(
        (info[0].num_clients, info[0].num_subs, info[0].num_channels),
        (1, 1, 1)
    );
    drop(remote);
}

#[tokio::test]
async fn nothing_stays_of_a_connection_that_is_gone() {
    let node = start();
    let remote = subscribed(&node, "a", false).await;
    assert_eq!(node.connections(), 1);
    drop(remote);
    node.drain().await;
    assert_eq!(
        (
            node.connections(),
            node.shared.hub.channels(),
            node.shared.hub.subscriptions()
        ),
        (0, 0, 0)
    );
    node.close().await;
    let late = node.publish(&"ch".into(), publish("1")).await;
    assert!(matches!(late, Err(super::Error::Internal(Some(_)))));
}
