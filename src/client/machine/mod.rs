//! The client's side of a connection as a state machine: connect, back off, subscribe again, recover.
//!
//! Pure like the server's session: no clock, no randomness of its own, no runtime, no sockets. The driver reports what
//! happened together with the time, and carries out the [`Effect`]s in order. Its four kinds of method:
//! what the application asks (`connect`, `disconnect`, `subscribe`, `unsubscribe`, `call`), what arrives
//! (`opened`, `open_failed`, `reply`, `lost`, `token`), what the time does (`deadline`, `expired`), and nothing else.
//! Codes are handled as client-protocol.md 6 says, timing as 7.1.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use super::{Error, Event};
use crate::{
    model::{Channel, Disconnect},
    protocol::{ConnectRequest, ConnectResult, ReplyBody, Request},
};

mod backoff;
mod calls;
mod effect;
mod entry;
mod replies;
mod server_side;
mod setup;
mod stream;
mod subscriptions;
#[cfg(test)]
mod tests;
mod tokens;

pub(crate) use backoff::Backoff;
use calls::{Calls, Purpose};
pub(crate) use effect::{CallId, Closing, Effect, SubscriptionId, Ticket};
use entry::Entry;
use setup::local;
pub(crate) use setup::{Introduction, Loss, Random, Timing};
use stream::Stream;
use tokens::{Tickets, TokenFor};

/// Where the connection is.
#[derive(Debug)]
enum Phase {
    Disconnected,
    /// Backing off.
    Waiting(Instant),
    FetchingToken(Ticket),
    /// The transport is being opened, at most until then.
    Opening(Instant),
    /// The connect command is written.
    Greeting,
    Connected(Session),
}

/// What holds while connected.
#[derive(Debug, Default)]
struct Session {
    /// Pings are to be answered.
    answer_pings: bool,
    /// Longest silence allowed; `None` without server pings.
    silence: Option<Duration>,
    silent_at: Option<Instant>,
    refresh_at: Option<Instant>,
}

/// One client.
pub(crate) struct Machine {
    timing: Timing,
    introduction: Introduction,
    random: Random,
    phase: Phase,
    /// Failed attempts since the last success.
    failures: u32,
    /// The token at hand has expired.
    renew_token: bool,
    tickets: Tickets,
    calls: Calls,
    subscriptions: BTreeMap<Channel, Entry>,
    last_subscription: u64,
    server_side: BTreeMap<Channel, Stream>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// A client that is disconnected.
    pub(crate) fn new(timing: Timing, introduction: Introduction, random: Random) -> Self {
        Self {
            timing,
            introduction,
            random,
            phase: Phase::Disconnected,
            failures: 0,
            renew_token: false,
            tickets: Tickets::default(),
            calls: Calls::default(),
            subscriptions: BTreeMap::new(),
            last_subscription: 0,
            server_side: BTreeMap::new(),
        }
    }

