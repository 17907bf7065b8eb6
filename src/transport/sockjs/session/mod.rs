//! A session over HTTP: what outlives the single request. Two queues with bounds, and who waits at their ends.
//!
//! The connection's task holds the [`link::SessionLink`], one request at a time the [`receiver::Receiver`]; requests of the
//! client put frames in with [`Session::push`]. Knows no HTTP and no command.

pub(super) mod link;
pub(super) mod receiver;
pub(super) mod table;

use std::{
    collections::VecDeque,
    fmt,
    task::{Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// How long a session lives without a receiver, and how long one that has ended says why.
pub(super) const WITHOUT_RECEIVER: Duration = Duration::from_secs(5);
/// Bytes of messages that may wait for the receiver before the connection has to.
const OUTBOX: usize = 64 * 1024;
/// Bytes of frames that may wait for the connection before requests have to.
const INBOX: usize = 64 * 1024;
/// What a waiting frame costs beside its bytes.
const FRAME: usize = 64;
/// Requests that may wait for their turn, and for how long.
const WAITING: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// One session.
pub(super) struct Session {
    key: Box<str>,
    state: Mutex<State>,
    /// There is room in the inbox again, or the session has ended.
    room: Notify,
}

struct State {
    phase: Phase,
    /// The first frame has not left yet.
    opening: bool,
    /// Heartbeats are wanted: not once the client speaks the newer generation.
    beats: bool,
    /// A receiver is there.
    received: bool,
    /// When the last receiver left.
    left: Instant,
    /// When something was last taken out.
    taken: Instant,
    /// Messages for the client, as JSON strings.
    outbox: VecDeque<Bytes>,
    outbox_bytes: usize,
    /// Frames of the client.
    inbox: VecDeque<Bytes>,
    inbox_bytes: usize,
    /// Requests that wait for room in the inbox.
    waiting: usize,
    /// Who waits for what the client does.
    link: Option<Waker>,
    /// Who waits for what the connection does.
    receiver: Option<Waker>,
}

/// How far a session has come.
enum Phase {
    Open,
    /// It has ended and says so, with this frame.
    Closed(Bytes),
    /// It has ended without a word.
    Gone,
}

/// Frames that a session does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejected {
    /// The session has ended.
    Ended,
    /// Too much is waiting.
    Busy,
}

impl fmt::Debug for Session {
    /// Without its name, which is all a stranger needs to use it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    fn new(key: &str, beats: bool) -> Self {
        let now = Instant::now();
        Self {
            key: key.into(),
            state: Mutex::new(State {
                phase: Phase::Open,
                opening: true,
                beats,
                received: false,
                left: now,
                taken: now,
                outbox: VecDeque::new(),
                outbox_bytes: 0,
                inbox: VecDeque::new(),
                inbox_bytes: 0,
                waiting: 0,
                link: None,
                receiver: None,
            }),
            room: Notify::new(),
        }
    }

    /// It takes frames.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state.lock().phase, Phase::Open)
    }

    /// Gives the connection the frames of one request, together. Waits while too much of others is there.
    ///
    /// # Errors
    /// When the session has ended, or when too many wait or one has waited too long.
    pub(super) async fn push(&self, frames: Vec<Bytes>) -> Result<(), Rejected> {
        let mut frames = Some(frames);
        if let Poll::Ready(pushed) = self.try_push(&mut frames) {
            return pushed;
        }
        let _place = Place::take(self).ok_or(Rejected::Busy)?;
        let waiting = async {
            loop {
                let room = self.room.notified();
                if let Poll::Ready(pushed) = self.try_push(&mut frames) {
                    return pushed;
                }
                room.await;
            }
        };
        timeout(PATIENCE, waiting)
            .await
            .unwrap_or(Err(Rejected::Busy))
    }

    /// Takes the frames if there is room.
    fn try_push(&self, frames: &mut Option<Vec<Bytes>>) -> Poll<Result<(), Rejected>> {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Open) {
            return Poll::Ready(Err(Rejected::Ended));
        }
        if state.inbox_bytes >= INBOX {
            return Poll::Pending;
        }
        for frame in frames.take().into_iter().flatten() {
            state.inbox_bytes += frame.len() + FRAME;
            state.inbox.push_back(frame);
        }
        let waker = state.link.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }

    /// Ends the session; with a frame it says why until it is forgotten. What waits for the client is still given to it,
    /// unless it was too slow for that.
    fn end(&self, frame: Option<Bytes>, keeps: bool) {
        let mut state = self.state.lock();
        state.phase = frame.map_or(Phase::Gone, Phase::Closed);
        state.inbox = VecDeque::new();
        state.inbox_bytes = 0;
        if !keeps {
            state.outbox = VecDeque::new();
            state.outbox_bytes = 0;
        }
        let wakers = [state.receiver.take(), state.link.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        self.room.notify_waiters();
    }
}

/// A place among those who wait for room.
struct Place<'s>(&'s Session);

impl<'s> Place<'s> {
    fn take(session: &'s Session) -> Option<Self> {
        let mut state = session.state.lock();
        if state.waiting >= WAITING {
            return None;
        }
        state.waiting += 1;
        drop(state);
        Some(Self(session))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting -= 1;
    }
}

#[cfg(test)]
mod tests;
