//! The request that takes what a session has for its client. There is one at a time.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};

use super::{Phase, Session, table::Sessions};
use crate::transport::sockjs::framing;

/// Something to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::transport::sockjs) enum Taken {
    /// A frame; more may follow.
    Frame(Bytes),
    /// The last frame of the session.
    Last(Bytes),
    /// The session has ended without a word.
    Nothing,
}

/// A receiver. Dropped before [`Receiver::leave`], its client was lost, and the session with it.
#[derive(Debug)]
pub(in crate::transport::sockjs) struct Receiver {
    session: Arc<Session>,
    sessions: Sessions,
    beat: Option<(Duration, Pin<Box<Sleep>>)>,
    left: bool,
}

impl Receiver {
    /// The receiver of a session, unless there is one.
    pub(in crate::transport::sockjs) fn attach(
        session: Arc<Session>,
        sessions: Sessions,
        heartbeat: Option<Duration>,
    ) -> Option<Self> {
        let mut state = session.state.lock();
        let open = matches!(state.phase, Phase::Open);
        if open && state.received {
            return None;
        }
        state.received |= open;
        state.taken = Instant::now();
        let beat = heartbeat.filter(|_| state.beats);
        drop(state);
        Some(Self {
            session,
            sessions,
            beat: beat.map(|every| (every, Box::pin(sleep(every)))),
            left: false,
        })
    }

    /// The next thing to send. Cancel safe: it is taken with the answer.
    pub(in crate::transport::sockjs) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Taken> {
        let mut state = self.session.state.lock();
        if state.opening && matches!(state.phase, Phase::Open | Phase::Closed(_)) {
            state.opening = false;
            return Poll::Ready(Taken::Frame(Bytes::from_static(framing::OPEN)));
        }
        if !state.outbox.is_empty() {
            let messages: Vec<Bytes> = std::mem::take(&mut state.outbox).into();
            state.outbox_bytes = 0;
            state.taken = Instant::now();
            let waker = state.link.take();
            drop(state);
            waker.into_iter().for_each(std::task::Waker::wake);
            return Poll::Ready(Taken::Frame(framing::array(&messages)));
        }
        match &state.phase {
            Phase::Closed(frame) => return Poll::Ready(Taken::Last(frame.clone())),
            Phase::Gone => return Poll::Ready(Taken::Nothing),
            Phase::Open => {}
        }
        state.receiver = Some(cx.waker().clone());
        let beats = state.beats;
        drop(state);
        self.poll_beat(beats, cx)
    }

    fn poll_beat(&mut self, beats: bool, cx: &mut Context<'_>) -> Poll<Taken> {
        if !beats {
            self.beat = None;
        }
        let Some((every, timer)) = &mut self.beat else {
            return Poll::Pending;
        };
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        timer.as_mut().reset(Instant::now() + *every);
        Poll::Ready(Taken::Frame(Bytes::from_static(framing::HEARTBEAT)))
    }

    /// Waits for the next thing to send.
    pub(in crate::transport::sockjs) async fn take(&mut self) -> Taken {
        poll_fn(|cx| self.poll_take(cx)).await
    }

    /// The request was answered; the session waits for the next one.
    pub(in crate::transport::sockjs) fn leave(&mut self) {
        if std::mem::replace(&mut self.left, true) {
            return;
        }
        let mut state = self.session.state.lock();
        state.received = false;
        state.receiver = None;
        state.left = Instant::now();
        let waker = state.link.take();
        drop(state);
        waker.into_iter().for_each(std::task::Waker::wake);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.left && self.session.is_open() {
            self.session.end(None, false);
            self.sessions.remove(&self.session);
        }
    }
}
