//! A table of locks chosen by the hash of a channel, so that channels seldom wait for each other.
//!
//! Never locks two shards at a time.

use std::hash::{BuildHasher, RandomState};

use parking_lot::{Mutex, MutexGuard};

use crate::model::Channel;

/// Enough that publishers on many cores rarely meet, few enough that a sweep over all is cheap.
const SHARDS: usize = 256;

/// One `T` per shard.
#[derive(Debug)]
pub(super) struct Shards<T> {
    shards: Box<[Mutex<T>]>,
    hasher: RandomState,
}

impl<T: Default> Shards<T> {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl<T> Shards<T> {
    /// Locks the shard of a channel.
    pub(super) fn lock(&self, channel: &Channel) -> MutexGuard<'_, T> {
        let hash = self.hasher.hash_one(channel) % self.shards.len() as u64;
        let index = usize::try_from(hash).unwrap_or(0);
        self.shards[index].lock()
    }

    /// All shards, to be locked one after the other.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Mutex<T>> {
        self.shards.iter()
    }
}
