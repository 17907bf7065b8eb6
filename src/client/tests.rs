//! Handles and the task, over a transport of values instead of bytes, in paused time.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{
    machine::{Backoff, Introduction, Timing},
    options::start,
    *,
};
use crate::{
    model::{ClientError, Publication},
    protocol::{ConnectResult, Push, PushBody, ReplyBody, Request, SubscribeResult},
};

const SECOND: Duration = Duration::from_secs(1);

/// The server's side of one connection.
struct Peer {
    commands: mpsc::Receiver<Command>,
    replies: mpsc::Sender<Result<Vec<Reply>, Loss>>,
}

impl Peer {
    async fn command(&mut self) -> Command {
        self.commands.recv().await.expect("a command")
    }

    async fn reply(&self, id: u32, body: ReplyBody) {
        let replies = Ok(vec![Reply { id, body }]);
        self.replies.send(replies).await.expect("a client");
    }

    /// Accepts the connection.
    async fn accept(&mut self) {
        let command = self.command().await;
        assert!(
            matches!(command.request, Request::Connect(_)),
            "{command:?}"
        );
        self.reply(command.id, ReplyBody::Connect(Box::default()))
            .await;
    }

    /// Accepts a subscription from its present position or the given one.
    async fn subscribe(&mut self, offset: u64) -> (bool, u64) {
        let command = self.command().await;
        let Request::Subscribe(request) = command.request else {
            panic!("{command:?}");
        };
        let result = SubscribeResult {
            recoverable: true,
            recovered: request.recover,
            was_recovering: request.recover,
            epoch: "e".to_owned(),
            offset: if request.recover {
                request.offset
            } else {
                offset
            },
            publications: if request.recover {
                (request.offset + 1..=offset).map(publication).collect()
            } else {
                Vec::new()
            },
            ..SubscribeResult::default()
        };
        self.reply(command.id, ReplyBody::Subscribe(Box::new(result)))
            .await;
        (request.recover, request.offset)
    }

    async fn publish(&self, offset: u64) {
        let body = PushBody::Publication(publication(offset));
        let channel = "news".into();
        self.reply(0, ReplyBody::Push(Push { channel, body })).await;
    }
}

fn publication(offset: u64) -> Arc<Publication> {
    Arc::new(Publication {
        offset,
        ..Publication::default()
    })
}

/// A place to connect to.
#[derive(Clone)]
struct Memory(mpsc::Sender<Peer>);

struct MemorySending(mpsc::Sender<Command>);
struct MemoryReceiving(mpsc::Receiver<Result<Vec<Reply>, Loss>>);

impl Connector for Memory {
    type Sending = MemorySending;
    type Receiving = MemoryReceiving;

    fn open(&self) -> impl Future<Output = Opened<Self>> + Send + 'static {
        let place = self.0.clone();
        async move {
            let (sending, commands) = mpsc::channel(8);
            let (replies, receiving) = mpsc::channel(1);
            let peer = Peer { commands, replies };
            let refused = |_gone| {
                Error::transport(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))
            };
            place.send(peer).await.map_err(refused)?;
            Ok((MemorySending(sending), MemoryReceiving(receiving)))
        }
    }
}

impl Sending for MemorySending {
    async fn send(&mut self, queue: &mut VecDeque<Command>) -> Result<(), Loss> {
        while !queue.is_empty() {
            let slot = self.0.reserve().await.map_err(|_gone| Loss::default())?;
            slot.send(queue.pop_front().unwrap());
        }
        Ok(())
    }

    async fn finish(self) {}
}

impl Receiving for MemoryReceiving {
    async fn receive(&mut self) -> Result<Vec<Reply>, Loss> {
        self.0.recv().await.unwrap_or_else(|| Err(Loss::default()))
    }
}

fn client_with(
    limits: Limits,
    source: Option<TokenSource>,
) -> (Client, Events, mpsc::Receiver<Peer>) {
    let timing = Timing {
        backoff: Backoff {
            min: SECOND / 2,
            max: 20 * SECOND,
        },
        answer: 5 * SECOND,
        open: 5 * SECOND,
        silence: 10 * SECOND,
    };
    let introduction = Introduction {
        token_source: source.is_some(),
        ..Introduction::default()
    };
    let machine = Machine::new(timing, introduction, Box::new(|| 0.0));
    let (place, peers) = mpsc::channel(1);
    let (client, events) = start(machine, Memory(place), source, limits).unwrap();
    (client, events, peers)
}

