//! May this connection connect, and as whom (tokens.md 1, 7.1 steps 1 to 3)?
//!
//! Limits, expiration and the subscriptions themselves are the node's business.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::{
    Policy, Settings,
    backend::Introduced,
    note::{Note, Use},
};
use crate::{
    auth::{ConnectionToken, Kind, Presented, Reason, Refusal},
    hooks::{Client, ConnectAnswer, ConnectQuestion, Headers},
    model::{
        Channel, ClientError, Disconnect, Encoding, Rejection, SubscribeOptions, SubscribeSource,
        UserId,
    },
};

/// An identity, and whether its holder may ask for channels in the connect frame.
struct Identity {
    token: ConnectionToken,
    may_ask: bool,
    /// Custom data of the reply.
    data: Bytes,
}

impl Policy {
    pub(super) async fn answer_connect(
        &self,
        client: &Client,
        question: ConnectQuestion,
    ) -> Result<ConnectAnswer, Rejection> {
        let settings = self.settings();
        let found = self
            .auth
            .find(&question.headers, &question.data)
            .map_err(|refusal| self.refuse_connect(refusal, client))?;
        let headers = self.proxies.keep(question.headers.iter());
        let Identity {
            token,
            may_ask,
            data,
        } = self
            .identify(&settings, client, (&question, &headers), found.presented)
            .await?;
        let mut channels = token.channels;
        let personal = settings.subscribe_personal(&token.user, &mut channels)?;
        if may_ask {
            settings.subscribe_asked(&token.user, &question.channels, &mut channels)?;
        }
        let single = settings.personal.single_connection;
        Ok(ConnectAnswer {
            user: token.user,
            expire_at: token.expire_at.filter(|_| !settings.insecure),
            server_side_refresh: self.proxies.refresh().is_some(),
            info: token.info,
            meta: token.meta.unwrap_or_default(),
            data,
            headers,
            channels,
            single_connection: personal.filter(|_| single),
        })
    }

    /// The first way to authenticate that applies decides; two at once are one too many.
    async fn identify(
        &self,
        settings: &Settings,
        client: &Client,
        (question, emulated): (&ConnectQuestion, &Headers),
        presented: Option<Presented>,
    ) -> Result<Identity, Rejection> {
        let token = question.token.as_str();
        let refuse = |refusal| self.refuse_connect(refusal, client);
        let peer = &client.peer;
        let places = [
            !token.is_empty(),
            peer.credentials.is_some(),
            presented.is_some(),
        ];
        if places.into_iter().filter(|filled| *filled).count() > 1 {
            return Err(refuse(self.auth.refuse(Kind::H1, Reason::Places)));
        }
        let known = |token| Identity {
            token,
            may_ask: true,
            data: Bytes::new(),
        };
        if !token.is_empty() {
            let lookup = |channel: &Channel| settings.channel(channel);
            let verified = self.auth.connection(token, &client.now, &lookup).await;
            let kind = self.auth.kind(token);
            let token = verified.and_then(|token| self.check_info(token, kind, client));
            return token.map(known).map_err(refuse);
        }
        if let Some(credentials) = &peer.credentials {
            let token = ConnectionToken {
                user: credentials.user.clone(),
                expire_at: credentials.expire_at,
                info: credentials.info.clone(),
                ..ConnectionToken::default()
            };
            let token = self.check_info(token, Kind::H1, client);
            return token.map(known).map_err(refuse);
        }
        if let Some(presented) = presented {
            let verified = self.auth.presented(&presented, &client.now);
            let token = verified.and_then(|token| self.check_info(token, presented.kind(), client));
            return token.map(known).map_err(refuse);
        }
        // Ambient, so whatever was brought on purpose goes before it.
        if let Some(name) = &peer.certified {
            return Ok(known(ConnectionToken {
                user: name.clone(),
                ..ConnectionToken::default()
            }));
        }
        let introduced = self
            .ask_connect(settings, client, question, emulated)
            .await?;
        if let Some(Introduced { token, data }) = introduced {
            return Ok(Identity {
                token,
                may_ask: false,
                data,
            });
        }
        self.without_credentials(settings, client)
    }

