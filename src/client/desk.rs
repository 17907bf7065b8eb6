//! What the connection's task hands to the application: events in order, answers to calls. Waits instead of dropping.

use std::collections::{HashMap, VecDeque};

use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Error, Event, Pending, SubscriptionEvent,
    handle::{Answer, Feed},
    machine::{CallId, SubscriptionId},
};
use crate::{model::Channel, protocol::ReplyBody};

/// An event on its way to the application.
pub(super) enum Told {
    Connection(Event),
    Subscription(SubscriptionId, SubscriptionEvent),
}

/// The task's side of everything an application holds.
pub(super) struct Desk {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) subscriptions: HashMap<SubscriptionId, mpsc::Sender<SubscriptionEvent>>,
    /// Resolve when a subscription handle is dropped.
    pub(super) dropped: FuturesUnordered<Pending<(Channel, SubscriptionId)>>,
    calls: HashMap<CallId, Answer<ReplyBody>>,
    last_call: u64,
    /// Events no queue had room for yet.
    pub(super) backlog: VecDeque<Told>,
}

impl Desk {
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self {
            events,
            subscriptions: HashMap::new(),
            dropped: FuturesUnordered::new(),
            calls: HashMap::new(),
            last_call: 0,
            backlog: VecDeque::new(),
        }
    }

    /// Opens the queue of a new subscription.
    pub(super) fn open(&mut self, channel: Channel, id: SubscriptionId, room: usize) -> Feed {
        let (sender, events) = mpsc::channel(room);
        self.subscriptions.insert(id, sender);
        let token = CancellationToken::new();
        let dropped = token.clone().cancelled_owned();
        self.dropped.push(Box::pin(async move {
            dropped.await;
            (channel, id)
        }));
        let guard = token.drop_guard();
        Feed { id, events, guard }
    }

    pub(super) fn note(&mut self, answer: Answer<ReplyBody>) -> CallId {
        self.last_call += 1;
        let id = CallId(self.last_call);
        self.calls.insert(id, answer);
        id
    }

    pub(super) fn complete(&mut self, id: CallId, result: Result<ReplyBody, Error>) {
        if let Some(answer) = self.calls.remove(&id) {
            // The caller may have lost interest.
            drop(answer.send(result));
        }
    }

    /// Tells at once when there is room and nothing waits, otherwise later and in order.
    pub(super) fn tell(&mut self, told: Told) {
        self.backlog.push_back(told);
        while let Some(front) = self.backlog.pop_front() {
            if let Err(kept) = deliver(&self.events, &mut self.subscriptions, front) {
                self.backlog.push_front(kept);
                return;
            }
        }
    }
}

/// Hands an event on if its queue has room; nobody misses an event whose handle was dropped.
fn deliver(
    events: &mpsc::Sender<Event>,
    subscriptions: &mut HashMap<SubscriptionId, mpsc::Sender<SubscriptionEvent>>,
    told: Told,
) -> Result<(), Told> {
    match told {
        Told::Connection(event) => match events.try_send(event) {
            Err(mpsc::error::TrySendError::Full(event)) => Err(Told::Connection(event)),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        },
        Told::Subscription(id, event) => {
            let last = matches!(event, SubscriptionEvent::Unsubscribed { .. });
            let Some(sender) = subscriptions.get(&id) else {
                return Ok(());
            };
            if let Err(mpsc::error::TrySendError::Full(event)) = sender.try_send(event) {
                return Err(Told::Subscription(id, event));
            }
            if last {
                subscriptions.remove(&id);
            }
            Ok(())
        }
    }
}

/// Waits until the first waiting event has room, and hands it on.
pub(super) async fn tell(
    backlog: &mut VecDeque<Told>,
    events: &mpsc::Sender<Event>,
    subscriptions: &mut HashMap<SubscriptionId, mpsc::Sender<SubscriptionEvent>>,
) {
    match backlog.front() {
        None => return std::future::pending().await,
        // A closed queue is ready as well: the event is dropped with its handle.
        Some(Told::Connection(_)) => drop(events.reserve().await),
        Some(Told::Subscription(id, _)) => {
            if let Some(sender) = subscriptions.get(id) {
                drop(sender.reserve().await);
            }
        }
    }
    if let Some(front) = backlog.pop_front()
        && let Err(kept) = deliver(events, subscriptions, front)
    {
        backlog.push_front(kept);
    }
}
