//! What the backend is asked, and what its answers mean (proxy.md 7 to 14).
//!
//! Asked only after everything that can be decided here has been. A failure of the backend is error 100, and 60 more
//! seconds where something has expired.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use bytes::Bytes;

use super::{Policy, Settings, namespace::Resolved};
use crate::{
    auth::ConnectionToken,
    hooks::{
        Client, ConnectQuestion, Headers, Publish, PublishAnswer, RefreshAnswer, SubRefreshAnswer,
        SubscribeAnswer, SubscribeQuestion,
    },
    model::{
        Channel, ClientError, Disconnect, Rejection, SubscribeOptions, SubscribeSource, UserId,
    },
    proxy::{
        Backend, BadBase64, ConnectResult, Failure, Granted, Introduction, Kind, PublishResult,
        Question, RefreshResult, RpcResult, SubRefreshResult,
    },
};

/// Time given to what has expired while the backend is out of order, seconds.
const GRACE: i64 = 60;

impl From<Failure> for Rejection {
    fn from(_: Failure) -> Self {
        ClientError::INTERNAL.into()
    }
}

impl From<BadBase64> for Rejection {
    fn from(_: BadBase64) -> Self {
        ClientError::INTERNAL.into()
    }
}

/// An identity that the backend gave, and the custom data of the reply.
pub(super) struct Introduced {
    pub(super) token: ConnectionToken,
    pub(super) data: Bytes,
}

impl Policy {
    /// Asks who this is. `None` when the backend does not say.
    pub(super) async fn ask_connect(
        &self,
        settings: &Settings,
        client: &Client,
        question: &ConnectQuestion,
        emulated: &Headers,
    ) -> Result<Option<Introduced>, Rejection> {
        let Some(backend) = self.proxies.connect() else {
            return Ok(None);
        };
        let asked = Question {
            emulated,
            introduction: Introduction {
                name: &question.name,
                version: &question.version,
                channels: &question.channels,
            },
            ..Question::about(client, &question.data)
        };
        let answer = backend.ask::<ConnectResult>(Kind::Connect, &asked).await?;
        let Some(result) = answer.verdict()? else {
            return Ok(None);
        };
        let channels = settings.server_side(result.channels, result.subs)?;
        Ok(Some(Introduced {
            token: ConnectionToken {
                user: UserId::from(result.user),
                expire_at: expiration(result.expire_at),
                info: result.info.get()?,
                meta: result.meta,
                channels,
            },
            data: result.data.get()?,
        }))
    }

    /// Asks about a subscription. What the client wishes does not count here.
    pub(super) async fn ask_subscribe(
        &self,
        client: &Client,
        question: &SubscribeQuestion,
        resolved: &Resolved<'_>,
    ) -> Result<SubscribeAnswer, Rejection> {
        let allow = &resolved.namespace.allow;
        let asked = Question {
            channel: question.channel.as_str(),
            ..Question::about(client, &question.data)
        };
        let base = &resolved.namespace.channel.subscribe;
        if allow.subscribe_stream_proxy_enabled {
            let name = &allow.subscribe_stream_proxy_name;
            let backend = self.backend(Kind::SubscribeStream, name)?;
            let bidirectional = allow.subscribe_stream_proxy_bidirectional;
            let (answer, feed) = backend.open(&asked, bidirectional).await?;
            let granted = answer.verdict().map_err(settled)?.unwrap_or_default();
            let mut options = grant(granted, base, SubscribeSource::StreamProxy)?;
            // A stream has no past.
            options.positioned = false;
            options.recoverable = false;
            return Ok(SubscribeAnswer {
                options,
                feed: Some(feed),
            });
        }
        let backend = self.backend(Kind::Subscribe, &allow.subscribe_proxy_name)?;
        let answer = backend.ask::<Granted>(Kind::Subscribe, &asked).await?;
        let granted = answer.verdict()?.unwrap_or_default();
        Ok(grant(granted, base, SubscribeSource::SubscribeProxy)?.into())
    }

    /// Asks about a publication.
    pub(super) async fn ask_publish(
        &self,
        client: &Client,
        channel: &Channel,
        data: Bytes,
        name: &str,
    ) -> Result<PublishAnswer, Rejection> {
        let asked = Question {
            channel: channel.as_str(),
            ..Question::about(client, &data)
        };
        let backend = self.backend(Kind::Publish, name)?;
        let answer = backend.ask::<PublishResult>(Kind::Publish, &asked).await?;
        let result = answer.verdict()?.unwrap_or_default();
        let tags = result.tags;
        Ok(PublishAnswer::Channel(Box::new(Publish {
            data: result.data.raw_first()?.unwrap_or(data),
            tags: (!tags.is_empty()).then(|| Arc::new(tags)),
            skip_history: result.skip_history,
            idempotency_key: result.idempotency_key,
            version: result.version,
            version_epoch: result.version_epoch,
            delta: result.delta,
            exclude_publisher: false,
        })))
    }

