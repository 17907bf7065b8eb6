//! Client-side subscriptions: kept through reconnects until the application or the server ends them.

use std::{borrow::Cow, time::Instant};

use super::{
    super::{Error, SubscribeOptions, SubscriptionEvent},
    Effect, Machine, Phase, Purpose, SubscriptionId,
    effect::Key,
    entry::{Entry, Progress},
    local,
    tokens::TokenFor,
};
use crate::{
    client::Event,
    model::{Channel, Unsubscribe},
    protocol::{Request, SubscribeResult},
};

/// The subscription must begin from scratch (client-protocol.md 6.3).
const STATE_INVALIDATED: u32 = 2502;

/// Why a subscription ends that the server did not end.
pub(super) fn why(code: u32, reason: impl Into<Cow<'static, str>>) -> Unsubscribe {
    let reason = reason.into();
    Unsubscribe { code, reason }
}

impl Machine {
    /// The application wants a subscription.
    ///
    /// # Errors
    /// When there is one of this channel.
    pub(crate) fn subscribe(
        &mut self,
        now: Instant,
        channel: Channel,
        options: SubscribeOptions,
        out: &mut Vec<Effect>,
    ) -> Result<SubscriptionId, Error> {
        if self.subscriptions.contains_key(&channel) {
            return Err(Error::AlreadySubscribed(channel));
        }
        self.last_subscription += 1;
        let id = SubscriptionId(self.last_subscription);
        let entry = Entry::new(id, options);
        self.subscriptions.insert(channel.clone(), entry);
        self.advance(now, &channel, out);
        Ok(id)
    }

    /// The application does not want a subscription any more.
    pub(crate) fn unsubscribe(
        &mut self,
        now: Instant,
        channel: &Channel,
        id: SubscriptionId,
        out: &mut Vec<Effect>,
    ) {
        let key = Key {
            channel: channel.clone(),
            id,
        };
        if self.entry(&key).is_some() {
            self.leave(now, &key, &why(local::CALLED, "client unsubscribed"), out);
        }
    }

    /// The subscription, unless it is gone or another one took its channel.
    pub(super) fn entry(&mut self, key: &Key) -> Option<&mut Entry> {
        self.subscriptions
            .get_mut(&key.channel)
            .filter(|entry| entry.id == key.id)
    }

    pub(super) fn key(&self, channel: &Channel) -> Option<Key> {
        self.subscriptions.get(channel).map(|entry| Key {
            channel: channel.clone(),
            id: entry.id,
        })
    }

    pub(super) fn subscribe_all(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let channels: Vec<Channel> = self.subscriptions.keys().cloned().collect();
        for channel in &channels {
            self.advance(now, channel, out);
        }
    }

    /// Takes the next step of a subscription that is idle.
    pub(super) fn advance(&mut self, now: Instant, channel: &Channel, out: &mut Vec<Effect>) {
        let connected = matches!(self.phase, Phase::Connected(_));
        let Some(entry) = self.subscriptions.get_mut(channel) else {
            return;
        };
        if !connected || entry.progress != Progress::Idle {
            return;
        }
        let key = Key {
            channel: channel.clone(),
            id: entry.id,
        };
        if entry.wants_token() && self.introduction.token_source {
            entry.progress = Progress::FetchingToken;
            self.fetch_token(TokenFor::Subscribe(key), out);
        } else {
            entry.progress = Progress::Sent;
            let request = entry.request(channel);
            let deadline = now + self.timing.answer;
            let purpose = Purpose::Subscribe(key);
            out.push(Effect::Send(self.calls.issue(deadline, purpose, request)));
        }
    }

    /// The server accepted a subscription.
    pub(super) fn subscribed(
        &mut self,
        now: Instant,
        key: &Key,
        result: SubscribeResult,
        out: &mut Vec<Effect>,
    ) {
        let refresh = self.refresh_time(now, result.ttl);
        let json = self.introduction.json;
        let Some(entry) = self.entry(key) else {
            return;
        };
        entry.failures = 0;
        entry.progress = Progress::Live(refresh);
        let Ok((told, publications)) = entry.stream.begin(result, json) else {
            // What was recovered cannot be read: from the beginning, without a position.
            entry.stream.forget();
            return self.resubscribe(now, key, out);
        };
        out.push(Effect::EmitTo(key.id, SubscriptionEvent::Subscribed(told)));
        out.extend(publications.into_iter().map(|publication| {
            Effect::EmitTo(key.id, SubscriptionEvent::Publication(publication))
        }));
    }

    /// The server refused a subscription (client-protocol.md 6.1).
    pub(super) fn subscribe_refused(
        &mut self,
        now: Instant,
        key: &Key,
        error: Error,
        out: &mut Vec<Effect>,
    ) {
        match error {
            Error::Timeout => {
                self.reconnect(now, local::SUBSCRIBE_TIMEOUT, "subscribe timeout", out);
            }
            Error::Server(error) if error.code == 109 && self.introduction.token_source => {
                if let Some(entry) = self.entry(key) {
                    entry.renew_token = true;
                }
                self.subscribe_failed(now, key, Error::Server(error), out);
            }
            error if error.is_temporary() => self.subscribe_failed(now, key, error, out),
            Error::Server(error) => self.finish(key, &why(error.code, error.message), out),
            _ => self.finish(key, &why(local::BAD_PROTOCOL, "bad protocol"), out),
        }
    }

