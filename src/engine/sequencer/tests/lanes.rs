//! The lanes: what waits, how much at a time, and what is counted. The stream behind them is a scripted one, because its
//! slowness and its failures are what is tested; Redis itself is behind them in `tests/it/fault`.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use super::*;
use crate::{
    engine::{
        Error, Event, EventReceiver, event_channel,
        sequencer::{Metrics, Sequencer, Source, sequencer},
    },
    model::Channel,
};

/// A stream of `top` publications in every channel.
struct Streams {
    top: Mutex<Option<StreamPosition>>,
    /// Reads that fail before one succeeds.
    failing: AtomicUsize,
    /// Reads go on as far as there are permits.
    gate: Semaphore,
    reading: AtomicUsize,
    most: AtomicUsize,
}

impl Source for Streams {
    async fn history(
        &self,
        _channel: &Channel,
        since: &StreamPosition,
        limit: usize,
    ) -> Result<History, Error> {
        let reading = self.reading.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(reading, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.reading.fetch_sub(1, Ordering::SeqCst);
        self.answer()?;
        let top = self.top.lock().clone().unwrap();
        Ok(history((since.offset + 1..=top.offset).take(limit), top))
    }

    async fn tops(&self, channels: &[Channel]) -> Result<Vec<Option<StreamPosition>>, Error> {
        self.answer()?;
        Ok(channels.iter().map(|_| self.top.lock().clone()).collect())
    }
}

impl Streams {
    fn answer(&self) -> Result<(), Error> {
        let failing = &self.failing;
        match failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
            Ok(_) => Err(Error::Overloaded(Duration::ZERO)),
            Err(_) => Ok(()),
        }
    }
}

struct Bench {
    streams: Arc<Streams>,
    sequencer: Sequencer,
    events: EventReceiver,
    /// Events that came late.
    late: usize,
    registry: prometheus::Registry,
    tasks: JoinSet<()>,
}

