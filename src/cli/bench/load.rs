//! The load: sessions that subscribe and count, and publishers that pace. Everything is shared through one [`Run`].

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    api::{Post, Publisher},
    count::{Latencies, Tracker},
    mark::{Mark, Marks},
    plan::Plan,
    progress::Progress,
    target::{Error, Session},
};

/// Refused calls in a row after which publishing is given up.
const PATIENCE: usize = 100;
/// How often the coordinator looks.
const LOOK: Duration = Duration::from_millis(50);

/// What one subscription saw.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) channel: usize,
    pub(super) tracker: Tracker,
}

/// What all subscriptions of one session saw.
pub(super) type Ledger = Arc<Mutex<Vec<Seen>>>;

/// What is shared while a measurement runs.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) plan: Plan,
    pub(super) marks: Marks,
    /// Names of the channels; new ones for each run.
    pub(super) channels: Vec<Arc<str>>,
    begun: Instant,
    /// From the call of the publisher to the receiver.
    pub(super) latencies: Latencies,
    /// Of opening a session with its subscriptions.
    pub(super) connects: Latencies,
    /// Of publish calls.
    pub(super) calls: Latencies,
    /// Publications that came for the first time.
    pub(super) received: AtomicU64,
    /// Numbers given so far, a channel.
    published: Vec<AtomicU64>,
    /// Publications that were refused: nobody has to get them.
    refused: Mutex<BTreeSet<(usize, u64)>>,
    /// Sessions that ended by themselves, and why the first did.
    pub(super) ended: Mutex<(usize, Option<String>)>,
}

/// Whether everything arrived: the sum of all ledgers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counted {
    pub(super) expected: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) reordered: u64,
}

/// A client of the load, connected and subscribed.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) session: Session,
    pub(super) ledger: Ledger,
    /// Epoch of the first channel.
    pub(super) epoch: String,
}

