//! The end of a subscription, whoever wants it (client-protocol.md 4.7): undone first, told afterwards.

use std::sync::Arc;

use super::{Call, Effects, Leave, Pending, Session, subscription::State as Sub};
use crate::{
    model::{Channel, Disconnect, Now, SubscriptionKey, Unsubscribe, Version},
    protocol::{Push, PushBody, ReplyBody},
};

pub(super) use super::subscription::{End, Subscription};

impl Session {
    /// The server API, or another node, ends a subscription. The push is sent even when there is none.
    pub(crate) fn unsubscribe_server_side(
        &mut self,
        now: Now,
        channel: &Channel,
        why: Unsubscribe,
        out: &mut Effects,
    ) {
        if !self.is_connected() {
            return;
        }
        match self.table.find(channel) {
            Some(key) => self.leave_when_settled(now, key, End::Push(why), out),
            None => self.push(
                Push {
                    channel: channel.clone(),
                    body: PushBody::Unsubscribe(why),
                },
                out,
            ),
        }
    }

    /// Ends a subscription now, or as soon as its join is over.
    pub(super) fn leave_when_settled(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        end: End,
        out: &mut Effects,
    ) {
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        match subscription.state {
            Sub::Live(_) => self.leave(key, end, out),
            Sub::Leaving => subscription.ends.push(end),
            Sub::Authorizing(_) | Sub::Joining(_) => {
                subscription.ends.push(end);
                subscription.next = None;
                self.timers
                    .leave
                    .get_or_insert(now.instant + self.config.unsubscribe_wait);
            }
        }
    }

    /// Stops the clock of those who wait for a join to end, once nobody does.
    pub(super) fn stop_waiting(&mut self) {
        let joining = |state: &Sub| matches!(state, Sub::Authorizing(_) | Sub::Joining(_));
        if !self
            .table
            .iter()
            .any(|(_, s)| joining(&s.state) && !s.ends.is_empty())
        {
            self.timers.leave = None;
        }
    }

    /// Undoes a subscription; `end` is told when that is done. Nothing of the channel is delivered from here on.
    pub(super) fn leave(&mut self, key: SubscriptionKey, end: End, out: &mut Effects) {
        self.flush(key, out);
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        subscription.state = Sub::Leaving;
        subscription.ends.push(end);
        let leave = leave_of(key, subscription);
        self.call(Call::Leave(leave), Pending::Leave(key), out);
    }

    /// A subscription is undone.
    pub(super) fn left(&mut self, key: SubscriptionKey, out: &mut Effects) {
        if let Some(subscription) = self.table.remove(key) {
            self.tell_ended(subscription, out);
        }
    }

    /// Tells everyone who waited for the end of it.
    pub(super) fn tell_ended(&mut self, subscription: Subscription, out: &mut Effects) {
        self.stop_waiting();
        let Subscription {
            channel,
            ends,
            next,
            ..
        } = subscription;
        for end in ends {
            match end {
                End::Command(id) => self.reply(id, ReplyBody::Unsubscribe, out),
                End::Push(why) => {
                    self.push(
                        Push {
                            channel: channel.clone(),
                            body: PushBody::Unsubscribe(why),
                        },
                        out,
                    );
                }
                End::Silent => {}
            }
        }
        if let Some(next) = next {
            self.subscribe_server_side(*next, out);
        }
    }

    /// The position of a subscription was lost: the client is told to recover, or to come again.
    pub(super) fn insufficient_state(&mut self, key: SubscriptionKey, out: &mut Effects) {
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        let resumes =
            subscription.side == super::subscription::Side::Client && self.version == Version::V2;
        if resumes {
            self.leave(key, End::Push(Unsubscribe::INSUFFICIENT_STATE), out);
        } else {
            self.close(Disconnect::INSUFFICIENT_STATE, out);
        }
    }

    /// The connection is over: everything that must be undone for the sake of others.
    pub(crate) fn leave_all(&mut self) -> Vec<Leave> {
        let table = std::mem::take(&mut self.table);
        table
            .iter()
            .filter(|(_, s)| !matches!(s.state, Sub::Authorizing(_)))
            .map(|(k, s)| leave_of(k, s))
            .collect()
    }
}

fn leave_of(key: SubscriptionKey, subscription: &Subscription) -> Leave {
    Leave {
        channel: subscription.channel.clone(),
        key,
        presence: subscription.options.presence,
        announce: subscription
            .announced
            .then(|| Arc::clone(&subscription.info)),
    }
}