    /// Answers a call (proxy.md 12).
    pub(super) async fn answer_rpc(
        &self,
        client: &Client,
        method: &str,
        data: Bytes,
    ) -> Result<Bytes, Rejection> {
        let settings = self.settings();
        let calls = &settings.calls;
        if calls.ping.as_deref() == Some(method) {
            return Ok(Bytes::new());
        }
        let name = calls.proxy(method)?;
        let asked = Question {
            method,
            ..Question::about(client, &data)
        };
        let backend = self.backend(Kind::Rpc, name)?;
        let answer = backend.ask::<RpcResult>(Kind::Rpc, &asked).await?;
        Ok(answer.verdict()?.unwrap_or_default().data.get()?)
    }

    /// Asks whether an expired connection goes on (proxy.md 9).
    pub(super) async fn answer_renew(&self, client: &Client) -> Result<RefreshAnswer, Rejection> {
        let backend = self.proxies.refresh().ok_or(Disconnect::EXPIRED)?;
        let nothing = Bytes::new();
        let asked = Question::about(client, &nothing);
        let Ok(answer) = backend.ask::<RefreshResult>(Kind::Refresh, &asked).await else {
            return Ok(RefreshAnswer {
                expire_at: Some(client.now.unix() + GRACE),
                ..RefreshAnswer::default()
            });
        };
        let Some(result) = answer.result else {
            tracing::error!(client = %client.id, "the backend did not say how an expired connection goes on");
            return Err(Disconnect::EXPIRED.into());
        };
        if result.expired || result.expire_at <= client.now.unix() {
            return Err(Disconnect::EXPIRED.into());
        }
        Ok(RefreshAnswer {
            expire_at: Some(result.expire_at),
            info: result
                .info
                .get()
                .map_err(|_base64| Disconnect::SERVER_ERROR)?,
            meta: result.meta,
            channels: None,
        })
    }

    /// Asks whether an expired subscription goes on (proxy.md 13).
    pub(super) async fn answer_sub_renew(
        &self,
        client: &Client,
        channel: &Channel,
    ) -> Result<Option<SubRefreshAnswer>, Rejection> {
        let settings = self.settings();
        let resolved = settings.namespaces.resolve(channel.as_str())?;
        let allow = &resolved.namespace.allow;
        if !allow.sub_refresh_proxy_enabled {
            return Ok(None);
        }
        let backend = self.backend(Kind::SubRefresh, &allow.sub_refresh_proxy_name)?;
        let nothing = Bytes::new();
        let asked = Question {
            channel: channel.as_str(),
            ..Question::about(client, &nothing)
        };
        let answer = backend.ask::<SubRefreshResult>(Kind::SubRefresh, &asked);
        let Ok(answer) = answer.await else {
            return Ok(Some(SubRefreshAnswer {
                channel: channel.clone(),
                expire_at: Some(client.now.unix() + GRACE),
                info: Bytes::new(),
            }));
        };
        let result = answer.result.map(|result| result.0);
        let going = result.filter(|result| {
            !result.expired && (result.expire_at == 0 || result.expire_at > client.now.unix())
        });
        let Some(result) = going else {
            return Ok(None);
        };
        let expire_at = expiration(result.expire_at);
        Ok(result.info.get().ok().map(|info| SubRefreshAnswer {
            channel: channel.clone(),
            expire_at,
            info,
        }))
    }

    /// The proxy of this name. A reload may name one that was not made at the start: 108 then.
    fn backend(&self, kind: Kind, name: &str) -> Result<&Arc<Backend>, ClientError> {
        let found = self.proxies.get(kind, name);
        found.ok_or(ClientError::NOT_AVAILABLE)
    }
}

impl Settings {
    /// Server-side subscriptions that the backend names; those with options of their own go first.
    fn server_side(
        &self,
        names: Vec<String>,
        subs: BTreeMap<String, Granted>,
    ) -> Result<BTreeMap<Channel, SubscribeOptions>, Rejection> {
        let mut channels = BTreeMap::new();
        for (name, granted) in subs {
            let channel = Channel::from(name);
            let base = &self.channel(&channel)?.subscribe;
            let options = SubscribeOptions {
                expire_at: None,
                ..grant(granted, base, SubscribeSource::ConnectProxy)?
            };
            channels.insert(channel, options);
        }
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            let channel = Channel::from(name);
            let options = self.channel(&channel)?;
            if let Entry::Vacant(place) = channels.entry(channel) {
                place.insert(SubscribeOptions {
                    source: SubscribeSource::ConnectProxy,
                    ..options.subscribe.clone()
                });
            }
        }
        Ok(channels)
    }
}

/// The options of a namespace with what the backend changes.
fn grant(
    granted: Granted,
    base: &SubscribeOptions,
    source: SubscribeSource,
) -> Result<SubscribeOptions, BadBase64> {
    let mut options = SubscribeOptions {
        expire_at: expiration(granted.expire_at),
        info: granted.info.get()?,
        data: granted.data.get()?,
        source,
        ..base.clone()
    };
    options.auto_cache_recover |= granted.cache_recover;
    granted.overrides.apply(&mut options);
    Ok(options)
}

/// 0 stands for never.
fn expiration(unix: i64) -> Option<i64> {
    (unix != 0).then_some(unix)
}

/// The refusal of a stream never asks for a retry (proxy.md 14).
fn settled(rejection: Rejection) -> Rejection {
    match rejection {
        Rejection::Error(error) => Rejection::Error(ClientError {
            temporary: false,
            ..error
        }),
        other @ Rejection::Disconnect(_) => other,
    }
}
