//! Sessions without HTTP and without a node, in virtual time.

use std::sync::Arc;

use prometheus::Registry;

use super::{
    link::{SessionLink, Settings},
    receiver::{Receiver, Taken},
    table::Sessions,
    *,
};
use crate::{
    model::{Disconnect, Version},
    node::{Close, Inbound, Link},
    transport::{self, sockjs::metrics::Metrics},
};

const BEAT: Option<Duration> = Some(Duration::from_secs(25));

struct Pair {
    sessions: Sessions,
    session: Arc<Session>,
    link: SessionLink,
}

fn pair() -> Pair {
    let registry = Registry::new();
    let sessions = Sessions::new(Metrics::new(&registry).unwrap());
    let settings = Settings {
        message_size_limit: 65536,
        write_timeout: Duration::from_secs(1),
        closes: transport::Metrics::new(&registry, "centrifugo").unwrap(),
    };
    let (session, is_new) = sessions.open("key", true);
    assert!(is_new);
    let link = SessionLink::new(session.clone(), sessions.clone(), Arc::new(settings));
    Pair {
        sessions,
        session,
        link,
    }
}

impl Pair {
    fn receiver(&self) -> Option<Receiver> {
        Receiver::attach(self.session.clone(), self.sessions.clone(), BEAT)
    }

    /// A receiver that has the first frame behind it.
    async fn opened(&self) -> Receiver {
        let mut receiver = self.receiver().unwrap();
        assert_eq!(receiver.take().await, frame("o"));
        receiver
    }

