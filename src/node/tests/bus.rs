//! Several nodes in one process over one memory engine: what they send each other goes over the wire format, and channel
//! events reach only nodes that have subscribed. Delays and failures are set by the test.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::*;
use crate::{
    engine::{
        Broker, Control, Error, Event, EventReceiver, EventSender, History, PublishOptions,
        PublishResult, wire::control as wire,
    },
    model::{ChannelEvent, Control as Message, NodeId, Publication},
};

/// What the nodes of a test share.
pub(super) struct Bus {
    store: Engine,
    plugs: Mutex<HashMap<NodeId, Arc<Plug>>>,
    /// Every message between nodes: sender, addressee, message.
    said: Mutex<Vec<(NodeId, Option<NodeId>, Message)>>,
    spoken: Notify,
}

/// One node's end of the bus.
pub(super) struct Plug {
    id: NodeId,
    bus: Arc<Bus>,
    events: EventSender,
    pub(super) channels: Mutex<HashSet<Channel>>,
    /// What was asked of the broker, in order.
    pub(super) asked: Mutex<Vec<(&'static str, Channel)>>,
    pub(super) faults: Mutex<Faults>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// Time a subscribe or an unsubscribe takes.
    pub(super) delay: Duration,
    /// Subscribes and unsubscribes that fail from now on.
    pub(super) failures: usize,
    /// Nothing is sent and nothing arrives.
    pub(super) cut: bool,
    /// Sending fails.
    pub(super) dumb: bool,
}

impl Bus {
    pub(super) fn new() -> Arc<Self> {
        let (sender, events) = engine::event_channel(1, 4096, Duration::from_secs(5));
        let bus = Arc::new(Self {
            store: Memory::new(sender).into_engine(),
            plugs: Mutex::default(),
            said: Mutex::default(),
            spoken: Notify::new(),
        });
        let carrying = carry(Arc::clone(&bus), events);
        tokio_util::task::TaskTracker::new().spawn(carrying);
        bus
    }

    /// Starts a node.
    pub(super) fn node(self: &Arc<Self>, name: &str) -> (Node, Arc<Plug>) {
        let (sender, events) = engine::event_channel(2, 4096, Duration::from_secs(5));
        let id = NodeId::from(name);
        let plug = Arc::new(Plug {
            id: id.clone(),
            bus: Arc::clone(self),
            events: sender,
            channels: Mutex::default(),
            asked: Mutex::default(),
            faults: Mutex::default(),
        });
        self.plugs.lock().insert(id.clone(), Arc::clone(&plug));
        let mut config = config();
        name.clone_into(&mut config.node.name);
        let node = Node::start(Parts {
            id,
            config,
            hooks: Arc::new(Open),
            engine: Engine {
                broker: plug.clone(),
                presence: self.store.presence.clone(),
                control: plug.clone(),
            },
            events,
            registry: Registry::new(),
        });
        (node.unwrap(), plug)
    }

    /// So many nodes that know each other.
    pub(super) async fn fleet<const N: usize>() -> (Arc<Self>, [(Node, Arc<Plug>); N]) {
        let bus = Self::new();
        let nodes = std::array::from_fn(|n| bus.node(&format!("n{n}")));
        until(|| nodes.iter().all(|(node, _)| node.info().len() == N)).await;
        (bus, nodes)
    }

    /// Waits for a message, among those of the past too.
    pub(super) async fn said<T>(
        &self,
        find: impl Fn(&NodeId, Option<&NodeId>, &Message) -> Option<T>,
    ) -> T {
        loop {
            let spoken = self.spoken.notified();
            let found = self
                .said
                .lock()
                .iter()
                .find_map(|(from, to, message)| find(from, to.as_ref(), message));
            if let Some(found) = found {
                return found;
            }
            spoken.await;
        }
    }

    /// What was said so far, for assertions.
    pub(super) fn log(&self) -> Vec<(NodeId, Option<NodeId>, Message)> {
        self.said.lock().clone()
    }

