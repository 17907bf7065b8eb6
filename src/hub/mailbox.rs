//! The queue of one connection: a FIFO with a byte budget that anyone may push into and one task drains.
//!
//! Pushing never waits. Over budget the mailbox closes itself with 3008 and drops what it holds:
//! the slow reader is told, the others feel nothing.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::model::{Channel, Delivery, Disconnect, Refresh, SubscribeCommand, Unsubscribe};

/// Something for one connection.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A channel event.
    Delivery(Delivery),
    /// Make a server-side subscription.
    Subscribe(Box<SubscribeCommand>),
    /// End a subscription; with an empty channel only the push is sent.
    Unsubscribe(Channel, Unsubscribe),
    /// Change the expiration.
    Refresh(Box<Refresh>),
}

impl Mail {
    /// Bytes it counts for: its frame, and a flat amount for everything that is not one.
    pub(crate) fn cost(&self) -> usize {
        match self {
            Self::Delivery(delivery) => delivery.frame.size(),
            Self::Subscribe(_) | Self::Unsubscribe(..) | Self::Refresh(_) => 128,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Mail>,
    /// Bytes queued or taken and not yet written.
    bytes: usize,
    closed: Option<Disconnect>,
}

/// Queue of one connection; shared between the hub and the connection's task.
#[derive(Debug)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    waker: AtomicWaker,
    budget: usize,
    serial: u64,
}

/// The queue is full or closed; the mail was dropped and the connection is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// This push broke the budget: the mailbox is closed with 3008 from now on.
    Overflow,
    /// It was closed before.
    Closed,
}

impl Mailbox {
    /// A queue that holds at most `budget` bytes.
    pub(crate) fn new(budget: usize) -> Self {
        // Identifies a connection within the process; never reaches a client.
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        Self {
            state: Mutex::default(),
            waker: AtomicWaker::new(),
            budget,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Number of this mailbox in the process.
    pub(crate) const fn serial(&self) -> u64 {
        self.serial
    }

    /// Queues a mail.
    pub(crate) fn push(&self, mail: Mail) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.closed.is_some() {
            return Err(Refused::Closed);
        }
        let bytes = state.bytes + mail.cost();
        if bytes > self.budget {
            state.closed = Some(Disconnect::SLOW);
            let dropped = std::mem::take(&mut state.queue);
            drop(state);
            drop(dropped);
            self.waker.wake();
            return Err(Refused::Overflow);
        }
        state.bytes = bytes;
        let idle = state.queue.is_empty();
        state.queue.push_back(mail);
        drop(state);
        if idle {
            self.waker.wake();
        }
        Ok(())
    }

    /// Ends the connection for this reason, after what is queued; the first reason stays.
    pub(crate) fn close(&self, why: Disconnect) {
        self.state.lock().closed.get_or_insert(why);
        self.waker.wake();
    }

    /// True once the budget was broken.
    pub(crate) fn overflowed(&self) -> bool {
        self.state.lock().closed == Some(Disconnect::SLOW)
    }

    /// Takes everything queued into the empty `into`, or learns the reason to close once the queue is empty.
    /// The bytes taken count until [`Mailbox::written`].
    pub(crate) fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut VecDeque<Mail>,
    ) -> Poll<Result<(), Disconnect>> {
        if let Some(result) = self.take(into) {
            return Poll::Ready(result);
        }
        self.waker.register(cx.waker());
        // A push between the first look and the registration would otherwise be missed.
        self.take(into).map_or(Poll::Pending, Poll::Ready)
    }

    fn take(&self, into: &mut VecDeque<Mail>) -> Option<Result<(), Disconnect>> {
        let mut state = self.state.lock();
        if !state.queue.is_empty() {
            std::mem::swap(&mut state.queue, into);
            return Some(Ok(()));
        }
        state.closed.clone().map(Err)
    }

    /// So many bytes of what was taken have left.
    pub(crate) fn written(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(bytes);
    }
}
