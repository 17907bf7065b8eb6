//! The queue of one connection: a FIFO with a byte budget that anyone may push into and one task drains.
//!
//! Pushing never waits. Over budget the mailbox closes itself with 3008 and drops what it holds:
//! the slow reader is told, the others feel nothing.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use indexmap::IndexMap;
use parking_lot::{Mutex, MutexGuard};

use crate::model::{
    Channel, ChannelEvent, Delivery, Disconnect, Refresh, SlowPolicy, SubscribeCommand,
    SubscriptionKey, Unsubscribe,
};

/// Something for one connection.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A channel event.
    Delivery(Delivery),
    /// What follows for this subscription was dropped, it has to be read from history.
    Behind(SubscriptionKey),
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
            Self::Behind(_) => 0,
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
    /// What subscriptions that do not end the connection get less; few connections ever have any.
    lag: Option<Box<Lag>>,
}

/// Subscriptions that read too slowly.
#[derive(Debug, Default)]
struct Lag {
    /// Nothing is queued for these until they have been brought up to date.
    behind: HashSet<SubscriptionKey>,
    /// The newest delivery of these, written when there is room.
    latest: IndexMap<SubscriptionKey, Delivery>,
}

/// Queue of one connection; shared between the hub and the connection's task.
#[derive(Debug)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    waker: AtomicWaker,
    budget: usize,
    serial: u64,
    /// Some subscription does not end the connection when its client reads too slowly.
    lenient: AtomicBool,
    /// Secret of an emulated or unidirectional session.
    session: Option<Arc<str>>,
}

/// How much of a delivery was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    /// All of it.
    Whole,
    /// The subscription reads too slowly: this one replaces others, or is read from history later.
    Less,
}

/// What a queue takes of subscriptions that do not end the connection when it is full: bytes, and the places of mails.
const LAG: usize = 128 * 1024;

impl Lag {
    fn has(&self, key: SubscriptionKey) -> bool {
        self.behind.contains(&key) || self.latest.contains_key(&key)
    }

    /// Keeps only the newest publication. Joins and leaves are not kept: the next ones make up for them.
    fn replace(&mut self, mut delivery: Delivery) {
        let place = |delivery: &Delivery| match &delivery.broadcast.event {
            ChannelEvent::Publication(publication, epoch) => {
                Some((publication.offset, epoch.clone()))
            }
            _ => None,
        };
        let Some((offset, epoch)) = place(&delivery) else {
            return;
        };
        if let Some(older) = self.latest.get(&delivery.key)
            && let Some((before, old_epoch)) = place(older)
            && before > 0
            && epoch == old_epoch
            && offset.checked_sub(1 + delivery.skipped) == Some(before)
        {
            // The replaced one was kept back like those before it.
            delivery.skipped += 1 + older.skipped;
        }
        self.latest.insert(delivery.key, delivery);
    }
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
    #[cfg(test)]
    pub(crate) fn new(budget: usize) -> Self {
        Self::of(budget, None)
    }

    /// The same, of a connection that may have a session identifier.
    pub(crate) fn of(budget: usize, session: Option<Arc<str>>) -> Self {
        // Identifies a connection within the process; never reaches a client.
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        Self {
            state: Mutex::default(),
            waker: AtomicWaker::new(),
            budget,
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
            lenient: AtomicBool::new(false),
            session,
        }
    }

    /// Number of this mailbox in the process.
    pub(crate) const fn serial(&self) -> u64 {
        self.serial
    }

    /// The session identifier, where there is one.
    pub(crate) fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Queues a mail.
    pub(crate) fn push(&self, mail: Mail) -> Result<(), Refused> {
        let state = self.state.lock();
        if state.closed.is_some() {
            return Err(Refused::Closed);
        }
        self.put(state, mail)
    }

    fn put(&self, mut state: MutexGuard<'_, State>, mail: Mail) -> Result<(), Refused> {
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

    /// Queues a delivery by the policy of its subscription: with one that is not [`SlowPolicy::Disconnect`] the queue takes no
    /// more than [`LAG`]. With one that is, half of the queue is for what comes `late`, and the rest of that is read from history.
    pub(crate) fn deliver(
        &self,
        delivery: Delivery,
        slow: SlowPolicy,
        late: bool,
    ) -> Result<Queued, Refused> {
        let event = &delivery.broadcast.event;
        // A loss must be told whatever the client reads.
        let told = matches!(event, ChannelEvent::InsufficientState(_));
        let mut state = self.state.lock();
        if state.closed.is_some() {
            return Err(Refused::Closed);
        }
        let lag = state.lag.as_deref();
        let lags = lag.is_some_and(|lag| lag.has(delivery.key));
        let most = match slow {
            _ if told => usize::MAX,
            SlowPolicy::Disconnect if late => self.budget / 2,
            SlowPolicy::Disconnect => usize::MAX,
            SlowPolicy::Latest | SlowPolicy::Recover => self.budget.min(LAG),
        };
        let waiting = state.queue.len() * size_of::<Mail>() + state.bytes;
        if told || !lags && waiting + delivery.frame.size() <= most {
            return self
                .put(state, Mail::Delivery(delivery))
                .map(|()| Queued::Whole);
        }
        let lag = state.lag.get_or_insert_default();
        if slow == SlowPolicy::Latest {
            lag.replace(delivery);
        } else if lag.behind.insert(delivery.key) {
            let idle = state.queue.is_empty();
            state.queue.push_back(Mail::Behind(delivery.key));
            drop(state);
            if idle {
                self.waker.wake();
            }
        }
        Ok(Queued::Less)
    }

    /// A subscription that fell behind has nearly been brought up to date: takes deliveries for it again.
    pub(crate) fn resume(&self, key: SubscriptionKey) {
        let mut state = self.state.lock();
        if let Some(lag) = &mut state.lag {
            lag.behind.remove(&key);
            if lag.behind.is_empty() && lag.latest.is_empty() {
                state.lag = None;
            }
        }
    }

    /// A subscription has ended.
    pub(crate) fn forget(&self, key: SubscriptionKey) {
        if let Some(lag) = &mut self.state.lock().lag {
            lag.latest.shift_remove(&key);
        }
        self.resume(key);
    }

    /// Ends the connection for this reason, after what is queued; the first reason stays.
    pub(crate) fn close(&self, why: Disconnect) {
        self.state.lock().closed.get_or_insert(why);
        self.waker.wake();
    }

    /// From now on a client that reads too slowly keeps its connection.
    pub(crate) fn be_lenient(&self) {
        self.lenient.store(true, Ordering::Relaxed);
    }

    /// Whether it does.
    pub(crate) fn is_lenient(&self) -> bool {
        self.lenient.load(Ordering::Relaxed)
    }

    /// Ready when the connection is to end, whatever is queued.
    pub(crate) fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.state.lock().closed.is_some() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Bytes queued or taken and not yet written.
    pub(crate) fn bytes(&self) -> usize {
        self.state.lock().bytes
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
        let latest = state
            .lag
            .as_deref_mut()
            .map(|lag| std::mem::take(&mut lag.latest));
        if let Some(latest) = latest.filter(|latest| !latest.is_empty()) {
            into.extend(latest.into_values().map(Mail::Delivery));
            state.bytes += into.iter().map(Mail::cost).sum::<usize>();
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
