//! Per-channel batching: pushes of a subscription wait for each other, a short while and up to a number (client-protocol.md 5.12).
//!
//! What is held has been accepted: it is written before anything that ends the subscription or the connection, except the end
//! of a connection that reads too slowly. Order is kept.

use std::time::Instant;

use super::{Effect, Effects, Session, subscription::State as Sub};
use crate::model::{Batch, Disconnect, Now, SubscriptionKey};

/// A batch of so many bytes is written whatever the options say.
const MAX_BYTES: usize = 16 * 1024;

/// Pushes that wait.
#[derive(Debug)]
pub(super) struct Held {
    pushes: Vec<Pushed>,
    bytes: usize,
    /// When they are written at the latest.
    due: Instant,
}

/// A push on its way out.
#[derive(Debug)]
pub(super) struct Pushed {
    /// What writes it.
    pub(super) effect: Effect,
    /// Bytes it counts for.
    pub(super) size: usize,
    /// A publication, which a newer one may replace.
    pub(super) is_publication: bool,
}

impl Held {
    fn add(&mut self, pushed: Pushed, batch: Batch) {
        if batch.flush_latest && pushed.is_publication {
            self.pushes.retain(|older| !older.is_publication);
            self.bytes = self.pushes.iter().map(|older| older.size).sum();
        }
        self.bytes += pushed.size;
        self.pushes.push(pushed);
    }

    fn is_full(&self, batch: Batch) -> bool {
        let count = batch.max_size > 0 && self.pushes.len() >= batch.max_size;
        count || self.bytes >= MAX_BYTES
    }
}

impl Session {
    /// Writes a push of a subscription, now or with others.
    pub(super) fn emit(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        pushed: Pushed,
        out: &mut Effects,
    ) {
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        let batch = subscription.options.batch;
        let Sub::Live(live) = &mut subscription.state else {
            return;
        };
        if batch.max_delay.is_zero() {
            return out.push(pushed.effect);
        }
        let due = now.instant + batch.max_delay;
        let held = live.held.get_or_insert_with(|| {
            Box::new(Held {
                pushes: Vec::new(),
                bytes: 0,
                due,
            })
        });
        held.add(pushed, batch);
        if held.is_full(batch) {
            return self.flush(key, out);
        }
        let due = held.due;
        let first = self.timers.batch.map_or(due, |at| at.min(due));
        self.timers.batch = Some(first);
    }

    /// Writes what waits of one subscription.
    pub(super) fn flush(&mut self, key: SubscriptionKey, out: &mut Effects) {
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        if let Sub::Live(live) = &mut subscription.state
            && let Some(held) = live.held.take()
        {
            out.extend(held.pushes.into_iter().map(|pushed| pushed.effect));
        }
    }

    /// Writes what waits of all subscriptions, unless the client does not read.
    pub(super) fn flush_all(&mut self, why: &Disconnect, out: &mut Effects) {
        if self.timers.batch.take().is_none() || *why == Disconnect::SLOW {
            return;
        }
        for key in self.table.keys() {
            self.flush(key, out);
        }
    }

    /// Time has passed: writes the batches that are due.
    pub(super) fn flush_due(&mut self, now: Now, out: &mut Effects) {
        let mut next: Option<Instant> = None;
        for key in self.table.keys() {
            let Some(subscription) = self.table.get_mut(key) else {
                continue;
            };
            let Sub::Live(live) = &subscription.state else {
                continue;
            };
            let Some(due) = live.held.as_ref().map(|held| held.due) else {
                continue;
            };
            if due <= now.instant {
                self.flush(key, out);
            } else {
                next = Some(next.map_or(due, |at| at.min(due)));
            }
        }
        self.timers.batch = next;
    }
}
