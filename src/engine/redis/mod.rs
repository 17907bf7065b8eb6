//! The Redis engine: history, PUB/SUB, presence and commands between nodes, in the forms of Centrifugo v6 (engines.md 3).
//!
//! Owns connections and the tasks that listen. Every decision about a channel is made inside Redis, by one script a call, so
//! nodes need no agreement among each other. A command that may have been executed is never sent again by itself. What
//! arrives goes through one place, `incoming::Incoming`, into the event queue; it waits there, and nothing is dropped.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use prometheus::Registry;
use redis::{Value, cmd};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use self::{
    address::Location,
    control::Commands,
    incoming::Incoming,
    keys::Names,
    link::{Road, Shard},
    metrics::Metrics,
    pubsub::{Listener, Plan},
    repair::Streams,
    scripts::Invocation,
};
use super::{
    Broker, Engine, Error, EventSender, Presence,
    sequencer::{Sequencer, sequencer},
};
use crate::model::{Channel, NodeId, StreamPosition};

mod address;
mod broker;
mod control;
mod error;
#[cfg(test)]
#[expect(dead_code, reason = "tests of the executable use all of it")]
#[path = "../../../tests/it/support/redis.rs"]
mod fixture;
mod hash;
mod incoming;
mod keys;
mod link;
mod metrics;
mod options;
mod partition;
#[cfg(test)]
#[path = "../../../tests/it/support/ports.rs"]
mod ports;
mod presence;
mod pubsub;
mod repair;
mod scripts;
#[cfg(test)]
mod tests;
mod value;

pub use address::AddressError;
pub use error::Failure;
pub use options::{Options, Tls};

/// Silence on a connection for PUB/SUB after which it has to prove that it hears.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(5);
/// Tasks among which the channels of a shard are divided.
const LANES: usize = 2;
/// Streams whose position is asked for at once.
const TOPS: usize = 512;

/// What a node is to others, and where its events go.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its identifier.
    pub id: NodeId,
    /// Its event queues.
    pub events: EventSender,
    /// Where metrics are registered.
    pub registry: Registry,
    /// How their names begin.
    pub namespace: String,
}

/// The Redis engine. Implements [`Broker`], [`Presence`] and [`super::Control`].
#[derive(Debug)]
pub struct Redis {
    options: Options,
    node: NodeId,
    shards: Vec<Place>,
    streams: Arc<Streams>,
    /// Shard of the next control command.
    turn: AtomicUsize,
    closed: AtomicBool,
    tasks: Mutex<JoinSet<()>>,
}

/// One shard with its names, and its ears when it carries publications.
#[derive(Debug)]
struct Place {
    shard: Arc<Shard>,
    names: Names,
    /// One a partition, when it carries publications.
    listeners: Vec<Listener>,
    sequencer: Option<Sequencer>,
}

impl Place {
    /// Who listens to a channel.
    fn listener(&self, channel: &Channel) -> Result<&Listener, Error> {
        let partition = self.names.partition(channel);
        self.listeners.get(partition).ok_or(Error::Closed)
    }
}

/// Which halves of an engine a section is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Publications, commands, presence.
    Everything,
    /// Presence alone: nothing is listened to.
    Presence,
}

impl Redis {
    /// Connects. Returns when every shard answers and its connections for PUB/SUB are there.
    ///
    /// # Errors
    /// A shard cannot be reached or refuses: there is no start without Redis.
    pub async fn connect(options: Options, node: Node) -> Result<Self, Failure> {
        Self::open(options, node, Role::Everything).await
    }

    /// Connects for presence alone.
    ///
    /// # Errors
    /// As [`Redis::connect`].
    pub async fn connect_presence(options: Options, node: Node) -> Result<Self, Failure> {
        let options = Options {
            sharded_pub_sub_partitions: 0,
            ..options
        };
        Self::open(options, node, Role::Presence).await
    }

    /// Whether these settings can be used, as far as can be seen without a connection.
    ///
    /// # Errors
    /// What cannot.
    pub fn check(options: &Options) -> Result<(), Failure> {
        for location in address::locations(options)? {
            // Whether there is a cluster behind an address is seen later, unless sentinels are named.
            options.scheme(location.mode() != "sentinel")?;
            link::Dialer::new(location.greeting)?;
        }
        Ok(())
    }

    /// The engine as a node holds it.
    #[must_use]
    pub fn into_engine(self) -> Engine {
        let redis = Arc::new(self);
        redis.streams.open(Arc::downgrade(&redis));
        Engine {
            broker: Arc::clone(&redis) as Arc<dyn Broker>,
            presence: Arc::clone(&redis) as Arc<dyn Presence>,
            control: redis,
        }
    }

    async fn open(options: Options, node: Node, role: Role) -> Result<Self, Failure> {
        let metrics = match role {
            Role::Everything => Some(Metrics::new(&node.registry, &node.namespace, &node.events)?),
            Role::Presence => None,
        };
        let mut redis = Self {
            node: node.id.clone(),
            shards: Vec::new(),
            streams: Arc::default(),
            turn: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            tasks: Mutex::default(),
            options,
        };
        for location in address::locations(&redis.options)? {
            let place = redis.place(location, &node, metrics.as_ref()).await?;
            redis.shards.push(place);
        }
        Ok(redis)
    }

