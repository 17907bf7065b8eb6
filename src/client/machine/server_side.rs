//! Server-side subscriptions: told by the server, recovered through the connect command.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{
    super::{Event, SubscriptionEvent},
    Effect, Machine,
    stream::Verdict,
};
use crate::{
    model::{Channel, Disconnect, Publication, Unsubscribe},
    protocol::{SubscribePush, SubscribeRequest, SubscribeResult},
};

impl Machine {
    /// Channels to be recovered, for the connect command.
    pub(super) fn known_server_side(&self) -> BTreeMap<Channel, SubscribeRequest> {
        self.server_side
            .iter()
            .filter_map(|(channel, stream)| {
                let position = stream.recovery()?;
                let request = SubscribeRequest {
                    recover: true,
                    epoch: position.epoch.as_str().to_owned(),
                    offset: position.offset,
                    ..SubscribeRequest::default()
                };
                Some((channel.clone(), request))
            })
            .collect()
    }

    /// The connect reply lists all server-side subscriptions; what it does not list has ended.
    pub(super) fn take_server_side(
        &mut self,
        subs: BTreeMap<Channel, SubscribeResult>,
        out: &mut Vec<Effect>,
    ) {
        let gone: Vec<Channel> = self
            .server_side
            .keys()
            .filter(|channel| !subs.contains_key(*channel))
            .cloned()
            .collect();
        for channel in &gone {
            self.server_side_ended(channel, &Unsubscribe::SERVER, out);
        }
        for (channel, result) in subs {
            let stream = self.server_side.entry(channel.clone()).or_default();
            let Ok((told, publications)) = stream.begin(result, false) else {
                // No deltas are asked for on this way, so there is none that could not be read.
                continue;
            };
            out.push(tell(&channel, SubscriptionEvent::Subscribed(told)));
            out.extend(
                publications
                    .into_iter()
                    .map(|publication| tell(&channel, SubscriptionEvent::Publication(publication))),
            );
        }
    }

    /// The server subscribed this client.
    pub(super) fn server_side_began(
        &mut self,
        channel: &Channel,
        push: SubscribePush,
        out: &mut Vec<Effect>,
    ) {
        let stream = self.server_side.entry(channel.clone()).or_default();
        let told = stream.announced(push);
        out.push(tell(channel, SubscriptionEvent::Subscribed(told)));
    }

    /// The server ended a subscription; nothing is told of a channel that was not known.
    pub(super) fn server_side_ended(
        &mut self,
        channel: &Channel,
        why: &Unsubscribe,
        out: &mut Vec<Effect>,
    ) {
        if self.server_side.remove(channel).is_some() {
            let event = SubscriptionEvent::Unsubscribed {
                code: why.code,
                reason: why.reason.to_string(),
            };
            out.push(tell(channel, event));
        }
    }

    /// A publication of a channel without a client-side subscription.
    pub(super) fn server_side_publication(
        &mut self,
        now: Instant,
        channel: &Channel,
        publication: Arc<Publication>,
        out: &mut Vec<Effect>,
    ) {
        let Some(stream) = self.server_side.get_mut(channel) else {
            return;
        };
        match stream.accept(&publication) {
            Verdict::New => out.push(tell(channel, SubscriptionEvent::Publication(publication))),
            Verdict::Duplicate => {}
            Verdict::Gap => {
                let Disconnect { code, reason } = Disconnect::INSUFFICIENT_STATE;
                self.reconnect(now, code, &reason, out);
            }
        }
    }

    /// Hands on a join or a leave.
    pub(super) fn server_side_event(
        &self,
        channel: &Channel,
        event: SubscriptionEvent,
        out: &mut Vec<Effect>,
    ) {
        if self.server_side.contains_key(channel) {
            out.push(tell(channel, event));
        }
    }

    pub(super) fn interrupt_server_side(&self, code: u32, out: &mut Vec<Effect>) {
        out.extend(self.server_side.keys().map(|channel| {
            let reason = "connection lost".to_owned();
            tell(channel, SubscriptionEvent::Subscribing { code, reason })
        }));
    }
}

fn tell(channel: &Channel, event: SubscriptionEvent) -> Effect {
    Effect::Emit(Event::Channel {
        channel: channel.clone(),
        event,
    })
}
