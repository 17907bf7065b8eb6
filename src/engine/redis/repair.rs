//! The roads of the sequencer into Redis: history and tops of streams, asked by the tasks the engine itself owns.
//!
//! The sequencer is made before the engine is whole, and must not keep it alive; until it is there, and when it is gone, nothing
//! can be read.

use std::sync::{OnceLock, Weak};

use super::Redis;
use crate::{
    engine::{Error, History, HistoryQuery, sequencer::Source},
    model::{Channel, StreamPosition},
};

/// The engine, as its sequencers see it.
#[derive(Debug, Default)]
pub(super) struct Streams(OnceLock<Weak<Redis>>);

impl Streams {
    /// The engine is whole; said once.
    pub(super) fn open(&self, redis: Weak<Redis>) {
        self.0.get_or_init(|| redis);
    }

    fn redis(&self) -> Result<std::sync::Arc<Redis>, Error> {
        self.0.get().and_then(Weak::upgrade).ok_or(Error::Closed)
    }
}

impl Source for Streams {
    async fn history(
        &self,
        channel: &Channel,
        since: &StreamPosition,
        limit: usize,
    ) -> Result<History, Error> {
        let query = HistoryQuery {
            since: Some(since.clone()),
            limit: Some(limit),
            ..HistoryQuery::default()
        };
        self.redis()?.read(channel, &query).await
    }

    async fn tops(&self, channels: &[Channel]) -> Result<Vec<Option<StreamPosition>>, Error> {
        self.redis()?.tops(channels).await
    }
}
