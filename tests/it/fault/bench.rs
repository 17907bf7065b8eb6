//! One run: nodes, publishers and clients that write down what happens to them, and the judgement afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::JoinSet,
    time::{Instant, interval, timeout},
};

use super::{
    checker::{Verdict, judge},
    journal::{self, Entry, Journal, Log},
};
use crate::{
    harness::{Client, Transport},
    support::{Folder, Server, http_client},
};

/// How long clients may take to get everything once the fault is over.
const PATIENCE: Duration = Duration::from_secs(60);

/// Subscribers and publishers of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Channels, each with one publisher.
    pub(crate) channels: usize,
    /// Pause between two publications of a channel.
    pub(crate) pace: Duration,
    /// Bytes of a payload, besides its number.
    pub(crate) bytes: usize,
}

/// Where a channel stands, as its publisher knows.
type Top = Option<(String, u64)>;

/// What all tasks of a run share.
#[derive(Debug)]
struct Shared {
    nodes: Vec<Arc<Server>>,
    folder: Folder,
    begun: Instant,
    /// Numbers of publications.
    ids: AtomicU64,
    /// Publishers may stop.
    over: watch::Sender<bool>,
}

/// A run under way.
#[derive(Debug)]
pub(crate) struct Run {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
    publishers: JoinSet<()>,
    /// Set once: clients may go when they have reached it.
    ends: Vec<watch::Sender<Top>>,
    tops: Vec<watch::Receiver<Top>>,
}

impl Run {
    /// Starts a client on every transport of every node for each channel, and one publisher a channel.
    pub(crate) async fn start(nodes: Vec<Arc<Server>>, load: Load) -> Self {
        let shared = Arc::new(Shared {
            nodes,
            folder: Folder::new().unwrap(),
            begun: Instant::now(),
            ids: AtomicU64::new(1),
            over: watch::Sender::default(),
        });
        let mut run = Self {
            shared: Arc::clone(&shared),
            clients: JoinSet::new(),
            publishers: JoinSet::new(),
            ends: Vec::new(),
            tops: Vec::new(),
        };
        for number in 0..load.channels {
            let channel = format!("run{number}");
            let (end, top) = (
                watch::Sender::<Top>::default(),
                watch::Sender::<Top>::default(),
            );
            for node in 0..shared.nodes.len() {
                for on in Transport::ALL {
                    let subscriber =
                        Subscriber::open(&shared, (node, on), channel.clone(), end.subscribe());
                    run.clients.spawn(subscriber.await.follow());
                }
            }
            run.tops.push(top.subscribe());
            run.ends.push(end);
            let node = number % shared.nodes.len();
            run.publishers
                .spawn(publish(Arc::clone(&shared), node, channel, (load, top)));
        }
        run
    }

    /// Its nodes.
    pub(crate) fn nodes(&self) -> &[Arc<Server>] {
        &self.shared.nodes
    }

    /// Publications so far, accepted or not.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.ids.load(Ordering::SeqCst) - 1
    }

    /// Waits until every publisher has had one more publication accepted.
    pub(crate) async fn accepted(&mut self) {
        for top in &mut self.tops {
            top.borrow_and_update();
            let changed = timeout(PATIENCE, top.changed()).await;
            changed.expect("a publication is accepted again").unwrap();
        }
    }

    /// Lets every client reach what is published now, ends the run and judges it.
    pub(crate) async fn judged(self) -> Verdict {
        judge(&self.ended().await)
    }

    /// The same without the judgement.
    async fn ended(mut self) -> Vec<Log> {
        self.accepted().await;
        for (end, top) in self.ends.iter().zip(&self.tops) {
            end.send_replace(top.borrow().clone());
        }
        let all = async {
            while self
                .clients
                .join_next()
                .await
                .is_some_and(|done| done.is_ok())
            {}
        };
        let reached = timeout(PATIENCE, all).await;
        self.shared.over.send_replace(true);
        while let Some(publisher) = self.publishers.join_next().await {
            publisher.unwrap();
        }
        // Who has not arrived has written no end: the judge sees what it misses.
        if reached.is_err() {
            self.clients.shutdown().await;
        }
        journal::read(self.shared.folder.path())
    }
}

