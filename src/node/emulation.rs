//! Sessions whose commands come by requests of their own (client-protocol.md 3.5): which there are on this node, and the way of
//! a frame to one of them.
//!
//! A frame waits in the letterbox of its session until the connection takes it. A letterbox has few places; who finds none
//! waits, and gives up after a while. A session that nobody knows, or that ends meanwhile, is no error: nothing happens.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::{
    model::{Encoding, NodeId},
    protocol::{EmulationRequest, json_text},
};

/// Frames of one session that wait or are being processed.
const PLACES: usize = 16;
/// Longest wait until the commands of a frame are processed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a frame did not reach its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmulationError {
    /// There is no node of this name.
    #[error("unknown node")]
    UnknownNode,
    /// The other node did not take it, or the session has too many frames already.
    #[error("the frame did not reach its session")]
    Undelivered,
}

/// There is no such session on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnknownSession;

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) frame: Bytes,
    /// Dropped when the commands in the frame are processed.
    pub(super) processing: oneshot::Sender<()>,
}

/// Frames for one session.
#[derive(Debug)]
pub(super) struct Letterbox {
    encoding: Encoding,
    queue: Mutex<VecDeque<Letter>>,
    /// Closed when the session ends.
    places: Semaphore,
    waker: AtomicWaker,
}

impl Letterbox {
    fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            queue: Mutex::default(),
            places: Semaphore::new(PLACES),
            waker: AtomicWaker::new(),
        }
    }

    /// Takes the next frame.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Letter> {
        if let Some(letter) = self.take() {
            return Poll::Ready(letter);
        }
        self.waker.register(cx.waker());
        // A frame between the first look and the registration would otherwise be missed.
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    fn take(&self) -> Option<Letter> {
        let mut queue = self.queue.lock();
        let letter = queue.pop_front()?;
        if queue.is_empty() {
            // Commands are rare; an idle session holds no memory for them.
            *queue = VecDeque::new();
        }
        Some(letter)
    }

    /// Puts a frame in and waits until its commands are processed.
    async fn put(&self, data: Bytes) -> Result<(), EmulationError> {
        let frame = match self.encoding {
            Encoding::Protobuf => Some(data).filter(|data| !data.is_empty()),
            Encoding::Json => json_text(&data),
        };
        let Some(frame) = frame else {
            return Ok(());
        };
        let processed = async {
            let Ok(_place) = self.places.acquire().await else {
                return Ok(());
            };
            let (processing, processed) = oneshot::channel();
            {
                let mut queue = self.queue.lock();
                // Frames whose senders have given up hold no place, but they hold memory.
                if queue.len() >= PLACES {
                    return Err(EmulationError::Undelivered);
                }
                queue.push_back(Letter { frame, processing });
            }
            self.waker.wake();
            if self.places.is_closed() {
                // The session has ended between the two: nobody takes it any more.
                self.queue.lock().clear();
            }
            // An error is the usual end: nothing is ever sent.
            processed.await.unwrap_or_default();
            Ok(())
        };
        timeout(PATIENCE, processed)
            .await
            .unwrap_or(Err(EmulationError::Undelivered))
    }
}

/// Emulated sessions of this node.
#[derive(Debug, Default)]
pub(super) struct Sessions(RwLock<HashMap<Arc<str>, Arc<Letterbox>>>);

impl Sessions {
    /// Gives a session a letterbox, for as long as the seat is held.
    pub(super) fn open(self: &Arc<Self>, session: &Arc<str>, encoding: Encoding) -> Seat {
        let letters = Arc::new(Letterbox::new(encoding));
        let mut sessions = self.0.write();
        sessions.insert(Arc::clone(session), Arc::clone(&letters));
        drop(sessions);
        Seat {
            sessions: Arc::clone(self),
            session: Arc::clone(session),
            letters,
        }
    }

