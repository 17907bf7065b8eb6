//! Subscription streams (proxy.md 14): one call feeds one subscription of one client.
//!
//! A publication is taken from the call only when the connection asks for it, so a slow client holds up its backend
//! through the window of HTTP/2. Dropping the feed ends the call.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, uri::PathAndQuery};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic_prost::ProstCodec;

use super::{Grpc, Running, Unary as _, failure, message::sorted, with_metadata};
use crate::{
    hooks::{Fed, Feed, FeedLost, Upstream},
    model::{ClientError, Rejection},
    pb::proxy as pb,
    proxy::{
        Failure,
        answer::{Answer, Granted},
        question::{Carriage, Question},
    },
};

/// Publications of a client on their way to the stream.
const QUEUE: usize = 16;

const UNIDIRECTIONAL: &str =
    "/centrifugal.centrifugo.proxy.CentrifugoProxy/SubscribeUnidirectional";
const BIDIRECTIONAL: &str = "/centrifugal.centrifugo.proxy.CentrifugoProxy/SubscribeBidirectional";

impl Grpc {
    /// Opens a stream and waits for its first message. The stream itself has no time limit.
    pub(in crate::proxy) async fn open(
        &self,
        question: &Question<'_>,
        carriage: Carriage,
        headers: HeaderMap,
        (bidirectional, patience): (bool, Duration),
    ) -> Result<(Answer<Granted>, Feed), Failure> {
        let (mut client, running) = self.connection();
        client.ready().await.map_err(|_down| Failure::Connect)?;
        let first = Granted::request(question, carriage);
        let (response, upstream) = if bidirectional {
            let (sender, receiver) = mpsc::channel(QUEUE);
            let first = pb::StreamSubscribeRequest {
                subscribe_request: Some(first),
                publication: None,
            };
            // The queue is empty, so there is room.
            sender.try_send(first).map_err(|_full| Failure::Broken)?;
            let request = with_metadata(ReceiverStream::new(receiver), headers);
            let codec = ProstCodec::default();
            let path = PathAndQuery::from_static(BIDIRECTIONAL);
            let response = client.streaming(request, path, codec).await;
            (response, Some(Sink { sender, patience }))
        } else {
            let request = with_metadata(first, headers);
            let codec = ProstCodec::default();
            let path = PathAndQuery::from_static(UNIDIRECTIONAL);
            let response = client.server_streaming(request, path, codec).await;
            (response, None)
        };
        let response = response.map_err(|status| failure(&status))?;
        let mut messages: Streaming<pb::StreamSubscribeResponse> = response.into_inner();
        let first = messages.message().await;
        let first = first.map_err(|status| failure(&status))?;
        let answer = first.and_then(|first| first.subscribe_response);
        let answer = answer.ok_or(Failure::Decode)?;
        let feed = Feed {
            publications: Box::pin(Publications {
                messages,
                _running: running,
            }),
            upstream: upstream.map(|sink| Arc::new(sink) as Arc<dyn Upstream>),
        };
        Ok((answer.into(), feed))
    }
}

/// What the backend sends after its first message.
struct Publications {
    messages: Streaming<pb::StreamSubscribeResponse>,
    _running: Running,
}

impl Stream for Publications {
    type Item = Result<Fed, FeedLost>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let next = ready!(Pin::new(&mut self.messages).poll_next(cx));
            let message = match next {
                None => return Poll::Ready(None),
                Some(Err(status)) => {
                    tracing::debug!(code = status.code() as i32, "a subscription stream broke");
                    return Poll::Ready(Some(Err(FeedLost)));
                }
                Some(Ok(message)) => message,
            };
            // Messages without a publication mean nothing.
            if let Some(publication) = message.publication {
                let tags = publication.tags;
                return Poll::Ready(Some(Ok(Fed {
                    data: publication.data,
                    tags: (!tags.is_empty()).then(|| Arc::new(sorted(tags))),
                })));
            }
        }
    }
}

/// The way of a client's publications into its stream.
#[derive(Debug)]
struct Sink {
    sender: mpsc::Sender<pb::StreamSubscribeRequest>,
    patience: Duration,
}

#[async_trait]
impl Upstream for Sink {
    async fn send(&self, data: Bytes) -> Result<(), Rejection> {
        let message = pb::StreamSubscribeRequest {
            subscribe_request: None,
            publication: Some(pb::Publication {
                data,
                ..pb::Publication::default()
            }),
        };
        match timeout(self.patience, self.sender.send(message)).await {
            Ok(Ok(())) => Ok(()),
            // The stream is over, which the client is about to be told.
            Ok(Err(_)) => Err(ClientError::NOT_AVAILABLE.into()),
            Err(_elapsed) => Err(ClientError::INTERNAL.into()),
        }
    }
}