/// Publishes into one channel until the run is over.
async fn publish(
    shared: Arc<Shared>,
    mut node: usize,
    channel: String,
    (load, top): (Load, watch::Sender<Top>),
) {
    let journal = Journal::open(
        shared.folder.path(),
        &format!("publisher-{channel}"),
        shared.begun,
    );
    let padding = "x".repeat(load.bytes);
    let mut pace = interval(load.pace);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*shared.over.borrow() {
        pace.tick().await;
        let id = shared.ids.fetch_add(1, Ordering::SeqCst);
        let sent = Entry::Sent {
            channel: channel.clone(),
            id,
        };
        journal.write(&sent);
        let data = json!({"id": id, "padding": padding});
        match accepted(&shared.nodes[node], &channel, &data).await {
            Some((epoch, offset)) => {
                journal.write(&Entry::Accepted {
                    channel: channel.clone(),
                    id,
                    offset,
                    epoch: epoch.clone(),
                });
                top.send_replace(Some((epoch, offset)));
            }
            None => {
                journal.write(&Entry::Failed {
                    channel: channel.clone(),
                    id,
                });
                node = shared.node_after(node).await;
            }
        }
    }
}

impl Shared {
    /// This node while it accepts connections, otherwise the next.
    async fn node_after(&self, node: usize) -> usize {
        match TcpStream::connect(self.nodes[node].http_target()).await {
            Ok(_accepts) => node,
            Err(_gone) => (node + 1) % self.nodes.len(),
        }
    }
}

/// Publishes one number; its place, when that was accepted.
async fn accepted(server: &Server, channel: &str, data: &Value) -> Option<(String, u64)> {
    let body = json!({"channel": channel, "data": data}).to_string();
    let request = http_client()
        .post(format!("{}/publish", server.api_url()))
        .header("x-api-key", Server::API_KEY)
        .body(body);
    let answer = request.send().await.ok()?.bytes().await.ok()?;
    let answer: Value = serde_json::from_slice(&answer).ok()?;
    let result = &answer["result"];
    Some((
        result["epoch"].as_str()?.to_owned(),
        result["offset"].as_u64()?,
    ))
}

/// A client that comes back whatever happens.
struct Subscriber {
    shared: Arc<Shared>,
    node: usize,
    on: Transport,
    channel: String,
    journal: Journal,
    end: watch::Receiver<Top>,
    client: Client,
    position: (String, u64),
}

impl Subscriber {
    async fn open(
        shared: &Arc<Shared>,
        (node, on): (usize, Transport),
        channel: String,
        end: watch::Receiver<Top>,
    ) -> Self {
        let name = format!("client-{channel}-{node}-{on:?}");
        let journal = Journal::open(shared.folder.path(), &name, shared.begun);
        let client = on.user(&shared.nodes[node], "subscriber").await;
        let mut subscriber = Self {
            shared: Arc::clone(shared),
            node,
            on,
            channel,
            journal,
            end,
            client,
            position: (String::new(), 0),
        };
        let subscribed = subscriber.subscribe(false).await;
        assert!(subscribed, "the first subscription fails");
        subscriber
    }

    /// Takes what comes until the end is reached.
    async fn follow(mut self) {
        while !self.is_done() {
            match self.client.try_next().await {
                Ok(message) => self.take(&message).await,
                Err(close) => {
                    self.journal.write(&Entry::Told { code: close.code });
                    self.come_back().await;
                }
            }
        }
        let channel = self.channel.clone();
        self.journal.write(&Entry::Left { channel });
    }

    fn is_done(&self) -> bool {
        let end = self.end.borrow();
        end.as_ref()
            .is_some_and(|(epoch, offset)| self.position.0 == *epoch && self.position.1 >= *offset)
    }

    async fn take(&mut self, message: &Value) {
        let push = &message["push"];
        if push.get("pub").is_some() {
            self.got(&push["pub"]);
        } else if let Some(unsubscribe) = push.get("unsubscribe") {
            let code = unsubscribe["code"].as_u64().unwrap_or_default();
            let code = u32::try_from(code).unwrap();
            self.journal.write(&Entry::Told { code });
            if !self.subscribe(true).await {
                self.come_back().await;
            }
        }
    }

    fn got(&mut self, publication: &Value) {
        let offset = publication["offset"].as_u64().unwrap_or_default();
        self.position.1 = self.position.1.max(offset);
        self.journal.write(&Entry::Got {
            channel: self.channel.clone(),
            id: publication["data"]["id"].as_u64().unwrap_or_default(),
            offset,
        });
    }

