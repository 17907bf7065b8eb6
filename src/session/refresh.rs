//! Refresh of a connection and of a subscription, by command or by the server (client-protocol.md 4.10, 4.11).

use std::sync::Arc;

use super::{
    Call, Effects, MAX_TTL, Pending, Refreshed, Session, SubRefreshed, subscription::State as Sub,
};
use crate::{
    model::{
        Channel, ClientError, ClientInfo, Disconnect, Now, Refresh, Rejection, SubscribeSource,
        SubscriptionKey, Version,
    },
    protocol::{Push, PushBody, RefreshResult, ReplyBody, SubRefreshRequest, SubRefreshResult},
};

impl Session {
    pub(super) fn refresh(&mut self, id: u32, token: String, out: &mut Effects) {
        if token.is_empty() || self.expiry.server_side {
            return self.close(Disconnect::BAD_REQUEST, out);
        }
        self.call(Call::Refresh(token), Pending::Refresh(id), out);
    }

    pub(super) fn refreshed(
        &mut self,
        now: Now,
        id: u32,
        result: Result<Refreshed, Rejection>,
        out: &mut Effects,
    ) {
        let refreshed = match result {
            Ok(refreshed) => refreshed,
            Err(why) => return self.reject(id, why, out),
        };
        let ttl = match Self::ttl(now, refreshed.expire_at, false) {
            Ok(ttl) => ttl,
            Err(why) => return self.reject(id, why, out),
        };
        if refreshed
            .channels
            .is_some_and(|channels| !self.has_token_channels(&channels))
        {
            return self.close(Disconnect::INSUFFICIENT_STATE, out);
        }
        self.expiry.at = refreshed.expire_at;
        self.schedule_expiry(now);
        if !refreshed.info.is_empty() {
            self.info = Arc::new(ClientInfo {
                conn_info: refreshed.info,
                ..(*self.info).clone()
            });
        }
        if let Some(meta) = refreshed.meta {
            self.meta = meta;
        }
        let version = if self.version == Version::V1 {
            self.config.version.clone()
        } else {
            String::new()
        };
        let result = RefreshResult {
            client: self.birth.client.clone(),
            version,
            ttl,
        };
        self.reply(id, ReplyBody::Refresh(result), out);
    }

    /// True when the server-side channels of a new token are those this connection has (tokens.md 7.2).
    fn has_token_channels(&self, channels: &[Channel]) -> bool {
        let all = channels
            .iter()
            .all(|channel| self.table.find(channel).is_some());
        let mut from_token = self
            .table
            .iter()
            .filter(|(_, s)| s.options.source == SubscribeSource::ConnectionToken);
        all && from_token.all(|(_, s)| channels.contains(&s.channel))
    }

    pub(super) fn sub_refresh(&mut self, id: u32, request: SubRefreshRequest, out: &mut Effects) {
        let SubRefreshRequest {
            channel,
            token,
            kind,
        } = request;
        if channel.is_empty() && token.is_empty() {
            return self.close(Disconnect::BAD_REQUEST, out);
        }
        if !channel.is_empty() {
            let Some(server_side) = self.live_options(&channel) else {
                return self.reject(id, ClientError::PERMISSION_DENIED, out);
            };
            if self.version == Version::V2 && kind != 0 {
                return self.reject(id, ClientError::PERMISSION_DENIED, out);
            }
            if server_side {
                return self.close(Disconnect::BAD_REQUEST, out);
            }
            if token.is_empty() {
                return self.reject(id, ClientError::BAD_REQUEST, out);
            }
        }
        self.call(
            Call::SubRefresh { channel, token },
            Pending::SubRefresh(id),
            out,
        );
    }

    /// Whether an established subscription is refreshed by the server; `None` when there is no such subscription.
    fn live_options(&mut self, channel: &Channel) -> Option<bool> {
        let key = self.table.find(channel)?;
        let subscription = self.table.get_mut(key)?;
        matches!(subscription.state, Sub::Live(_))
            .then_some(subscription.options.server_side_refresh)
    }

