//! New tokens for connections and subscriptions (client-protocol.md 4.10, 4.11, tokens.md 7.2, 7.3).
//!
//! What the node knows better is checked there: whether there is a subscription, whether the expiration has passed,
//! whether the channels of the token are still those of the connection.

use super::{Policy, note::Use};
use crate::{
    auth::{Reason, Refusal},
    hooks::{Client, RefreshAnswer, SubRefreshAnswer},
    model::{Channel, ClientError, Disconnect, Rejection},
};

impl Policy {
    pub(super) async fn answer_refresh(
        &self,
        client: &Client,
        token: &str,
    ) -> Result<RefreshAnswer, Rejection> {
        let settings = self.settings();
        if token.is_empty() {
            return Err(Disconnect::BAD_REQUEST.into());
        }
        let lookup = |channel: &Channel| settings.channel(channel);
        let verified = self.auth.refresh(token, &client.now, &lookup).await;
        let new = verified.map_err(|refusal| {
            self.note_refusal(refusal, client, Use::Refresh);
            match refusal.reason {
                Reason::UnknownChannel => Rejection::from(ClientError::UNKNOWN_CHANNEL),
                _ => refusal.disconnect().into(),
            }
        })?;
        if new.user != client.user {
            let refusal = self.auth.refuse(self.auth.kind(token), Reason::Mismatch);
            if self.auth.may_log(refusal.reason, &client.now) {
                let (user, client, token_user) = (&client.user, &client.id, &new.user);
                tracing::info!(%client, %user, %token_user, "refresh token user mismatch");
            }
            return Err(refusal.disconnect().into());
        }
        Ok(RefreshAnswer {
            expire_at: new.expire_at.filter(|_| !settings.insecure),
            info: new.info,
            meta: new.meta,
            channels: Some(new.channels.into_keys().collect()),
        })
    }

    pub(super) async fn answer_sub_refresh(
        &self,
        client: &Client,
        channel: &Channel,
        token: &str,
    ) -> Result<SubRefreshAnswer, Rejection> {
        let settings = self.settings();
        if token.is_empty() {
            return Err(if channel.is_empty() {
                Disconnect::BAD_REQUEST.into()
            } else {
                ClientError::BAD_REQUEST.into()
            });
        }
        let lookup = |channel: &Channel| settings.channel(channel);
        let verified = self.auth.subscription(token, &client.now, &lookup).await;
        let new = verified.map_err(|refusal| self.refuse_sub_refresh(refusal, client, channel))?;
        // Some SDKs leave the channel out; the token says which one is meant.
        let channel = if channel.is_empty() {
            &new.channel
        } else {
            channel
        };
        self.check_holder(&new, client, channel)
            .map_err(|refusal| refusal.disconnect())?;
        Ok(SubRefreshAnswer {
            channel: channel.clone(),
            expire_at: new.options.expire_at,
            info: new.options.info,
        })
    }

    fn refuse_sub_refresh(
        &self,
        refusal: Refusal,
        client: &Client,
        channel: &Channel,
    ) -> Rejection {
        self.note_refusal(refusal, client, Use::SubRefresh(channel));
        if channel.is_empty() {
            return Disconnect::BAD_REQUEST.into();
        }
        match refusal.reason {
            Reason::Expired => ClientError::TOKEN_EXPIRED.into(),
            Reason::UnknownChannel => ClientError::UNKNOWN_CHANNEL.into(),
            _ => Disconnect::INVALID_TOKEN.into(),
        }
    }
}
