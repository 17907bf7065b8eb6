//! One lane: the task that owns the sequences of a part of the channels and carries out their steps, one after the other.
//!
//! The single writer of its channels (engines.md 8.6 J): what PUB/SUB brings and what history answers leave through here, in the
//! order the sequence gave them. It waits while the node's queues are full, and then nothing more is taken from the network.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Forks, Input, Metrics, Return, Source,
    reads::{Answer, Key, Read, Reads, Swept},
    reason::Reason,
    sequence::{Sequence, Step},
};
use crate::{
    engine::{Error, Event, EventSender},
    model::{Channel, ChannelEvent},
};

/// Pause between two sweeps.
const SWEEP: Duration = Duration::from_secs(10);
/// Pause after a sweep that failed.
const AGAIN: Duration = Duration::from_millis(200);
/// How long a publication whose offset was read may be under way.
const GRACE: Duration = Duration::from_millis(200);
/// Pause between two log lines about losses.
const LOG: Duration = Duration::from_secs(1);

/// One channel.
#[derive(Debug)]
struct Entry {
    generation: u64,
    sequence: Sequence,
    /// When the present gap was found.
    broken: Option<Instant>,
}

/// The sequences of a part of the channels.
pub(super) struct Lane<S> {
    entries: HashMap<Channel, Entry>,
    generations: u64,
    reads: Reads<S>,
    events: EventSender,
    forks: Arc<Forks>,
    metrics: Arc<Metrics>,
    /// Channels somebody read an unknown top of, and when they are looked at again.
    suspects: HashSet<Channel>,
    confirm: Option<Instant>,
    next_sweep: Instant,
    /// The newest return of PUB/SUB, while the sweep after it is not over.
    again: Option<Arc<Return>>,
    losses: Losses,
    /// Reused for every input.
    steps: Vec<Step>,
}

/// Losses since the last log line.
#[derive(Debug, Default)]
struct Losses {
    logged: Option<Instant>,
    since: u64,
}

/// The node is gone.
struct Gone;

/// [`Event::Channel`] or [`Event::Late`].
type Kind = fn(Channel, ChannelEvent) -> Event;

impl<S: Source> Lane<S> {
    pub(super) fn new(
        reads: Reads<S>,
        events: EventSender,
        (forks, metrics): (Arc<Forks>, Arc<Metrics>),
    ) -> Self {
        Self {
            entries: HashMap::new(),
            generations: 0,
            reads,
            events,
            forks,
            metrics,
            suspects: HashSet::new(),
            confirm: None,
            next_sweep: Instant::now() + SWEEP,
            again: None,
            losses: Losses::default(),
            steps: Vec::new(),
        }
    }

