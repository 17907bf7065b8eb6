//! Commands between nodes: to all or to one, on one shard after another; heard on all shards (engines.md 3.10).

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use redis::cmd;

use super::{
    Failure, Redis, hash,
    link::Road,
    metrics::Metrics,
    pubsub::{self, Ear},
};
use crate::{
    engine::{Control, Error, Event, EventSender, wire::control},
    model::{Control as Command, NodeId},
};

/// What other nodes say, on its way to the event queue.
#[derive(Debug)]
pub(super) struct Commands {
    node: NodeId,
    events: EventSender,
    metrics: Metrics,
}

impl Commands {
    pub(super) const fn new(node: NodeId, events: EventSender, metrics: Metrics) -> Self {
        Self {
            node,
            events,
            metrics,
        }
    }
}

impl Ear for Commands {
    async fn hear(&self, name: &Bytes, payload: Bytes) {
        if pubsub::name(name).is_some_and(|name| name.ends_with(".probe")) {
            return;
        }
        let (from, command) = match control::decode(payload) {
            Ok(decoded) => decoded,
            Err(error) => {
                self.metrics.error("handle_control_message");
                tracing::error!(%error, "control message from Redis cannot be read");
                return;
            }
        };
        if from == self.node {
            return;
        }
        let key = command.order_key(&from).to_owned();
        loop {
            match self.events.reserve_for(&key).await {
                Ok(slot) => return slot.send(Event::Control(from, Box::new(command))),
                // The node is behind; whoever sends feels it.
                Err(Error::Overloaded(_)) => {}
                Err(_gone) => return,
            }
        }
    }

    async fn restored(&self) {
        tracing::debug!("listening to commands of other nodes");
    }

    fn failed(&self, what: &'static str, why: &Failure) {
        let what = match what {
            "connection" => "control_connection",
            "subscribe_shard_channel" => "subscribe_control_channel",
            other => other,
        };
        self.metrics.error(what);
        tracing::error!(error = %why, kind = what, "control pub/sub connection error");
    }
}

#[async_trait]
impl Control for Redis {
    async fn send(&self, to: Option<&NodeId>, command: &Command) -> Result<(), Error> {
        self.ensure_open()?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let place = self.shards.get(turn % self.shards.len().max(1));
        let place = place.ok_or(Error::Closed)?;
        let name = to.map_or_else(|| place.names.control(), |node| place.names.node(node));
        let message = control::encode(&self.node, command);
        let mut publish = cmd("PUBLISH");
        publish.arg(&name).arg(&message[..]);
        // One connection for all, so that commands leave in the order they were given.
        place.shard.ask(Road::Orders, "", &publish).await?;
        Ok(())
    }

    /// Names of all shards in their order, and what presence looks like.
    fn scheme(&self) -> Option<String> {
        let options = &self.options;
        let names = self.shards.iter().map(|place| place.names.to_string());
        let presence = (
            options.presence_hash_field_ttl,
            options.presence_user_mapping,
            options.presence_ttl,
        );
        let all = format!("{:?} {presence:?}", names.collect::<Vec<_>>());
        Some(format!("{:016x}", hash::fnv1a(&all)))
    }
}
