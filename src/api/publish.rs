//! Publish and broadcast (server-api.md 8.1, 8.2).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::{
    Api, Error, Method, bad_request, refused,
    request::{BroadcastRequest, PublishRequest},
    required,
    result::{BroadcastResult, PublishResponse, PublishResult},
};
use crate::{
    model::{Channel, ClientId, SubscriptionType},
    node::{self, Publish},
};

/// Channels of one broadcast, or commands of one parallel batch, under way at the same time.
pub(super) const IN_FLIGHT: usize = 1024;

impl Api {
    /// Publishes into one channel.
    ///
    /// # Errors
    /// 107 without channel or with bad base64, 102, 107 when the channel is not a stream or the payload has the wrong
    /// format, 100.
    pub async fn publish(&self, request: PublishRequest) -> Result<PublishResult, Error> {
        let method = Method::Publish;
        let channel = required(method, request.channel)?;
        let publish = Publish {
            data: payload(method, channel.as_str(), request.data, &request.b64data)?,
            tags: (!request.tags.is_empty()).then(|| Arc::new(request.tags)),
            skip_history: request.skip_history,
            idempotency_key: key(request.idempotency_key),
            version: request.version,
            version_epoch: request.version_epoch,
            delta: request.delta,
            exclude_client: key(request.exclude_client).map(ClientId::from),
        };
        let options = self
            .node()
            .channel(&channel)
            .map_err(|error| refused(method, &channel, &error))?;
        if options.subscription_type != SubscriptionType::Stream {
            return Err(bad_request(
                method,
                channel.as_str(),
                "channel is not a stream",
            ));
        }
        self.publish_into(method, &channel, publish).await
    }

    /// Publishes the same into many channels; each has its own outcome.
    ///
    /// # Errors
    /// 107 without channels or with bad base64.
    pub async fn broadcast(&self, request: BroadcastRequest) -> Result<BroadcastResult, Error> {
        let method = Method::Broadcast;
        if request.channels.is_empty() {
            return Err(bad_request(method, "", "channels are required"));
        }
        let publish = Publish {
            data: payload(method, "", request.data, &request.b64data)?,
            tags: (!request.tags.is_empty()).then(|| Arc::new(request.tags)),
            skip_history: request.skip_history,
            idempotency_key: key(request.idempotency_key),
            version: request.version,
            version_epoch: request.version_epoch,
            delta: request.delta,
            exclude_client: key(request.exclude_client).map(ClientId::from),
        };
        let responses = stream::iter(request.channels)
            .map(|channel| self.broadcast_into(channel, publish.clone()))
            .buffered(IN_FLIGHT)
            .map(PublishResponse::from)
            .collect()
            .await;
        Ok(BroadcastResult { responses })
    }

    async fn broadcast_into(
        &self,
        channel: String,
        publish: Publish,
    ) -> Result<PublishResult, Error> {
        let channel = required(Method::Broadcast, channel)?;
        let outcome = self
            .publish_into(Method::Broadcast, &channel, publish)
            .await;
        if outcome == Err(Error::UnknownChannel) {
            tracing::error!(%channel, error = "unknown namespace", "error getting options for channel");
        }
        outcome
    }

    async fn publish_into(
        &self,
        method: Method,
        channel: &Channel,
        publish: Publish,
    ) -> Result<PublishResult, Error> {
        let outcome: Result<_, node::Error> = self.node().publish(channel, publish).await;
        outcome
            .map(PublishResult::from)
            .map_err(|error| refused(method, channel, &error))
    }
}

/// The payload of a request: the base64 form counts when it is not empty.
pub(super) fn payload(
    method: Method,
    channel: &str,
    raw: Bytes,
    base64: &str,
) -> Result<Bytes, Error> {
    if base64.is_empty() {
        return Ok(raw);
    }
    STANDARD
        .decode(base64)
        .map(Bytes::from)
        .map_err(|_text| bad_request(method, channel, "malformed base64"))
}

fn key(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_wins_when_it_is_not_empty() {
        let raw = Bytes::from_static(b"{\"a\":1}");
        let pick = |base64| payload(Method::Publish, "c", raw.clone(), base64);
        assert_eq!(pick("").unwrap(), raw);
        assert_eq!(pick("eyJiIjoyfQ==").unwrap(), "{\"b\":2}");
        for bad in ["?", "eyJhIjoxfQ", "_-8=", "eyJhIjoxfQ==\n", " "] {
            assert_eq!(pick(bad), Err(Error::BadRequest), "{bad}");
        }
    }
}
