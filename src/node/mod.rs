//! The one place where the parts meet: connections, hub, engine and hooks.
//!
//! [`Node`] is the handle an embedder, the server API and the transports hold. Knows no transport and no policy.

mod config;
mod connection;
mod control;
mod dispatch;
mod emulation;
mod events;
mod frames;
mod interest;
mod link;
mod metrics;
mod pattern;
mod registry;
mod report;
mod sampler;
mod shared;
mod snapshot;
mod survey;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use tokio::{sync::mpsc, time::Instant};
use tracing::Instrument as _;

use crate::{
    engine::{self, Engine, EventReceiver, wire::survey as wire},
    hooks::Hooks,
    model::{
        Channel, ChannelOptions, ClientId, ClientInfo, Control, Disconnect, NodeId, NodeInfo, Peer,
        Publication, Refresh, SubscribeCommand, Tags, Target, Unsubscribe,
    },
    protocol::EmulationRequest,
    trace::Spans,
};

pub use config::{
    ChannelConfig, ClientConfig, Config, DisconnectTarget, MetricsConfig, NodeConfig, OwnConfig,
    PrometheusConfig, UnidirectionalDisconnect, UnidirectionalDisconnects,
};
pub use emulation::EmulationError;
pub use engine::{History, HistoryQuery, PresenceStats, PublishResult};
pub use link::{Close, Inbound, Link, LinkTraits};
pub use pattern::Error as PatternError;

use emulation::Way;
use pattern::Pattern;
use shared::Shared;
use survey::Audience;

