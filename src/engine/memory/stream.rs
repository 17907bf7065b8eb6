//! Streams: a ring of publications per channel with offset, epoch, version and two lives (engines.md 1.3 and 2).
//!
//! Rules of time are kept on every access, to the instant; sweeping only gives memory back. Never locks and never sends.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::deadlines::{self, Deadlines};
use crate::{
    engine::{Error, History, HistoryQuery, PublishOptions, new_epoch},
    model::{Channel, Epoch, Publication, StreamPosition},
};

/// Publications of a stream; offsets are consecutive and end at the top.
pub(super) type Entries = VecDeque<Arc<Publication>>;

/// What became of a publication.
pub(super) enum Appended {
    /// It is the new top.
    Accepted(Arc<Publication>, StreamPosition),
    /// A newer or equal version is there; the present top.
    Suppressed(StreamPosition),
}

/// The streams of one shard.
#[derive(Debug, Default)]
pub(super) struct Streams {
    by_channel: HashMap<Channel, Stream>,
    /// At least one item per stream, at or before its next deadline.
    deadlines: Deadlines<Channel>,
}

#[derive(Debug)]
struct Stream {
    epoch: Epoch,
    /// Offset of the newest publication ever accepted.
    top: u64,
    entries: Entries,
    /// Version and its epoch as of the last accepted publish that had one.
    version: Option<(u64, String)>,
    /// When the entries go; counts only while there are some.
    expire_at: Instant,
    /// When offset and epoch go.
    forget_at: Instant,
    /// Deadline of the earliest item of this stream in the queue.
    queued_at: Instant,
}

impl Streams {
    /// Appends a publication, unless its version is not newer than the one that is there.
    pub(super) fn append(
        &mut self,
        now: Instant,
        channel: &Channel,
        mut publication: Publication,
        options: &PublishOptions,
    ) -> Appended {
        let stream = self.live(now, channel, options.meta_ttl());
        if stream.has_version(publication.version, &options.version_epoch) {
            return Appended::Suppressed(stream.position());
        }
        if publication.version > 0 {
            stream.version = Some((publication.version, options.version_epoch.clone()));
        }
        stream.top += 1;
        publication.offset = stream.top;
        // Only the first publication tells the epoch to subscribers that saw an empty stream (client-protocol.md 1.6).
        publication.epoch = if stream.top == 1 {
            stream.epoch.clone()
        } else {
            Epoch::default()
        };
        let publication = Arc::new(publication);
        let previous = match stream.entries.back() {
            Some(previous) if options.use_delta => Some(previous.data.clone()),
            _ => None,
        };
        stream.entries.push_back(Arc::clone(&publication));
        let surplus = stream.entries.len().saturating_sub(options.history_size);
        stream.entries.drain(..surplus);
        stream.expire_at = deadlines::after(now, options.ttl());
        stream.forget_at = deadlines::after(now, options.meta_ttl());
        let position = stream.position();
        self.schedule(channel);
        // What is kept does not hold on to what was before it.
        let publication = match previous {
            None => publication,
            previous => Arc::new(Publication {
                previous,
                ..(*publication).clone()
            }),
        };
        Appended::Accepted(publication, position)
    }

    /// Reads a part of a stream; creates the stream when there is none.
    pub(super) fn read(
        &mut self,
        now: Instant,
        channel: &Channel,
        query: &HistoryQuery,
    ) -> Result<History, Error> {
        let meta_ttl = query.meta_ttl();
        let stream = self.live(now, channel, meta_ttl);
        stream.forget_at = deadlines::after(now, meta_ttl);
        let position = stream.position();
        let result = match &query.since {
            Some(since) if !since.epoch.is_empty() && since.epoch != position.epoch => {
                Err(Error::UnrecoverablePosition(position))
            }
            _ => Ok(History {
                publications: stream.select(query),
                position,
            }),
        };
        self.schedule(channel);
        result
    }

    /// Takes the publications out of a stream; offset, epoch and version stay.
    pub(super) fn clear(&mut self, now: Instant, channel: &Channel) -> Option<Entries> {
        let stream = self.by_channel.get_mut(channel)?;
        (stream.forget_at > now).then(|| std::mem::take(&mut stream.entries))
    }

