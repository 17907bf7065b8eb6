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
    client_name: &'static str,
    client_version: &'static str,
    accepted: bool,
}

impl Report {
    pub(super) fn new(shared: Arc<Shared>, transport: &'static str) -> Self {
        let frames = shared.frames.of(transport, &shared.metrics);
        let (client_name, client_version) = ("unnamed", "unversioned");
        Self {
            shared,
            transport,
            frames,
            commands: Vec::new(),
            client_name,
            client_version,
            accepted: false,
        }
    }

    /// A command was decoded.
    pub(super) fn received(&mut self, command: &Command) {
        let kind = frames::of_request(&command.request);
        self.frames.received(kind);
        if command.id > 0 {
            self.commands.push((command.id, kind, Instant::now()));
        }
    }

    /// A connect request came without a command around it.
    pub(super) fn asked_to_connect(&self) {
        self.frames.received(frames::CONNECT);
    }

    /// The connect command names the SDK. Names are the client's choice, so labels tell only whether there is one.
    pub(super) fn named(&mut self, connect: &ConnectRequest) {
        self.client_name = if connect.name.is_empty() {
            "unnamed"
        } else {
            "unregistered"
        };
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
            self.frames.answered(kind, arrived.elapsed().as_secs_f64());
        }
        self.frames.sent(kind, 1, bytes);
        match &reply.body {
            ReplyBody::Error(error) => self.refused(kind, error, session),
            ReplyBody::Connect(result) => self.connected(result, session),
            ReplyBody::Subscribe(result) => self.recovery(result),
            ReplyBody::Push(push) => match &push.body {
                PushBody::Connect(result) => self.connected(result, session),
                PushBody::Unsubscribe(why) => {
                    let unsubscribes = &self.shared.metrics.clients.unsubscribes;
                    let labels = [&*why.code.to_string(), ""];
                    unsubscribes.with_label_values(&labels).inc();
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn connected(&mut self, result: &ConnectResult, session: &Session) {
        self.accepted = true;
        let labels = [self.transport, "", self.client_name, self.client_version];
        let clients = &self.shared.metrics.clients;
        clients.accepted.with_label_values(&labels).inc();
        clients.inflight.with_label_values(&labels).inc();
        result.subs.values().for_each(|sub| self.recovery(sub));
        tracing::debug!(user = %session.user(), "client authenticated");
    }

    /// Counts a recovery that was asked for, by whichever way the subscription was made.
    fn recovery(&self, result: &SubscribeResult) {
        if !result.was_recovering {
            return;
        }
        let yes = |flag: bool| if flag { "yes" } else { "no" };
        let missed = yes(!result.publications.is_empty());
        let labels = [yes(result.recovered), "", missed];
        self.shared
            .metrics
            .clients
            .recover
            .with_label_values(&labels)
            .inc();
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
        }
    }

    /// The connection ends.
    pub(super) fn closed(&self, why: &Disconnect, session: &Session) {
        let metrics = &self.shared.metrics;
        let code = why.code.to_string();
        metrics
            .clients
            .closes
            .with_label_values(&[self.transport, &code])
            .inc();
        if self.accepted {
            let labels = [self.transport, "", self.client_name, self.client_version];
            metrics.clients.inflight.with_label_values(&labels).dec();
            metrics.action("remove_client");
        }
        if *why == Disconnect::CONNECTION_CLOSED {
            return;
        }
        metrics
            .clients
            .disconnects
            .with_label_values(&[&code])
            .inc();
        let (client, user) = (session.client(), session.user());
        if *why != Disconnect::SHUTDOWN && self.shared.quiet.allows("disconnect", why.code) {
            tracing::info!(%client, %user, code = why.code, reason = %why.reason, "closing client connection");
        }
    }
}
