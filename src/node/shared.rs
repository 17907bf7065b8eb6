//! What all handles of a node point to.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use prometheus::Registry;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Config, Error, Parts,
    control::{Errand, Post},
    emulation::Sessions,
    events::kind,
    frames::ByTransport,
    interest::Interest,
    metrics::{Metrics, Numbers},
    pattern::Pattern,
    registry::{self, Nodes},
    report::Quiet,
    snapshot::Snapshot,
    survey::Surveys,
};
use crate::{
    engine::{
        Engine, History, HistoryQuery, PresenceStats, PublishOptions, PublishResult, Suppressed,
    },
    hooks::Hooks,
    hub::{self, Hub, Mailbox},
    model::{
        Channel, ChannelEvent, ChannelOptions, ClientId, ClientInfo, DataFormat, Disconnect,
        NodeId, NodeInfo, Now, Publication, StreamPosition, SubscriptionKey, SubscriptionType,
    },
    protocol, session,
};

/// Life of idempotency results (server-api.md 7.4).
const IDEMPOTENT_RESULT_TTL: Duration = Duration::from_secs(300);

/// Connections told to go away in one go; the next batch follows when the runtime has had its turn.
const DRAIN_BATCH: usize = 256;

/// Longest wait of an unsubscribe for the subscribe of the same channel (client-protocol.md 0.2).
const UNSUBSCRIBE_WAIT: Duration = Duration::from_secs(5);

/// Inside of a node.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) sessions: RwLock<Arc<session::Config>>,
    pub(super) hooks: Arc<dyn Hooks>,
    pub(super) engine: Engine,
    pub(super) hub: Hub,
    pub(super) connections: hub::Registry,
    pub(super) interest: Interest,
    pub(super) metrics: Metrics,
    pub(super) frames: ByTransport,
    pub(super) quiet: Quiet,
    pub(super) registry: Registry,
    pub(super) snapshot: Snapshot,
    pub(super) nodes: Nodes,
    pub(super) surveys: Surveys,
    pub(super) errands: mpsc::Sender<Errand>,
    pub(super) posts: mpsc::Sender<Post>,
    pub(super) emulated: Arc<Sessions>,
    pub(super) stop: CancellationToken,
    pub(super) pumps: TaskTracker,
    pub(super) connections_running: TaskTracker,
    mailboxes: Mutex<Mailboxes>,
    id: NodeId,
    started: Instant,
}

/// Every connection there is, connected or not yet, so that a drain reaches all.
#[derive(Default)]
struct Mailboxes {
    open: HashMap<u64, Arc<Mailbox>>,
    draining: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// The inside of a node; its answers to others go into `errands`, frames that they pass on into `posts`.
    pub(super) fn new(
        parts: Parts,
        (errands, posts): (mpsc::Sender<Errand>, mpsc::Sender<Post>),
    ) -> Result<Self, prometheus::Error> {
        let Parts {
            id,
            config,
            hooks,
            engine,
            registry,
            ..
        } = parts;
        Ok(Self {
            metrics: Metrics::new(&registry, env!("CARGO_PKG_VERSION"))?,
            frames: ByTransport::default(),
            quiet: Quiet::default(),
            registry,
            sessions: RwLock::new(Arc::new(session_config(&config))),
            hooks,
            engine,
            hub: Hub::new(),
            connections: hub::Registry::new(),
            interest: Interest::new(),
            snapshot: Snapshot::new(config.node.info_metrics_aggregate_interval),
            nodes: Nodes::default(),
            surveys: Surveys::new(),
            errands,
            posts,
            emulated: Arc::default(),
            stop: CancellationToken::new(),
            pumps: TaskTracker::new(),
            connections_running: TaskTracker::new(),
            mailboxes: Mutex::default(),
            config,
            id,
            started: Instant::now(),
        })
    }

    /// Identifier of this node.
    pub(super) const fn id(&self) -> &NodeId {
        &self.id
    }

    /// The present, following paused test time.
    pub(super) fn now() -> Now {
        Now::at(Instant::now().into_std())
    }

