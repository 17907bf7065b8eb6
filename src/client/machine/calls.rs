//! Commands that wait for an answer, and commands that wait for a connection.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Instant,
};

use super::effect::{CallId, Key};
use crate::protocol::{Command, Request};

/// Whose command it is.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Connect,
    Refresh,
    Subscribe(Key),
    Unsubscribe,
    SubRefresh(Key),
    Call(CallId),
}

#[derive(Debug)]
struct Pending {
    purpose: Purpose,
    deadline: Instant,
}

/// All commands without an answer yet. Ids grow over the whole life of a client, and so do deadlines.
#[derive(Debug, Default)]
pub(super) struct Calls {
    last_id: u32,
    pending: BTreeMap<u32, Pending>,
    waiting: VecDeque<Command>,
}

impl Calls {
    /// Gives a command its id and notes whom the answer is for.
    pub(super) fn issue(
        &mut self,
        deadline: Instant,
        purpose: Purpose,
        request: Request,
    ) -> Command {
        self.last_id = self.last_id.wrapping_add(1).max(1);
        let id = self.last_id;
        self.pending.insert(id, Pending { purpose, deadline });
        Command { id, request }
    }

    /// Keeps a command until there is a connection.
    pub(super) fn hold(&mut self, command: Command) {
        self.waiting.push_back(command);
    }

    /// Commands that waited for the connection and are still wanted, in the order they were asked for.
    pub(super) fn release(&mut self) -> Vec<Command> {
        let pending = &self.pending;
        self.waiting
            .drain(..)
            .filter(|command| pending.contains_key(&command.id))
            .collect()
    }

    /// Whose answer this is; `None` when it came too late.
    pub(super) fn answered(&mut self, id: u32) -> Option<Purpose> {
        self.pending.remove(&id).map(|pending| pending.purpose)
    }

    /// When the oldest command runs out of time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.values().next().map(|pending| pending.deadline)
    }

    /// The oldest command, if its time is over.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<Purpose> {
        let entry = self.pending.first_entry()?;
        let overdue = entry.get().deadline <= now;
        overdue.then(|| entry.remove().purpose)
    }

    /// Forgets the commands that were written to a connection that is gone; those of the application are returned.
    pub(super) fn interrupt(&mut self) -> Vec<CallId> {
        let held: BTreeSet<u32> = self.waiting.iter().map(|command| command.id).collect();
        let (kept, lost): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(id, _)| held.contains(id));
        self.pending = kept;
        applications(lost)
    }

    /// Forgets everything; the commands of the application are returned.
    pub(super) fn clear(&mut self) -> Vec<CallId> {
        self.waiting.clear();
        applications(std::mem::take(&mut self.pending))
    }
}

fn applications(lost: BTreeMap<u32, Pending>) -> Vec<CallId> {
    lost.into_values()
        .filter_map(|pending| match pending.purpose {
            Purpose::Call(id) => Some(id),
            _ => None,
        })
        .collect()
}
