//! The hand-over between a session's task and the response body of its stream: one batch, then the last word.
//!
//! Bounded by construction: a peer that does not read leaves one batch here, and its flow control holds the body back.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use tokio::time::timeout;

/// Places kept in an empty batch; more are given back.
const KEPT: usize = 16;

/// What ends a stream: a status on gRPC, nothing but the end in a plain body.
pub(super) trait LastWord: Send + 'static {
    /// The word after which nothing is missing.
    fn said() -> Self;
    /// The word of a session that ended without one (aborted, panicked).
    fn abandoned() -> Self;
}

#[derive(Debug)]
struct State<W> {
    batch: VecDeque<Bytes>,
    last: Option<W>,
    /// The body was dropped or has said its last word.
    gone: bool,
    body: Option<Waker>,
    /// Of a session that waits for room.
    session: Option<Waker>,
    /// Of a session that waits for the end.
    watcher: Option<Waker>,
}

impl<W> State<W> {
    /// Takes a message out, and gives the memory of a burst back with the last of it.
    fn pop(&mut self) -> Option<Bytes> {
        let message = self.batch.pop_front();
        if self.batch.is_empty() && self.batch.capacity() > KEPT {
            self.batch = VecDeque::new();
        }
        message
    }
}

/// The session's end.
#[derive(Debug)]
pub(super) struct Outlet<W: LastWord>(Arc<Mutex<State<W>>>);

/// The body's end.
#[derive(Debug)]
pub(super) struct Messages<W>(Arc<Mutex<State<W>>>);

/// The body does not take what it should, or is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stuck;

/// Both ends.
pub(super) fn outlet<W: LastWord>() -> (Outlet<W>, Messages<W>) {
    let state = Arc::new(Mutex::new(State {
        batch: VecDeque::new(),
        last: None,
        gone: false,
        body: None,
        session: None,
        watcher: None,
    }));
    (Outlet(state.clone()), Messages(state))
}

impl<W: LastWord> Outlet<W> {
    /// Puts a batch in as soon as the one before was taken. The limit starts anew with each message that leaves.
    pub(super) async fn send(&self, batch: &mut Vec<Bytes>, limit: Duration) -> Result<(), Stuck> {
        if let Some(sent) = self.try_send(batch) {
            return sent;
        }
        Box::pin(self.emptied(limit)).await?;
        self.try_send(batch).unwrap_or(Err(Stuck))
    }

    /// Waits like [`Outlet::send`], puts the last word in and waits until the body has taken it.
    pub(super) async fn end(
        &self,
        last: W,
        limit: Duration,
        patience: Duration,
    ) -> Result<(), Stuck> {
        Box::pin(self.emptied(limit)).await?;
        let waker = {
            let mut state = self.0.lock();
            state.last = Some(last);
            state.body.take()
        };
        waker.into_iter().for_each(Waker::wake);
        timeout(patience, self.gone()).await.or(Err(Stuck))
    }

    /// `None` while the batch before is there.
    fn try_send(&self, batch: &mut Vec<Bytes>) -> Option<Result<(), Stuck>> {
        let mut state = self.0.lock();
        if state.gone {
            return Some(Err(Stuck));
        }
        if !state.batch.is_empty() {
            return None;
        }
        state.batch.extend(batch.drain(..));
        let waker = state.body.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Some(Ok(()))
    }

    async fn emptied(&self, limit: Duration) -> Result<(), Stuck> {
        let mut left = self.0.lock().batch.len();
        while left > 0 {
            let progress = poll_fn(|cx| {
                let mut state = self.0.lock();
                if state.gone || state.batch.len() < left {
                    return Poll::Ready(state.batch.len());
                }
                state.session = Some(cx.waker().clone());
                Poll::Pending
            });
            left = timeout(limit, progress).await.or(Err(Stuck))?;
            if self.0.lock().gone {
                return Err(Stuck);
            }
        }
        Ok(())
    }

    /// Waits until the body is dropped or has ended. Cancel safe.
    pub(super) async fn gone(&self) {
        poll_fn(|cx| self.poll_gone(cx)).await;
    }