/// Why a node could not do what it was asked; the numbers are those of server-api.md 6.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// 102: the namespace of the channel does not exist.
    #[error("unknown channel")]
    UnknownChannel,
    /// 107: an argument is malformed.
    #[error("bad request")]
    BadRequest,
    /// 108: the feature is off for the channel.
    #[error("not available")]
    NotAvailable,
    /// 112: the position belongs to another epoch.
    #[error("unrecoverable position")]
    UnrecoverablePosition,
    /// 100: the pattern of channels is none.
    #[error("malformed pattern")]
    Pattern(#[from] PatternError),
    /// 100: the engine failed, or this node could not carry out an action on one of its connections.
    #[error("internal error")]
    Internal(#[source] Option<engine::Error>),
}

/// One publish of the server API or of an embedder.
#[derive(Clone, Debug, Default)]
pub struct Publish {
    /// Payload.
    pub data: Bytes,
    /// Tags.
    pub tags: Tags,
    /// Do not keep it in history.
    pub skip_history: bool,
    /// Idempotency key; scope is the channel, life 300 s.
    pub idempotency_key: Option<String>,
    /// Version; 0 for none.
    pub version: u64,
    /// Epoch the version counts in.
    pub version_epoch: String,
    /// Send deltas to those subscribers who negotiated them; the namespace may say so, too.
    pub delta: bool,
    /// The connection that does not get it.
    pub exclude_client: Option<ClientId>,
}

/// What a node is made of.
pub struct Parts {
    /// Identifier of the node, a UUID; the engine knows it as well.
    pub id: NodeId,
    /// Settings.
    pub config: Config,
    /// The owner's answers.
    pub hooks: Arc<dyn Hooks>,
    /// Engine.
    pub engine: Engine,
    /// The engine's events, one receiver a pump.
    pub events: Vec<EventReceiver>,
    /// Where metrics are registered; also what snapshots are taken of.
    pub registry: prometheus::Registry,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// A gateway node. Cloning is a reference count.
#[derive(Clone, Debug)]
pub struct Node {
    shared: Arc<Shared>,
}

impl Node {
    /// Starts a node: from now on engine events are carried to subscribers.
    ///
    /// # Errors
    /// When a metric is registered already.
    pub fn start(parts: Parts) -> Result<Self, prometheus::Error> {
        Self::start_with(parts, Spans::default())
    }

    /// The same with spans of what happens inside.
    ///
    /// # Errors
    /// When a metric is registered already.
    pub fn start_with(mut parts: Parts, spans: Spans) -> Result<Self, prometheus::Error> {
        let events = std::mem::take(&mut parts.events);
        let (errands, queue) = mpsc::channel(control::ERRANDS);
        let (posts, posted) = mpsc::channel(control::POSTS);
        let shared = Arc::new(Shared::new(parts, spans, (errands, posts))?);
        for receiver in events {
            let pump = events::pump(Arc::clone(&shared), receiver);
            shared
                .pumps
                .spawn(pump.instrument(tracing::debug_span!("pump")));
        }
        let errands = control::run_errands(Arc::clone(&shared), queue);
        let posts = control::run_posts(Arc::clone(&shared), posted);
        let snapshots = snapshot::run(Arc::clone(&shared));
        let announcements = registry::run(Arc::clone(&shared));
        let interest = interest::run(Arc::clone(&shared));
        let tasks = &shared.pumps;
        tasks.spawn(errands.instrument(tracing::debug_span!("control")));
        tasks.spawn(posts.instrument(tracing::debug_span!("emulation")));
        tasks.spawn(snapshots.instrument(tracing::debug_span!("snapshot")));
        tasks.spawn(announcements.instrument(tracing::debug_span!("registry")));
        tasks.spawn(interest.instrument(tracing::debug_span!("interest")));
        Ok(Self { shared })
    }

    /// Serves one connection until it ends.
    pub fn serve<L: Link>(&self, link: L, peer: Peer) -> impl Future<Output = ()> + Send + use<L> {
        let connection = connection::run(Arc::clone(&self.shared), link, peer);
        self.shared.connections_running.track_future(connection)
    }

    /// Number of connections that have connected.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.counts().0
    }

    /// Closes all connections with 3001, a bounded number at a time, and waits until each has left. Connections that
    /// come later are closed the same way at once.
    pub async fn drain(&self) {
        self.shared.drain().await;
    }

    /// Closes the engine and ends the pumps. After [`Node::drain`].
    pub async fn close(&self) {
        self.shared.engine.broker.close().await;
        self.shared.stop.cancel();
        self.shared.pumps.close();
        self.shared.pumps.wait().await;
    }

    /// Options of a channel.
    ///
    /// # Errors
    /// 102 when the namespace is unknown.
    pub fn channel(&self, channel: &Channel) -> Result<Arc<ChannelOptions>, Error> {
        self.shared.channel(channel)
    }

    /// Publishes.
    ///
    /// # Errors
    /// 102, then the data format (107), then the engine (100).
    pub async fn publish(
        &self,
        channel: &Channel,
        publish: Publish,
    ) -> Result<PublishResult, Error> {
        let options = self.channel(channel)?;
        let Publish {
            data,
            tags,
            skip_history,
            idempotency_key,
            version,
            version_epoch,
            delta,
            exclude_client,
        } = publish;
        Shared::check_format(&options, &data)?;
        let mut how = Shared::publish_options(&options);
        if skip_history {
            how.history_size = 0;
        }
        how.idempotency_key = idempotency_key.filter(|key| !key.is_empty());
        how.version_epoch = version_epoch;
        how.use_delta = delta || options.delta_publish;
        let publication = Publication {
            data,
            tags,
            version,
            except: exclude_client,
            ..Publication::default()
        };
        self.shared.publish(channel, publication, how).await
    }

    /// Makes a server-side subscription of the matching connections.
    ///
    /// # Errors
    /// 100 when the expiration has passed and a connection of this node matches, or the command cannot be spread.
    pub async fn subscribe(&self, target: Target, command: SubscribeCommand) -> Result<(), Error> {
        self.shared
            .control(Control::Subscribe(target, Box::new(command)))
            .await
    }

    /// Ends a subscription of the matching connections.
    ///
    /// # Errors
    /// 100 when the command cannot be spread.
    pub async fn unsubscribe(
        &self,
        target: Target,
        channel: Channel,
        why: Unsubscribe,
    ) -> Result<(), Error> {
        self.shared
            .control(Control::Unsubscribe(target, channel, why))
            .await
    }

    /// Closes the matching connections, except those listed.
    ///
    /// # Errors
    /// 100 when the command cannot be spread.
    pub async fn disconnect(
        &self,
        target: Target,
        why: Disconnect,
        keep: Vec<ClientId>,
    ) -> Result<(), Error> {
        self.shared
            .control(Control::Disconnect(target, why, keep))
            .await
    }

    /// Changes the expiration of the matching connections.
    ///
    /// # Errors
    /// 100 when the command cannot be spread.
    pub async fn refresh(&self, target: Target, refresh: Refresh) -> Result<(), Error> {
        self.shared.control(Control::Refresh(target, refresh)).await
    }

    /// Entries of a channel's presence.
    ///
    /// # Errors
    /// 102; 108 without presence.
    pub async fn presence(
        &self,
        channel: &Channel,
    ) -> Result<BTreeMap<ClientId, Arc<ClientInfo>>, Error> {
        self.shared.presence(channel).await
    }

    /// Numbers of a channel's presence.
    ///
    /// # Errors
    /// 102; 108 without presence.
    pub async fn presence_stats(&self, channel: &Channel) -> Result<PresenceStats, Error> {
        self.shared.presence_stats(channel).await
    }

    /// Reads history; `query.meta_ttl` is filled in here.
    ///
    /// # Errors
    /// 102; 108 without history; 112 for another epoch; 107 for a reverse read from 0.
    pub async fn history(&self, channel: &Channel, query: HistoryQuery) -> Result<History, Error> {
        self.shared.history(channel, query).await
    }

    /// Drops kept publications.
    ///
    /// # Errors
    /// 102; 108 without history.
    pub async fn remove_history(&self, channel: &Channel) -> Result<(), Error> {
        let options = self.channel(channel)?;
        if !options.has_history() {
            return Err(Error::NotAvailable);
        }
        self.shared.metrics.action("history_remove");
        Ok(self
            .shared
            .engine
            .broker
            .remove_history(channel, options.history_meta_ttl)
            .await?)
    }

    /// All nodes of the cluster, this one first. What others tell is seconds old.
    #[must_use]
    pub fn info(&self) -> Vec<NodeInfo> {
        let own = NodeInfo {
            metrics: Some(self.shared.snapshot.last()),
            ..self.shared.info()
        };
        let mut infos = vec![own];
        infos.extend(self.shared.nodes.infos());
        infos
    }

    /// Channels with subscribers and their numbers, cluster-wide, those whose name matches `pattern` (server-api.md 8.13).
    ///
    /// # Errors
    /// 100 when the pattern is malformed or a node did not answer.
    pub async fn channels(&self, pattern: &str) -> Result<BTreeMap<Channel, u32>, Error> {
        let shared = &self.shared;
        let started = Instant::now();
        shared.metrics.action("survey");
        let mut channels = shared.local_channels(&Pattern::new(pattern)?);
        let data = wire::encode_pattern(pattern);
        for answer in survey::ask(shared, survey::CHANNELS, data, Audience::Others).await? {
            let there = wire::decode_channels(answer).ok_or(Error::Internal(None))?;
            for (channel, subscribers) in there {
                let sum = channels.entry(channel).or_default();
                *sum = sum.saturating_add(subscribers);
            }
        }
        shared.metrics.surveyed(survey::CHANNELS, started.elapsed());
        Ok(channels)
    }

    /// Gives a frame of commands to an emulated session, on whichever node it is, and waits until they are processed. A session
    /// that nobody knows is no error (client-protocol.md 3.5).
    ///
    /// # Errors
    /// When the node is unknown, or the frame did not get there.
    pub async fn emulate(&self, request: EmulationRequest) -> Result<(), EmulationError> {
        let (shared, started) = (&self.shared, Instant::now());
        shared.metrics.action("survey");
        let delivered = match shared.way(&request)? {
            Way::Here => {
                let (session, data) = (&request.session, request.data);
                shared.emulated.post(session, data).await.unwrap_or(Ok(()))
            }
            Way::Other(node) => survey::forward(shared, &node, &request).await,
        };
        let metrics = &shared.metrics;
        metrics.surveyed(survey::EMULATION, started.elapsed());
        delivered
    }

    /// Whether the engine could do its work now.
    ///
    /// # Errors
    /// Why not.
    pub async fn ready(&self) -> Result<(), engine::Error> {
        let engine = &self.shared.engine;
        engine.broker.ready().await?;
        engine.presence.ready().await
    }

    /// Replaces limits that are read on use; connections that exist keep theirs (config.md 6).
    pub fn reload(&self, config: &Config) {
        self.shared.reload(config);
    }
}

#[cfg(test)]
mod tests;