    /// Handles at most `batch` deadlines. Entries that are not kept any more go to `garbage`, to be freed outside the lock.
    /// True when there may be more to do.
    pub(super) fn sweep(&mut self, now: Instant, batch: usize, garbage: &mut Vec<Entries>) -> bool {
        for _ in 0..batch {
            let Some((at, channel)) = self.deadlines.pop_due(now) else {
                deadlines::give_back(&mut self.by_channel);
                self.deadlines.give_back();
                return false;
            };
            self.settle(now, at, channel, garbage);
        }
        true
    }

    /// One stream whose queued deadline `at` has come: forget it, expire its entries, or look again later.
    fn settle(&mut self, now: Instant, at: Instant, channel: Channel, garbage: &mut Vec<Entries>) {
        let Some(stream) = self.by_channel.get_mut(&channel) else {
            return;
        };
        if stream.forget_at <= now {
            if let Some(stream) = self.by_channel.remove(&channel) {
                garbage.push(stream.entries);
            }
            return;
        }
        garbage.extend(stream.expire(now));
        // An item queued later stands in for this one when a deadline had moved to an earlier time.
        if stream.queued_at == at {
            stream.queued_at = stream.next_deadline();
            self.deadlines.push(stream.queued_at, channel);
        }
    }

    /// The stream of a channel as of `now`; a new one when there is none or its life is over.
    fn live(&mut self, now: Instant, channel: &Channel, meta_ttl: Duration) -> &mut Stream {
        let forget_at = deadlines::after(now, meta_ttl);
        let deadlines = &mut self.deadlines;
        let stream = self.by_channel.entry(channel.clone()).or_insert_with(|| {
            deadlines.push(forget_at, channel.clone());
            Stream::new(forget_at)
        });
        if stream.forget_at <= now {
            // Its items in the queue stay good: they are due and settle to the new deadlines.
            let queued_at = stream.queued_at;
            *stream = Stream::new(forget_at);
            stream.queued_at = queued_at;
        }
        stream.expire(now);
        stream
    }

    /// Queues the stream's next deadline when no item comes early enough.
    fn schedule(&mut self, channel: &Channel) {
        if let Some(stream) = self.by_channel.get_mut(channel) {
            let next = stream.next_deadline();
            if next < stream.queued_at {
                stream.queued_at = next;
                self.deadlines.push(next, channel.clone());
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_channel.len() + self.deadlines.len()
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.by_channel.values().map(|s| s.entries.len()).sum()
    }
}

impl Stream {
    fn new(forget_at: Instant) -> Self {
        Self {
            epoch: new_epoch(),
            top: 0,
            entries: Entries::new(),
            version: None,
            expire_at: forget_at,
            forget_at,
            queued_at: forget_at,
        }
    }

    fn position(&self) -> StreamPosition {
        StreamPosition {
            offset: self.top,
            epoch: self.epoch.clone(),
        }
    }

    /// True when this version, or a newer one of the same version epoch, was accepted before (engines.md 1.3 rule 5).
    fn has_version(&self, version: u64, version_epoch: &str) -> bool {
        version > 0
            && self.version.as_ref().is_some_and(|(stored, epoch)| {
                (version_epoch.is_empty() || version_epoch == epoch) && version <= *stored
            })
    }

    fn expire(&mut self, now: Instant) -> Option<Entries> {
        (!self.entries.is_empty() && self.expire_at <= now)
            .then(|| std::mem::take(&mut self.entries))
    }

    fn next_deadline(&self) -> Instant {
        if self.entries.is_empty() {
            self.forget_at
        } else {
            self.forget_at.min(self.expire_at)
        }
    }

    /// The asked part of the retained publications (engines.md 1.5).
    fn select(&self, query: &HistoryQuery) -> Vec<Arc<Publication>> {
        let limit = query.limit.unwrap_or(usize::MAX);
        let since = query.since.as_ref().map(|since| since.offset);
        if query.reverse {
            // `since` itself and everything above it is left out; above the top that is nothing.
            let end = since.map_or(self.entries.len(), |offset| {
                self.index(offset).min(self.entries.len())
            });
            return self
                .entries
                .range(..end)
                .rev()
                .take(limit)
                .cloned()
                .collect();
        }
        let start = since.map_or(0, |offset| self.index(offset.saturating_add(1)));
        let start = start.min(self.entries.len());
        self.entries.range(start..).take(limit).cloned().collect()
    }

    /// Where an offset stands among the entries, 0 when it was trimmed; may be past the end.
    fn index(&self, offset: u64) -> usize {
        let first = self.top + 1 - self.entries.len() as u64;
        usize::try_from(offset.saturating_sub(first)).unwrap_or(usize::MAX)
    }
}