fn client() -> (Client, Events, mpsc::Receiver<Peer>) {
    let limits = Limits {
        events: 16,
        calls: 16,
    };
    client_with(limits, None)
}

async fn offset(subscription: &mut Subscription) -> u64 {
    loop {
        match subscription.next().await.expect("an event") {
            SubscriptionEvent::Publication(publication) => return publication.offset,
            SubscriptionEvent::Unsubscribed { code, reason } => panic!("{code} {reason}"),
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connects_subscribes_and_receives() {
    let (client, mut events, mut peers) = client();
    client.connect().await.unwrap();
    let mut news = client
        .subscribe("news", SubscribeOptions::new().recover())
        .await
        .unwrap();
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await;
    peer.subscribe(4).await;
    peer.publish(5).await;
    assert!(matches!(
        events.next().await,
        Some(Event::Connecting { code: 0, .. })
    ));
    assert!(matches!(events.next().await, Some(Event::Connected { .. })));
    assert_eq!(offset(&mut news).await, 5);
    assert_eq!(news.channel().as_str(), "news");
}

#[tokio::test(start_paused = true)]
async fn recovers_after_a_cut() {
    let (client, events, mut peers) = client();
    drop(events);
    client.connect().await.unwrap();
    let mut news = client
        .subscribe("news", SubscribeOptions::new().recover())
        .await
        .unwrap();
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await;
    peer.subscribe(4).await;
    peer.publish(5).await;
    assert_eq!(offset(&mut news).await, 5);
    drop(peer);
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await;
    assert_eq!(peer.subscribe(7).await, (true, 5));
    peer.publish(8).await;
    for expected in 6..=8 {
        assert_eq!(offset(&mut news).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_get_their_answers() {
    let (client, _events, mut peers) = client();
    client.connect().await.unwrap();
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await;
    let server = async {
        let command = peer.command().await;
        peer.reply(command.id, ReplyBody::Publish).await;
        let command = peer.command().await;
        peer.reply(command.id, ReplyBody::Error(ClientError::PERMISSION_DENIED))
            .await;
        let command = peer.command().await;
        peer.reply(command.id, ReplyBody::Rpc(Bytes::from_static(b"42")))
            .await;
        let command = peer.command().await;
        assert_eq!(
            (command.id, command.request),
            (0, Request::Send(Bytes::from_static(b"1")))
        );
    };
    let application = async {
        client.publish("news", "{}").await.unwrap();
        let refused = client.presence("news").await;
        assert!(matches!(refused, Err(Error::Server(error)) if error.code == 103));
        assert_eq!(client.rpc("add", "{}").await.unwrap(), "42");
        client.send("1").await.unwrap();
    };
    tokio::join!(server, application);
}

#[tokio::test(start_paused = true)]
async fn slow_reader_stops_the_reading_and_loses_nothing() {
    let limits = Limits {
        events: 2,
        calls: 16,
    };
    let (client, events, mut peers) = client_with(limits, None);
    drop(events);
    client.connect().await.unwrap();
    let mut news = client
        .subscribe("news", SubscribeOptions::new().recover())
        .await
        .unwrap();
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await;
    peer.subscribe(0).await;
    let all = async {
        for offset in 1..=50 {
            peer.publish(offset).await;
        }
    };
    // The publisher must get stuck: event queue, backlog and transport hold a handful.
    let mut all = Box::pin(all);
    assert!(timeout(SECOND, &mut all).await.is_err());
    let reading = async {
        for expected in 1..=50 {
            assert_eq!(offset(&mut news).await, expected);
        }
    };
    tokio::join!(all, reading);
}

#[tokio::test(start_paused = true)]
async fn callers_wait_for_their_turn() {
    let limits = Limits {
        events: 16,
        calls: 2,
    };
    let (client, _events, mut peers) = client_with(limits, None);
    client.connect().await.unwrap();
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await;
    let calls = futures_util::future::join_all((0..5).map(|_| client.publish("news", "{}")));
    let server = async {
        let first = peer.command().await;
        let second = peer.command().await;
        assert!(
            timeout(SECOND, peer.command()).await.is_err(),
            "two at a time"
        );
        peer.reply(first.id, ReplyBody::Publish).await;
        peer.reply(second.id, ReplyBody::Publish).await;
        for _ in 0..3 {
            let next = peer.command().await;
            peer.reply(next.id, ReplyBody::Publish).await;
        }
    };
    let (results, ()) = tokio::join!(calls, server);
    assert!(results.into_iter().all(|result| result.is_ok()));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_subscription_ends_it() {
    let (client, _events, mut peers) = client();
    client.connect().await.unwrap();
    let news = client
        .subscribe("news", SubscribeOptions::new())
        .await
        .unwrap();
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await;
    peer.subscribe(0).await;
    drop(news);
    let command = peer.command().await;
    assert_eq!(command.request, Request::Unsubscribe("news".into()));
    let again = client.subscribe("news", SubscribeOptions::new()).await;
    assert!(again.is_ok());
}

#[tokio::test(start_paused = true)]
async fn unsubscribed_is_the_last_event() {
    let (client, _events, mut peers) = client();
    client.connect().await.unwrap();
    let mut news = client
        .subscribe("news", SubscribeOptions::new())
        .await
        .unwrap();
    let twice = client.subscribe("news", SubscribeOptions::new()).await;
    assert!(matches!(twice, Err(Error::AlreadySubscribed(_))));
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await;
    peer.subscribe(0).await;
    assert!(matches!(
        news.next().await,
        Some(SubscriptionEvent::Subscribed(_))
    ));
    news.unsubscribe().await.unwrap();
    assert!(matches!(
        news.next().await,
        Some(SubscriptionEvent::Unsubscribed { code: 0, .. })
    ));
    assert!(news.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_closes_the_connection() {
    let (client, mut events, mut peers) = client();
    client.connect().await.unwrap();
    let tasks = client.tasks.clone();
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await;
    drop(client);
    assert!(peer.commands.recv().await.is_none());
    drop(peer);
    tasks.wait().await;
    while events.next().await.is_some() {}
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_the_task() {
    let (client, events, mut peers) = client();
    drop(events);
    client.connect().await.unwrap();
    let tasks = client.tasks.clone();
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await;
    client.close().await;
    assert!(tasks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn disconnect_writes_what_was_sent_before() {
    let (client, mut events, mut peers) = client();
    client.connect().await.unwrap();
    let mut peer = peers.recv().await.unwrap();
    peer.accept().await;
    while !matches!(events.next().await, Some(Event::Connected { .. })) {}
    for _ in 0..3 {
        client.send("{}").await.unwrap();
    }
    let server = async {
        let mut sent = 0;
        while peer.commands.recv().await.is_some() {
            sent += 1;
        }
        drop(peer);
        sent
    };
    let (sent, closed) = tokio::join!(server, client.disconnect());
    assert_eq!(sent, 3);
    closed.unwrap();
    assert!(matches!(
        events.next().await,
        Some(Event::Disconnected { code: 0, .. })
    ));
    let after = client.publish("news", "{}").await;
    assert!(matches!(after, Err(Error::NotConnected)));
}

#[tokio::test(start_paused = true)]
async fn token_source_is_asked() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let source = TokenSource::new(move |request| {
        seen.lock().unwrap().push(request);
        async { Ok("token".to_owned()) }
    });
    let limits = Limits {
        events: 16,
        calls: 16,
    };
    let (client, _events, mut peers) = client_with(limits, Some(source));
    client.connect().await.unwrap();
    let mut peer = peers.recv().await.unwrap();
    let command = peer.command().await;
    assert!(matches!(command.request, Request::Connect(connect) if connect.token == "token"));
    let result = ConnectResult {
        ttl: Some(100),
        ..ConnectResult::default()
    };
    peer.reply(command.id, ReplyBody::Connect(Box::new(result)))
        .await;
    let before = Instant::now();
    let command = peer.command().await;
    assert_eq!(command.request, Request::Refresh("token".to_owned()));
    assert_eq!(before.elapsed().as_secs(), 90);
    assert_eq!(
        *asked.lock().unwrap(),
        [TokenRequest::Connection, TokenRequest::Connection]
    );
}

#[tokio::test(start_paused = true)]
async fn refused_connection_is_told_and_tried_again() {
    let (client, mut events, mut peers) = client();
    peers.close();
    client.connect().await.unwrap();
    assert!(matches!(
        events.next().await,
        Some(Event::Connecting { .. })
    ));
    for _ in 0..3 {
        let event = events.next().await;
        assert!(matches!(event, Some(Event::Error(error)) if error.is_refused()));
    }
}

#[tokio::test]
async fn queues_without_room_are_refused() {
    for builder in [
        Client::builder("grpc://h").event_queue(0),
        Client::builder("grpc://h").call_limit(0),
    ] {
        assert!(matches!(builder.build(), Err(BuildError::Limits)));
    }
}

#[test]
fn building_outside_of_a_runtime_is_refused() {
    let built = Client::builder("grpc://h").build();
    assert!(matches!(built, Err(BuildError::Runtime(_))));
}
