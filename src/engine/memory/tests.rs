//! The contract, and what only the memory engine promises: it gives memory back, and it waits but never drops.

use std::{sync::Arc, time::Duration};

use proptest::prelude::proptest;
use tokio::time::{advance, timeout};

use super::Memory;
use crate::{
    engine::{
        Broker as _, Error, EventReceiver, HistoryQuery, Presence as _, PublishOptions,
        contract::{self, Clock, Subject, engine_contract},
        event_channel,
    },
    model::{Channel, ClientId, ClientInfo, Publication},
};

fn subject(clock: Clock) -> Subject {
    let (sender, events) = event_channel(4, 64, Duration::from_secs(5));
    Subject {
        engine: Memory::new(sender).into_engine(),
        events,
        clock,
    }
}

async fn paused() -> Subject {
    subject(Clock::Paused)
}

async fn real() -> Subject {
    subject(Clock::Real)
}

engine_contract!(
    crate::engine::memory::tests::paused,
    tokio::test(start_paused = true),
    publish,
    idempotency,
    version,
    history,
    announce,
    presence,
    lifecycle,
);
engine_contract!(
    crate::engine::memory::tests::real,
    tokio::test(flavor = "multi_thread", worker_threads = 4),
    concurrency,
);

proptest! {
    #[test]
    fn history_agrees_with_a_naive_model(steps in contract::model::steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut subject = paused().await;
            contract::model::history_agrees_with_a_naive_model(&mut subject, steps).await;
        });
    }
}

/// An engine with one event queue of this capacity.
fn memory(capacity: usize) -> (Memory, EventReceiver) {
    let (sender, mut events) = event_channel(1, capacity, Duration::from_secs(5));
    (Memory::new(sender), events.remove(0))
}

fn kept(ttl: u64, meta_ttl: u64) -> PublishOptions {
    PublishOptions {
        history_size: 10,
        history_ttl: Duration::from_secs(ttl),
        history_meta_ttl: Duration::from_secs(meta_ttl),
        ..PublishOptions::default()
    }
}

fn keyed(key: String, ttl: u64) -> PublishOptions {
    PublishOptions {
        idempotency_key: Some(key),
        idempotent_result_ttl: Duration::from_secs(ttl),
        ..PublishOptions::default()
    }
}

async fn publish(memory: &Memory, channel: &str, options: &PublishOptions) {
    let publication = Publication::default();
    let channel = Channel::from(channel);
    memory
        .publish(&channel, publication, options)
        .await
        .unwrap();
}

/// Streams, results and queue items held; publications held.
fn held(memory: &Memory) -> (usize, usize) {
    let shards = memory.shared.state.iter().map(|shard| {
        let state = shard.lock();
        let keys = state.streams.len() + state.results.len();
        (keys, state.streams.entries())
    });
    shards.fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
}

/// Lets the sweeping task run through `seconds` ticks.
async fn sweep(seconds: u64) {
    for _ in 0..seconds {
        advance(Duration::from_secs(1)).await;
        for _ in 0..64 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_without_history_and_key_keeps_no_state() {
    let (memory, _events) = memory(4096);
    for number in 0..1000 {
        let channel = format!("channel{number}");
        publish(&memory, &channel, &PublishOptions::default()).await;
    }
    assert_eq!(held(&memory), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn expired_publications_are_given_back_before_their_stream() {
    let (memory, _events) = memory(4096);
    for number in 0..2000 {
        publish(&memory, &format!("channel{number}"), &kept(2, 10)).await;
    }
    assert_eq!(held(&memory).1, 2000);
    sweep(4).await;
    let (keys, entries) = held(&memory);
    assert_eq!(entries, 0);
    // Every stream has its item of the queue and, its life having been shortened after creation, at most one more.
    assert!((4000..=6000).contains(&keys), "{keys} held");
    sweep(8).await;
    assert_eq!(held(&memory), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_use_holds_a_bounded_number_of_queue_items() {
    let (memory, mut events) = memory(16);
    for number in 0..500 {
        publish(&memory, "busy", &kept(2 + number % 7, 60)).await;
        events.recv().await.unwrap();
        sweep(1).await;
    }
    let (keys, entries) = held(&memory);
    assert_eq!(entries, 10);
    assert!(keys < 16, "{keys} held");
}

#[tokio::test(start_paused = true)]
async fn a_stream_created_anew_before_the_sweep_expires_again() {
    let (memory, _events) = memory(16);
    publish(&memory, "channel", &kept(1, 1)).await;
    // Past the deadlines, but the sweeping task has had no turn.
    advance(Duration::from_secs(2)).await;
    publish(&memory, "channel", &kept(3, 5)).await;
    sweep(1).await;
    assert_eq!(held(&memory).1, 1);
    sweep(3).await;
    assert_eq!(held(&memory).1, 0);
    sweep(5).await;
    assert_eq!(held(&memory), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn idempotency_results_are_given_back() {
    let (memory, _events) = memory(4096);
    for number in 0..1000 {
        publish(&memory, "channel", &keyed(format!("key{number}"), 5)).await;
    }
    assert_eq!(held(&memory).0, 2000);
    sweep(7).await;
    assert_eq!(held(&memory), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn presence_of_an_empty_channel_is_given_back() {
    let (memory, _events) = memory(16);
    let channel = Channel::from("channel");
    let info = Arc::new(ClientInfo {
        client: ClientId::from("1"),
        ..ClientInfo::default()
    });
    memory.add(&channel, &info).await.unwrap();
    memory.remove(&channel, &info.client).await.unwrap();
    let mut shards = memory.shared.presence.iter();
    assert!(shards.all(|shard| shard.lock().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_full_event_queue_fails_the_publish_and_appends_nothing() {
    let (memory, mut events) = memory(1);
    let channel = Channel::from("channel");
    let options = kept(60, 600);
    publish(&memory, "channel", &options).await;
    let refused = memory
        .publish(&channel, Publication::default(), &options)
        .await;
    assert!(matches!(refused, Err(Error::Overloaded(_))));
    let read = |memory: &Memory| {
        let query = HistoryQuery::default();
        let (channel, memory) = (channel.clone(), memory.shared.clone());
        let mut state = memory.state.lock(&channel);
        let history = state
            .streams
            .read(tokio::time::Instant::now(), &channel, &query);
        history.unwrap().position.offset
    };
    assert_eq!(read(&memory), 1);
    // A slot that comes free within the time limit is used.
    let (published, _) = tokio::join!(
        memory.publish(&channel, Publication::default(), &options),
        async {
            advance(Duration::from_secs(4)).await;
            events.recv().await
        }
    );
    assert_eq!(published.unwrap().position.offset, 2);
}

#[tokio::test(start_paused = true)]
async fn a_suppressed_publish_gives_its_slot_back() {
    let (memory, mut events) = memory(1);
    publish(&memory, "channel", &keyed("key".to_owned(), 60)).await;
    events.recv().await.unwrap();
    for _ in 0..3 {
        publish(&memory, "channel", &keyed("key".to_owned(), 60)).await;
    }
    publish(&memory, "channel", &PublishOptions::default()).await;
    assert!(events.try_recv().is_ok());
    assert!(events.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn closing_ends_the_sweeping_task() {
    let (memory, _events) = memory(1);
    let weak = Arc::downgrade(&memory.shared);
    timeout(Duration::from_secs(1), memory.close())
        .await
        .unwrap();
    drop(memory);
    assert!(weak.upgrade().is_none());
}
