//! What the server sends, handed to the part of the machine it is for.

use std::{sync::Arc, time::Instant};

use super::{
    super::{Error, Event, SubscriptionEvent},
    Closing, Effect, Machine, Phase, Purpose,
    effect::Key,
    local,
    stream::Verdict,
    subscriptions::why,
};
use crate::{
    model::{Channel, Publication},
    protocol::{Command, Push, PushBody, Reply, ReplyBody, Request, delta::Unfit},
};

impl Machine {
    /// Something arrived from the server.
    pub(crate) fn reply(&mut self, now: Instant, reply: Reply, out: &mut Vec<Effect>) {
        match &mut self.phase {
            // Any message is a sign of life.
            Phase::Connected(session) => {
                session.silent_at = session.silence.map(|limit| now + limit);
            }
            Phase::Greeting => {}
            _ => return,
        }
        match reply.body {
            ReplyBody::Ping => self.ping(out),
            ReplyBody::Push(push) => self.push(now, push, out),
            body => {
                if let Some(purpose) = self.calls.answered(reply.id) {
                    self.answered(now, purpose, body, out);
                }
            }
        }
    }

    fn ping(&self, out: &mut Vec<Effect>) {
        if matches!(&self.phase, Phase::Connected(session) if session.answer_pings) {
            out.push(Effect::Send(Command {
                id: 0,
                request: Request::Pong,
            }));
        }
    }

    fn answered(&mut self, now: Instant, purpose: Purpose, body: ReplyBody, out: &mut Vec<Effect>) {
        match (purpose, body) {
            (purpose, ReplyBody::Error(error)) => {
                self.refused(now, purpose, Error::Server(error), out);
            }
            (Purpose::Connect, ReplyBody::Connect(result)) => self.greeted(now, *result, out),
            (Purpose::Refresh, ReplyBody::Refresh(result)) => self.refreshed(now, result.ttl),
            (Purpose::Subscribe(key), ReplyBody::Subscribe(result)) => {
                self.subscribed(now, &key, *result, out);
            }
            (Purpose::SubRefresh(key), ReplyBody::SubRefresh(result)) => {
                self.sub_refreshed(now, &key, result.ttl);
            }
            (Purpose::Call(id), body) => out.push(Effect::Complete(id, Ok(body))),
            (Purpose::Unsubscribe, ReplyBody::Unsubscribe) => {}
            (purpose, _) => self.refused(now, purpose, Error::Protocol, out),
        }
    }

    /// A command failed: the server said so, or its time is over (client-protocol.md 6.1).
    pub(super) fn refused(
        &mut self,
        now: Instant,
        purpose: Purpose,
        error: Error,
        out: &mut Vec<Effect>,
    ) {
        match purpose {
            Purpose::Connect => self.connect_refused(now, error, out),
            Purpose::Refresh => self.refresh_refused(now, error, out),
            Purpose::Subscribe(key) => self.subscribe_refused(now, &key, error, out),
            Purpose::Unsubscribe => self.unsubscribe_failed(now, error, out),
            Purpose::SubRefresh(key) => self.sub_refresh_refused(now, &key, error, out),
            Purpose::Call(id) => out.push(Effect::Complete(id, Err(error))),
        }
    }

    fn connect_refused(&mut self, now: Instant, error: Error, out: &mut Vec<Effect>) {
        out.push(Effect::Close(Closing::Abrupt));
        match error {
            Error::Server(error) if error.code == 109 && self.introduction.token_source => {
                self.renew_token = true;
                out.push(Effect::Emit(Event::Error(Error::Server(error))));
                self.back_off(now);
            }
            error if error.is_temporary() => {
                out.push(Effect::Emit(Event::Error(error)));
                self.back_off(now);
            }
            Error::Server(error) => self.end(error.code, &error.message, out),
            _ => self.end(local::BAD_PROTOCOL, "bad protocol", out),
        }
    }

    fn refreshed(&mut self, now: Instant, ttl: Option<u32>) {
        let refresh = self.refresh_time(now, ttl);
        if let Phase::Connected(session) = &mut self.phase {
            session.refresh_at = refresh;
        }
    }

    fn refresh_refused(&mut self, now: Instant, error: Error, out: &mut Vec<Effect>) {
        if error.is_temporary() {
            self.refresh_failed(now, error, out);
            return;
        }
        out.push(Effect::Close(Closing::Abrupt));
        match error {
            Error::Server(error) => self.end(error.code, &error.message, out),
            _ => self.end(local::BAD_PROTOCOL, "bad protocol", out),
        }
    }

    fn sub_refresh_refused(
        &mut self,
        now: Instant,
        key: &Key,
        error: Error,
        out: &mut Vec<Effect>,
    ) {
        match error {
            error if error.is_temporary() => self.sub_refresh_failed(now, key, error, out),
            Error::Server(error) => {
                self.leave(now, key, &why(error.code, error.message), out);
            }
            _ => self.leave(now, key, &why(local::BAD_PROTOCOL, "bad protocol"), out),
        }
    }

    fn push(&mut self, now: Instant, push: Push, out: &mut Vec<Effect>) {
        let Push { channel, body } = push;
        if let PushBody::Disconnect(why) = body {
            // Transports without a close frame announce their end (client-protocol.md 3.7).
            self.disconnected(now, why.code, &why.reason, out);
            return;
        }
        if !matches!(self.phase, Phase::Connected(_)) {
            return;
        }
        match body {
            PushBody::Publication(publication) => {
                self.publication(now, &channel, publication, out);
            }
            PushBody::Join(info) => self.announce(&channel, SubscriptionEvent::Join(info), out),
            PushBody::Leave(info) => self.announce(&channel, SubscriptionEvent::Leave(info), out),
            PushBody::Unsubscribe(why) => match self.key(&channel) {
                Some(key) => self.unsubscribed(now, &key, &why, out),
                None => self.server_side_ended(&channel, &why, out),
            },
            PushBody::Message(data) => out.push(Effect::Emit(Event::Message(data))),
            PushBody::Subscribe(subscribe) => self.server_side_began(&channel, subscribe, out),
            PushBody::Refresh(ttl) => self.refreshed(now, ttl),
            // No bidirectional connection is told so.
            PushBody::Connect(_) | PushBody::Disconnect(_) => {}
        }
    }

    fn publication(
        &mut self,
        now: Instant,
        channel: &Channel,
        publication: Arc<Publication>,
        out: &mut Vec<Effect>,
    ) {
        let Some(key) = self.key(channel) else {
            self.server_side_publication(now, channel, publication, out);
            return;
        };
        let Some(entry) = self.entry(&key).filter(|entry| entry.is_live()) else {
            // Left over of an earlier subscription of the channel.
            return;
        };
        match entry.stream.accept(&publication) {
            Verdict::New => match entry.stream.read(publication) {
                Ok(publication) => {
                    let event = SubscriptionEvent::Publication(publication);
                    out.push(Effect::EmitTo(key.id, event));
                }
                Err(Unfit) => self.resubscribe(now, &key, out),
            },
            Verdict::Duplicate => {}
            Verdict::Gap => self.resubscribe(now, &key, out),
        }
    }

    /// Hands on a join or a leave.
    fn announce(&mut self, channel: &Channel, event: SubscriptionEvent, out: &mut Vec<Effect>) {
        match self.key(channel) {
            Some(key) => {
                if self.entry(&key).is_some_and(|entry| entry.is_live()) {
                    out.push(Effect::EmitTo(key.id, event));
                }
            }
            None => self.server_side_event(channel, event, out),
        }
    }
}
