//! May it publish, and may it read presence or history (client-protocol.md 4.5, tokens.md 8.2)?

use super::{Policy, namespace::Standing, note::Note};
use crate::{
    hooks::{Client, Read},
    model::{Channel, ClientError, Disconnect, Rejection, Version},
};

impl Policy {
    pub(super) fn answer_publish(
        &self,
        client: &Client,
        channel: &Channel,
        subscribed: bool,
        data: &[u8],
    ) -> Result<(), Rejection> {
        let settings = self.settings();
        if client.version == Version::V1 && data.is_empty() {
            return Err(Disconnect::BAD_REQUEST.into());
        }
        let resolved = settings.open(channel).inspect_err(|rejection| {
            self.note_unknown(rejection, Note::PublishUnknown, client, channel);
        })?;
        let namespace = resolved.namespace;
        // Whoever the backend is asked about waits until there is a way to ask it.
        if namespace.asks_on_publish() {
            return Err(ClientError::NOT_AVAILABLE.into());
        }
        let who = Standing {
            anonymous: client.user.is_empty(),
            subscribed,
        };
        if settings.insecure || namespace.allows_publish(who) {
            return Ok(());
        }
        self.note(Note::Publish, client, Some(channel));
        Err(ClientError::PERMISSION_DENIED.into())
    }

    pub(super) fn answer_read(
        &self,
        client: &Client,
        channel: &Channel,
        subscribed: bool,
        what: Read,
    ) -> Result<(), Rejection> {
        let settings = self.settings();
        let (unknown, refused) = match what {
            Read::Presence => (Note::PresenceUnknown, Note::Presence),
            Read::History => (Note::HistoryUnknown, Note::History),
        };
        let resolved = settings.open(channel).inspect_err(|rejection| {
            self.note_unknown(rejection, unknown, client, channel);
        })?;
        let namespace = resolved.namespace;
        let who = Standing {
            anonymous: client.user.is_empty(),
            subscribed,
        };
        let (available, permitted) = match what {
            Read::Presence => (namespace.channel.presence, namespace.allows_presence(who)),
            Read::History => (
                namespace.channel.has_history(),
                namespace.allows_history(who),
            ),
        };
        if !available {
            return Err(ClientError::NOT_AVAILABLE.into());
        }
        if settings.insecure || permitted {
            return Ok(());
        }
        self.note(refused, client, Some(channel));
        Err(ClientError::PERMISSION_DENIED.into())
    }

    fn note_unknown(&self, rejection: &Rejection, note: Note, client: &Client, channel: &Channel) {
        if *rejection == Rejection::Error(ClientError::UNKNOWN_CHANNEL) {
            self.note(note, client, Some(channel));
        }
    }
}
