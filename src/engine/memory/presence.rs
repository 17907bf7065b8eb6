//! Who is in one channel. No time to live: the entries die with the process that owns the connections.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    engine::PresenceStats,
    model::{ClientId, ClientInfo, UserId},
};

/// The members of one channel, with a count by user so that numbers need no walk.
#[derive(Debug, Default)]
pub(super) struct Members {
    clients: BTreeMap<ClientId, Arc<ClientInfo>>,
    /// Connections by user; the empty user is one of them.
    users: HashMap<UserId, usize>,
}

impl Members {
    /// Adds an entry, or replaces the one of the same connection.
    pub(super) fn add(&mut self, info: &Arc<ClientInfo>) {
        let replaced = self.clients.insert(info.client.clone(), Arc::clone(info));
        if replaced.as_ref().is_some_and(|old| old.user == info.user) {
            return;
        }
        if let Some(old) = replaced {
            self.release(&old.user);
        }
        *self.users.entry(info.user.clone()).or_default() += 1;
    }

    pub(super) fn remove(&mut self, client: &ClientId) {
        if let Some(info) = self.clients.remove(client) {
            self.release(&info.user);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub(super) fn list(&self) -> BTreeMap<ClientId, Arc<ClientInfo>> {
        self.clients.clone()
    }

    pub(super) fn stats(&self) -> PresenceStats {
        PresenceStats {
            clients: self.clients.len(),
            users: self.users.len(),
        }
    }

    /// One connection of the user less.
    fn release(&mut self, user: &UserId) {
        if let Some(connections) = self.users.get_mut(user) {
            *connections -= 1;
            if *connections == 0 {
                self.users.remove(user);
            }
        }
    }
}
