//! What the benchmarks measure with: messages, and a node with links that have no network.
#![allow(dead_code, reason = "every benchmark uses a part")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use centripetal::{
    auth::Authenticator,
    config::Config,
    engine::{self, memory::Memory},
    model::{
        Channel, ClientId, ClientInfo, Direction, Disconnect, Encoding, Epoch, NodeId, Peer,
        Publication, UserId, Version,
    },
    node::{Close, Inbound, Link, LinkTraits, Node, Parts, Publish},
    policy::Policy,
    protocol::{
        Push, PushBody, Reply, ReplyBody,
        frame::{Framing, Kind, PositionFormat, WireForm},
    },
};
use parking_lot::Mutex;
use prometheus::Registry;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

/// Payload of a chat message, 120 bytes.
pub(crate) const PAYLOAD: &str = r#"{"text":"A message as people write them to each other, not long, not short","from":"alice","at":1700000000,"id":123456}"#;

/// A publication by a client with its info, as the talk's benchmark of codecs has it.
pub(crate) fn publication() -> Publication {
    Publication {
        offset: 1234,
        data: Bytes::from_static(PAYLOAD.as_bytes()),
        info: Some(Arc::new(ClientInfo {
            user: UserId::from("42"),
            client: ClientId::from("7ad8b3c5-7c2b-4b53-9a1e-0c3a1f8b8a10"),
            conn_info: Bytes::from_static(br#"{"name":"Alice"}"#),
            chan_info: Bytes::new(),
        })),
        ..Publication::default()
    }
}

/// The push that carries it.
pub(crate) fn push() -> Reply {
    Reply {
        id: 0,
        body: ReplyBody::Push(Push {
            channel: Channel::from("chat:index"),
            body: PushBody::Publication(Arc::new(publication())),
        }),
    }
}

/// A V2 wire form.
pub(crate) fn form(encoding: Encoding, framing: Framing) -> WireForm {
    WireForm {
        version: Version::V2,
        encoding,
        positions: PositionFormat::Offset,
        framing,
        bare: false,
    }
}

/// The push as prost has it, generated from nothing but the field numbers.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ProstReply {
    #[prost(message, optional, tag = "4")]
    pub(crate) push: Option<ProstPush>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ProstPush {
    #[prost(string, tag = "2")]
    pub(crate) channel: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) publication: Option<ProstPublication>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ProstPublication {
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) data: Bytes,
    #[prost(message, optional, tag = "5")]
    pub(crate) info: Option<ProstInfo>,
    #[prost(uint64, tag = "6")]
    pub(crate) offset: u64,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ProstInfo {
    #[prost(string, tag = "1")]
    pub(crate) user: String,
    #[prost(string, tag = "2")]
    pub(crate) client: String,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) conn_info: Bytes,
}

/// The push as prost has it.
pub(crate) fn prost_push() -> ProstReply {
    let publication = publication();
    let info = publication.info.unwrap();
    ProstReply {
        push: Some(ProstPush {
            channel: "chat:index".to_owned(),
            publication: Some(ProstPublication {
                data: publication.data,
                info: Some(ProstInfo {
                    user: info.user.to_string(),
                    client: info.client.to_string(),
                    conn_info: info.conn_info.clone(),
                }),
                offset: publication.offset,
                tags: BTreeMap::new(),
            }),
        }),
    }
}

/// The push as a JSON tree.
pub(crate) fn json_push() -> serde_json::Value {
    let data: serde_json::Value = serde_json::from_str(PAYLOAD).unwrap();
    serde_json::json!({"push": {"channel": "chat:index", "pub": {"data": data, "info": {
        "user": "42", "client": "7ad8b3c5-7c2b-4b53-9a1e-0c3a1f8b8a10", "conn_info": {"name": "Alice"}}, "offset": 1234}}})
}

/// A peer that has everything at once and keeps nothing.
pub(crate) struct Sink {
    commands: mpsc::Receiver<Bytes>,
    seen: Arc<Seen>,
    framing: Framing,
}