    /// The attempt failed for now.
    pub(super) fn subscribe_failed(
        &mut self,
        now: Instant,
        key: &Key,
        error: Error,
        out: &mut Vec<Effect>,
    ) {
        let fraction = (self.random)();
        let backoff = self.timing.backoff;
        if let Some(entry) = self.entry(key) {
            let delay = backoff.delay(entry.failures, fraction);
            entry.failures = entry.failures.saturating_add(1);
            entry.progress = Progress::Waiting(now + delay);
            out.push(Effect::EmitTo(key.id, SubscriptionEvent::Error(error)));
        }
    }

    /// The server ended a subscription (client-protocol.md 6.3).
    pub(super) fn unsubscribed(
        &mut self,
        now: Instant,
        key: &Key,
        why: &Unsubscribe,
        out: &mut Vec<Effect>,
    ) {
        let renew = why.code == Unsubscribe::EXPIRED.code && self.introduction.token_source;
        let Some(entry) = self.entry(key).filter(|entry| entry.is_live()) else {
            // It is about an earlier subscription of the channel.
            return;
        };
        if why.code < Unsubscribe::INSUFFICIENT_STATE.code {
            self.finish(key, why, out);
            return;
        }
        if why.code == STATE_INVALIDATED {
            entry.stream.forget();
        }
        entry.renew_token |= renew;
        self.restart(now, key, why, out);
    }

    /// A publication is missing: begins the subscription again at the last position.
    pub(super) fn resubscribe(&mut self, now: Instant, key: &Key, out: &mut Vec<Effect>) {
        self.tell_unsubscribe(now, &key.channel, out);
        self.restart(now, key, &Unsubscribe::INSUFFICIENT_STATE, out);
    }

    fn restart(&mut self, now: Instant, key: &Key, why: &Unsubscribe, out: &mut Vec<Effect>) {
        if let Some(entry) = self.entry(key) {
            entry.progress = Progress::Idle;
        }
        out.push(Effect::EmitTo(
            key.id,
            SubscriptionEvent::Subscribing {
                code: why.code,
                reason: why.reason.to_string(),
            },
        ));
        self.advance(now, &key.channel, out);
    }

    /// Ends a subscription from this side.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        key: &Key,
        why: &Unsubscribe,
        out: &mut Vec<Effect>,
    ) {
        let known = self
            .entry(key)
            .is_some_and(|entry| entry.is_live() || entry.progress == Progress::Sent);
        if known {
            self.tell_unsubscribe(now, &key.channel, out);
        }
        self.finish(key, why, out);
    }

    fn tell_unsubscribe(&mut self, now: Instant, channel: &Channel, out: &mut Vec<Effect>) {
        let deadline = now + self.timing.answer;
        let request = Request::Unsubscribe(channel.clone());
        let command = self.calls.issue(deadline, Purpose::Unsubscribe, request);
        out.push(Effect::Send(command));
    }

    /// Forgets a subscription and tells so.
    pub(super) fn finish(&mut self, key: &Key, why: &Unsubscribe, out: &mut Vec<Effect>) {
        if self.entry(key).is_some() {
            self.subscriptions.remove(&key.channel);
            let event = SubscriptionEvent::Unsubscribed {
                code: why.code,
                reason: why.reason.to_string(),
            };
            out.push(Effect::EmitTo(key.id, event));
        }
    }

    pub(super) fn interrupt_subscriptions(&mut self, code: u32, out: &mut Vec<Effect>) {
        for entry in self.subscriptions.values_mut() {
            if entry.is_live() {
                let reason = "connection lost".to_owned();
                let event = SubscriptionEvent::Subscribing { code, reason };
                out.push(Effect::EmitTo(entry.id, event));
            }
            if entry.progress != Progress::FetchingToken {
                entry.progress = Progress::Idle;
            }
        }
    }

    pub(super) fn expire_subscriptions(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let due: Vec<Key> = self
            .subscriptions
            .iter()
            .filter(|(_, entry)| entry.deadline().is_some_and(|at| at <= now))
            .map(|(channel, entry)| Key {
                channel: channel.clone(),
                id: entry.id,
            })
            .collect();
        for key in due {
            let Some(entry) = self.entry(&key) else {
                continue;
            };
            if entry.is_live() {
                entry.progress = Progress::Live(None);
                self.fetch_token(TokenFor::SubRefresh(key), out);
            } else {
                entry.progress = Progress::Idle;
                self.advance(now, &key.channel, out);
            }
        }
    }

    pub(super) fn forget_positions(&mut self) {
        for entry in self.subscriptions.values_mut() {
            entry.stream.forget();
        }
        for stream in self.server_side.values_mut() {
            stream.forget();
        }
    }

    /// Renewed until then; an empty `ttl` ends the renewing.
    pub(super) fn sub_refreshed(&mut self, now: Instant, key: &Key, ttl: Option<u32>) {
        let refresh = self.refresh_time(now, ttl);
        if let Some(entry) = self.entry(key).filter(|entry| entry.is_live()) {
            entry.progress = Progress::Live(refresh);
        }
    }

    /// Tells of an unsubscribe that the server did not confirm.
    pub(super) fn unsubscribe_failed(&mut self, now: Instant, error: Error, out: &mut Vec<Effect>) {
        out.push(Effect::Emit(Event::Error(error)));
        self.reconnect(now, local::UNSUBSCRIBE_ERROR, "unsubscribe error", out);
    }
}
