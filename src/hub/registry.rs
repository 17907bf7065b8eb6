//! Connections of this node by client and by user.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

use parking_lot::RwLock;

use super::{Mailbox, SHARDS};
use crate::model::{ClientId, LabelFilter, Target, UserId};

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

    /// The connections an action is for (server-api.md 7.8, engines.md 1.8), with their client identifiers.
    pub(crate) fn find(&self, target: &Target) -> Vec<(ClientId, Arc<Mailbox>)> {
        let unfit = |labels: &LabelFilter| !labels.fits_unlabelled();
        if target.labels.as_deref().is_some_and(unfit) {
            return Vec::new();
        }
        let mut found = Vec::new();
        if target.all_users && target.user.is_empty() {
            for shard in &*self.users {
                for connections in shard.read().values() {
                    pick(connections, target, &mut found);
                }
            }
        } else if let Some(connections) = self.shard(&target.user).read().get(&target.user) {
            pick(connections, target, &mut found);
        }
        found
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

/// Those of one user's connections an action is for.
fn pick(connections: &Connections, target: &Target, found: &mut Vec<(ClientId, Arc<Mailbox>)>) {
    // Only emulated and unidirectional connections have a session.
    let wanted = |mailbox: &Mailbox| {
        let session = target.session.as_deref();
        session.is_none_or(|session| mailbox.session() == Some(session))
    };
    let of = |(client, mailbox): (&ClientId, &Arc<Mailbox>)| (client.clone(), Arc::clone(mailbox));
    match &target.client {
        Some(client) => found.extend(
            connections
                .get_key_value(client)
                .filter(|(_, mailbox)| wanted(mailbox))
                .map(of),
        ),
        None => found.extend(
            connections
                .iter()
                .filter(|(_, mailbox)| wanted(mailbox))
                .map(of),
        ),
    }
}