/// How many frames all links of a benchmark were given.
#[derive(Default)]
pub(crate) struct Seen {
    frames: AtomicUsize,
    target: AtomicUsize,
    reached: Notify,
}

impl Seen {
    /// Waits until `count` further frames were written.
    pub(crate) async fn wait(&self, from: usize, count: usize) {
        self.target.store(from + count, Ordering::SeqCst);
        while self.frames.load(Ordering::SeqCst) < from + count {
            self.reached.notified().await;
        }
    }

    /// Frames written so far.
    pub(crate) fn frames(&self) -> usize {
        self.frames.load(Ordering::SeqCst)
    }
}

impl Link for Sink {
    fn traits(&self) -> LinkTraits {
        LinkTraits {
            framing: self.framing,
            message_size_limit: 65_536,
            close_carries_reason: true,
            discards_after_refusal: true,
            native_ping: false,
            direction: Direction::Both,
        }
    }

    async fn recv(&mut self) -> Result<Inbound, Disconnect> {
        match self.commands.recv().await {
            Some(frame) => Ok(Inbound::Frame(frame, Kind::Text)),
            None => Err(Disconnect::CONNECTION_CLOSED),
        }
    }

    async fn send(&mut self, batch: &mut Vec<Bytes>) -> Result<(), Disconnect> {
        let seen = self.seen.frames.fetch_add(batch.len(), Ordering::SeqCst) + batch.len();
        batch.clear();
        if seen >= self.seen.target.load(Ordering::SeqCst) {
            self.seen.reached.notify_one();
        }
        Ok(())
    }

    async fn close(self, _: Close) {}
}

/// A node with the standard policy, everything allowed, and a stream of 1000 publications a channel.
pub(crate) struct Bench {
    pub(crate) node: Node,
    pub(crate) seen: Arc<Seen>,
    sessions: Mutex<JoinSet<()>>,
}

impl Bench {
    /// Starts it; inside of a runtime.
    pub(crate) fn start() -> Self {
        let config = Config::from_value(serde_json::json!({
            "client": {"insecure": true, "ping_interval": "1h", "pong_timeout": "30m"},
            "channel": {"without_namespace": {"history_size": 1000, "history_ttl": "1h", "force_recovery": true,
                "allowed_delta_types": ["fossil"], "allow_channel_compaction": true, "allow_tags_filter": true}},
        }))
        .unwrap();
        let registry = Registry::new();
        let auth = Authenticator::new(&config.section("").unwrap(), &registry).unwrap();
        let policy = Policy::new(&config.section("").unwrap(), auth).unwrap();
        let (sender, events) = engine::event_channel(1, 4096, Duration::from_secs(5));
        let node = Node::start(Parts {
            id: NodeId::from("bench"),
            config: config.section("").unwrap(),
            hooks: Arc::new(policy),
            engine: Memory::new(sender).into_engine(),
            events,
            registry,
        });
        Self {
            node: node.unwrap(),
            seen: Arc::default(),
            sessions: Mutex::default(),
        }
    }

    /// Connects a link that speaks JSON or Protobuf; frames go in by the sender.
    pub(crate) fn connect(&self, encoding: Encoding, framing: Framing) -> mpsc::Sender<Bytes> {
        let (sender, commands) = mpsc::channel(16);
        let link = Sink {
            commands,
            seen: self.seen.clone(),
            framing,
        };
        let peer = Peer {
            transport: "bench",
            encoding,
            version: None,
            address: None,
            credentials: None,
            refused: None,
            certified: None,
            user_header: None,
            headers: Arc::new([]),
        };
        self.sessions.lock().spawn(self.node.serve(link, peer));
        sender
    }

    /// Publishes a payload for deltas.
    pub(crate) async fn publish_for_deltas(&self, data: Bytes) {
        let publish = Publish {
            data,
            delta: true,
            ..Publish::default()
        };
        self.node
            .publish(&Channel::from("bench"), publish)
            .await
            .unwrap();
    }

