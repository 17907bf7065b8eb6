//! May it subscribe, and with which options (client-protocol.md 4.6, 4.6.1, tokens.md 8.1)?

use super::{
    Policy, Settings,
    namespace::{Namespace, Resolved, Standing},
    note::{Note, Use},
};
use crate::{
    auth::{Kind, Reason, Refusal, SubscriptionToken},
    hooks::{Client, SubscribeAnswer, SubscribeQuestion},
    model::{
        Channel, ClientError, Disconnect, Rejection, SubscribeOptions, SubscribeSource,
        SubscriptionType, Version,
    },
};

/// What permission there is without a token.
enum Permit {
    /// This one.
    Source(SubscribeSource),
    /// That of the backend, which has to be asked.
    Ask,
}

impl Policy {
    pub(super) async fn answer_subscribe(
        &self,
        client: &Client,
        question: SubscribeQuestion,
    ) -> Result<SubscribeAnswer, Rejection> {
        let settings = self.settings();
        let resolved = self.open_for_subscribe(&settings, client, &question)?;
        let mut options = if question.token.is_empty() {
            let Permit::Source(source) = self.permit(&settings, client, &question, &resolved)?
            else {
                return self.ask_subscribe(client, &question, &resolved).await;
            };
            SubscribeOptions {
                source,
                ..resolved.namespace.channel.subscribe.clone()
            }
        } else {
            self.subscribe_with_token(&settings, client, &question)
                .await?
        };
        settings.grant_requests(&mut options, resolved.namespace, client, &question);
        Ok(options.into())
    }

    /// Everything about the name and the type, which comes before every permission.
    fn open_for_subscribe<'a>(
        &self,
        settings: &'a Settings,
        client: &Client,
        question: &'a SubscribeQuestion,
    ) -> Result<Resolved<'a>, Rejection> {
        let channel = &question.channel;
        if channel.is_empty() {
            return Err(Disconnect::BAD_REQUEST.into());
        }
        if !(0..=4).contains(&question.kind) {
            return Err(Disconnect::SERVER_ERROR.into());
        }
        let resolved = settings.namespaces.resolve(channel.as_str());
        if let Ok(resolved) = &resolved {
            check_kind(question.kind, resolved.namespace.channel.subscription_type)?;
        }
        if channel.as_str().len() > settings.namespaces.max_length {
            return Err(ClientError::BAD_REQUEST.into());
        }
        let resolved = resolved.inspect_err(|_unknown| {
            self.note(Note::SubscribeUnknown, client, Some(channel));
        })?;
        resolved.check_name()?;
        if !serves(resolved.namespace.channel.subscription_type, question.kind) {
            return Err(ClientError::PERMISSION_DENIED.into());
        }
        Ok(resolved)
    }

    /// Rules 5 and 7 to 12 of tokens.md 8.1: permission without a token.
    fn permit(
        &self,
        settings: &Settings,
        client: &Client,
        question: &SubscribeQuestion,
        resolved: &Resolved<'_>,
    ) -> Result<Permit, ClientError> {
        if resolved.name.private {
            self.note(Note::PrivateWithoutToken, client, Some(&question.channel));
            return Err(ClientError::PERMISSION_DENIED);
        }
        let namespace = resolved.namespace;
        let user = client.user.as_str();
        match settings.user_list(resolved) {
            Some(users) if settings.namespaces.naming.lists(users, user) => {
                return Ok(Permit::Source(SubscribeSource::UserLimited));
            }
            None if namespace.asks_on_subscribe() => return Ok(Permit::Ask),
            None if namespace.allows_subscribe(user.is_empty()) => {
                return Ok(Permit::Source(SubscribeSource::ClientAllowed));
            }
            // Neither the backend nor the permission for clients counts for who is not on a list.
            _ => {}
        }
        if settings.insecure {
            return Ok(Permit::Source(SubscribeSource::ClientInsecure));
        }
        self.note(Note::Subscribe, client, Some(&question.channel));
        Err(ClientError::PERMISSION_DENIED)
    }

    async fn subscribe_with_token(
        &self,
        settings: &Settings,
        client: &Client,
        question: &SubscribeQuestion,
    ) -> Result<SubscribeOptions, Rejection> {
        let channel = &question.channel;
        let lookup = |channel: &Channel| settings.channel(channel);
        let verified = self
            .auth
            .subscription(&question.token, &client.now, &lookup);
        let token = verified.await.map_err(|refusal| {
            self.note_refusal(refusal, client, Use::Subscribe(channel));
            match refusal.reason {
                Reason::Expired => ClientError::TOKEN_EXPIRED,
                Reason::UnknownChannel => ClientError::UNKNOWN_CHANNEL,
                _ => ClientError::PERMISSION_DENIED,
            }
        })?;
        if self.check_holder(&token, client, channel).is_err() {
            return Err(match client.version {
                Version::V1 => ClientError::PERMISSION_DENIED.into(),
                Version::V2 => Disconnect::INVALID_TOKEN.into(),
            });
        }
        Ok(token.options)
    }

    /// A token is for one channel and one user, perhaps for one connection (tokens.md 5). Backends of the first
    /// generation name the connection instead of the user.
    pub(super) fn check_holder(
        &self,
        token: &SubscriptionToken,
        client: &Client,
        channel: &Channel,
    ) -> Result<(), Refusal> {
        let named = token.client == client.id.as_str();
        let user_fits = token.user == client.user
            || client.version == Version::V1 && token.user.is_empty() && named;
        let client_fits = token.client.is_empty() || named;
        if token.channel == *channel && user_fits && client_fits {
            return Ok(());
        }
        let refusal = self.auth.refuse(Kind::Jwt, Reason::Mismatch);
        if self.auth.may_log(refusal.reason, &client.now) {
            let (user, client) = (&client.user, &client.id);
            if token.channel != *channel {
                let token_channel = &token.channel;
                tracing::info!(%client, %user, %channel, %token_channel, "token channel mismatch");
            } else if user_fits {
                tracing::info!(%client, %user, %channel, "token client mismatch");
            } else {
                let token_user = &token.user;
                tracing::info!(%client, %user, %channel, %token_user, "token user mismatch");
            }
        }
        Err(refusal)
    }
}

