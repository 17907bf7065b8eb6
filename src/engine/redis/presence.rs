//! Who is in a channel, in Redis: a hash of infos and, unless Redis expires fields by itself, a sorted set of deadlines.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use redis::Value;

use super::{
    Failure, Place, Redis,
    scripts::{self, Invocation, Script},
    value,
};
use crate::{
    engine::{Error, Presence, PresenceStats, wire::publication},
    model::{Channel, ClientId, ClientInfo, UserId},
};

impl Redis {
    /// A call of a presence script, which all begin with the same two flags.
    async fn presence(
        &self,
        place: &Place,
        channel: &Channel,
        script: &'static Script,
        arguments: Vec<Vec<u8>>,
    ) -> Result<Value, Error> {
        place.names.permit(channel, false)?;
        let flag = |on: bool| if on { b"1".to_vec() } else { b"0".to_vec() };
        let mut all = vec![
            flag(self.options.presence_user_mapping),
            flag(self.options.presence_hash_field_ttl),
        ];
        all.extend(arguments);
        let invocation = Invocation {
            script,
            keys: place.names.presence(channel),
            arguments: all,
        };
        self.call(place, &invocation).await
    }
}

#[async_trait]
impl Presence for Redis {
    async fn add(&self, channel: &Channel, info: &Arc<ClientInfo>) -> Result<(), Error> {
        let ttl = self.options.presence_ttl.as_secs().max(1);
        let arguments = vec![
            info.client.as_str().into(),
            publication::encode_info(info),
            info.user.as_str().into(),
            ttl.to_string().into_bytes(),
        ];
        let place = self.at(channel)?;
        self.presence(place, channel, &scripts::PRESENCE_ADD, arguments)
            .await?;
        Ok(())
    }

    async fn remove(&self, channel: &Channel, client: &ClientId) -> Result<(), Error> {
        let arguments = vec![client.as_str().into()];
        let place = self.at(channel)?;
        self.presence(place, channel, &scripts::PRESENCE_REMOVE, arguments)
            .await?;
        Ok(())
    }

    async fn list(&self, channel: &Channel) -> Result<BTreeMap<ClientId, Arc<ClientInfo>>, Error> {
        let place = self.at(channel)?;
        let answer = self
            .presence(place, channel, &scripts::PRESENCE_GET, Vec::new())
            .await?;
        let pairs = value::pairs(answer).ok_or(Failure::Odd("presence"))?;
        let mut entries = BTreeMap::new();
        for (client, info) in pairs {
            let client = String::from_utf8(client.into());
            let info = publication::decode_info(info);
            match (client, info) {
                (Ok(client), Ok(info)) => {
                    entries.insert(ClientId::from(client), Arc::new(info));
                }
                _ => tracing::warn!(%channel, "a presence entry cannot be read"),
            }
        }
        Ok(entries)
    }

    async fn stats(&self, channel: &Channel) -> Result<PresenceStats, Error> {
        if !self.options.presence_user_mapping {
            let entries = self.list(channel).await?;
            let users: std::collections::BTreeSet<&UserId> =
                entries.values().map(|info| &info.user).collect();
            return Ok(PresenceStats {
                clients: entries.len(),
                users: users.len(),
            });
        }
        let place = self.at(channel)?;
        let answer = self
            .presence(place, channel, &scripts::PRESENCE_STATS, Vec::new())
            .await?;
        let mut numbers = value::list(answer).unwrap_or_default().into_iter();
        let mut next = || {
            let number = numbers.next().and_then(value::number);
            number.and_then(|number| usize::try_from(number).ok())
        };
        let (Some(clients), Some(users)) = (next(), next()) else {
            return Err(Failure::Odd("presence").into());
        };
        Ok(PresenceStats { clients, users })
    }

    async fn ready(&self) -> Result<(), Error> {
        self.answers().await
    }
}
