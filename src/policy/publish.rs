//! May it publish, and may it read presence or history (client-protocol.md 4.5, tokens.md 8.2)?

use bytes::Bytes;

use super::{Policy, namespace::Standing, note::Note};
use crate::{
    hooks::{Client, Publish, PublishAnswer, Read},
    model::{Channel, ClientError, Disconnect, Rejection, Version},
};

impl Policy {
    pub(super) async fn answer_publish(
        &self,
        client: &Client,
        channel: &Channel,
        subscribed: bool,
        data: Bytes,
    ) -> Result<PublishAnswer, Rejection> {
        let settings = self.settings();
        if client.version == Version::V1 && data.is_empty() {
            return Err(Disconnect::BAD_REQUEST.into());
        }
        let resolved = settings.open(channel).inspect_err(|rejection| {
            self.note_unknown(rejection, Note::PublishUnknown, client, channel);
        })?;
        let namespace = resolved.namespace;
        let allow = &namespace.allow;
        // Where the backend decides, permissions do not count.
        if allow.publish_proxy_enabled {
            let settled = settings.honours_delta_publish && allow.delta_publish;
            let mut answer = self
                .ask_publish(client, channel, data, &allow.publish_proxy_name)
                .await?;
            if let PublishAnswer::Channel(publish) = &mut answer {
                publish.delta |= settled;
                publish.exclude_publisher = allow.exclude_publisher;
            }
            return Ok(answer);
        }
        if allow.subscribe_stream_proxy_enabled {
            return if allow.subscribe_stream_proxy_bidirectional {
                Ok(PublishAnswer::Upstream(data))
            } else {
                Err(ClientError::NOT_AVAILABLE.into())
            };
        }
        let who = Standing {
            anonymous: client.user.is_empty(),
            subscribed,
        };
        if settings.insecure || namespace.allows_publish(who) {
            return Ok(PublishAnswer::Channel(Box::new(Publish {
                data,
                delta: allow.delta_publish,
                exclude_publisher: allow.exclude_publisher,
                ..Publish::default()
            })));
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
