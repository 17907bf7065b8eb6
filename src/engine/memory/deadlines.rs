//! A queue of keys by deadline, and giving back the room of maps that have become small.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashMap},
    hash::Hash,
    time::Duration,
};

use tokio::time::Instant;

/// Nothing lives longer; keeps arithmetic with the largest durations from overflowing.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Containers below this capacity are not worth shrinking.
const SMALL: usize = 64;

/// `ttl` from now.
pub(super) fn after(now: Instant, ttl: Duration) -> Instant {
    now + ttl.min(LONGEST)
}

/// Keys by deadline, earliest first.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    heap: BinaryHeap<Reverse<Item<K>>>,
}

#[derive(Debug)]
struct Item<K> {
    at: Instant,
    key: K,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
        }
    }
}

impl<K> Deadlines<K> {
    pub(super) fn push(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse(Item { at, key }));
    }

    /// The earliest key whose deadline has come, with that deadline.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.heap.peek()?.0.at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(item)| (item.at, item.key))
    }

    pub(super) fn give_back(&mut self) {
        if let Some(room) = spare(self.heap.len(), self.heap.capacity()) {
            self.heap.shrink_to(room);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

/// Returns the room of a map that is mostly empty.
pub(super) fn give_back<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if let Some(room) = spare(map.len(), map.capacity()) {
        map.shrink_to(room);
    }
}

/// The capacity to shrink to: with a wide distance, so that a container does not shrink and grow in turns.
fn spare(len: usize, capacity: usize) -> Option<usize> {
    (capacity > SMALL && len < capacity / 4).then_some(len * 2)
}

impl<K> PartialEq for Item<K> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<K> Eq for Item<K> {}

impl<K> PartialOrd for Item<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Item<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}
