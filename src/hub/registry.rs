//! Connections of this node by client and by user.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use parking_lot::RwLock;

use super::{Mailbox, SHARDS};
use crate::model::{ClientId, Target, UserId};

type Connections = HashMap<ClientId, Arc<Mailbox>>;
type Shard = RwLock<HashMap<UserId, Connections>>;

/// Connections that have connected, by user. Anonymous connections are those of the empty user.
#[derive(Debug)]
pub(crate) struct Registry {
    users: Box<[Shard]>,
    hasher: RandomState,
}

/// The user has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitReached;

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            users: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    fn shard<K: Hash + ?Sized>(&self, key: &K) -> &Shard {
        let index = self.hasher.hash_one(key) % SHARDS as u64;
        &self.users[usize::try_from(index).unwrap_or(0)]
    }

    /// Adds a connection, unless its (non-empty) user has `limit` of them already.
    pub(crate) fn add(
        &self,
        user: &UserId,
        client: &ClientId,
        mailbox: &Arc<Mailbox>,
        limit: Option<usize>,
    ) -> Result<(), LimitReached> {
        let mut shard = self.shard(user).write();
        let connections = shard.entry(user.clone()).or_default();
        if limit.is_some_and(|limit| !user.is_empty() && connections.len() >= limit) {
            return Err(LimitReached);
        }
        connections.insert(client.clone(), Arc::clone(mailbox));
        Ok(())
    }

    /// Removes a connection.
    pub(crate) fn remove(&self, user: &UserId, client: &ClientId) {
        let mut shard = self.shard(user).write();
        let Some(connections) = shard.get_mut(user) else {
            return;
        };
        connections.remove(client);
        if connections.is_empty() {
            shard.remove(user);
        } else if connections.capacity() > 64 && connections.len() * 4 < connections.capacity() {
            connections.shrink_to(connections.len() * 2);
        }
    }

    /// The connections an action is for (server-api.md 7.8), with their client identifiers.
    pub(crate) fn find(&self, target: &Target) -> Vec<(ClientId, Arc<Mailbox>)> {
        let shard = self.shard(&target.user).read();
        let Some(connections) = shard.get(&target.user) else {
            return Vec::new();
        };
        // Sessions belong to emulated and unidirectional transports; no bidirectional connection has one.
        if target.session.is_some() {
            return Vec::new();
        }
        match &target.client {
            Some(client) => connections
                .get(client)
                .map(|mailbox| (client.clone(), Arc::clone(mailbox)))
                .into_iter()
                .collect(),
            None => connections
                .iter()
                .map(|(client, mailbox)| (client.clone(), Arc::clone(mailbox)))
                .collect(),
        }
    }

    /// Number of connections and of distinct users.
    pub(crate) fn counts(&self) -> (usize, usize) {
        self.users.iter().fold((0, 0), |(clients, users), shard| {
            let shard = shard.read();
            (
                clients + shard.values().map(HashMap::len).sum::<usize>(),
                users + shard.len(),
            )
        })
    }
}
