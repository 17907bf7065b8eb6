//! Subscribe, unsubscribe, disconnect and refresh: actions on connections, cluster-wide (server-api.md 7.8, 8.3 to 8.6).

use super::{
    Api, Error, Method, bad_request,
    publish::payload,
    refused,
    request::{
        DisconnectRequest, RefreshRequest, SubscribeOptionOverride, SubscribeRequest,
        UnsubscribeRequest,
    },
    required,
    result::{DisconnectResult, RefreshResult, SubscribeResult, UnsubscribeResult},
    target,
};
use crate::{
    model::{
        Channel, ClientId, Disconnect, RecoveryMode, Refresh, StreamPosition, SubscribeCommand,
        SubscribeOptions, SubscribeSource, Unsubscribe,
    },
    node,
};

impl Api {
    /// Makes server-side subscriptions.
    ///
    /// # Errors
    /// 107 without channel, 102, 107 with bad base64, 100 when an action on a connection of this node failed.
    pub async fn subscribe(&self, request: SubscribeRequest) -> Result<SubscribeResult, Error> {
        let method = Method::Subscribe;
        let channel = required(method, request.channel)?;
        let refused = |error: node::Error| refused(method, &channel, &error);
        let namespace = self.node().channel(&channel).map_err(refused)?;
        let data = payload(method, channel.as_str(), request.data, &request.b64data)?;
        let info = payload(method, channel.as_str(), request.info, &request.b64info)?;
        let options = SubscribeOptions {
            expire_at: (request.expire_at != 0).then_some(request.expire_at),
            info,
            data,
            ..effective(
                namespace.subscribe.clone(),
                &request.r#override.unwrap_or_default(),
            )
        };
        let command = SubscribeCommand {
            channel: channel.clone(),
            options,
            recover_since: request.recover_since.map(StreamPosition::from),
        };
        let target = target(request.user, request.client, request.session);
        self.node()
            .subscribe(target, command)
            .await
            .map_err(refused)?;
        Ok(SubscribeResult {})
    }

    /// Ends subscriptions. Without channel the matching connections only receive a push.
    ///
    /// # Errors
    /// 107 without channel in strict mode, 102, 100.
    pub async fn unsubscribe(
        &self,
        request: UnsubscribeRequest,
    ) -> Result<UnsubscribeResult, Error> {
        let method = Method::Unsubscribe;
        if self.shared.config.strict_unsubscribe && request.channel.is_empty() {
            return Err(bad_request(method, "", "channel is required"));
        }
        let channel = Channel::from(request.channel);
        let refused = |error: node::Error| refused(method, &channel, &error);
        if !channel.is_empty() {
            self.node().channel(&channel).map_err(refused)?;
        }
        let target = target(request.user, request.client, request.session);
        self.node()
            .unsubscribe(target, channel.clone(), Unsubscribe::SERVER)
            .await
            .map_err(refused)?;
        Ok(UnsubscribeResult {})
    }

    /// Closes connections. A given code and reason are used as they are.
    ///
    /// # Errors
    /// 100.
    pub async fn disconnect(&self, request: DisconnectRequest) -> Result<DisconnectResult, Error> {
        let why = request
            .disconnect
            .map_or(Disconnect::FORCE_DISCONNECT, |given| Disconnect {
                code: given.code,
                reason: given.reason.into(),
            });
        let keep = request.whitelist.into_iter().map(ClientId::from).collect();
        let target = target(request.user, request.client, request.session);
        self.node()
            .disconnect(target, why, keep)
            .await
            .map_err(|error| refused(Method::Disconnect, &Channel::default(), &error))?;
        Ok(DisconnectResult {})
    }

    /// Changes the expiration of connections.
    ///
    /// # Errors
    /// 100.
    pub async fn refresh(&self, request: RefreshRequest) -> Result<RefreshResult, Error> {
        let refresh = Refresh {
            expired: request.expired,
            expire_at: request.expire_at,
            info: request.info,
        };
        let target = target(request.user, request.client, request.session);
        self.node()
            .refresh(target, refresh)
            .await
            .map_err(|error| refused(Method::Refresh, &Channel::default(), &error))?;
        Ok(RefreshResult {})
    }
}

impl From<super::request::StreamPosition> for StreamPosition {
    fn from(position: super::request::StreamPosition) -> Self {
        Self {
            offset: position.offset,
            epoch: position.epoch.into(),
        }
    }
}

/// Options of the namespace with the overrides on top; recovery is always stream recovery here.
fn effective(namespace: SubscribeOptions, over: &SubscribeOptionOverride) -> SubscribeOptions {
    let pick = |over: &Option<super::request::BoolValue>, namespace| {
        over.as_ref().map_or(namespace, |over| over.value)
    };
    let recoverable = pick(&over.force_recovery, namespace.recoverable);
    SubscribeOptions {
        presence: pick(&over.presence, namespace.presence),
        join_leave: pick(&over.join_leave, namespace.join_leave),
        push_join_leave: pick(&over.force_push_join_leave, namespace.push_join_leave),
        positioned: pick(&over.force_positioning, namespace.positioned) || recoverable,
        recoverable,
        recovery_mode: RecoveryMode::Stream,
        auto_cache_recover: false,
        source: SubscribeSource::ServerApi,
        ..namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::request::BoolValue;

    #[test]
    fn overrides_stand_above_the_namespace() {
        let namespace = SubscribeOptions {
            presence: true,
            join_leave: true,
            positioned: true,
            recovery_mode: RecoveryMode::Cache,
            auto_cache_recover: true,
            ..SubscribeOptions::default()
        };
        let plain = effective(namespace.clone(), &SubscribeOptionOverride::default());
        assert_eq!(
            plain,
            SubscribeOptions {
                recovery_mode: RecoveryMode::Stream,
                auto_cache_recover: false,
                source: SubscribeSource::ServerApi,
                ..namespace.clone()
            }
        );
        let set = |value| Some(BoolValue { value });
        let overridden = effective(
            namespace,
            &SubscribeOptionOverride {
                presence: set(false),
                join_leave: None,
                force_recovery: set(true),
                force_positioning: set(false),
                force_push_join_leave: set(true),
            },
        );
        assert!(!overridden.presence && overridden.join_leave && overridden.push_join_leave);
        assert!(overridden.recoverable, "overridden");
        assert!(overridden.positioned, "recovery needs a position");
    }

    #[test]
    fn conditions_that_are_empty_do_not_narrow() {
        let all = target("u".to_owned(), String::new(), String::new());
        assert_eq!((all.client, all.session), (None, None));
        let one = target(String::new(), "c".to_owned(), "s".to_owned());
        assert!(one.user.is_empty());
        assert_eq!(one.client, Some(ClientId::from("c")));
        assert_eq!(one.session.as_deref(), Some("s"));
    }
}
