//! The [`Link`] of a session over HTTP: its peer comes and goes, request by request.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};

use super::{FRAME, OUTBOX, Phase, Session, State, WITHOUT_RECEIVER, table::Sessions};
use crate::{
    model::{Direction, Disconnect, Version},
    node::{Close, Inbound, Link, LinkTraits},
    protocol::frame::{Framing, Kind},
    transport::{Metrics, sockjs::framing},
};

/// What all sessions share.
#[derive(Clone, Debug)]
pub(in crate::transport::sockjs) struct Settings {
    pub(in crate::transport::sockjs) message_size_limit: usize,
    pub(in crate::transport::sockjs) write_timeout: Duration,
    pub(in crate::transport::sockjs) closes: Metrics,
}

/// The connection's end of a session.
#[derive(Debug)]
pub(in crate::transport::sockjs) struct SessionLink {
    held: Held,
    version: Option<Version>,
    timer: Pin<Box<Sleep>>,
    /// Longest time in which a receiver takes nothing.
    write_timeout: Duration,
    settings: Arc<Settings>,
}

/// A session that ends with its connection, even if that is dropped.
#[derive(Debug)]
struct Held {
    session: Arc<Session>,
    sessions: Sessions,
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.session.is_open() {
            self.session.end(None, false);
            self.sessions.remove(&self.session);
        }
    }
}

impl SessionLink {
    pub(in crate::transport::sockjs) fn new(
        session: Arc<Session>,
        sessions: Sessions,
        settings: Arc<Settings>,
    ) -> Self {
        Self {
            held: Held { session, sessions },
            version: None,
            timer: Box::pin(sleep(WITHOUT_RECEIVER)),
            write_timeout: settings.write_timeout,
            settings,
        }
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Inbound, Disconnect>> {
        let session = Arc::clone(&self.held.session);
        let mut state = session.state.lock();
        if !matches!(state.phase, Phase::Open) {
            return Poll::Ready(Err(Disconnect::CONNECTION_CLOSED));
        }
        if let Some(frame) = state.inbox.pop_front() {
            state.inbox_bytes -= frame.len() + FRAME;
            drop(state);
            session.room.notify_waiters();
            return Poll::Ready(Ok(Inbound::Frame(frame, Kind::Text)));
        }
        if self.poll_abandoned(&mut state, cx).is_ready() {
            return Poll::Ready(Err(Disconnect::CONNECTION_CLOSED));
        }
        Poll::Pending
    }

    /// Ready when no receiver has come for too long. Remembers who to wake when one comes, leaves or takes something.
    fn poll_abandoned(&mut self, state: &mut State, cx: &mut Context<'_>) -> Poll<()> {
        state.link = Some(cx.waker().clone());
        if state.received {
            return Poll::Pending;
        }
        self.poll_timer(state.left + WITHOUT_RECEIVER, cx)
    }

    fn poll_timer(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.timer.deadline() != at {
            self.timer.as_mut().reset(at);
        }
        self.timer.as_mut().poll(cx)
    }

    /// Ready when the batch was taken over. A receiver has the write time limit to take something out of a full outbox.
    fn poll_send(
        &mut self,
        batch: &mut Vec<Bytes>,
        since: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Disconnect>> {
        let session = Arc::clone(&self.held.session);
        let mut state = session.state.lock();
        if !matches!(state.phase, Phase::Open) {
            return Poll::Ready(Err(Disconnect::CONNECTION_CLOSED));
        }
        if state.outbox_bytes < OUTBOX {
            for message in batch.drain(..) {
                state.outbox_bytes += message.len();
                state.outbox.push_back(message);
            }
            let waker = state.receiver.take();
            drop(state);
            waker.into_iter().for_each(std::task::Waker::wake);
            return Poll::Ready(Ok(()));
        }
        if self.poll_abandoned(&mut state, cx).is_ready() {
            return Poll::Ready(Err(Disconnect::CONNECTION_CLOSED));
        }
        let limit = since.max(state.taken) + self.write_timeout;
        if state.received && self.poll_timer(limit, cx).is_ready() {
            return Poll::Ready(Err(Disconnect::WRITE_ERROR));
        }
        Poll::Pending
    }
}

impl Link for SessionLink {
    fn traits(&self) -> LinkTraits {
        LinkTraits {
            framing: Framing::SockJs,
            message_size_limit: self.settings.message_size_limit,
            close_carries_reason: true,
            discards_after_refusal: true,
            native_ping: false,
            direction: Direction::Both,
        }
    }

    fn decided(&mut self, version: Version) {
        self.version = Some(version);
        if version == Version::V2 {
            self.held.session.state.lock().beats = false;
        }
    }

    fn be_patient(&mut self, longest: Duration) {
        self.write_timeout = self.write_timeout.max(longest);
    }

    fn recv(&mut self) -> impl Future<Output = Result<Inbound, Disconnect>> + Send {
        poll_fn(|cx| self.poll_recv(cx))
    }

    async fn send(&mut self, batch: &mut Vec<Bytes>) -> Result<(), Disconnect> {
        let since = Instant::now();
        let sent = poll_fn(|cx| self.poll_send(batch, since, cx)).await;
        batch.clear();
        sent
    }

    async fn close(self, close: Close) {
        let Held { session, sessions } = &self.held;
        let code = close.disconnect.code;
        if code == Disconnect::CONNECTION_CLOSED.code || !session.is_open() {
            session.end(None, false);
            sessions.remove(session);
            return;
        }
        let frame = framing::closed(self.version, &close.disconnect);
        session.end(Some(frame), close.disconnect != Disconnect::SLOW);
        sessions.ended(Arc::clone(session));
        self.settings.closes.closed("sockjs", code);
    }
}
