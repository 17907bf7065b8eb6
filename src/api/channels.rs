//! Presence, history, channels, info and rpc: questions about channels and nodes (server-api.md 8.7 to 8.13).

use std::time::Duration;

use super::{
    Api, Error, Method, bad_request, refused,
    request::{
        ChannelsRequest, HistoryRemoveRequest, HistoryRequest, InfoRequest, PresenceRequest,
        PresenceStatsRequest, RpcRequest,
    },
    required,
    result::{
        ChannelInfo, ChannelsResult, HistoryRemoveResult, HistoryResult, InfoResult,
        PresenceResult, PresenceStatsResult, Publication, RpcResult,
    },
};
use crate::{
    model::{Channel, StreamPosition},
    node::HistoryQuery,
};

impl Api {
    /// Who is in a channel.
    ///
    /// # Errors
    /// 107 without channel, 102, 108 without presence, 100.
    pub async fn presence(&self, request: PresenceRequest) -> Result<PresenceResult, Error> {
        let channel = required(Method::Presence, request.channel)?;
        let entries = self
            .node()
            .presence(&channel)
            .await
            .map_err(|error| refused(Method::Presence, &channel, &error))?;
        let presence = entries
            .iter()
            .map(|(client, info)| (client.to_string(), (&**info).into()))
            .collect();
        Ok(PresenceResult { presence })
    }

    /// How many are in a channel.
    ///
    /// # Errors
    /// As [`Api::presence`].
    pub async fn presence_stats(
        &self,
        request: PresenceStatsRequest,
    ) -> Result<PresenceStatsResult, Error> {
        let channel = required(Method::PresenceStats, request.channel)?;
        let stats = self
            .node()
            .presence_stats(&channel)
            .await
            .map_err(|error| refused(Method::PresenceStats, &channel, &error))?;
        Ok(PresenceStatsResult {
            num_clients: u32::try_from(stats.clients).unwrap_or(u32::MAX),
            num_users: u32::try_from(stats.users).unwrap_or(u32::MAX),
        })
    }

    /// Reads history.
    ///
    /// # Errors
    /// 107 without channel, 102, 108 without history, 112 when the epoch is another one, 107 for a reverse read from
    /// offset 0, 100.
    pub async fn history(&self, request: HistoryRequest) -> Result<HistoryResult, Error> {
        let query = query(&request);
        let channel = required(Method::History, request.channel)?;
        let history = self
            .node()
            .history(&channel, query)
            .await
            .map_err(|error| refused(Method::History, &channel, &error))?;
        Ok(HistoryResult {
            publications: history
                .publications
                .iter()
                .map(|publication| Publication::from(&**publication))
                .collect(),
            epoch: history.position.epoch.to_string(),
            offset: history.position.offset,
        })
    }

    /// Drops kept publications.
    ///
    /// # Errors
    /// 107 without channel, 102, 108 without history, 100.
    pub async fn history_remove(
        &self,
        request: HistoryRemoveRequest,
    ) -> Result<HistoryRemoveResult, Error> {
        let channel = required(Method::HistoryRemove, request.channel)?;
        self.node()
            .remove_history(&channel)
            .await
            .map_err(|error| refused(Method::HistoryRemove, &channel, &error))?;
        Ok(HistoryRemoveResult {})
    }

    /// The nodes of the cluster.
    ///
    /// # Errors
    /// None; all methods are called alike.
    #[expect(clippy::unused_async, reason = "all methods are called alike")]
    pub async fn info(&self, _request: InfoRequest) -> Result<InfoResult, Error> {
        Ok(InfoResult {
            nodes: self.node().info().into_iter().map(Into::into).collect(),
        })
    }

    /// Calls a registered method; there are none.
    ///
    /// # Errors
    /// 107 without name, 104.
    #[expect(clippy::unused_async, reason = "all methods are called alike")]
    pub async fn rpc(&self, request: RpcRequest) -> Result<RpcResult, Error> {
        if request.method.is_empty() {
            return Err(bad_request(Method::Rpc, "", "method is required"));
        }
        Err(Error::NotFound)
    }

    /// Channels with subscribers, cluster-wide.
    ///
    /// # Errors
    /// 100, also for a malformed pattern.
    pub async fn channels(&self, request: ChannelsRequest) -> Result<ChannelsResult, Error> {
        let channels = self
            .node()
            .channels(&request.pattern)
            .await
            .map_err(|error| refused(Method::Channels, &Channel::default(), &error))?;
        let channels = channels
            .into_iter()
            .map(|(name, num_clients)| (name.to_string(), ChannelInfo { num_clients }))
            .collect();
        Ok(ChannelsResult { channels })
    }
}

/// 0 is a limit of nothing, below 0 is no limit (server-api.md 8.9). The node fills in the life of the stream.
fn query(request: &HistoryRequest) -> HistoryQuery {
    HistoryQuery {
        since: request.since.clone().map(StreamPosition::from),
        limit: usize::try_from(request.limit).ok(),
        reverse: request.reverse,
        meta_ttl: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::request;

    #[test]
    fn limits_below_zero_are_no_limit() {
        let limit = |limit| {
            query(&HistoryRequest {
                limit,
                ..HistoryRequest::default()
            })
            .limit
        };
        assert_eq!(
            (limit(0), limit(-1), limit(-7), limit(2)),
            (Some(0), None, None, Some(2))
        );
    }

    #[test]
    fn an_empty_position_means_offset_zero() {
        let since = |since| {
            query(&HistoryRequest {
                since,
                ..HistoryRequest::default()
            })
            .since
        };
        assert_eq!(since(None), None);
        assert_eq!(
            since(Some(request::StreamPosition::default())),
            Some(StreamPosition::default())
        );
    }
}
