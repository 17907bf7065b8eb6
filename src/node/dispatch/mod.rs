//! Carries out the calls of a session against hooks, engine and hub. Here module errors become the codes clients see.

mod questions;
mod spans;

use std::sync::Arc;

use futures_util::StreamExt as _;

use super::{Error, Shared};
use crate::{
    engine, hooks,
    hub::{Mailbox, Subscriber},
    model::{
        Channel, ChannelEvent, ClientError, ClientInfo, Control, Disconnect, RecoveryMode,
        Rejection, SlowPolicy, Target, UserId,
    },
    protocol::{ConnectRequest, SubscribeRequest},
    session::{Call, Identified, Join, Joined, Leave, Outcome, Refreshed, SubRefreshed},
};

/// Presence entries of a connection that are renewed at a time.
const RENEWALS: usize = 16;

impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        Self::Error(match error {
            Error::UnknownChannel => ClientError::UNKNOWN_CHANNEL,
            Error::BadRequest => ClientError::BAD_REQUEST,
            Error::NotAvailable => ClientError::NOT_AVAILABLE,
            Error::UnrecoverablePosition => ClientError::UNRECOVERABLE_POSITION,
            Error::Internal(_) | Error::Pattern(_) => ClientError::INTERNAL,
        })
    }
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        match error {
            engine::Error::UnrecoverablePosition(_) => Self::UnrecoverablePosition,
            engine::Error::BadQuery | engine::Error::BadChannel(_) => Self::BadRequest,
            other => Self::Internal(Some(other)),
        }
    }
}

/// One connection's side of a call.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) shared: Arc<Shared>,
    pub(super) client: hooks::Client,
    pub(super) mailbox: Arc<Mailbox>,
    /// Takes what is published, if the subscription has a source of its own that wants it.
    pub(super) upstream: Option<Arc<dyn hooks::Upstream>>,
}

/// How a call ended, and what it brought for the connection beside that.
pub(super) struct Performed {
    pub(super) outcome: Outcome,
    /// The source of a new subscription.
    pub(super) feed: Option<Box<hooks::Feed>>,
}

impl From<Outcome> for Performed {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            feed: None,
        }
    }
}

impl Caller {
    /// Carries out one call.
    pub(super) async fn perform(self, call: Call) -> Performed {
        match call {
            Call::Subscribe(request) => self.authorize(*request).await,
            call => self.outcome(call).await.into(),
        }
    }

    async fn outcome(self, call: Call) -> Outcome {
        match call {
            Call::Connect(request) => Outcome::Connect(self.connect(*request).await),
            Call::Register {
                user,
                single_connection,
            } => Outcome::Registered(self.register(user, single_connection).await),
            Call::Join(join) => Outcome::Joined(self.join(*join).await),
            Call::Message(data) => {
                Outcome::Message(self.shared.hooks.message(&self.client, data).await)
            }
            Call::Refresh(token) => Outcome::Refresh(self.refresh(&token).await),
            Call::SubRefresh { channel, token } => {
                Outcome::SubRefresh(self.sub_refresh(&channel, &token).await)
            }
            Call::Renew => {
                let renewed = self.shared.hooks.renew(&self.client).await;
                Outcome::Renewed(renewed.map(refreshed))
            }
            Call::SubRenew(channel) => {
                let renewed = self.shared.hooks.sub_renew(&self.client, &channel).await;
                Outcome::SubRenewed(renewed.map(|renewed| renewed.map(sub_refreshed)))
            }
            Call::Top(channel, key) => {
                let withheld = self.shared.hub.withheld(&channel, &self.mailbox, key);
                Outcome::Top(self.shared.top(&channel).await.ok(), withheld)
            }
            read_on @ Call::ReadOn { .. } => Outcome::ReadOn(self.read_on(read_on).await),
            call @ (Call::Deregister(_)
            | Call::AnnounceJoin(..)
            | Call::Leave(_)
            | Call::RenewPresence(_)) => self.tell(call).await,
            question => Outcome::Reply(self.answer(question).await),
        }
    }

    /// Carries out what has no answer.
    async fn tell(&self, call: Call) -> Outcome {
        match call {
            Call::Deregister(user) => self.shared.connections.remove(&user, &self.client.id),
            Call::AnnounceJoin(channel, info) => {
                let join = ChannelEvent::Join(info);
                self.shared.announce(&channel, join).await;
            }
            Call::Leave(leave) => self.leave(leave).await,
            Call::RenewPresence(entries) => self.renew_presence(entries).await,
            _ => {}
        }
        Outcome::Done
    }

    async fn connect(&self, request: ConnectRequest) -> Result<Box<Identified>, Rejection> {
        let question = hooks::ConnectQuestion {
            token: request.token,
            data: request.data,
            name: request.name,
            version: request.version,
            headers: request.headers,
            channels: request.subs.into_keys().collect(),
        };
        let answer = self.shared.hooks.connect(&self.client, question).await?;
        Ok(Box::new(Identified {
            user: answer.user,
            expire_at: answer.expire_at,
            server_side_refresh: answer.server_side_refresh,
            info: answer.info,
            meta: answer.meta,
            data: answer.data,
            headers: answer.headers,
            channels: answer.channels,
            single_connection: answer.single_connection,
        }))
    }