    pub(super) fn sub_refreshed(
        &mut self,
        now: Now,
        id: u32,
        result: Result<SubRefreshed, Rejection>,
        out: &mut Effects,
    ) {
        let refreshed = match result {
            Ok(refreshed) => refreshed,
            Err(why) => return self.reject(id, why, out),
        };
        let ttl = match Self::ttl(now, refreshed.expire_at, false) {
            Ok(ttl) => ttl,
            Err(why) => return self.reject(id, why, out),
        };
        if self.live_options(&refreshed.channel).is_none() {
            return self.reject(id, ClientError::PERMISSION_DENIED, out);
        }
        let info = self.info_with(&refreshed.info);
        if let Some(subscription) = self
            .table
            .find(&refreshed.channel)
            .and_then(|key| self.table.get_mut(key))
        {
            subscription.options.expire_at = refreshed.expire_at;
            subscription.options.info = refreshed.info;
            subscription.info = info;
        }
        self.reply(id, ReplyBody::SubRefresh(SubRefreshResult { ttl }), out);
    }

    /// The hooks have said how an expired connection goes on (client-protocol.md 4.10). The client is not told.
    pub(super) fn renewed(
        &mut self,
        now: Now,
        result: Result<Refreshed, Rejection>,
        out: &mut Effects,
    ) {
        let refreshed = match result {
            Ok(refreshed) => refreshed,
            Err(Rejection::Disconnect(why)) => return self.close(why, out),
            Err(Rejection::Error(_)) => return self.close(Disconnect::SERVER_ERROR, out),
        };
        let expire_at = refreshed.expire_at.map(|at| at.min(now.unix() + MAX_TTL));
        if Self::ttl(now, expire_at, true).is_err() {
            return self.close(Disconnect::EXPIRED, out);
        }
        self.expiry.at = expire_at;
        self.schedule_expiry(now);
        if !refreshed.info.is_empty() {
            self.info = Arc::new(ClientInfo {
                conn_info: refreshed.info,
                ..(*self.info).clone()
            });
        }
        if let Some(meta) = refreshed.meta {
            self.meta = meta;
        }
    }

    /// The hooks have said how an expired subscription goes on (client-protocol.md 4.11).
    pub(super) fn sub_renewed(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        result: Result<Option<SubRefreshed>, Rejection>,
        out: &mut Effects,
    ) {
        let refreshed = match result {
            Ok(Some(refreshed)) => refreshed,
            Ok(None) | Err(Rejection::Error(_)) => return self.subscription_expired(key, out),
            Err(Rejection::Disconnect(why)) => return self.close(why, out),
        };
        let expire_at = refreshed.expire_at.map(|at| at.min(now.unix() + MAX_TTL));
        if Self::ttl(now, expire_at, true).is_err() {
            return self.subscription_expired(key, out);
        }
        let info = self.info_with(&refreshed.info);
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        subscription.options.expire_at = expire_at;
        if !refreshed.info.is_empty() {
            subscription.options.info = refreshed.info;
            subscription.info = info;
        }
    }

    /// The server API changes the expiration (server-api.md 8.6).
    pub(crate) fn refresh_server_side(&mut self, now: Now, refresh: Refresh, out: &mut Effects) {
        if !self.is_connected() {
            return;
        }
        let expire_at =
            (refresh.expire_at != 0).then(|| refresh.expire_at.min(now.unix() + MAX_TTL));
        let ttl = match Self::ttl(now, expire_at, false) {
            Ok(ttl) if !refresh.expired => ttl,
            Ok(_) | Err(_) => return self.close(Disconnect::EXPIRED, out),
        };
        self.expiry.at = expire_at;
        self.schedule_expiry(now);
        if ttl.is_some() && !refresh.info.is_empty() {
            self.info = Arc::new(ClientInfo {
                conn_info: refresh.info,
                ..(*self.info).clone()
            });
        }
        self.push(
            Push {
                channel: Channel::default(),
                body: PushBody::Refresh(ttl),
            },
            out,
        );
    }
}