    /// Orders 3 to 5 of tokens.md 1: anonymous, the user header, nobody.
    fn without_credentials(
        &self,
        settings: &Settings,
        client: &Client,
    ) -> Result<Identity, Rejection> {
        if settings.anonymous || settings.insecure {
            return Ok(Identity {
                token: ConnectionToken::default(),
                may_ask: true,
                data: Bytes::new(),
            });
        }
        match &client.peer.user_header {
            Some(user) if !user.is_empty() => Ok(Identity {
                token: ConnectionToken {
                    user: user.clone(),
                    ..ConnectionToken::default()
                },
                may_ask: false,
                data: Bytes::new(),
            }),
            _ => {
                self.note(Note::NoCredentials, client, None);
                Err(Disconnect::BAD_REQUEST.into())
            }
        }
    }

    /// Info of credentials is any bytes; a connection that speaks JSON can show JSON only (tokens.md 9.2).
    fn check_info(
        &self,
        token: ConnectionToken,
        kind: Kind,
        client: &Client,
    ) -> Result<ConnectionToken, Refusal> {
        let free = kind == Kind::Jwt
            || client.peer.encoding == Encoding::Protobuf
            || token.info.is_empty()
            || std::str::from_utf8(&token.info)
                .is_ok_and(|info| serde_json::from_str::<IgnoredAny>(info).is_ok());
        if free {
            Ok(token)
        } else {
            Err(self.auth.refuse(kind, Reason::Malformed))
        }
    }

    fn refuse_connect(&self, refusal: Refusal, client: &Client) -> Rejection {
        self.note_refusal(refusal, client, Use::Connect);
        match refusal.reason {
            Reason::Expired => ClientError::TOKEN_EXPIRED.into(),
            Reason::Unavailable => ClientError::INTERNAL.into(),
            Reason::UnknownChannel => ClientError::UNKNOWN_CHANNEL.into(),
            _ => refusal.disconnect().into(),
        }
    }
}

impl Settings {
    /// Step 2: the channel every user gets. Returns it, also when a token named it before.
    fn subscribe_personal(
        &self,
        user: &UserId,
        channels: &mut BTreeMap<Channel, SubscribeOptions>,
    ) -> Result<Option<Channel>, ClientError> {
        if !self.personal.enabled || user.is_empty() {
            return Ok(None);
        }
        let namespace = &self.personal.personal_channel_namespace;
        let name = self.namespaces.naming.personal(namespace, user.as_str());
        let channel = Channel::from(name);
        let options = self.channel(&channel)?;
        channels
            .entry(channel.clone())
            .or_insert_with(|| SubscribeOptions {
                source: SubscribeSource::PersonalChannel,
                ..options.subscribe.clone()
            });
        Ok(Some(channel))
    }

    /// Step 3: channels asked for in the frame. What is not permitted is skipped; only an unknown namespace is an error.
    fn subscribe_asked(
        &self,
        user: &UserId,
        asked: &[Channel],
        channels: &mut BTreeMap<Channel, SubscribeOptions>,
    ) -> Result<(), Disconnect> {
        for channel in asked {
            let resolved = self
                .namespaces
                .resolve(channel.as_str())
                .map_err(|_unknown| Disconnect::BAD_REQUEST)?;
            let namespace = resolved.namespace;
            let usable = !channel.is_empty()
                && channel.as_str().len() <= self.namespaces.max_length
                && resolved.check_name().is_ok()
                && !resolved.name.private
                && !namespace.asks_on_subscribe()
                && namespace.channel.subscription_type == crate::model::SubscriptionType::Stream;
            let permitted = usable
                && (self.insecure
                    || match self.user_list(&resolved) {
                        Some(users) => self.namespaces.naming.lists(users, user.as_str()),
                        None => namespace.allows_subscribe(user.is_empty()),
                    });
            if permitted {
                channels
                    .entry(channel.clone())
                    .or_insert_with(|| SubscribeOptions {
                        source: SubscribeSource::ConnectRequest,
                        ..namespace.channel.subscribe.clone()
                    });
            }
        }
        Ok(())
    }
}
