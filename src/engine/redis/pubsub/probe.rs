//! Proof that a connection hears what is published: a message to itself, by the ordinary way (engines.md 3.9).

use std::{future::pending, sync::Arc};

use redis::cmd;
use tokio::time::Instant;

use super::{
    super::link::{Road, Shard},
    Plan,
};

/// A message on its way to the connection that publishes it to itself.
pub(super) struct Probe {
    pub(super) since: Instant,
    pub(super) accepted: Option<bool>,
    publishing: std::pin::Pin<Box<dyn Future<Output = bool> + Send>>,
}

impl Probe {
    pub(super) fn new(shard: &Arc<Shard>, plan: &Plan, channel: &str) -> Self {
        let (shard, channel) = (Arc::clone(shard), channel.to_owned());
        let key = plan.key().unwrap_or_default().to_owned();
        let command = if plan.sharded { "SPUBLISH" } else { "PUBLISH" };
        Self {
            since: Instant::now(),
            accepted: None,
            publishing: Box::pin(async move {
                let mut publish = cmd(command);
                publish.arg(&channel).arg("probe");
                let asked = shard.ask(Road::Orders, &key, &publish);
                asked.await.is_ok()
            }),
        }
    }
}

/// Whether the probe was accepted; waits for ever when there is none under way.
pub(super) async fn proved(probe: &mut Option<Probe>) -> bool {
    match probe {
        Some(probe) if probe.accepted.is_none() => probe.publishing.as_mut().await,
        _ => pending().await,
    }
}
