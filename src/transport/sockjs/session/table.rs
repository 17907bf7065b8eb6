//! The sessions of this node by their names, and those that have just ended.
//!
//! Nothing runs here: what has expired is forgotten with the next look at the table, so it never outgrows five seconds of
//! ended sessions, and never [`ENDED`] of them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Session, WITHOUT_RECEIVER};
use crate::transport::sockjs::metrics::Metrics;

/// Sessions that have ended and still say so; the oldest is forgotten earlier.
const ENDED: usize = 16 * 1024;

/// All sessions over HTTP. Cloning is a reference count.
#[derive(Clone, Debug)]
pub(in crate::transport::sockjs) struct Sessions {
    state: Arc<Mutex<State>>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<Box<str>, Arc<Session>>,
    /// Those that have ended, in the order they did.
    ended: VecDeque<(Instant, Arc<Session>)>,
}

impl State {
    fn expire(&mut self) {
        let now = Instant::now();
        while let Some((at, _)) = self.ended.front()
            && (*at + WITHOUT_RECEIVER <= now || self.ended.len() > ENDED)
            && let Some((_, session)) = self.ended.pop_front()
        {
            self.remove(&session);
        }
    }

    /// Removes this session, not another one that has its name by now.
    fn remove(&mut self, session: &Arc<Session>) {
        let same = |known: &Arc<Session>| Arc::ptr_eq(known, session);
        if self.sessions.get(&session.key).is_some_and(same) {
            self.sessions.remove(&session.key);
        }
    }
}

impl Sessions {
    pub(in crate::transport::sockjs) fn new(metrics: Metrics) -> Self {
        Self {
            state: Arc::default(),
            metrics,
        }
    }

    /// A session that is there.
    pub(in crate::transport::sockjs) fn find(&self, key: &str) -> Option<Arc<Session>> {
        let mut state = self.state.lock();
        state.expire();
        self.count(&state);
        state.sessions.get(key).cloned()
    }

    /// A session that is there, or else a new one and `true`.
    pub(in crate::transport::sockjs) fn open(
        &self,
        key: &str,
        beats: bool,
    ) -> (Arc<Session>, bool) {
        let mut state = self.state.lock();
        state.expire();
        if let Some(session) = state.sessions.get(key) {
            return (Arc::clone(session), false);
        }
        let session = Arc::new(Session::new(key, beats));
        state.sessions.insert(key.into(), Arc::clone(&session));
        self.count(&state);
        (session, true)
    }

    /// Forgets a session at once.
    pub(super) fn remove(&self, session: &Arc<Session>) {
        let mut state = self.state.lock();
        state.remove(session);
        state.expire();
        self.count(&state);
    }

    /// Forgets a session that has ended when it has said so for long enough.
    pub(super) fn ended(&self, session: Arc<Session>) {
        let mut state = self.state.lock();
        state.ended.push_back((Instant::now(), session));
        state.expire();
        self.count(&state);
    }

    fn count(&self, state: &State) {
        let sessions = i64::try_from(state.sessions.len()).unwrap_or(i64::MAX);
        self.metrics.sessions.set(sessions);
    }
}
