//! What a connection tells operators: counters and log lines, at most one line a second and reason (metrics.md 17).

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    Shared,
    frames::{self, Frames},
};
use crate::{
    model::Disconnect,
    protocol::{
        Command, ConnectRequest, ConnectResult, PushBody, Reply, ReplyBody, SubscribeResult,
    },
    session::Session,
};

/// A reason is logged again after this.
const QUIET: Duration = Duration::from_secs(1);

/// When a reason was logged last, by kind and code.
#[derive(Debug, Default)]
pub(super) struct Quiet(Mutex<HashMap<(&'static str, u32), Instant>>);

impl Quiet {
    /// True when a line of this reason may be written now.
    pub(super) fn allows(&self, kind: &'static str, code: u32) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock();
        match last.get(&(kind, code)) {
            Some(at) if now.duration_since(*at) < QUIET => false,
            _ => {
                // Codes of the application are bounded by the protocol, still nobody shall fill the memory with them.
                if last.len() > 4096 {
                    last.clear();
                }
                last.insert((kind, code), now);
                true
            }
        }
    }
}

/// Counters and lines of one connection.
pub(super) struct Report {
    shared: Arc<Shared>,
    transport: &'static str,
    frames: Arc<Frames>,
    /// Commands without reply yet: id, frame type, arrival.
    commands: Vec<(u32, usize, Instant)>,
    /// A ping waits for its pong since then.
    pinged: Option<Instant>,
    client_name: Arc<str>,
    client_version: &'static str,
    accepted: bool,
    /// Subscriptions that are in the gauge.
    subscriptions: usize,
}

impl Report {
    pub(super) fn new(shared: Arc<Shared>, transport: &'static str) -> Self {
        let frames = shared.frames.of(transport, &shared.metrics);
        let client_name = shared.metrics.clients.names.label("");
        Self {
            shared,
            transport,
            frames,
            commands: Vec::new(),
            pinged: None,
            client_name,
            client_version: "unversioned",
            accepted: false,
            subscriptions: 0,
        }
    }

    /// A command was decoded, out of so many bytes. One that gets no answer is given back with its arrival; whoever handles
    /// it tells how long that took.
    pub(super) fn received(&mut self, command: &Command, bytes: usize) -> Option<(usize, Instant)> {
        let kind = frames::of_request(&command.request);
        self.frames.received(kind, bytes);
        tracing::trace!(
            id = command.id,
            method = frames::name(kind),
            "command received"
        );
        let now = Instant::now();
        if command.id > 0 {
            self.commands.push((command.id, kind, now));
            return None;
        }
        if kind != frames::PONG {
            return Some((kind, now));
        }
        if let Some(pinged) = self.pinged.take() {
            let seconds = now.duration_since(pinged).as_secs_f64();
            self.frames.pong(&self.shared.metrics, seconds);
        }
        None
    }

    /// A command was handled in so much time.
    pub(super) fn took(&self, kind: usize, duration: Duration) {
        if let Some(method) = frames::method(kind) {
            self.shared
                .metrics
                .wire
                .took(method, duration.as_secs_f64());
        }
    }

    /// A connect request came without a command around it, in so many bytes.
    pub(super) fn asked_to_connect(&self, bytes: usize) {
        self.frames.received(frames::CONNECT, bytes);
    }

    /// The connect command names the SDK. Names are the client's choice, so labels show those that are configured.
    pub(super) fn named(&mut self, connect: &ConnectRequest) {
        self.client_name = self.shared.metrics.clients.names.label(&connect.name);
        self.client_version = if connect.version.is_empty() {
            "unversioned"
        } else {
            "unregistered"
        };
    }

    /// A reply or push is about to be written.
    pub(super) fn replied(&mut self, reply: &Reply, session: &Session, bytes: usize) {
        let mut kind = frames::of_reply(&reply.body);
        if reply.id > 0
            && let Some(at) = self.commands.iter().position(|(id, ..)| *id == reply.id)
        {
            let (_, command, arrived) = self.commands.swap_remove(at);
            kind = command;
            self.took(kind, arrived.elapsed());
        }
        self.frames.sent(kind, 1, bytes);
        tracing::trace!(
            id = reply.id,
            frame = frames::name(kind),
            bytes,
            "frame sent"
        );
        match &reply.body {
            ReplyBody::Error(error) => {
                self.refused(kind, error, session);
                if kind == frames::SUBSCRIBE {
                    self.subscribed(0, session);
                }
            }
            ReplyBody::Connect(result) => self.connected(result, session),
            ReplyBody::Subscribe(result) => {
                self.recovery(result);
                self.subscribed(1, session);
            }
            ReplyBody::Unsubscribe => self.subscribed(0, session),
            ReplyBody::Ping => self.pinged = Some(Instant::now()),
            ReplyBody::Push(push) => match &push.body {
                PushBody::Connect(result) => self.connected(result, session),
                PushBody::Subscribe(_) => self.subscribed(1, session),
                PushBody::Unsubscribe(why) => {
                    self.shared.metrics.clients.unsubscribed(why.code);
                    self.subscribed(0, session);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn connected(&mut self, result: &ConnectResult, session: &Session) {
        self.accepted = true;
        let labels = [self.transport, "", &self.client_name, self.client_version];
        let clients = &self.shared.metrics.clients;
        clients.accepted.with_label_values(&labels).inc();
        clients.inflight.with_label_values(&labels).inc();
        result.subs.values().for_each(|sub| self.recovery(sub));
        self.subscribed(result.subs.len(), session);
        tracing::debug!(user = %session.user(), "client authenticated");
    }

    /// So many subscriptions are new; how many there are is asked of the session, since not every end has a reply.
    fn subscribed(&mut self, new: usize, session: &Session) {
        let (accepted, inflight) = &self.shared.metrics.clients.subscriptions;
        let labels = [&*self.client_name, ""];
        if new > 0 {
            accepted.with_label_values(&labels).inc_by(new as u64);
        }
        let now = session.subscriptions();
        let int = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        inflight
            .with_label_values(&labels)
            .add(int(now) - int(self.subscriptions));
        self.subscriptions = now;
    }

    /// Counts a recovery that was asked for, by whichever way the subscription was made.
    fn recovery(&self, result: &SubscribeResult) {
        if !result.was_recovering {
            return;
        }
        let clients = &self.shared.metrics.clients;
        clients.recovery(result.recovered, result.publications.len());
    }

    fn refused(&self, kind: usize, error: &crate::model::ClientError, session: &Session) {
        let method = frames::name(kind);
        self.shared
            .metrics
            .clients
            .reply_errors
            .with_label_values(&[method, &error.code.to_string(), ""])
            .inc();
        if self.shared.quiet.allows(method, error.code) {
            let (client, user, code) = (session.client(), session.user(), error.code);
            tracing::info!(%client, %user, method, code, error = %error.message, "client command error");
        }
    }

    /// Publications are about to be written.
    pub(super) fn published(&self, publications: u64, bytes: usize) {
        if publications > 0 {
            self.frames.sent(frames::PUBLICATION, publications, bytes);
            tracing::trace!(publications, bytes, "publications sent");
        }
    }

    /// The connection ends.
    pub(super) fn closed(&self, why: &Disconnect, session: &Session) {
        let metrics = &self.shared.metrics;
        metrics.clients.closed(self.transport, why);
        if self.accepted {
            let labels = [self.transport, "", &self.client_name, self.client_version];
            metrics.clients.inflight.with_label_values(&labels).dec();
            metrics.action("remove_client");
        }
        if self.subscriptions > 0 {
            let (_, inflight) = &metrics.clients.subscriptions;
            inflight
                .with_label_values(&[&*self.client_name, ""])
                .sub(i64::try_from(self.subscriptions).unwrap_or(i64::MAX));
        }
        if *why == Disconnect::CONNECTION_CLOSED {
            return;
        }
        let (client, user) = (session.client(), session.user());
        if *why != Disconnect::SHUTDOWN && self.shared.quiet.allows("disconnect", why.code) {
            tracing::info!(%client, %user, code = why.code, reason = %why.reason, "closing client connection");
        }
    }
}