    /// Makes a mailbox known; one that comes during a drain is closed at once.
    pub(super) fn open(&self, mailbox: &Arc<Mailbox>) {
        let mut mailboxes = self.mailboxes.lock();
        if mailboxes.draining {
            mailbox.close(Disconnect::SHUTDOWN);
        }
        mailboxes.open.insert(mailbox.serial(), Arc::clone(mailbox));
    }

    /// A connection is gone.
    pub(super) fn closed(&self, mailbox: &Mailbox) {
        let mut mailboxes = self.mailboxes.lock();
        mailboxes.open.remove(&mailbox.serial());
        let (len, capacity) = (mailboxes.open.len(), mailboxes.open.capacity());
        if capacity > 1024 && len * 4 < capacity {
            mailboxes.open.shrink_to(len * 2);
        }
    }

    pub(super) async fn drain(&self) {
        let open: Vec<_> = {
            let mut mailboxes = self.mailboxes.lock();
            mailboxes.draining = true;
            mailboxes.open.values().cloned().collect()
        };
        // The others forget this node before its connections leave their channels.
        registry::leave(self).await;
        for batch in open.chunks(DRAIN_BATCH) {
            batch
                .iter()
                .for_each(|mailbox| mailbox.close(Disconnect::SHUTDOWN));
            tokio::task::yield_now().await;
        }
        self.connections_running.close();
        self.connections_running.wait().await;
    }

    pub(super) fn reload(&self, config: &Config) {
        *self.sessions.write() = Arc::new(session_config(config));
    }

    pub(super) fn channel(&self, channel: &Channel) -> Result<Arc<ChannelOptions>, Error> {
        self.hooks
            .channel(channel)
            .map_err(|_unknown| Error::UnknownChannel)
    }

    /// Payload check of `publication_data_format` (server-api.md 7.2).
    pub(super) fn check_format(options: &ChannelOptions, data: &[u8]) -> Result<(), Error> {
        let fits = match options.data_format {
            DataFormat::NonEmpty => !data.is_empty(),
            DataFormat::Json => protocol::is_json(data),
            DataFormat::JsonObject => protocol::is_json_object(data),
            DataFormat::Binary => true,
        };
        if fits { Ok(()) } else { Err(Error::BadRequest) }
    }

    pub(super) fn publish_options(options: &ChannelOptions) -> PublishOptions {
        PublishOptions {
            history_size: options.history_size,
            history_ttl: options.history_ttl,
            history_meta_ttl: options.history_meta_ttl,
            idempotent_result_ttl: IDEMPOTENT_RESULT_TTL,
            ..PublishOptions::default()
        }
    }

    /// Hands a publication to the engine.
    pub(super) async fn publish(
        &self,
        channel: &Channel,
        mut publication: Publication,
        how: PublishOptions,
    ) -> Result<PublishResult, Error> {
        publication.time = Self::now().unix_ms;
        self.metrics
            .broker
            .sent
            .with_label_values(&["publication", ""])
            .inc();
        let result = self
            .engine
            .broker
            .publish(channel, publication, &how)
            .await
            .inspect_err(|error| {
                tracing::error!(%error, %channel, "error publishing data to channel");
            })?;
        if let Some(why) = result.suppressed {
            let reason = match why {
                Suppressed::Idempotency => "idempotency",
                Suppressed::Version => "version",
            };
            self.metrics
                .broker
                .suppressed
                .with_label_values(&[reason, ""])
                .inc();
        }
        Ok(result)
    }

    /// Spreads a join or a leave.
    pub(super) async fn announce(&self, channel: &Channel, event: ChannelEvent) {
        let kind = kind(&event);
        self.metrics
            .broker
            .sent
            .with_label_values(&[kind, ""])
            .inc();
        if let Err(error) = self.engine.broker.announce(channel, event).await {
            tracing::error!(%error, %channel, kind, "error announcing in channel");
        }
    }