    async fn send(&mut self, messages: &[&'static str]) -> Result<(), Disconnect> {
        let mut batch = messages.iter().map(|m| Bytes::from_static(m.as_bytes()));
        self.link.send(&mut batch.by_ref().collect()).await
    }
}

fn frame(text: &'static str) -> Taken {
    Taken::Frame(Bytes::from_static(text.as_bytes()))
}

fn close(disconnect: Disconnect) -> Close {
    Close {
        disconnect,
        version: Version::V2,
        undecodable: false,
        error: None,
    }
}

async fn frames(link: &mut SessionLink, count: usize) -> Vec<Bytes> {
    let mut frames = Vec::new();
    for _ in 0..count {
        match link.recv().await {
            Ok(Inbound::Frame(frame, _)) => frames.push(frame),
            other => panic!("{other:?}"),
        }
    }
    frames
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_the_next_receiver_and_share_a_frame() {
    let mut pair = pair();
    let mut receiver = pair.opened().await;
    pair.send(&["\"1\""]).await.unwrap();
    assert_eq!(receiver.take().await, frame("a[\"1\"]"));
    receiver.leave();
    pair.send(&["\"2\"", "\"3\""]).await.unwrap();
    pair.send(&["\"4\""]).await.unwrap();
    let mut receiver = pair.receiver().unwrap();
    assert_eq!(receiver.take().await, frame("a[\"2\",\"3\",\"4\"]"));
}

#[tokio::test(start_paused = true)]
async fn there_is_one_receiver_at_a_time() {
    let pair = pair();
    let mut first = pair.receiver().unwrap();
    assert!(pair.receiver().is_none());
    first.leave();
    let second = pair.receiver().unwrap();
    assert!(pair.receiver().is_none());
    // Leaving twice takes nothing from the next one.
    first.leave();
    drop(first);
    assert!(pair.receiver().is_none());
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_lost_receiver_ends_the_session_at_once() {
    let mut pair = pair();
    let receiver = pair.opened().await;
    drop(receiver);
    assert_eq!(
        pair.link.recv().await.unwrap_err(),
        Disconnect::CONNECTION_CLOSED
    );
    assert!(pair.sessions.find("key").is_none());
    assert_eq!(
        pair.session.push(vec![Bytes::new()]).await,
        Err(Rejected::Ended)
    );
    let sent = pair.send(&["\"1\""]).await;
    assert_eq!(sent, Err(Disconnect::CONNECTION_CLOSED));
}

#[tokio::test(start_paused = true)]
async fn a_session_without_receiver_lives_five_seconds() {
    let mut pair = pair();
    let begun = Instant::now();
    assert_eq!(
        pair.link.recv().await.unwrap_err(),
        Disconnect::CONNECTION_CLOSED
    );
    assert_eq!(begun.elapsed().as_secs(), 5);

    let mut pair = super::tests::pair();
    tokio::time::advance(Duration::from_secs(4)).await;
    let mut receiver = pair.opened().await;
    let mut recv = tokio_test::task::spawn(pair.link.recv());
    tokio_test::assert_pending!(recv.poll());
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio_test::assert_pending!(recv.poll());
    let begun = Instant::now();
    receiver.leave();
    assert!(recv.is_woken());
    assert_eq!(recv.await.unwrap_err(), Disconnect::CONNECTION_CLOSED);
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn an_ended_session_says_why_for_five_seconds() {
    let Pair {
        sessions,
        session,
        mut link,
    } = pair();
    link.decided(Version::V2);
    link.send(&mut vec![Bytes::from_static(b"\"1\"")])
        .await
        .unwrap();
    link.close(close(Disconnect::STALE)).await;
    let last = || Taken::Last(Bytes::from_static(b"c[3502,\"stale\"]"));
    let attach = || Receiver::attach(session.clone(), sessions.clone(), BEAT).unwrap();
    let (mut first, mut second) = (attach(), attach());
    assert_eq!(first.take().await, frame("o"));
    assert_eq!(first.take().await, frame("a[\"1\"]"));
    assert_eq!(first.take().await, last());
    assert_eq!(second.take().await, last());
    tokio::time::advance(Duration::from_millis(4990)).await;
    assert!(
        sessions
            .find("key")
            .is_some_and(|session| !session.is_open())
    );
    tokio::time::advance(Duration::from_millis(10)).await;
    assert!(sessions.find("key").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_name_can_be_used_again_while_the_old_session_is_forgotten() {
    let old = pair();
    let (sessions, session) = (old.sessions.clone(), old.session.clone());
    old.link.close(close(Disconnect::CONNECTION_CLOSED)).await;
    let (new, is_new) = sessions.open("key", true);
    assert!(is_new);
    sessions.remove(&session);
    assert!(
        sessions
            .find("key")
            .is_some_and(|found| Arc::ptr_eq(&found, &new))
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_told_and_given_nothing_else() {
    let mut pair = pair();
    pair.opened().await.leave();
    pair.send(&["\"1\""]).await.unwrap();
    let (session, sessions) = (pair.session, pair.sessions);
    pair.link.close(close(Disconnect::SLOW)).await;
    let mut receiver = Receiver::attach(session, sessions, BEAT).unwrap();
    assert!(matches!(receiver.take().await, Taken::Last(frame) if frame.starts_with(b"c[3008")));
}

#[tokio::test(start_paused = true)]
async fn an_aborted_connection_takes_its_session_with_it() {
    let pair = pair();
    let mut receiver = pair.opened().await;
    drop(pair.link);
    assert_eq!(receiver.take().await, Taken::Nothing);
    assert!(pair.sessions.find("key").is_none());
}

const LARGE: &str = match std::str::from_utf8(&[b'x'; OUTBOX]) {
    Ok(text) => text,
    Err(_) => "",
};

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_nothing_is_given_up() {
    let mut pair = pair();
    let mut receiver = pair.opened().await;
    pair.send(&[LARGE]).await.unwrap();
    let begun = Instant::now();
    assert_eq!(pair.send(&["\"1\""]).await, Err(Disconnect::WRITE_ERROR));
    assert_eq!(begun.elapsed().as_secs(), 1);
    assert!(matches!(receiver.take().await, Taken::Frame(frame) if frame.len() == OUTBOX + 3));
    pair.send(&["\"1\""]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_waits_for_the_next_receiver() {
    let mut pair = pair();
    pair.opened().await.leave();
    pair.send(&[LARGE]).await.unwrap();
    let (session, sessions) = (pair.session.clone(), pair.sessions.clone());
    let mut batch = vec![Bytes::from_static(b"\"1\"")];
    let mut send = tokio_test::task::spawn(pair.link.send(&mut batch));
    tokio_test::assert_pending!(send.poll());
    tokio::time::advance(Duration::from_secs(3)).await;
    tokio_test::assert_pending!(send.poll());
    let mut receiver = Receiver::attach(session, sessions, BEAT).unwrap();
    receiver.take().await;
    assert!(send.is_woken());
    assert_eq!(send.await, Ok(()));
    assert_eq!(receiver.take().await, frame("a[\"1\"]"));
    receiver.leave();
    pair.send(&[LARGE]).await.unwrap();
    let begun = Instant::now();
    assert_eq!(
        pair.send(&["\"2\""]).await,
        Err(Disconnect::CONNECTION_CLOSED)
    );
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_fill_silence_until_the_generation_has_its_own() {
    let mut pair = pair();
    let mut receiver = pair.opened().await;
    let begun = Instant::now();
    assert_eq!(receiver.take().await, frame("h"));
    assert_eq!(receiver.take().await, frame("h"));
    assert_eq!(begun.elapsed().as_secs(), 50);
    pair.link.decided(Version::V2);
    let mut take = tokio_test::task::spawn(receiver.take());
    tokio_test::assert_pending!(take.poll());
    tokio::time::advance(Duration::from_secs(100)).await;
    tokio_test::assert_pending!(take.poll());
}

#[tokio::test(start_paused = true)]
async fn frames_of_a_request_stay_together() {
    let mut pair = pair();
    let _receiver = pair.opened().await;
    let texts = |texts: &[&'static str]| -> Vec<Bytes> {
        texts
            .iter()
            .map(|t| Bytes::from_static(t.as_bytes()))
            .collect()
    };
    pair.session.push(texts(&["a", "b"])).await.unwrap();
    pair.session.push(texts(&["c"])).await.unwrap();
    assert_eq!(frames(&mut pair.link, 3).await, texts(&["a", "b", "c"]));
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_room_but_not_for_ever_and_not_too_many() {
    let mut pair = pair();
    let _receiver = pair.opened().await;
    let large = || vec![Bytes::from_static(LARGE.as_bytes())];
    pair.session.push(large()).await.unwrap();
    let session = pair.session.clone();
    let mut waiting: Vec<_> = (0..WAITING)
        .map(|_| tokio_test::task::spawn(session.push(large())))
        .collect();
    for push in &mut waiting {
        tokio_test::assert_pending!(push.poll());
    }
    assert_eq!(session.push(large()).await, Err(Rejected::Busy));
    // One goes out, one comes in.
    assert_eq!(frames(&mut pair.link, 1).await.len(), 1);
    let in_time = waiting.iter_mut().filter(|push| push.is_woken());
    let in_time: usize = in_time
        .map(|push| usize::from(push.poll().is_ready()))
        .sum();
    assert_eq!(in_time, 1);
    tokio::time::advance(PATIENCE).await;
    let late = waiting.into_iter().skip(1).map(|mut push| push.poll());
    let busy = std::task::Poll::Ready(Err(Rejected::Busy));
    assert!(late.into_iter().all(|pushed| pushed == busy));
    assert_eq!(session.state.lock().waiting, 0);
}