    /// Works until nobody can tell it anything any more, or the node is gone.
    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        while self.turn(&mut inputs).await.is_ok() {}
        for entry in self.entries.values() {
            self.metrics.held.sub(count(entry.sequence.held()));
        }
    }

    async fn turn(&mut self, inputs: &mut mpsc::Receiver<Input>) -> Result<(), Gone> {
        let confirm = self.confirm;
        let confirmed = async {
            match confirm {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        // Every branch is cancel safe: a channel, futures that are kept, and moments.
        tokio::select! {
            input = inputs.recv() => self.input(input.ok_or(Gone)?).await,
            read = self.reads.next() => self.read(read).await,
            () = confirmed => self.confirm().await,
            () = sleep_until(self.next_sweep) => {
                self.sweep();
                Ok(())
            }
        }
    }

    async fn input(&mut self, input: Input) -> Result<(), Gone> {
        match input {
            Input::Event(channel, ChannelEvent::Publication(publication, epoch)) => {
                if !self.entries.contains_key(&channel) {
                    // The last subscriber has just gone.
                    let event = ChannelEvent::Publication(publication, epoch);
                    return self.send(&channel, Event::Channel, event).await;
                }
                let stepped = self.step(&channel, Event::Channel, |sequence, out| {
                    sequence.publication(publication, epoch, out);
                });
                stepped.await
            }
            Input::Event(channel, event) => self.send(&channel, Event::Channel, event).await,
            Input::Subscribed(channel) => {
                self.subscribe(channel);
                Ok(())
            }
            Input::Unsubscribed(channel) => {
                self.suspects.remove(&channel);
                if let Some(entry) = self.entries.remove(&channel) {
                    self.metrics.held.sub(count(entry.sequence.held()));
                }
                Ok(())
            }
            Input::Observed(channel, top, answer) => {
                let mut usable = true;
                let stepped = self.step(&channel, Event::Channel, |sequence, out| {
                    usable = sequence.observed(&top, out);
                });
                stepped.await?;
                self.suspect(&channel);
                // Whoever asked may have gone.
                let _gone = answer.send(usable);
                Ok(())
            }
            Input::Reconnected(again) => {
                self.again = Some(again);
                self.sweep();
                Ok(())
            }
        }
    }

    fn subscribe(&mut self, channel: Channel) {
        self.generations += 1;
        let generation = self.generations;
        self.entries.entry(channel).or_insert_with(|| Entry {
            generation,
            sequence: Sequence::default(),
            broken: None,
        });
    }

    async fn read(&mut self, read: Read) -> Result<(), Gone> {
        match read {
            Read::Answer(Answer {
                key,
                ticket,
                history,
            }) if self.is_current(&key) => {
                // What was missed, and what was held meanwhile.
                let stepped = self.step(&key.channel, Event::Late, |sequence, out| {
                    sequence.answer(ticket, history, out);
                });
                stepped.await
            }
            Read::Answer(_) => Ok(()),
            Read::Swept(streams) => self.swept(streams).await,
            Read::SweepFailed(error) => {
                tracing::debug!(%error, "the tops of streams cannot be read");
                self.next_sweep = Instant::now() + AGAIN;
                Ok(())
            }
        }
    }

    /// Begins to compare the tops of all streams.
    fn sweep(&mut self) {
        self.next_sweep = Instant::now() + SWEEP;
        if self.reads.is_sweeping() && self.again.is_none() {
            return;
        }
        let streams = self.entries.iter().filter_map(|(channel, entry)| {
            let key = Key {
                channel: channel.clone(),
                generation: entry.generation,
            };
            Some((key, entry.sequence.position()?.clone()))
        });
        self.reads.sweep(streams.collect());
    }

    async fn swept(&mut self, streams: Vec<Swept>) -> Result<(), Gone> {
        // After a reconnect nothing is under way that could still arrive: what is missing was lost.
        let again = self.again.take();
        let now = again.is_some();
        for Swept { key, asked, top } in streams {
            if self.is_current(&key) {
                let swept = self.step(&key.channel, Event::Channel, |sequence, out| {
                    sequence.swept(&asked, top, now, out);
                });
                swept.await?;
                self.suspect(&key.channel);
            }
        }
        self.metrics.sweeps.inc();
        if let Some(again) = again {
            again.checked();
        }
        Ok(())
    }

    fn suspect(&mut self, channel: &Channel) {
        let entry = self.entries.get(channel);
        if entry.is_some_and(|entry| entry.sequence.is_suspect()) {
            self.suspects.insert(channel.clone());
            self.confirm.get_or_insert(Instant::now() + GRACE);
        }
    }

    async fn confirm(&mut self) -> Result<(), Gone> {
        self.confirm = None;
        for channel in std::mem::take(&mut self.suspects) {
            self.step(&channel, Event::Channel, Sequence::confirm)
                .await?;
        }
        Ok(())
    }

    fn is_current(&self, key: &Key) -> bool {
        self.entries
            .get(&key.channel)
            .is_some_and(|entry| entry.generation == key.generation)
    }

    /// Gives a sequence its input and carries out what it says; what it passes on becomes an event of this kind.
    async fn step(
        &mut self,
        channel: &Channel,
        kind: Kind,
        input: impl FnOnce(&mut Sequence, &mut Vec<Step>),
    ) -> Result<(), Gone> {
        let mut steps = std::mem::take(&mut self.steps);
        if let Some(entry) = self.entries.get_mut(channel) {
            let held = count(entry.sequence.held());
            input(&mut entry.sequence, &mut steps);
            self.metrics.held.add(count(entry.sequence.held()) - held);
        }
        for step in steps.drain(..) {
            self.carry_out(channel, kind, step).await?;
        }
        self.steps = steps;
        Ok(())
    }

    async fn carry_out(&mut self, channel: &Channel, kind: Kind, step: Step) -> Result<(), Gone> {
        if let Step::Pass(event) = step {
            return self.send(channel, kind, event).await;
        }
        let Some(entry) = self.entries.get_mut(channel) else {
            return Ok(());
        };
        match step {
            Step::Pass(_) => {}
            Step::Read(ticket, since) => {
                let key = Key {
                    channel: channel.clone(),
                    generation: entry.generation,
                };
                self.reads.repair(key, ticket, since);
            }
            Step::Gap => {
                self.metrics.gaps.inc();
                entry.broken = Some(Instant::now());
            }
            Step::Repaired => {
                self.metrics.repaired.inc();
                if let Some(since) = entry.broken.take() {
                    self.metrics.duration.observe(since.elapsed().as_secs_f64());
                }
            }
            Step::Declared(reason) => {
                entry.broken = None;
                if let Some(common) = entry.sequence.common().filter(|_| reason.is_fork()) {
                    self.forks.found(channel, common);
                }
                self.metrics.insufficient(reason).inc();
                self.losses.log(channel, reason);
            }
        }
        Ok(())
    }

    /// Waits as long as it takes: nothing is dropped between engine and hub.
    async fn send(
        &mut self,
        channel: &Channel,
        kind: Kind,
        event: ChannelEvent,
    ) -> Result<(), Gone> {
        loop {
            match self.events.reserve(channel).await {
                Ok(slot) => {
                    slot.send(kind(channel.clone(), event));
                    return Ok(());
                }
                Err(Error::Overloaded(_)) => {
                    tracing::warn!("the node does not keep up with what arrives");
                }
                Err(_closed) => return Err(Gone),
            }
        }
    }
}

impl Losses {
    /// One line a second says how many channels lost something, and why the last one did.
    fn log(&mut self, channel: &Channel, reason: Reason) {
        self.since += 1;
        let now = Instant::now();
        if self.logged.is_some_and(|logged| now < logged + LOG) {
            tracing::debug!(%channel, reason = reason.name(), "publications were lost");
            return;
        }
        self.logged = Some(now);
        tracing::warn!(
            %channel,
            reason = reason.name(),
            channels = std::mem::take(&mut self.since),
            "publications were lost: positioned subscribers are told to recover"
        );
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
