//! What a lane waits for: repairs (a read of history each) and the sweep over the tops of all streams.
//!
//! Owns the futures and their limits: one read a channel, 256 at a time over all lanes, jitter before each so that nodes do not
//! ask at the same moment, back-off while the source does not answer. Decides nothing; never touches a sequence.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use rand::RngExt as _;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{
    Source,
    sequence::{READ, Ticket},
};
use crate::{
    engine::{Error, History},
    model::{Channel, StreamPosition},
};

/// Names a channel's sequence, also across a quick end and return of its subscription.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) channel: Channel,
    pub(super) generation: u64,
}

/// History's answer to one read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) key: Key,
    pub(super) ticket: Ticket,
    pub(super) history: History,
}

/// One channel of a sweep: where it stood when the sweep began, and the top that was found.
#[derive(Debug)]
pub(super) struct Swept {
    pub(super) key: Key,
    pub(super) asked: StreamPosition,
    pub(super) top: Option<StreamPosition>,
}

/// Longest pause before a read.
const JITTER: Duration = Duration::from_millis(20);
/// Longest time of a read.
const LIMIT: Duration = Duration::from_secs(5);
/// Pause after the first failed read; doubled up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Streams whose tops are read together.
const CHUNK: usize = 512;

/// The reads of one lane.
pub(super) struct Reads<S> {
    source: Arc<S>,
    permits: Arc<Semaphore>,
    repairs: FuturesUnordered<BoxFuture<'static, Answer>>,
    sweep: Option<BoxFuture<'static, Result<Vec<Swept>, Error>>>,
}

/// Something was read.
#[derive(Debug)]
pub(super) enum Read {
    /// Missing publications.
    Answer(Answer),
    /// All tops.
    Swept(Vec<Swept>),
    /// The tops could not be read.
    SweepFailed(Error),
}

impl<S: Source> Reads<S> {
    pub(super) fn new(source: Arc<S>, permits: Arc<Semaphore>) -> Self {
        Self {
            source,
            permits,
            repairs: FuturesUnordered::new(),
            sweep: None,
        }
    }

    /// Begins a read of history.
    pub(super) fn repair(&mut self, key: Key, ticket: Ticket, since: StreamPosition) {
        let (source, permits) = (Arc::clone(&self.source), Arc::clone(&self.permits));
        let read = async move {
            let history = read(&*source, &permits, &key.channel, &since).await;
            Answer {
                key,
                ticket,
                history,
            }
        };
        self.repairs.push(read.boxed());
    }

    /// Begins a sweep over these streams, in place of one that may be under way.
    pub(super) fn sweep(&mut self, streams: Vec<(Key, StreamPosition)>) {
        let source = Arc::clone(&self.source);
        self.sweep = Some(async move { sweep(&*source, streams).await }.boxed());
    }

    /// True while a sweep is under way.
    pub(super) const fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// The next thing that was read; waits for ever when nothing is asked. Cancel safe.
    pub(super) async fn next(&mut self) -> Read {
        let Self { repairs, sweep, .. } = self;
        let answer = async {
            match repairs.next().await {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        };
        let swept = async {
            match sweep.as_mut() {
                Some(running) => running.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            answer = answer => Read::Answer(answer),
            swept = swept => {
                self.sweep = None;
                match swept {
                    Ok(swept) => Read::Swept(swept),
                    Err(why) => Read::SweepFailed(why),
                }
            }
        }
    }
}

/// Reads until there is an answer: a source that is away comes back, and what was asked is still wanted then.
async fn read<S: Source>(
    source: &S,
    permits: &Semaphore,
    channel: &Channel,
    since: &StreamPosition,
) -> History {
    sleep(jitter(JITTER)).await;
    let mut pause = PAUSE.0;
    loop {
        let permit = permits.acquire().await;
        let read = timeout(LIMIT, source.history(channel, since, READ)).await;
        drop(permit);
        match read {
            Ok(Ok(history)) => return history,
            Ok(Err(Error::UnrecoverablePosition(position))) => {
                return History {
                    publications: Vec::new(),
                    position,
                };
            }
            Ok(Err(error)) => tracing::debug!(%channel, %error, "history cannot be read"),
            Err(_elapsed) => tracing::debug!(%channel, "history was not read within {LIMIT:?}"),
        }
        sleep(pause + jitter(pause)).await;
        pause = PAUSE.1.min(pause * 2);
    }
}

async fn sweep<S: Source>(
    source: &S,
    streams: Vec<(Key, StreamPosition)>,
) -> Result<Vec<Swept>, Error> {
    let mut swept = Vec::with_capacity(streams.len());
    let mut streams = streams.into_iter().peekable();
    while streams.peek().is_some() {
        let chunk: Vec<_> = streams.by_ref().take(CHUNK).collect();
        let channels: Vec<_> = chunk.iter().map(|(key, _)| key.channel.clone()).collect();
        let tops = timeout(LIMIT, source.tops(&channels))
            .await
            .map_err(|_elapsed| Error::Overloaded(LIMIT))??;
        swept.extend(
            chunk
                .into_iter()
                .zip(tops)
                .map(|((key, asked), top)| Swept { key, asked, top }),
        );
    }
    Ok(swept)
}

fn jitter(most: Duration) -> Duration {
    most.mul_f64(rand::rng().random_range(0.0..1.0))
}
