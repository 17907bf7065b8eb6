//! Commands that are one question and one reply: publish, presence, history, rpc (tokens.md 8.2).

use std::sync::Arc;

use bytes::Bytes;

use super::{Caller, Shared};
use crate::{
    engine::{self, HistoryQuery},
    hooks::{PublishAnswer, Read},
    model::{Channel, ClientError, ClientInfo, Publication, Rejection, StreamPosition},
    protocol::{HistoryResult, PresenceResult, PresenceStatsResult, ReplyBody},
    session::{Call, Joined},
};

impl Caller {
    /// The calls that are one question and one reply.
    pub(super) async fn answer(&self, call: Call) -> Result<ReplyBody, Rejection> {
        match call {
            Call::Publish {
                channel,
                data,
                kind,
                subscribed,
                info,
            } => self
                .publish(&channel, data, kind, (subscribed, info))
                .await
                .map(|()| ReplyBody::Publish),
            Call::Presence {
                channel,
                subscribed,
            } => {
                self.allow_read(&channel, subscribed, Read::Presence)
                    .await?;
                let presence = self.shared.presence(&channel).await?;
                Ok(ReplyBody::Presence(PresenceResult { presence }))
            }
            Call::PresenceStats {
                channel,
                subscribed,
            } => self.presence_stats(&channel, subscribed).await,
            Call::History {
                channel,
                subscribed,
                limit,
                since,
                reverse,
            } => {
                let query = HistoryQuery {
                    since,
                    limit: Some(limit),
                    reverse,
                    ..HistoryQuery::default()
                };
                self.history(&channel, subscribed, query).await
            }
            Call::Rpc { method, data } => self
                .shared
                .hooks
                .rpc(&self.client, &method, data)
                .await
                .map(ReplyBody::Rpc),
            other => {
                tracing::error!(?other, "a call without reply was taken for a question");
                Err(ClientError::INTERNAL.into())
            }
        }
    }

    async fn presence_stats(
        &self,
        channel: &Channel,
        subscribed: bool,
    ) -> Result<ReplyBody, Rejection> {
        self.allow_read(channel, subscribed, Read::Presence).await?;
        let stats = self.shared.presence_stats(channel).await?;
        let int = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(ReplyBody::PresenceStats(PresenceStatsResult {
            num_clients: int(stats.clients),
            num_users: int(stats.users),
        }))
    }

    async fn history(
        &self,
        channel: &Channel,
        subscribed: bool,
        query: HistoryQuery,
    ) -> Result<ReplyBody, Rejection> {
        self.allow_read(channel, subscribed, Read::History).await?;
        let history = self.shared.history(channel, query).await?;
        let StreamPosition { offset, epoch } = history.position;
        Ok(ReplyBody::History(HistoryResult {
            publications: history.publications,
            epoch: epoch.as_str().to_owned(),
            offset,
        }))
    }

    async fn publish(
        &self,
        channel: &Channel,
        data: Bytes,
        kind: i32,
        (subscribed, info): (bool, Arc<ClientInfo>),
    ) -> Result<(), Rejection> {
        let options = self.shared.hooks.channel(channel)?;
        let map = kind != 0;
        if !map {
            // Data formats are for streams; a map is asked about permission first.
            Shared::check_format(&options, &data)?;
        }
        let answer = self
            .shared
            .hooks
            .publish(&self.client, channel, subscribed, data)
            .await?;
        let publish = match answer {
            PublishAnswer::Channel(publish) if !map => *publish,
            PublishAnswer::Upstream(data) if !map => return self.publish_upstream(data).await,
            PublishAnswer::Channel(_) | PublishAnswer::Upstream(_) => {
                return Err(ClientError::NOT_AVAILABLE.into());
            }
        };
        let mut how = Shared::publish_options(&options);
        if publish.skip_history {
            how.history_size = 0;
        }
        how.idempotency_key = Some(publish.idempotency_key).filter(|key| !key.is_empty());
        how.version_epoch = publish.version_epoch;
        how.use_delta = publish.delta;
        let except = publish.exclude_publisher.then(|| self.client.id.clone());
        let publication = Publication {
            data: publish.data,
            except,
            info: Some(info),
            tags: publish.tags,
            version: publish.version,
            ..Publication::default()
        };
        self.shared
            .publish(channel, publication, how)
            .await
            .map(|_| ())
            .map_err(Rejection::from)
    }

    /// Reads a page of history for a subscription that fell behind.
    pub(super) async fn read_on(&self, call: Call) -> Option<Joined> {
        let Call::ReadOn {
            channel,
            key,
            since,
            limit,
            resume,
        } = call
        else {
            return None;
        };
        if resume {
            self.mailbox.resume(key);
        }
        let page = self.read_missed(&channel, Some(since), (limit, false));
        page.await.ok()
    }

    /// What a new subscription missed, or where the stream is now.
    pub(super) async fn read_missed(
        &self,
        channel: &Channel,
        since: Option<StreamPosition>,
        (limit, cache): (usize, bool),
    ) -> Result<Joined, engine::Error> {
        let meta_ttl = self
            .shared
            .hooks
            .channel(channel)
            .map(|options| options.history_meta_ttl)
            .unwrap_or_default();
        let recovering = since.is_some();
        self.shared.metrics.action(if recovering {
            "history_recover"
        } else {
            "history_stream_top"
        });
        let query = match since {
            None => HistoryQuery {
                limit: Some(0),
                meta_ttl,
                ..HistoryQuery::default()
            },
            // Whatever the client has, only the newest publication counts.
            Some(_) if cache => HistoryQuery {
                limit: Some(1),
                reverse: true,
                meta_ttl,
                since: None,
            },
            since @ Some(_) => HistoryQuery {
                limit: Some(limit),
                since,
                reverse: false,
                meta_ttl,
            },
        };
        match self.shared.engine.broker.history(channel, &query).await {
            Ok(history) => Ok(Joined {
                publications: history.publications,
                top: history.position,
                number: 0,
            }),
            // Another epoch: nothing can be recovered, the subscription starts at the present top.
            Err(engine::Error::UnrecoverablePosition(top)) => Ok(Joined {
                top,
                ..Joined::default()
            }),
            Err(error) => Err(error),
        }
    }

    /// Hands a publication to the source of the subscription.
    async fn publish_upstream(&self, data: Bytes) -> Result<(), Rejection> {
        match &self.upstream {
            Some(upstream) => upstream.send(data).await,
            None => Err(ClientError::NOT_AVAILABLE.into()),
        }
    }

    /// Namespace, name, feature, permission: in this order (tokens.md 8.2).
    async fn allow_read(
        &self,
        channel: &Channel,
        subscribed: bool,
        what: Read,
    ) -> Result<(), Rejection> {
        self.shared.hooks.channel(channel)?;
        self.shared
            .hooks
            .read(&self.client, channel, subscribed, what)
            .await
    }
}