    async fn register(
        &self,
        user: UserId,
        single_connection: Option<Channel>,
    ) -> Result<(), Rejection> {
        if let Some(channel) = single_connection {
            let others = self.shared.engine.presence.list(&channel).await.map_err(|error| {
                tracing::error!(%error, %channel, "error reading presence of a personal channel");
                Disconnect::SERVER_ERROR
            })?;
            if others.keys().any(|client| *client != self.client.id) {
                let target = Target {
                    user: user.clone(),
                    ..Target::default()
                };
                let close = Control::Disconnect(
                    target,
                    Disconnect::CONNECTION_LIMIT,
                    vec![self.client.id.clone()],
                );
                self.shared
                    .control(close)
                    .await
                    .map_err(|_error| Disconnect::SERVER_ERROR)?;
            }
        }
        let limit =
            Some(self.shared.config.client.user_connection_limit).filter(|limit| *limit > 0);
        let added = self
            .shared
            .connections
            .add(&user, &self.client.id, &self.mailbox, limit);
        added.map_err(|_limit_reached| Disconnect::CONNECTION_LIMIT)?;
        self.shared.metrics.action("add_client");
        Ok(())
    }

    async fn authorize(&self, request: SubscribeRequest) -> Performed {
        let question = hooks::SubscribeQuestion {
            channel: request.channel,
            token: request.token,
            data: request.data,
            kind: request.kind,
            positioned: request.positioned,
            recoverable: request.recoverable,
            join_leave: request.join_leave,
        };
        match self.shared.hooks.subscribe(&self.client, question).await {
            Ok(answer) => Performed {
                outcome: Outcome::Subscribe(Ok(Box::new(answer.options))),
                feed: answer.feed.map(Box::new),
            },
            Err(why) => Outcome::Subscribe(Err(why)).into(),
        }
    }

    /// Registers, adds presence, reads history; undoes all of it when a part fails.
    async fn join(&self, join: Join) -> Result<Joined, Rejection> {
        let (key, presence) = (join.key, join.options.presence);
        let (channel, client, user) = (join.channel.clone(), &self.client.id, &self.client.user);
        match self.enter(join).await {
            Ok(joined) => {
                tracing::debug!(%client, %user, %channel, "client subscribed to channel");
                Ok(joined)
            }
            Err(error) => {
                tracing::error!(%error, %channel, %client, "error subscribing to channel");
                self.leave(Leave {
                    channel,
                    key,
                    presence,
                    announce: None,
                })
                .await;
                Err(Disconnect::SERVER_ERROR.into())
            }
        }
    }

    async fn enter(&self, join: Join) -> Result<Joined, engine::Error> {
        let Join {
            channel,
            key,
            form,
            style,
            options,
            info,
            since,
            limit,
        } = join;
        let subscriber = Subscriber {
            mailbox: Arc::clone(&self.mailbox),
            key,
            form,
            style,
            join_leave: options.push_join_leave,
            filter: options.filter.clone(),
            slow: options.effective_slow_policy(),
            positioned: options.is_positioned(),
        };
        if subscriber.slow != SlowPolicy::Disconnect {
            self.mailbox.be_lenient();
        }
        let (shared, interest) = (&self.shared, &self.shared.interest);
        interest.join(shared, &channel, subscriber).await?;
        if options.presence {
            shared.metrics.action("add_presence");
            shared.engine.presence.add(&channel, &info).await?;
        }
        let number = if style.compact {
            shared.hub.number(&channel)
        } else {
            0
        };
        let found = if options.is_positioned() {
            let cache = options.recovery_mode == RecoveryMode::Cache;
            self.read_missed(&channel, since, (limit, cache)).await?
        } else {
            Joined::default()
        };
        Ok(Joined { number, ..found })
    }

    /// Undoes a join: presence first, then the leave, then the interest of this node (client-protocol.md 4.7).
    pub(super) async fn leave(&self, leave: Leave) {
        let Leave {
            channel,
            key,
            presence,
            announce,
        } = leave;
        self.shared.hub_leave(&channel, &self.mailbox, key);
        self.mailbox.forget(key);
        let (client, user) = (&self.client.id, &self.client.user);
        tracing::debug!(%client, %user, %channel, "client unsubscribed from channel");
        if presence {
            self.shared.metrics.action("remove_presence");
            if let Err(error) = self
                .shared
                .engine
                .presence
                .remove(&channel, &self.client.id)
                .await
            {
                tracing::error!(%error, %channel, client = %self.client.id, "error removing presence");
            }
        }
        if let Some(info) = announce {
            self.shared
                .announce(&channel, ChannelEvent::Leave(info))
                .await;
        }
        self.shared.interest.settle(&self.shared, &channel);
    }

    async fn refresh(&self, token: &str) -> Result<Refreshed, Rejection> {
        let answer = self.shared.hooks.refresh(&self.client, token).await?;
        Ok(refreshed(answer))
    }

    async fn sub_refresh(&self, channel: &Channel, token: &str) -> Result<SubRefreshed, Rejection> {
        let answer = self
            .shared
            .hooks
            .sub_refresh(&self.client, channel, token)
            .await?;
        Ok(sub_refreshed(answer))
    }

    async fn renew_presence(&self, entries: Vec<(Channel, Arc<ClientInfo>)>) {
        let renew = |(channel, info): (Channel, Arc<ClientInfo>)| async move {
            if let Err(error) = self.shared.engine.presence.add(&channel, &info).await {
                tracing::error!(%error, %channel, client = %self.client.id, "error renewing presence");
            }
        };
        futures_util::stream::iter(entries)
            .for_each_concurrent(RENEWALS, renew)
            .await;
    }
}

fn refreshed(answer: hooks::RefreshAnswer) -> Refreshed {
    let hooks::RefreshAnswer {
        expire_at,
        info,
        meta,
        channels,
    } = answer;
    Refreshed {
        expire_at,
        info,
        meta,
        channels,
    }
}

fn sub_refreshed(answer: hooks::SubRefreshAnswer) -> SubRefreshed {
    let hooks::SubRefreshAnswer {
        channel,
        expire_at,
        info,
    } = answer;
    SubRefreshed {
        channel,
        expire_at,
        info,
    }
}