impl Bench {
    fn new(lanes: usize, capacity: usize, gate: usize) -> Self {
        let streams = Arc::new(Streams {
            top: Mutex::new(Some(position(10, "e"))),
            failing: AtomicUsize::new(0),
            gate: Semaphore::new(gate),
            reading: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let (sender, mut events) = event_channel(1, capacity, Duration::from_millis(50));
        let registry = prometheus::Registry::new();
        let metrics = Arc::new(Metrics::new(&registry).unwrap());
        let (sequencer, run) = sequencer(lanes, &streams, &sender, &metrics);
        let mut tasks = JoinSet::new();
        tasks.spawn(run);
        Self {
            streams,
            sequencer,
            events: events.remove(0),
            late: 0,
            registry,
            tasks,
        }
    }

    async fn comes(&self, channel: &str, offset: u64) {
        let event = ChannelEvent::Publication(publication(offset), Epoch::from("e"));
        let told = self.sequencer.event(Channel::from(channel), event);
        told.await.unwrap();
    }

    async fn next(&mut self) -> ChannelEvent {
        let event = timeout(Duration::from_secs(30), self.events.recv()).await;
        match event.expect("an event in time").expect("an open queue") {
            Event::Channel(_, event) => event,
            Event::Late(_, event) => {
                self.late += 1;
                event
            }
            other @ Event::Control(..) => panic!("unexpected {other:?}"),
        }
    }

    async fn offset(&mut self) -> u64 {
        match self.next().await {
            ChannelEvent::Publication(publication, _) => publication.offset,
            other => panic!("unexpected {other:?}"),
        }
    }

    async fn checked(&self, times: f64) {
        let name = "centripetal_sequencer_reconnects_total";
        let checked = async {
            while self.counted(name) < times {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), checked).await.unwrap();
    }

    fn counted(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let metrics = family.unwrap_or_else(|| panic!("no {name}")).get_metric();
        metrics
            .iter()
            .map(|m| m.get_counter().get_value() + m.get_gauge().get_value())
            .sum()
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_publication_is_repaired_and_counted() {
    let mut bench = Bench::new(2, 16, 100);
    let channel = Channel::from("ch");
    bench.sequencer.subscribed(&channel).await.unwrap();
    assert!(
        bench
            .sequencer
            .observed(&channel, position(7, "e"))
            .await
            .unwrap()
    );
    bench.streams.failing.store(3, Ordering::SeqCst);
    bench.comes("ch", 8).await;
    bench.comes("ch", 10).await;
    for offset in [8, 9, 10] {
        assert_eq!(bench.offset().await, offset);
    }
    assert_eq!(bench.late, 2, "what was missed, and what waited for it");
    assert_eq!(bench.counted("centripetal_sequencer_gaps_total"), 1.0);
    assert_eq!(bench.counted("centripetal_sequencer_repaired_total"), 1.0);
    assert_eq!(
        bench.counted("centripetal_sequencer_insufficient_total"),
        0.0
    );
    assert_eq!(
        bench.counted("centripetal_sequencer_held_publications"),
        0.0
    );
}

#[tokio::test(start_paused = true)]
async fn sweeps_find_what_silence_hides_until_the_stream_answers() {
    let mut bench = Bench::new(1, 16, 100);
    let channel = Channel::from("ch");
    bench.sequencer.subscribed(&channel).await.unwrap();
    bench
        .sequencer
        .observed(&channel, position(9, "e"))
        .await
        .unwrap();
    // Nobody says anything: the periodic sweep finds it.
    assert_eq!(bench.offset().await, 10);
    *bench.streams.top.lock() = None;
    bench.streams.failing.store(2, Ordering::SeqCst);
    bench.sequencer.reconnected().await.unwrap();
    assert_eq!(bench.next().await, ChannelEvent::InsufficientState(None));
    assert_eq!(
        bench.counted("centripetal_sequencer_insufficient_total"),
        1.0
    );
    bench.checked(1.0).await;
}

#[tokio::test(start_paused = true)]
async fn so_many_reads_are_under_way_at_a_time_and_not_one_more() {
    let mut bench = Bench::new(2, 4096, 0);
    for n in 0..300 {
        let name = format!("ch{n}");
        let channel = Channel::from(name.as_str());
        bench.sequencer.subscribed(&channel).await.unwrap();
        bench
            .sequencer
            .observed(&channel, position(8, "e"))
            .await
            .unwrap();
        bench.comes(&name, 10).await;
    }
    let streams = Arc::clone(&bench.streams);
    while streams.reading.load(Ordering::SeqCst) < 256 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    streams.gate.add_permits(1000);
    for _ in 0..600 {
        bench.offset().await;
    }
    assert_eq!(streams.most.load(Ordering::SeqCst), 256);
}

#[tokio::test(start_paused = true)]
async fn a_full_event_queue_loses_nothing() {
    let mut bench = Bench::new(1, 1, 100);
    let channel = Channel::from("ch");
    bench.sequencer.subscribed(&channel).await.unwrap();
    bench
        .sequencer
        .observed(&channel, position(0, "e"))
        .await
        .unwrap();
    for offset in 1..=100 {
        bench.comes("ch", offset).await;
    }
    // Longer than a reservation may take.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for offset in 1..=100 {
        assert_eq!(bench.offset().await, offset);
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_subscription_of_the_same_channel_begins_anew() {
    let mut bench = Bench::new(1, 16, 0);
    let channel = Channel::from("ch");
    bench.sequencer.subscribed(&channel).await.unwrap();
    bench.comes("ch", 5).await;
    bench.comes("ch", 7).await;
    assert_eq!(bench.offset().await, 5);
    bench.sequencer.unsubscribed(&channel).await.unwrap();
    bench.comes("ch", 9).await;
    assert_eq!(bench.offset().await, 9, "what nobody sequences passes");
    bench.sequencer.subscribed(&channel).await.unwrap();
    bench.comes("ch", 20).await;
    assert_eq!(bench.offset().await, 20);
    // The answer to the first subscription's read comes now.
    bench.streams.gate.add_permits(1);
    bench.comes("ch", 21).await;
    assert_eq!(bench.offset().await, 21);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_engine_and_with_the_node() {
    let Bench {
        sequencer,
        mut tasks,
        events,
        ..
    } = Bench::new(2, 16, 0);
    drop(sequencer);
    tasks.join_next().await.unwrap().unwrap();
    drop(events);

    let Bench {
        sequencer,
        mut tasks,
        events,
        ..
    } = Bench::new(1, 16, 0);
    drop(events);
    let event = ChannelEvent::Publication(publication(1), Epoch::from("e"));
    sequencer.event(Channel::from("ch"), event).await.unwrap();
    tasks.join_next().await.unwrap().unwrap();
    let channel = Channel::from("ch");
    let observed = sequencer.observed(&channel, position(1, "e")).await;
    assert!(matches!(observed, Err(Error::Closed)));
}
