//! Subscriptions that the server makes while a connection lives (client-protocol.md 4.8).

use super::{
    Call, Effects, Leave, Pending, Session,
    subscribe::Start,
    subscription::{Joining, Purpose, Side, State as Sub},
};
use crate::model::{Disconnect, SubscribeCommand, SubscriptionKey};

impl Session {
    /// The server API, or another node, subscribes this connection.
    pub(crate) fn subscribe_server_side(&mut self, command: SubscribeCommand, out: &mut Effects) {
        if !self.is_connected() {
            return;
        }
        let SubscribeCommand {
            channel,
            options,
            recover_since,
        } = command;
        if self.table.len() >= self.config.channel_limit {
            return self.close(Disconnect::CHANNEL_LIMIT, out);
        }
        let Some(old) = self.table.find(&channel) else {
            let key = self.reserve(channel, Side::Server, Purpose::Push, Box::default());
            return self.start_join(
                key,
                Start {
                    options,
                    position: recover_since,
                },
                out,
            );
        };
        let Some(subscription) = self.table.get_mut(old) else {
            return;
        };
        if !matches!(subscription.state, Sub::Live(_)) {
            // It is on its way in or out: this one has its turn afterwards.
            subscription.next = Some(Box::new(SubscribeCommand {
                channel,
                options,
                recover_since,
            }));
            return;
        }
        self.replace(
            old,
            Start {
                options,
                position: recover_since,
            },
            out,
        );
    }

    /// Subscribes anew in the same place: nobody sees a leave, and deliveries of the old generation are dropped.
    fn replace(&mut self, old: SubscriptionKey, start: Start, out: &mut Effects) {
        self.flush(old, out);
        let key = self.table.renew(old);
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        let channel = subscription.channel.clone();
        subscription.side = Side::Server;
        let joining = Joining::new(Purpose::Push, Box::default());
        subscription.state = Sub::Authorizing(Box::new(joining));
        let leave = Leave {
            channel,
            key: old,
            presence: false,
            announce: None,
        };
        self.call(Call::Leave(leave), Pending::Nothing, out);
        self.start_join(key, start, out);
    }
}
