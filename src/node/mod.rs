//! The one place where the parts meet: connections, hub, engine and hooks.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use crate::{
    engine,
    model::{
        Channel, ChannelOptions, ClientId, ClientInfo, Disconnect, Peer, Refresh, SubscribeCommand,
        Tags, Target, Unsubscribe,
    },
};

mod link;

pub use engine::{History, HistoryQuery, PresenceStats, PublishResult};
pub use link::{Close, Inbound, Link, LinkTraits};

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
}

/// What a node tells of itself (server-api.md 8.11).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeInfo {
    /// Node identifier.
    pub uid: String,
    /// Configured name.
    pub name: String,
    /// Version text.
    pub version: String,
    /// Connections.
    pub num_clients: u32,
    /// Distinct users.
    pub num_users: u32,
    /// Channels with a subscriber.
    pub num_channels: u32,
    /// Subscriptions.
    pub num_subs: u32,
    /// Seconds since start.
    pub uptime: u32,
    /// Metric snapshot: seconds it covers, values by name.
    pub metrics: Option<(f64, BTreeMap<String, f64>)>,
}

/// A gateway node. Cloning is a reference count.
#[derive(Clone, Debug)]
pub struct Node {}

impl Node {
    /// Serves one connection until it ends.
    pub async fn serve<L: Link>(&self, _link: L, _peer: Peer) {}

    /// Options of a channel. 102 when the namespace is unknown.
    pub fn channel(&self, _channel: &Channel) -> Result<Arc<ChannelOptions>, Error> {
        Err(Error::UnknownChannel)
    }

    /// Publishes: 102, then the data format (107), then the engine (100).
    pub async fn publish(
        &self,
        _channel: &Channel,
        _publish: Publish,
    ) -> Result<PublishResult, Error> {
        Err(Error::UnknownChannel)
    }

    /// Makes a server-side subscription of the matching connections.
    pub async fn subscribe(
        &self,
        _target: Target,
        _command: SubscribeCommand,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Ends a subscription of the matching connections.
    pub async fn unsubscribe(
        &self,
        _target: Target,
        _channel: Channel,
        _why: Unsubscribe,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Closes the matching connections, except those listed.
    pub async fn disconnect(
        &self,
        _target: Target,
        _why: Disconnect,
        _keep: Vec<ClientId>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Changes the expiration of the matching connections.
    pub async fn refresh(&self, _target: Target, _refresh: Refresh) -> Result<(), Error> {
        Ok(())
    }

    /// Entries of a channel's presence. 102, 108 without presence.
    pub async fn presence(
        &self,
        _channel: &Channel,
    ) -> Result<BTreeMap<ClientId, Arc<ClientInfo>>, Error> {
        Err(Error::UnknownChannel)
    }

    /// Numbers of a channel's presence. 102, 108 without presence.
    pub async fn presence_stats(&self, _channel: &Channel) -> Result<PresenceStats, Error> {
        Err(Error::UnknownChannel)
    }

    /// Reads history; `query.meta_ttl` is filled in here. 102, 108 without history, 112, 107 for a reverse read from 0.
    pub async fn history(
        &self,
        _channel: &Channel,
        _query: HistoryQuery,
    ) -> Result<History, Error> {
        Err(Error::UnknownChannel)
    }

    /// Drops kept publications. 102, 108.
    pub async fn remove_history(&self, _channel: &Channel) -> Result<(), Error> {
        Err(Error::UnknownChannel)
    }

    /// All nodes of the cluster.
    pub async fn info(&self) -> Result<Vec<NodeInfo>, Error> {
        Ok(Vec::new())
    }

    /// Channels with subscribers and their numbers, cluster-wide, those whose name `matches`.
    pub async fn channels(
        &self,
        _matches: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<BTreeMap<Channel, u32>, Error> {
        Ok(BTreeMap::new())
    }
}