impl Settings {
    /// The user list of a channel, when its namespace honours one.
    pub(super) fn user_list<'a>(&self, resolved: &Resolved<'a>) -> Option<&'a str> {
        resolved
            .namespace
            .allow
            .allow_user_limited_channels
            .then(|| self.namespaces.naming.users(resolved.name.full))
            .flatten()
    }

    /// Adds what the client asks for and may have; the rest is ignored. It is about to be a subscriber, so permissions
    /// of subscribers count.
    fn grant_requests(
        &self,
        options: &mut SubscribeOptions,
        namespace: &Namespace,
        client: &Client,
        question: &SubscribeQuestion,
    ) {
        let who = Standing {
            anonymous: client.user.is_empty(),
            subscribed: true,
        };
        let history = self.insecure || namespace.allows_history(who);
        let presence = self.insecure || namespace.allows_presence(who);
        let allow = &namespace.allow;
        options.positioned |= question.positioned && (allow.allow_positioning || history);
        options.recoverable |= question.recoverable && (allow.allow_recovery || history);
        options.push_join_leave |= question.join_leave && allow.join_leave && presence;
    }
}

/// Check 2 of client-protocol.md 4.6.
const fn check_kind(kind: i32, serves: SubscriptionType) -> Result<(), ClientError> {
    match (kind, serves) {
        (4, SubscriptionType::Stream | SubscriptionType::Map) => Err(ClientError::NOT_AVAILABLE),
        (0..=3, SubscriptionType::SharedPoll) => Err(ClientError::BAD_REQUEST),
        _ => Ok(()),
    }
}

fn serves(namespace: SubscriptionType, kind: i32) -> bool {
    match namespace {
        SubscriptionType::Stream => kind == 0,
        SubscriptionType::Map => (1..=3).contains(&kind),
        SubscriptionType::SharedPoll => kind == 4,
    }
}