    /// One shard, seen to answer, with its tasks running.
    async fn place(
        &self,
        location: Location,
        node: &Node,
        metrics: Option<&Metrics>,
    ) -> Result<Place, Failure> {
        let (mode, limit) = (location.mode(), location.greeting.io_timeout);
        let options = &self.options;
        let shard = Arc::new(Shard::open(location).await?);
        let names = Names::new(&options.prefix, options.scheme(shard.is_cluster())?);
        self.examine(&shard, &names).await?;
        tracing::info!(mode = shard.mode(), configured = mode, %names, "Redis is connected; nodes of a fleet must use the same names");
        let watching = Arc::clone(&shard);
        self.spawn(async move { watching.run().await });
        let Some(metrics) = metrics else {
            return Ok(Place {
                shard,
                names,
                listeners: Vec::new(),
                sequencer: None,
            });
        };
        let (sequencer, run) = sequencer(LANES, &self.streams, &node.events, &metrics.sequencer);
        self.spawn(run.instrument(tracing::info_span!("sequencer")));
        let incoming = Incoming::new(names.clone(), sequencer.clone(), metrics.clone());
        let ear = Arc::new(incoming);
        let mut listeners = Vec::new();
        for service in names.services() {
            let plan = Plan {
                always: vec![service.clone()],
                probe: Some(service),
                silence: SILENCE,
                sharded: names.is_sharded(),
            };
            let (listener, run) = Listener::new(&shard, plan, Arc::clone(&ear), limit);
            self.spawn(run.instrument(tracing::info_span!("redis_pubsub")));
            listeners.push(listener);
        }
        let control = self.control(&shard, &names, node, metrics);
        futures_util::future::try_join_all(listeners.iter().map(Listener::ready)).await?;
        control.ready().await?;
        Ok(Place {
            shard,
            names,
            listeners,
            sequencer: Some(sequencer),
        })
    }

    /// Listens to commands of other nodes.
    fn control(
        &self,
        shard: &Arc<Shard>,
        names: &Names,
        node: &Node,
        metrics: &Metrics,
    ) -> Listener {
        let probe = names.control_probe(&node.id);
        let plan = Plan {
            always: vec![names.control(), names.node(&node.id), probe.clone()],
            probe: Some(probe),
            silence: SILENCE,
            sharded: false,
        };
        let commands = Commands::new(node.id.clone(), node.events.clone(), metrics.clone());
        let limit = self.options.io_timeout;
        let (control, run) = Listener::new(shard, plan, Arc::new(commands), limit);
        self.spawn(run.instrument(tracing::info_span!("redis_control")));
        control
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().spawn(task);
    }

    /// What the options need, this server has.
    async fn examine(&self, shard: &Shard, names: &Names) -> Result<(), Failure> {
        if !self.options.history_use_lists {
            let key = names.check();
            let mut read = cmd("XRANGE");
            read.arg(&key).arg("0-0").arg("0-0");
            shard.ask(Road::Reads, &key, &read).await?;
        }
        if names.is_sharded() {
            let channel = names.check_sharded();
            let mut publish = cmd("SPUBLISH");
            publish.arg(&channel).arg("");
            shard.ask(Road::Orders, &channel, &publish).await?;
        }
        if self.options.presence_hash_field_ttl {
            let mut known = cmd("COMMAND");
            known.arg("INFO").arg("HEXPIRE");
            let answer = shard.ask(Road::Reads, "", &known).await?;
            let told = value::list(answer).unwrap_or_default();
            if !told.iter().any(|told| matches!(told, Value::Array(_))) {
                return Err(Failure::Unsupported(
                    "presence_hash_field_ttl needs Redis 7.4 or newer, and this server is older; switch it off",
                ));
            }
        }
        Ok(())
    }

    fn ensure_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// Every shard answers.
    async fn answers(&self) -> Result<(), Error> {
        self.ensure_open()?;
        let asked = self.shards.iter().map(async |place| {
            place.shard.ask(Road::Reads, "", &cmd("PING")).await?;
            Ok::<(), Failure>(())
        });
        futures_util::future::try_join_all(asked).await?;
        Ok(())
    }

    /// The shard of a channel.
    fn at(&self, channel: &Channel) -> Result<&Place, Error> {
        self.ensure_open()?;
        let shard = hash::jump(channel.as_str(), self.shards.len());
        self.shards.get(shard).ok_or(Error::Closed)
    }

    async fn call(&self, place: &Place, invocation: &Invocation) -> Result<Value, Error> {
        let answer = place.shard.call(invocation).await;
        self.ensure_open()?;
        Ok(answer?)
    }

    /// The tops of these streams in this order, without creating any; `None` where there is no stream. Questions to one
    /// server leave in one write.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) async fn tops(
        &self,
        channels: &[Channel],
    ) -> Result<Vec<Option<StreamPosition>>, Error> {
        let mut tops = Vec::with_capacity(channels.len());
        for chunk in channels.chunks(TOPS) {
            let asked = chunk.iter().map(|channel| self.top(channel));
            tops.extend(futures_util::future::try_join_all(asked).await?);
        }
        Ok(tops)
    }

    async fn top(&self, channel: &Channel) -> Result<Option<StreamPosition>, Error> {
        let place = self.at(channel)?;
        let key = place.names.meta(channel);
        let mut read = cmd("HMGET");
        read.arg(&key).arg("s").arg("e");
        let answer = place.shard.ask(Road::Reads, &key, &read).await?;
        let mut parts = value::list(answer).unwrap_or_default().into_iter();
        let (Some(offset), Some(epoch)) = (parts.next(), parts.next()) else {
            return Err(Failure::Odd("HMGET").into());
        };
        if epoch == Value::Nil {
            return Ok(None);
        }
        let top = value::position(offset, epoch).ok_or(Failure::Odd("HMGET"))?;
        Ok(Some(top))
    }
}