    /// Connects `count` subscribers, the ways given in turn, and waits for all replies.
    pub(crate) async fn subscribers_in(
        &self,
        count: usize,
        ways: &[Way],
    ) -> Vec<mpsc::Sender<Bytes>> {
        let before = self.seen.frames();
        let mut senders = Vec::with_capacity(count);
        for way in ways.iter().cycle().take(count) {
            let sender = self.connect(way.encoding, way.framing);
            sender.send(hello_in(*way)).await.unwrap();
            senders.push(sender);
        }
        self.seen.wait(before, 2 * count).await;
        senders
    }

    /// Publishes with the tag that filters look at.
    pub(crate) async fn publish_tagged(&self, symbol: usize) {
        let tags = [("symbol".to_owned(), symbol.to_string())];
        let publish = Publish {
            data: Bytes::from_static(PAYLOAD.as_bytes()),
            tags: Some(Arc::new(tags.into())),
            ..Publish::default()
        };
        self.node
            .publish(&Channel::from("bench"), publish)
            .await
            .unwrap();
    }

    /// Publishes into the channel of the benchmarks.
    pub(crate) async fn publish(&self) {
        let publish = Publish {
            data: Bytes::from_static(PAYLOAD.as_bytes()),
            ..Publish::default()
        };
        self.node
            .publish(&Channel::from("bench"), publish)
            .await
            .unwrap();
    }

    /// Connects `count` subscribers, the encodings given in turn, and waits for all replies.
    pub(crate) async fn subscribers(
        &self,
        count: usize,
        forms: &[(Encoding, Framing)],
    ) -> Vec<mpsc::Sender<Bytes>> {
        let before = self.seen.frames();
        let mut senders = Vec::with_capacity(count);
        for (encoding, framing) in forms.iter().cycle().take(count) {
            let sender = self.connect(*encoding, *framing);
            sender.send(hello(*encoding, *framing)).await.unwrap();
            senders.push(sender);
        }
        self.seen.wait(before, 2 * count).await;
        senders
    }
}

/// One class of subscribers.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub(crate) encoding: Encoding,
    pub(crate) framing: Framing,
    pub(crate) delta: bool,
    pub(crate) compact: bool,
}

/// Connect and subscribe in one frame.
pub(crate) fn hello(encoding: Encoding, framing: Framing) -> Bytes {
    hello_in(Way {
        encoding,
        framing,
        delta: false,
        compact: false,
    })
}

/// The same with what can be negotiated.
pub(crate) fn hello_in(way: Way) -> Bytes {
    use centripetal::protocol::{Command, ConnectRequest, Request, SubscribeRequest};
    let Way {
        encoding, framing, ..
    } = way;
    let subscribe = SubscribeRequest {
        channel: Channel::from("bench"),
        delta: if way.delta { "fossil" } else { "" }.to_owned(),
        flag: way.compact.into(),
        ..SubscribeRequest::default()
    };
    frame(
        encoding,
        framing,
        &[
            Command {
                id: 1,
                request: Request::Connect(Box::<ConnectRequest>::default()),
            },
            Command {
                id: 2,
                request: Request::Subscribe(Box::new(subscribe)),
            },
        ],
    )
}

/// Connect, and subscribe to what has this tag.
pub(crate) fn filtering(symbol: usize) -> Bytes {
    format!(
        "{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"bench\",\"tf\":{{\"key\":\"symbol\",\"cmp\":\"eq\",\"val\":\"{symbol}\"}}}}}}"
    )
    .into()
}

/// Connect, and subscribe with recovery of `count` publications.
pub(crate) fn recover(epoch: &Epoch, offset: u64) -> Bytes {
    let text = format!(
        "{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"bench\",\"recover\":true,\"epoch\":\"{epoch}\",\"offset\":{offset}}}}}"
    );
    Bytes::from(text)
}

fn frame(
    encoding: Encoding,
    framing: Framing,
    commands: &[centripetal::protocol::Command],
) -> Bytes {
    assert!(framing != Framing::None, "a bare message is one command");
    centripetal::protocol::encode_commands(Version::V2, encoding, commands).unwrap()
}