    /// Puts a frame into the letterbox of a session and waits until its commands are processed.
    pub(super) async fn post(
        &self,
        session: &str,
        data: Bytes,
    ) -> Result<Result<(), EmulationError>, UnknownSession> {
        let letters = self.0.read().get(session).cloned();
        match letters {
            Some(letters) => Ok(letters.put(data).await),
            None => Err(UnknownSession),
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.read().len()
    }
}

/// A session's place among the others.
#[derive(Debug)]
pub(super) struct Seat {
    sessions: Arc<Sessions>,
    session: Arc<str>,
    pub(super) letters: Arc<Letterbox>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut sessions = self.sessions.0.write();
        sessions.remove(&self.session);
        let (len, capacity) = (sessions.len(), sessions.capacity());
        if capacity > 1024 && len * 4 < capacity {
            sessions.shrink_to(len * 2);
        }
        drop(sessions);
        self.letters.places.close();
        self.letters.queue.lock().clear();
    }
}

/// Where a frame has to go.
pub(super) enum Way {
    Here,
    Other(NodeId),
}

impl super::Shared {
    /// The node that a request names.
    pub(super) fn way(&self, request: &EmulationRequest) -> Result<Way, EmulationError> {
        if request.node.is_empty() {
            return Err(EmulationError::UnknownNode);
        }
        if request.node == self.id().as_str() {
            return Ok(Way::Here);
        }
        let node = NodeId::from(request.node.as_str());
        if self.nodes.knows(&node) {
            Ok(Way::Other(node))
        } else {
            Err(EmulationError::UnknownNode)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn sessions() -> (Arc<Sessions>, Seat) {
        let sessions = Arc::new(Sessions::default());
        let seat = sessions.open(&Arc::from("s"), Encoding::Json);
        (sessions, seat)
    }

    fn quoted(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[tokio::test]
    async fn a_frame_is_answered_when_its_commands_are_processed() {
        let (sessions, seat) = sessions();
        let mut post = tokio_test::task::spawn(sessions.post("s", quoted("\"{}\"")));
        tokio_test::assert_pending!(post.poll());
        let letter = poll_fn(|cx| seat.letters.poll_take(cx)).await;
        assert_eq!(letter.frame, "{}");
        tokio_test::assert_pending!(post.poll());
        drop(letter);
        assert!(post.is_woken());
        assert_eq!(post.await, Ok(Ok(())));
    }

    #[tokio::test]
    async fn frames_are_taken_in_the_order_they_came() {
        let (sessions, seat) = sessions();
        let mut posts: Vec<_> = ["\"1\"", "\"2\"", "\"3\""]
            .into_iter()
            .map(|text| tokio_test::task::spawn(sessions.post("s", quoted(text))))
            .collect();
        for post in &mut posts {
            tokio_test::assert_pending!(post.poll());
        }
        for text in ["1", "2", "3"] {
            assert_eq!(poll_fn(|cx| seat.letters.poll_take(cx)).await.frame, text);
        }
    }

    #[tokio::test]
    async fn nothing_happens_without_a_session_or_a_frame() {
        let (sessions, seat) = sessions();
        assert_eq!(
            sessions.post("nobody", quoted("\"{}\"")).await,
            Err(UnknownSession)
        );
        for data in ["", "null", "{}"] {
            assert_eq!(sessions.post("s", quoted(data)).await, Ok(Ok(())));
        }
        let mut late = tokio_test::task::spawn(sessions.post("s", quoted("\"{}\"")));
        tokio_test::assert_pending!(late.poll());
        drop(seat);
        assert_eq!(late.await, Ok(Ok(())));
        assert_eq!(
            sessions.post("s", quoted("\"{}\"")).await,
            Err(UnknownSession)
        );
        assert_eq!(sessions.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_takes_nothing_holds_few_frames() {
        let (sessions, seat) = sessions();
        let mut posts: Vec<_> = (0..PLACES + 1)
            .map(|_| tokio_test::task::spawn(sessions.post("s", quoted("\"{}\""))))
            .collect();
        for post in &mut posts {
            tokio_test::assert_pending!(post.poll());
        }
        assert_eq!(seat.letters.queue.lock().len(), PLACES);
        assert_eq!(
            posts.pop().unwrap().await,
            Ok(Err(EmulationError::Undelivered))
        );
    }
}