    /// Gives a message to nodes, as if `from` had sent it.
    pub(super) async fn deliver(&self, from: &NodeId, to: Option<&NodeId>, message: &Message) {
        let plugs: Vec<_> = self.plugs.lock().values().cloned().collect();
        let (from, message) = wire::decode(wire::encode(from, message)).unwrap();
        for plug in plugs {
            let meant = to.is_none_or(|to| *to == plug.id) && plug.id != from;
            if !meant || plug.faults.lock().cut {
                continue;
            }
            let slot = plug.events.reserve_for(message.order_key(&from)).await;
            slot.unwrap()
                .send(Event::Control(from.clone(), Box::new(message.clone())));
        }
    }
}

/// Carries what the store orders to the nodes that want it.
async fn carry(bus: Arc<Bus>, mut events: Vec<EventReceiver>) {
    let mut events = events.remove(0);
    while let Some(event) = events.recv().await {
        let Event::Channel(channel, _) = &event else {
            continue;
        };
        let plugs: Vec<_> = bus.plugs.lock().values().cloned().collect();
        for plug in plugs {
            if plug.channels.lock().contains(channel) && !plug.faults.lock().cut {
                plug.events
                    .reserve(channel)
                    .await
                    .unwrap()
                    .send(event.clone());
            }
        }
    }
}

/// Waits for a condition; with a paused clock the time goes by meanwhile.
pub(super) async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("within a minute");
}

impl Plug {
    async fn work(&self, what: &'static str, channel: &Channel) -> Result<(), Error> {
        let delay = self.faults.lock().delay;
        self.asked.lock().push((what, channel.clone()));
        tokio::time::sleep(delay).await;
        let mut faults = self.faults.lock();
        if faults.failures > 0 {
            faults.failures -= 1;
            return Err(Error::Overloaded(delay));
        }
        Ok(())
    }

    /// How often this was asked of the broker.
    pub(super) fn count(&self, what: &str) -> usize {
        let asked = self.asked.lock();
        asked.iter().filter(|(asked, _)| *asked == what).count()
    }
}

#[async_trait]
impl Broker for Plug {
    async fn subscribe(&self, channel: &Channel) -> Result<(), Error> {
        self.work("subscribe", channel).await?;
        self.channels.lock().insert(channel.clone());
        Ok(())
    }

    async fn unsubscribe(&self, channel: &Channel) -> Result<(), Error> {
        self.work("unsubscribe", channel).await?;
        self.channels.lock().remove(channel);
        Ok(())
    }

    async fn publish(
        &self,
        channel: &Channel,
        publication: Publication,
        options: &PublishOptions,
    ) -> Result<PublishResult, Error> {
        let broker = &self.bus.store.broker;
        broker.publish(channel, publication, options).await
    }

    async fn announce(&self, channel: &Channel, event: ChannelEvent) -> Result<(), Error> {
        self.bus.store.broker.announce(channel, event).await
    }

    async fn history(&self, channel: &Channel, query: &HistoryQuery) -> Result<History, Error> {
        self.bus.store.broker.history(channel, query).await
    }

    async fn remove_history(&self, channel: &Channel, meta_ttl: Duration) -> Result<(), Error> {
        let broker = &self.bus.store.broker;
        broker.remove_history(channel, meta_ttl).await
    }

    async fn ready(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn close(&self) {}
}

#[async_trait]
impl Control for Plug {
    async fn send(&self, to: Option<&NodeId>, command: &Message) -> Result<(), Error> {
        let faults = self.faults.lock().clone();
        if faults.dumb {
            return Err(Error::Closed);
        }
        if faults.cut {
            return Ok(());
        }
        let said = (self.id.clone(), to.cloned(), command.clone());
        self.bus.said.lock().push(said);
        self.bus.deliver(&self.id, to, command).await;
        self.bus.spoken.notify_waiters();
        Ok(())
    }
}