    pub(super) async fn presence(
        &self,
        channel: &Channel,
    ) -> Result<BTreeMap<ClientId, Arc<ClientInfo>>, Error> {
        self.with_presence(channel)?;
        self.metrics.action("presence");
        Ok(self.engine.presence.list(channel).await?)
    }

    pub(super) async fn presence_stats(&self, channel: &Channel) -> Result<PresenceStats, Error> {
        self.with_presence(channel)?;
        self.metrics.action("presence_stats");
        Ok(self.engine.presence.stats(channel).await?)
    }

    fn with_presence(&self, channel: &Channel) -> Result<(), Error> {
        let options = self.channel(channel)?;
        let served = options.presence && options.subscription_type == SubscriptionType::Stream;
        if served {
            Ok(())
        } else {
            Err(Error::NotAvailable)
        }
    }

    pub(super) async fn history(
        &self,
        channel: &Channel,
        mut query: HistoryQuery,
    ) -> Result<History, Error> {
        let options = self.channel(channel)?;
        if !options.has_history() {
            return Err(Error::NotAvailable);
        }
        query.meta_ttl = options.history_meta_ttl;
        self.metrics.action("history");
        Ok(self.engine.broker.history(channel, &query).await?)
    }

    /// Top of a stream.
    pub(super) async fn top(&self, channel: &Channel) -> Result<StreamPosition, Error> {
        let query = HistoryQuery {
            limit: Some(0),
            ..HistoryQuery::default()
        };
        Ok(self.history(channel, query).await?.position)
    }

    pub(super) fn hub_leave(&self, channel: &Channel, mailbox: &Mailbox, key: SubscriptionKey) {
        self.metrics.action("remove_subscription");
        self.hub.leave(channel, mailbox, key);
    }

    /// Numbers of this node.
    pub(super) fn numbers(&self) -> Numbers {
        let (clients, users) = self.connections.counts();
        Numbers {
            clients,
            users,
            subscriptions: self.hub.subscriptions(),
            channels: self.hub.channels(),
            nodes: self.nodes.others() + 1,
        }
    }

    /// What this node tells of itself, without metrics.
    pub(super) fn info(&self) -> NodeInfo {
        let numbers = self.numbers();
        let int = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        NodeInfo {
            uid: self.id.clone(),
            name: self.config.node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            num_clients: int(numbers.clients),
            num_users: int(numbers.users),
            num_channels: int(numbers.channels),
            num_subs: u32::try_from(numbers.subscriptions).unwrap_or(u32::MAX),
            uptime: u32::try_from(self.started.elapsed().as_secs()).unwrap_or(u32::MAX),
            metrics: None,
            data: Bytes::new(),
        }
    }
}

impl Shared {
    /// Channels with subscribers on this node, those that match.
    pub(super) fn local_channels(&self, pattern: &Pattern) -> BTreeMap<Channel, u32> {
        let mut channels = BTreeMap::new();
        self.hub.each_channel(|channel, subscribers| {
            if pattern.matches(channel.as_str()) {
                let subscribers = u32::try_from(subscribers).unwrap_or(u32::MAX);
                channels.insert(channel.clone(), subscribers);
            }
        });
        channels
    }
}

fn session_config(config: &Config) -> session::Config {
    let client = &config.client;
    session::Config {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ping_interval: client.ping_interval,
        pong_timeout: client.pong_timeout,
        stale_close_delay: client.stale_close_delay,
        expired_close_delay: client.expired_close_delay,
        expired_sub_close_delay: client.expired_sub_close_delay,
        presence_update_interval: client.presence_update_interval,
        position_check_delay: client.channel_position_check_delay,
        position_max_time_lag: client.channel_position_max_time_lag,
        channel_limit: client.channel_limit,
        channel_max_length: config.channel.max_length,
        queue_max_size: client.queue_max_size,
        concurrency: client.concurrency,
        history_limit: client.history_max_publication_limit,
        recovery_limit: client.recovery_max_publication_limit,
        include_server_time: client.connect_include_server_time,
        unsubscribe_wait: UNSUBSCRIBE_WAIT,
        unidirectional: client.connect_code_to_unidirectional_disconnect.rules(),
    }
}