    /// The same, for who waits for more than this.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.gone {
            return Poll::Ready(());
        }
        let known = state.watcher.as_ref();
        if !known.is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.watcher = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl<W: LastWord> Drop for Outlet<W> {
    /// A session that ends without a word must not leave its stream open.
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if !state.gone && state.last.is_none() {
            state.last = Some(W::abandoned());
            let waker = state.body.take();
            drop(state);
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

impl<W> Messages<W> {
    /// The next message, if there is one already and it has at most so many bytes.
    pub(super) fn take_small(&mut self, most: usize) -> Option<Bytes> {
        let mut state = self.0.lock();
        if state.batch.front()?.len() > most {
            return None;
        }
        let message = state.pop();
        let waker = state.session.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        message
    }
}

impl<W> Stream for Messages<W> {
    type Item = Result<Bytes, W>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.lock();
        let mut watcher = None;
        let next = if let Some(message) = state.pop() {
            Ok(message)
        } else if let Some(last) = state.last.take() {
            state.gone = true;
            watcher = state.watcher.take();
            Err(last)
        } else if state.gone {
            return Poll::Ready(None);
        } else {
            state.body = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let waker = state.session.take();
        drop(state);
        waker.into_iter().chain(watcher).for_each(Waker::wake);
        Poll::Ready(Some(next))
    }
}

impl<W> Drop for Messages<W> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.gone = true;
        state.batch = VecDeque::new();
        let wakers = [state.session.take(), state.watcher.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tonic::Status;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    fn batch(texts: &[&'static str]) -> Vec<Bytes> {
        texts
            .iter()
            .map(|text| Bytes::from_static(text.as_bytes()))
            .collect()
    }

    #[tokio::test]
    async fn one_batch_at_a_time() {
        let (outlet, mut messages) = outlet::<Status>();
        outlet.send(&mut batch(&["a", "b"]), LIMIT).await.unwrap();
        let mut second = batch(&["c"]);
        let mut send = tokio_test::task::spawn(outlet.send(&mut second, LIMIT));
        tokio_test::assert_pending!(send.poll());
        assert_eq!(messages.next().await.unwrap().unwrap(), "a");
        tokio_test::assert_pending!(send.poll());
        assert_eq!(messages.next().await.unwrap().unwrap(), "b");
        assert!(send.is_woken());
        send.await.unwrap();
        assert!(second.is_empty());
        assert_eq!(messages.next().await.unwrap().unwrap(), "c");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_takes_nothing_is_given_up() {
        let (outlet, mut messages) = outlet::<Status>();
        outlet.send(&mut batch(&["a", "b"]), LIMIT).await.unwrap();
        assert_eq!(outlet.send(&mut batch(&["c"]), LIMIT).await, Err(Stuck));
        // Each message taken is another second.
        let start = tokio::time::Instant::now();
        let slow = async {
            for _ in 0..2 {
                tokio::time::sleep(LIMIT * 9 / 10).await;
                messages.next().await.unwrap().unwrap();
            }
        };
        let mut third = batch(&["d"]);
        let (sent, ()) = tokio::join!(outlet.send(&mut third, LIMIT), slow);
        assert_eq!(sent, Ok(()));
        assert!(start.elapsed() > LIMIT);
    }

    #[tokio::test]
    async fn the_last_word_comes_after_the_batch() {
        let (outlet, mut messages) = outlet::<Status>();
        outlet.send(&mut batch(&["a"]), LIMIT).await.unwrap();
        let body = async {
            assert_eq!(messages.next().await.unwrap().unwrap(), "a");
            let last = messages.next().await.unwrap().unwrap_err();
            assert_eq!(last.message(), "bye");
            assert!(messages.next().await.is_none());
        };
        let (ended, ()) = tokio::join!(outlet.end(Status::ok("bye"), LIMIT, LIMIT), body);
        assert_eq!(ended, Ok(()));
    }

    #[tokio::test]
    async fn each_end_notices_when_the_other_is_gone() {
        let (outlet_one, messages) = outlet::<Status>();
        drop(messages);
        assert_eq!(outlet_one.send(&mut batch(&["a"]), LIMIT).await, Err(Stuck));
        assert_eq!(outlet_one.end(Status::ok(""), LIMIT, LIMIT).await, Ok(()));
        let (outlet_two, mut messages) = outlet::<Status>();
        drop(outlet_two);
        assert_eq!(
            messages.next().await.unwrap().unwrap_err().code(),
            tonic::Code::Unavailable
        );
    }
}