impl Run {
    pub(super) fn new(plan: Plan) -> Self {
        let run: u32 = rand::random();
        let name = |index| match plan.channels {
            1 => format!("{}-{run:08x}", plan.channel),
            _ => format!("{}-{run:08x}-{index}", plan.channel),
        };
        Self {
            marks: Marks::new(run, plan.size),
            channels: (0..plan.channels)
                .map(|index| Arc::from(name(index)))
                .collect(),
            begun: Instant::now(),
            latencies: Latencies::default(),
            connects: Latencies::default(),
            calls: Latencies::default(),
            received: AtomicU64::new(0),
            published: (0..plan.channels).map(|_| AtomicU64::new(0)).collect(),
            refused: Mutex::default(),
            ended: Mutex::default(),
            plan,
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes the marks of a message.
    pub(super) fn take(&self, message: &[u8], ledger: &Ledger, latencies: &Latencies) {
        let mut found = self.marks.find(message).peekable();
        if found.peek().is_none() {
            return;
        }
        let (now, mut ledger) = (self.now(), ledger.lock());
        for Mark {
            channel,
            number,
            sent,
        } in found
        {
            let seen = ledger.iter_mut().find(|seen| seen.channel == channel);
            if seen.is_some_and(|seen| seen.tracker.take(number)) {
                self.received.fetch_add(1, Relaxed);
                latencies.add(now.saturating_sub(sent));
            }
        }
    }

    /// Numbers given so far in all channels.
    pub(super) fn given(&self) -> u64 {
        self.published
            .iter()
            .map(|channel| channel.load(Relaxed))
            .sum()
    }

    /// Numbers given so far in a channel.
    pub(super) fn published(&self, channel: usize) -> u64 {
        self.published[channel].load(Relaxed)
    }

    /// Which channels a session subscribes to.
    fn channels_of(&self, session: usize) -> impl Iterator<Item = usize> + use<> {
        let (each, all) = (self.plan.subscriptions, self.plan.channels);
        (0..each.min(all)).map(move |index| (session * each + index) % all)
    }

    /// Opens a session and subscribes.
    pub(super) async fn subscriber(
        &self,
        session: usize,
        line: Option<&tonic::transport::Channel>,
    ) -> Result<Subscriber, Error> {
        let start = Instant::now();
        let mut open = self.plan.target.open(line).await?;
        let (ledger, mut epoch) = (Ledger::default(), String::new());
        for channel in self.channels_of(session) {
            let tracker = Tracker::from(self.published(channel));
            ledger.lock().push(Seen { channel, tracker });
            let take = |message: &[u8]| self.take(message, &ledger, &self.latencies);
            let result = open.subscribe(&self.channels[channel], None, take).await?;
            epoch = result.epoch;
        }
        self.connects.add(nanoseconds(start.elapsed()));
        Ok(Subscriber {
            session: open,
            ledger,
            epoch,
        })
    }

    /// Opens all sessions, a few at a time.
    pub(super) async fn connect(&self, progress: &Progress) -> Result<Vec<Subscriber>, Error> {
        let lines = self.lines().await?;
        let open = |session: usize| {
            let line = lines.get(session / self.plan.streams);
            async move { self.subscriber(session, line).await }
        };
        let mut opening = stream::iter(0..self.plan.connections)
            .map(open)
            .buffer_unordered(self.plan.concurrency);
        let mut subscribers = Vec::with_capacity(self.plan.connections);
        while let Some(subscriber) = opening.next().await {
            subscribers.push(subscriber?);
            progress.step(subscribers.len());
        }
        Ok(subscribers)
    }

    /// HTTP/2 connections, when several streams share one.
    async fn lines(&self) -> Result<Vec<tonic::transport::Channel>, Error> {
        let plan = &self.plan;
        if plan.streams < 2 {
            return Ok(Vec::new());
        }
        let mut lines = Vec::new();
        for _ in 0..plan.connections.div_ceil(plan.streams) {
            lines.push(plan.target.channel().await?);
        }
        Ok(lines)
    }

    /// Reads until the session ends, which is noted. Each read is counted among the latencies that are asked for then.
    pub(super) async fn follow<'l>(
        &self,
        mut session: Session,
        ledger: &Ledger,
        latencies: impl Fn() -> &'l Latencies,
    ) {
        let error = loop {
            let take = |message: &[u8]| self.take(message, ledger, latencies());
            if let Err(error) = session.read(take).await {
                break error;
            }
        };
        let mut ended = self.ended.lock();
        ended.0 += 1;
        ended.1.get_or_insert_with(|| error.to_string());
    }

    /// Follows with each subscriber in a task of its own.
    pub(super) fn follow_all(
        self: &Arc<Self>,
        subscribers: Vec<Subscriber>,
        readers: &mut JoinSet<()>,
    ) -> Vec<Ledger> {
        let follow = |subscriber: Subscriber| {
            let (run, ledger) = (self.clone(), subscriber.ledger.clone());
            readers.spawn(async move {
                run.follow(subscriber.session, &subscriber.ledger, || &run.latencies)
                    .await;
            });
            ledger
        };
        subscribers.into_iter().map(follow).collect()
    }

    /// Publishes as planned, in turn into all channels: paced, or each call as soon as the one before is answered.
    pub(super) async fn publish(
        &self,
        publisher: &mut Publisher,
        progress: &Progress,
    ) -> Result<(), Error> {
        let (start, batch) = (Instant::now(), self.plan.batch as u64);
        let (mut done, mut failures) = (0, 0);
        while done < self.plan.publications {
            if let Some(rate) = self.plan.rate {
                #[expect(clippy::cast_precision_loss, reason = "counts of publications")]
                let due = Duration::from_secs_f64(done as f64 / rate);
                sleep_until(start + due).await;
            }
            let count = batch.min(self.plan.publications - done);
            match self.publish_once(publisher, done..done + count).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    if failures == PATIENCE || self.received.load(Relaxed) == 0 {
                        return Err(error);
                    }
                }
            }
            done += count;
            progress.step(usize::try_from(done).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// One call with these publications of the run.
    async fn publish_once(
        &self,
        publisher: &mut Publisher,
        which: std::ops::Range<u64>,
    ) -> Result<(), Error> {
        let mut numbers = Vec::new();
        let sent = self.now();
        let posts = which.map(|index| {
            let channel = usize::try_from(index).unwrap_or(0) % self.channels.len();
            let number = self.published[channel].fetch_add(1, Relaxed);
            numbers.push((channel, number));
            Post {
                channel: self.channels[channel].clone(),
                payload: self.marks.payload(Mark {
                    channel,
                    number,
                    sent,
                }),
            }
        });
        let posts = posts.collect();
        let start = Instant::now();
        let published = publisher.publish(posts).await;
        self.calls.add(nanoseconds(start.elapsed()));
        if published.is_err() {
            self.refused.lock().extend(numbers);
        }
        published
    }

    /// Publications that the server refused.
    pub(super) fn refusals(&self) -> usize {
        self.refused.lock().len()
    }

    /// Waits until everything came, or nothing more comes for the time of `--quiet`.
    pub(super) async fn settle(&self, ledgers: &[Ledger]) {
        let mut last = (self.received.load(Relaxed), Instant::now());
        loop {
            if self.sum(ledgers).lost == 0 || last.1.elapsed() > self.plan.quiet {
                return;
            }
            sleep(LOOK).await;
            let received = self.received.load(Relaxed);
            if received != last.0 {
                last = (received, Instant::now());
            }
        }
    }

    /// Adds everything up.
    pub(super) fn sum(&self, ledgers: &[Ledger]) -> Counted {
        let (mut sum, refused) = (Counted::default(), self.refused.lock());
        for ledger in ledgers {
            for Seen { channel, tracker } in &*ledger.lock() {
                let published = self.published(*channel);
                let excused = refused
                    .range((*channel, 0)..=(*channel, u64::MAX))
                    .filter(|(_, number)| tracker.misses(*number))
                    .count() as u64;
                sum.expected += published.saturating_sub(tracker.first()) - excused;
                sum.lost += tracker.lost(published) - excused;
                sum.doubled += tracker.doubled;
                sum.reordered += tracker.reordered;
            }
        }
        sum
    }
}

/// For counters.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
