//! Subscriptions that have a source of their own beside the channel (proxy.md 14): may it be read, and what its end means.
//!
//! The source itself belongs to the connection's task.

use std::collections::BTreeMap;

use super::{
    CallId, Effects, Pending, Session,
    subscription::{End, State as Sub},
};
use crate::model::{Channel, SubscriptionKey, Unsubscribe};

impl Session {
    /// The subscription that a running call asks for.
    pub(crate) fn subscribing(&self, call: CallId) -> Option<SubscriptionKey> {
        let mut pending = self.pending.iter();
        pending.find_map(|(id, pending)| match pending {
            Pending::Subscribe(key) if *id == call => Some(*key),
            _ => None,
        })
    }

    /// The channel of a subscription that is there or on its way in.
    pub(crate) fn fed(&mut self, key: SubscriptionKey) -> Option<&Channel> {
        let subscription = self.table.get_mut(key)?;
        let there = matches!(subscription.state, Sub::Joining(_) | Sub::Live(_));
        there.then_some(&subscription.channel)
    }

    /// Publications for this subscription can be delivered now.
    pub(crate) fn is_live(&mut self, key: SubscriptionKey) -> bool {
        let subscription = self.table.get_mut(key);
        subscription.is_some_and(|found| matches!(found.state, Sub::Live(_)))
    }

    /// The tags filter of this subscription lets a publication with these tags pass.
    pub(crate) fn wants(
        &mut self,
        key: SubscriptionKey,
        tags: Option<&BTreeMap<String, String>>,
    ) -> bool {
        let subscription = self.table.get_mut(key);
        let filter = subscription.and_then(|found| found.options.filter.as_deref());
        filter.is_none_or(|filter| filter.matches(tags))
    }

    /// The source has ended, by its own wish or because it was lost.
    pub(crate) fn feed_ended(&mut self, key: SubscriptionKey, lost: bool, out: &mut Effects) {
        if lost {
            self.insufficient_state(key, out);
        } else {
            self.leave(key, End::Push(Unsubscribe::SERVER), out);
        }
    }
}
