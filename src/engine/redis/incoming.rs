//! What arrives by PUB/SUB, on its way to the event queue. Looks into the envelope of a message and drops none that it can read.

use bytes::Bytes;

use super::{
    Failure,
    keys::Names,
    metrics::Metrics,
    pubsub::{self, Ear},
};
use crate::{
    engine::{sequencer::Sequencer, wire::pushed},
    model::Channel,
};

/// What arrives in the channels of channels, on its way to the event queue.
#[derive(Debug)]
pub(super) struct Incoming {
    names: Names,
    sequencer: Sequencer,
    metrics: Metrics,
}

impl Incoming {
    pub(super) const fn new(names: Names, sequencer: Sequencer, metrics: Metrics) -> Self {
        Self {
            names,
            sequencer,
            metrics,
        }
    }
}

impl Ear for Incoming {
    async fn hear(&self, name: &Bytes, payload: Bytes) {
        // The service channel only shows that the connection hears.
        let channel = pubsub::name(name).and_then(|name| self.names.channel(name));
        let Some(channel) = channel.map(Channel::from) else {
            return;
        };
        match pushed::decode(&payload) {
            Ok(event) => {
                // An error means that the node is gone, and with it everybody who could miss the message.
                drop(self.sequencer.event(channel, event).await);
            }
            Err(error) => {
                self.metrics.error("handle_client_message");
                tracing::error!(%error, %channel, "message from Redis cannot be read");
            }
        }
    }

    async fn restored(&self) {
        tracing::debug!("listening to Redis");
        drop(self.sequencer.reconnected().await);
    }

    fn failed(&self, what: &'static str, why: &Failure) {
        self.metrics.error(what);
        tracing::error!(error = %why, kind = what, "pub/sub connection error");
    }
}