    /// Connects and subscribes again until it succeeds, as an SDK does.
    async fn come_back(&mut self) {
        let mut pause = interval(Duration::from_millis(100));
        loop {
            pause.tick().await;
            self.node = self.shared.node_after(self.node).await;
            let Ok(client) = self.on.open_with(&self.shared.nodes[self.node], &[]).await else {
                continue;
            };
            self.client = client;
            let token = Server::token(&json!({"sub": "subscriber"}));
            let connect = json!({"id": 1, "connect": {"token": token}});
            self.client.send(connect).await;
            if self.client.try_next().await.is_err() {
                continue;
            }
            if self.subscribe(true).await {
                return;
            }
        }
    }

    /// False when the connection ended, or the server refuses for the moment.
    async fn subscribe(&mut self, recover: bool) -> bool {
        let (epoch, offset) = self.position.clone();
        let mut request = json!({"channel": self.channel});
        if recover {
            request =
                json!({"channel": self.channel, "recover": true, "offset": offset, "epoch": epoch});
        }
        self.client
            .send(json!({"id": 1_000_000, "subscribe": request}))
            .await;
        let reply = loop {
            match self.client.try_next().await {
                Ok(message) if message["id"] == 1_000_000 => break message,
                Ok(_ping_or_push) => {}
                Err(close) => {
                    self.journal.write(&Entry::Told { code: close.code });
                    return false;
                }
            }
        };
        let Some(result) = reply.get("subscribe") else {
            return false;
        };
        let recovered = result["recovered"] == true;
        let epoch = result["epoch"].as_str().unwrap_or_default().to_owned();
        let offset = result["offset"].as_u64().unwrap_or_default();
        self.position = (epoch.clone(), offset);
        self.journal.write(&Entry::Subscribed {
            channel: self.channel.clone(),
            offset,
            epoch,
            asked: recover,
            recovered,
        });
        for publication in result["publications"].as_array().into_iter().flatten() {
            self.got(publication);
        }
        true
    }
}

/// What nodes of a run need, besides their engine.
pub(crate) fn settings() -> Value {
    json!({
        "prometheus": {"enabled": true},
        // A harness client gives up after ten silent seconds; it does not answer pings.
        "client": {"ping_interval": "3s", "pong_timeout": "-1s"},
        "channel": {"without_namespace": {
            "allow_subscribe_for_client": true, "force_recovery": true,
            "history_size": 10_000, "history_ttl": "600s",
        }},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_without_faults_is_judged_good() {
        let server = Arc::new(Server::start(settings()).await);
        let load = Load {
            channels: 2,
            pace: Duration::from_millis(5),
            bytes: 10,
        };
        let mut run = Run::start(vec![server], load).await;
        for _ in 0..20 {
            run.accepted().await;
        }
        assert!(run.sent() >= 40);
        let mut logs = run.ended().await;
        let good = judge(&logs);
        let expected = Verdict {
            accepted: good.accepted,
            ..Verdict::default()
        };
        assert_eq!(good, expected);
        assert!(good.accepted >= 40);
        mutated(&mut logs, good);
    }

    /// What a real client wrote, with one line missing, one line twice, and two lines exchanged.
    fn mutated(logs: &mut [Log], good: Verdict) {
        let is_got = |entry: &(u64, Entry)| matches!(entry.1, Entry::Got { .. });
        let client = logs.iter().position(|(name, _)| name.starts_with("client"));
        let client = client.unwrap();
        for at in 1..logs[client].1.len() - 2 {
            let whole = logs[client].1.clone();
            assert!(is_got(&whole[at]) && is_got(&whole[at + 1]));
            logs[client].1.remove(at);
            assert_eq!(judge(logs), Verdict { lost: 1, ..good }, "{at}");
            logs[client].1.clone_from(&whole);
            logs[client].1.insert(at + 1, whole[at].clone());
            assert_eq!(judge(logs), Verdict { doubled: 1, ..good }, "{at}");
            logs[client].1.clone_from(&whole);
            logs[client].1.swap(at, at + 1);
            assert_eq!(
                judge(logs),
                Verdict {
                    reordered: 1,
                    ..good
                },
                "{at}"
            );
            logs[client].1 = whole;
        }
    }
}