    /// The application wants to be connected.
    pub(crate) fn connect(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Disconnected) {
            self.failures = 0;
            out.push(Effect::Emit(Event::Connecting {
                code: local::CALLED,
                reason: "connect called".to_owned(),
            }));
            self.attempt(now, out);
        }
    }

    /// The application does not want to be connected any more. Subscriptions stay and come back with `connect`.
    pub(crate) fn disconnect(&mut self, out: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Disconnected) {
            out.push(Effect::Close(Closing::Polite));
            self.end(local::CALLED, "disconnect called", out);
        }
    }

    /// The application wants an answer to a request of its own: publish, history, presence, RPC and send.
    /// While connecting it waits.
    pub(crate) fn call(
        &mut self,
        now: Instant,
        id: CallId,
        request: Request,
        out: &mut Vec<Effect>,
    ) {
        if matches!(self.phase, Phase::Disconnected) {
            out.push(Effect::Complete(id, Err(Error::NotConnected)));
            return;
        }
        let command = self
            .calls
            .issue(now + self.timing.answer, Purpose::Call(id), request);
        if matches!(self.phase, Phase::Connected(_)) {
            self.write(command, out);
        } else {
            self.calls.hold(command);
        }
    }

    /// The transport is open.
    pub(crate) fn opened(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Opening(_)) {
            return;
        }
        let token = self.introduction.token.as_ref();
        let request = Request::Connect(Box::new(ConnectRequest {
            token: token.map(|t| t.expose().to_owned()).unwrap_or_default(),
            data: self.introduction.data.clone(),
            subs: self.known_server_side(),
            name: self.introduction.name.clone(),
            version: self.introduction.version.clone(),
            ..ConnectRequest::default()
        }));
        let deadline = now + self.timing.answer;
        let command = self.calls.issue(deadline, Purpose::Connect, request);
        self.phase = Phase::Greeting;
        out.push(Effect::Send(command));
    }

    /// The transport could not be opened.
    pub(crate) fn open_failed(&mut self, now: Instant, error: Error, out: &mut Vec<Effect>) {
        if matches!(self.phase, Phase::Opening(_)) {
            out.push(Effect::Emit(Event::Error(error)));
            self.back_off(now);
        }
    }

    /// The transport is gone.
    pub(crate) fn lost(&mut self, now: Instant, loss: Loss, out: &mut Vec<Effect>) {
        if !matches!(self.phase, Phase::Greeting | Phase::Connected(_)) {
            return;
        }
        if let Some(error) = loss.error {
            out.push(Effect::Emit(Event::Error(error)));
        }
        self.disconnected(now, loss.code, &loss.reason, out);
    }

    /// When `expired` wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Waiting(at) | Phase::Opening(at) => [Some(*at), None],
            Phase::Connected(session) => [session.silent_at, session.refresh_at],
            Phase::Disconnected | Phase::FetchingToken(_) | Phase::Greeting => [None, None],
        };
        let subscriptions = self.subscriptions.values().filter_map(Entry::deadline);
        own.into_iter()
            .flatten()
            .chain(self.calls.deadline())
            .chain(subscriptions)
            .min()
    }

    /// Some deadline may have passed.
    pub(crate) fn expired(&mut self, now: Instant, out: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Waiting(at) if *at <= now => self.attempt(now, out),
            Phase::Opening(at) if *at <= now => {
                out.push(Effect::Close(Closing::Abrupt));
                self.open_failed(now, Error::Timeout, out);
            }
            Phase::Connected(session) if session.silent_at.is_some_and(|at| at <= now) => {
                self.reconnect(now, local::NO_PING, "no ping", out);
            }
            Phase::Connected(session) if session.refresh_at.is_some_and(|at| at <= now) => {
                session.refresh_at = None;
                self.fetch_token(TokenFor::Refresh, out);
            }
            _ => {}
        }
        while let Some(purpose) = self.calls.overdue(now) {
            self.refused(now, purpose, Error::Timeout, out);
        }
        self.expire_subscriptions(now, out);
    }

    /// Begins an attempt to connect.
    fn attempt(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let wanted = self.renew_token || self.introduction.token.is_none();
        if wanted && self.introduction.token_source {
            let ticket = self.fetch_token(TokenFor::Connect, out);
            self.phase = Phase::FetchingToken(ticket);
        } else {
            self.phase = Phase::Opening(now + self.timing.open);
            out.push(Effect::Open);
        }
    }

    fn back_off(&mut self, now: Instant) {
        let delay = self.timing.backoff.delay(self.failures, (self.random)());
        self.failures = self.failures.saturating_add(1);
        self.phase = Phase::Waiting(now + delay);
    }

    /// The server accepted the connection.
    fn greeted(&mut self, now: Instant, result: ConnectResult, out: &mut Vec<Effect>) {
        let interval = Duration::from_secs(result.ping.into());
        let silence = (result.ping > 0).then(|| interval + self.timing.silence);
        self.failures = 0;
        self.phase = Phase::Connected(Session {
            answer_pings: result.pong,
            silence,
            silent_at: silence.map(|limit| now + limit),
            refresh_at: self.refresh_time(now, result.ttl),
        });
        out.push(Effect::Emit(Event::Connected {
            client: result.client,
            version: result.version,
            data: result.data,
        }));
        self.take_server_side(result.subs, out);
        self.subscribe_all(now, out);
        for command in self.calls.release() {
            self.write(command, out);
        }
    }

    /// The server closed the connection, or the transport did (code 0).
    fn disconnected(&mut self, now: Instant, code: u32, reason: &str, out: &mut Vec<Effect>) {
        let disconnect = Disconnect {
            code,
            reason: reason.to_owned().into(),
        };
        match code {
            1009 => {
                let text = "message size limit exceeded";
                out.push(Effect::Close(Closing::Abrupt));
                self.end(local::MESSAGE_TOO_LARGE, text, out);
            }
            0..3000 => {
                let text = if reason.is_empty() {
                    "transport closed"
                } else {
                    reason
                };
                self.reconnect(now, local::TRANSPORT_CLOSED, text, out);
            }
            _ if disconnect.reconnect() => {
                self.renew_token |= code == Disconnect::EXPIRED.code;
                if code == setup::STATE_INVALIDATED {
                    self.forget_positions();
                }
                self.reconnect(now, code, reason, out);
            }
            _ => {
                out.push(Effect::Close(Closing::Abrupt));
                self.end(code, reason, out);
            }
        }
    }

    /// Gives up the connection and tries again.
    fn reconnect(&mut self, now: Instant, code: u32, reason: &str, out: &mut Vec<Effect>) {
        out.push(Effect::Close(Closing::Abrupt));
        let established = matches!(self.phase, Phase::Connected(_));
        self.back_off(now);
        let reason = reason.to_owned();
        out.push(Effect::Emit(if established {
            Event::Connecting { code, reason }
        } else {
            Event::Error(Error::Disconnected { code, reason })
        }));
        self.interrupt(code, out);
    }

    /// Gives up the connection for good.
    fn end(&mut self, code: u32, reason: &str, out: &mut Vec<Effect>) {
        self.phase = Phase::Disconnected;
        self.interrupt(code, out);
        for id in self.calls.clear() {
            out.push(Effect::Complete(id, Err(Error::NotConnected)));
        }
        out.push(Effect::Emit(Event::Disconnected {
            code,
            reason: reason.to_owned(),
        }));
    }

    /// What was on its way is lost.
    fn interrupt(&mut self, code: u32, out: &mut Vec<Effect>) {
        for id in self.calls.interrupt() {
            out.push(Effect::Complete(id, Err(Error::ConnectionLost)));
        }
        self.interrupt_subscriptions(code, out);
        self.interrupt_server_side(code, out);
    }

    /// Writes a call of the application. A send is never answered, so it is done when it is written.
    fn write(&mut self, mut command: crate::protocol::Command, out: &mut Vec<Effect>) {
        if matches!(command.request, Request::Send(_)) {
            if let Some(Purpose::Call(call)) = self.calls.answered(command.id) {
                out.push(Effect::Complete(call, Ok(ReplyBody::Publish)));
            }
            command.id = 0;
        }
        out.push(Effect::Send(command));
    }
}
