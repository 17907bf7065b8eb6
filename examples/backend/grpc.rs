//! The same questions over gRPC, and streams that feed subscriptions, which HTTP has not.

use std::{pin::Pin, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{
    Code, Request, Response, Status, Streaming, codec::CompressionEncoding,
    metadata::KeyAndValueRef,
};

use crate::{
    pb::{
        self,
        centrifugo_proxy_server::{CentrifugoProxy, CentrifugoProxyServer},
    },
    rules::{Answer, Chat, Question},
};

type Messages =
    Pin<Box<dyn Stream<Item = Result<pb::StreamSubscribeResponse, Status>> + Send + 'static>>;

/// The service.
pub(crate) fn service(chat: Arc<Chat>) -> CentrifugoProxyServer<Service> {
    CentrifugoProxyServer::new(Service(chat)).accept_compressed(CompressionEncoding::Gzip)
}

/// Translates.
#[derive(Debug)]
pub(crate) struct Service(Arc<Chat>);

/// Answers one kind of question: the fields of the request that matter, and those of the result.
macro_rules! answered {
    ($self:ident, $request:ident, $kind:literal, $response:ident, $result:ident,
        asks { $($asked:ident: $from:expr),* $(,)? }
        gets |$granted:ident| { $($field:ident: $value:expr),* $(,)? }) => {{
        let (metadata, _, $request) = $request.into_parts();
        let headers = metadata.iter().filter_map(|pair| match pair {
            KeyAndValueRef::Ascii(name, value) => {
                Some((name.to_string(), value.to_str().ok()?.to_owned()))
            }
            KeyAndValueRef::Binary(..) => None,
        });
        let question = Question {
            kind: $kind,
            headers: headers.collect(),
            encoding: $request.encoding.clone(),
            about: [
                ("client", $request.client.clone()),
                ("transport", $request.transport.clone()),
                ("protocol", $request.protocol.clone()),
            ]
            .into(),
            $($asked: $from,)*
            ..Question::default()
        };
        let mut response = pb::$response::default();
        match $self.0.answer(question).await {
            Answer::Granted(granted) => {
                let $granted = *granted;
                response.result = Some(pb::$result {
                    $($field: $value,)*
                    ..Default::default()
                });
            }
            Answer::Nothing => {}
            Answer::Error(code, message) => response.error = Some(error(code, message)),
            Answer::Disconnect(code, reason) => {
                response.disconnect = Some(pb::Disconnect {
                    code,
                    reason: reason.to_owned(),
                });
            }
            Answer::Forbidden => return Err(Status::new(Code::PermissionDenied, "forbidden")),
        }
        Ok(Response::new(response))
    }};
}

#[tonic::async_trait]
impl CentrifugoProxy for Service {
    async fn connect(
        &self,
        request: Request<pb::ConnectRequest>,
    ) -> Result<Response<pb::ConnectResponse>, Status> {
        answered!(self, request, "connect", ConnectResponse, ConnectResult,
        asks {
            data: payload(&request.data, &request.b64data),
            channels: request.channels.clone(),
        }
        gets |granted| {
            info: json(&granted.info),
            meta: json(&granted.meta),
            data: granted.data.unwrap_or_default().into(),
            user: granted.user,
            expire_at: granted.expire_at,
            channels: granted.channels,
        })
    }

    async fn refresh(
        &self,
        request: Request<pb::RefreshRequest>,
    ) -> Result<Response<pb::RefreshResponse>, Status> {
        answered!(self, request, "refresh", RefreshResponse, RefreshResult,
        asks { user: request.user.clone(), meta: request.meta.to_vec() }
        gets |granted| {
            info: json(&granted.info),
            expired: granted.expired,
            expire_at: granted.expire_at,
        })
    }

    async fn subscribe(
        &self,
        request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<pb::SubscribeResponse>, Status> {
        answered!(self, request, "subscribe", SubscribeResponse, SubscribeResult,
        asks {
            user: request.user.clone(),
            channel: request.channel.clone(),
            meta: request.meta.to_vec(),
            data: payload(&request.data, &request.b64data),
        }
        gets |granted| {
            info: json(&granted.info),
            r#override: granted.presence.map(|value| pb::SubscribeOptionOverride {
                presence: Some(pb::BoolValue { value }),
                ..Default::default()
            }),
            expire_at: granted.expire_at,
            data: granted.data.unwrap_or_default().into(),
        })
    }

    async fn publish(
        &self,
        request: Request<pb::PublishRequest>,
    ) -> Result<Response<pb::PublishResponse>, Status> {
        answered!(self, request, "publish", PublishResponse, PublishResult,
        asks {
            user: request.user.clone(),
            channel: request.channel.clone(),
            meta: request.meta.to_vec(),
            data: payload(&request.data, &request.b64data),
        }
        gets |granted| {
            tags: granted.tags.into_iter().collect(),
            data: granted.data.unwrap_or_default().into(),
        })
    }

    async fn rpc(
        &self,
        request: Request<pb::RpcRequest>,
    ) -> Result<Response<pb::RpcResponse>, Status> {
        answered!(self, request, "rpc", RpcResponse, RpcResult,
            asks {
                user: request.user.clone(),
                method: request.method.clone(),
                meta: request.meta.to_vec(),
                data: payload(&request.data, &request.b64data),
            }
            gets |granted| { data: granted.data.unwrap_or_default().into() })
    }

    async fn sub_refresh(
        &self,
        request: Request<pb::SubRefreshRequest>,
    ) -> Result<Response<pb::SubRefreshResponse>, Status> {
        answered!(self, request, "sub_refresh", SubRefreshResponse, SubRefreshResult,
            asks { user: request.user.clone(), channel: request.channel.clone() }
            gets |granted| { expired: granted.expired, expire_at: granted.expire_at })
    }

    type SubscribeUnidirectionalStream = Messages;

    async fn subscribe_unidirectional(
        &self,
        request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<Messages>, Status> {
        let chat = Arc::clone(&self.0);
        let channel = request.into_inner().channel;
        Ok(Response::new(ticks(chat, &channel)))
    }

    type SubscribeBidirectionalStream = Messages;

    /// Sends back what the client publishes, until it says `bye`.
    async fn subscribe_bidirectional(
        &self,
        request: Request<Streaming<pb::StreamSubscribeRequest>>,
    ) -> Result<Response<Messages>, Status> {
        let guard = Guard(Arc::clone(&self.0));
        let said = request.into_inner().skip(1);
        let echoes = said.map_while(move |said| {
            let _open = &guard;
            let data = said.ok()?.publication?.data;
            (*data != *br#""bye""#).then(|| Ok(publication(data)))
        });
        let messages = tokio_stream::once(Ok(accepted())).chain(echoes);
        Ok(Response::new(Box::pin(messages)))
    }

    async fn notify_cache_empty(
        &self,
        _: Request<pb::NotifyCacheEmptyRequest>,
    ) -> Result<Response<pb::NotifyCacheEmptyResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn notify_channel_state(
        &self,
        _: Request<pb::NotifyChannelStateRequest>,
    ) -> Result<Response<pb::NotifyChannelStateResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn map_publish(
        &self,
        _: Request<pb::MapPublishRequest>,
    ) -> Result<Response<pb::MapPublishResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn map_remove(
        &self,
        _: Request<pb::MapRemoveRequest>,
    ) -> Result<Response<pb::MapRemoveResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn shared_poll_refresh(
        &self,
        _: Request<pb::SharedPollRefreshRequest>,
    ) -> Result<Response<pb::SharedPollRefreshResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}

/// Feeds a subscription: `…:3` gets three numbers, `…:broken` one and then a failure, `…:refused` nothing, `…:silent`
/// never a first message, `…:endless` as much as the client can take.
fn ticks(chat: Arc<Chat>, channel: &str) -> Messages {
    let last = channel.rsplit(':').next().unwrap_or_default();
    let guard = Guard(Arc::clone(&chat));
    let number = |n: u64| Ok(publication(n.to_string().into()));
    match last {
        "refused" => {
            let refusal = pb::SubscribeResponse {
                error: Some(error(1403, "no ticks for you")),
                ..Default::default()
            };
            Box::pin(tokio_stream::once(Ok(first(refusal))))
        }
        "silent" => Box::pin(tokio_stream::pending()),
        "headless" => Box::pin(tokio_stream::once(number(1))),
        "broken" => Box::pin(tokio_stream::iter([
            Ok(accepted()),
            number(1),
            Err(Status::internal("broken")),
        ])),
        "endless" => {
            let big = Bytes::from(format!("\"{}\"", "x".repeat(32 * 1024)));
            let all = tokio_stream::iter(std::iter::repeat(big)).map(move |big| {
                guard.0.count("ticks");
                Ok(publication(big))
            });
            Box::pin(tokio_stream::once(Ok(accepted())).chain(all))
        }
        count => {
            let count = count.parse().unwrap_or(u64::MAX);
            let every = Duration::from_millis(if count == u64::MAX { 100 } else { 0 });
            let numbers = tokio_stream::iter(1..=count).then(move |n| {
                let open = guard.0.clone();
                async move {
                    tokio::time::sleep(every).await;
                    open.count("ticks");
                    number(n)
                }
            });
            Box::pin(tokio_stream::once(Ok(accepted())).chain(numbers))
        }
    }
}

/// Counts the end of a stream, whoever ended it.
struct Guard(Arc<Chat>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.count("streams_ended");
    }
}

fn first(response: pb::SubscribeResponse) -> pb::StreamSubscribeResponse {
    pb::StreamSubscribeResponse {
        subscribe_response: Some(response),
        publication: None,
    }
}

fn accepted() -> pb::StreamSubscribeResponse {
    first(pb::SubscribeResponse {
        result: Some(pb::SubscribeResult {
            data: Bytes::from_static(br#"{"stream":true}"#),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn publication(data: Bytes) -> pb::StreamSubscribeResponse {
    pb::StreamSubscribeResponse {
        subscribe_response: None,
        publication: Some(pb::Publication {
            data,
            tags: [("by".to_owned(), "backend".to_owned())].into(),
        }),
    }
}

fn error(code: u32, message: &str) -> pb::Error {
    pb::Error {
        code,
        message: message.to_owned(),
        temporary: false,
    }
}

fn payload(data: &[u8], base64: &str) -> Vec<u8> {
    if base64.is_empty() {
        data.to_vec()
    } else {
        BASE64_STANDARD.decode(base64).unwrap_or_default()
    }
}

fn json(value: &Option<serde_json::Value>) -> Bytes {
    let text = value.as_ref().map(ToString::to_string);
    text.unwrap_or_default().into()
}
