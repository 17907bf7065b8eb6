//! What operators read about refused operations (metrics.md 17.4), at most one line a second and kind.
//!
//! Never a token, never a payload.

use super::Policy;
use crate::{
    auth::{Reason, Refusal},
    hooks::Client,
    model::Channel,
};

/// A refused operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    NoCredentials,
    PrivateWithoutToken,
    Subscribe,
    SubscribeUnknown,
    Publish,
    PublishUnknown,
    Presence,
    PresenceUnknown,
    History,
    HistoryUnknown,
}

/// Where a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use<'a> {
    Connect,
    Refresh,
    Subscribe(&'a Channel),
    SubRefresh(&'a Channel),
}

impl Note {
    pub(super) const COUNT: usize = Self::HistoryUnknown as usize + 1;

    const fn text(self) -> &'static str {
        match self {
            Self::NoCredentials => "client credentials not found",
            Self::PrivateWithoutToken => "attempt to subscribe on private channel without token",
            Self::Subscribe => "attempt to subscribe without sufficient permission",
            Self::SubscribeUnknown => "subscribe unknown channel",
            Self::Publish => "attempt to publish without sufficient permission",
            Self::PublishUnknown => "publish unknown channel",
            Self::Presence => "attempt to call presence without sufficient permission",
            Self::PresenceUnknown => "presence for unknown channel",
            Self::History => "attempt to call history without sufficient permission",
            Self::HistoryUnknown => "history for unknown channel",
        }
    }
}

impl Policy {
    /// Writes a line about a refused operation.
    pub(super) fn note(&self, note: Note, client: &Client, channel: Option<&Channel>) {
        if !self.pace.permits(note as usize, &client.now) {
            return;
        }
        let (user, client) = (&client.user, &client.id);
        let channel = channel.map(tracing::field::display);
        if note == Note::PrivateWithoutToken {
            tracing::warn!(%client, %user, channel, "{}", note.text());
        } else {
            tracing::info!(%client, %user, channel, "{}", note.text());
        }
    }

    /// Writes a line about a refused token. Expired ones are the normal course of things.
    pub(super) fn note_refusal(&self, refusal: Refusal, client: &Client, used: Use<'_>) {
        let silent = matches!(refusal.reason, Reason::Expired | Reason::UnknownChannel);
        if silent || !self.auth.may_log(refusal.reason, &client.now) {
            return;
        }
        let (user, client, error) = (&client.user, &client.id, refusal);
        match used {
            Use::Connect => tracing::info!(%client, %error, "invalid connection token"),
            Use::Refresh => tracing::info!(%client, %user, %error, "invalid refresh token"),
            Use::Subscribe(channel) => {
                tracing::info!(%client, %user, %channel, %error, "invalid subscription token");
            }
            Use::SubRefresh(channel) => {
                tracing::info!(%client, %user, %channel, %error, "invalid subscription refresh token");
            }
        }
    }
}
