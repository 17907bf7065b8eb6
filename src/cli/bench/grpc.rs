//! The client's end of a gRPC stream: bytes of messages in and out.

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, client::Grpc, transport::Channel};

use super::target::Error;
use crate::client::Opaque;

/// Commands on their way to the server.
const QUEUE: usize = 16;
/// Largest message of a server.
const LIMIT: usize = 64 * 1024 * 1024;

/// An open stream.
#[derive(Debug)]
pub(super) struct Stream {
    commands: mpsc::Sender<Bytes>,
    replies: Replies,
}

type Answer = futures_util::future::BoxFuture<'static, Result<Response<Streaming<Bytes>>, Status>>;

enum Replies {
    /// Headers come with the first reply.
    Opening(Answer),
    Open(Box<Streaming<Bytes>>),
}

impl std::fmt::Debug for Replies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Replies")
    }
}

impl Stream {
    /// Opens a stream of a connection.
    pub(super) fn open(channel: Channel) -> Result<Self, Error> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let mut calls = Grpc::new(channel).max_decoding_message_size(LIMIT);
        let path = PathAndQuery::from_static("/proto.Centrifuge/Communicate");
        let answer = async move {
            let ready = calls.ready().await;
            ready.map_err(|error| Status::unavailable(error.to_string()))?;
            calls
                .streaming(Request::new(ReceiverStream::new(queue)), path, Opaque)
                .await
        };
        Ok(Self {
            commands,
            replies: Replies::Opening(Box::pin(answer)),
        })
    }

    /// Sends one command.
    pub(super) async fn send(&mut self, message: Bytes) -> Result<(), Error> {
        let sent = self.commands.send(message).await;
        sent.map_err(|_closed| Error::Ended("stream closed".to_owned()))
    }

    /// Waits for one message and hands it on; pings are answered. Cancel safe.
    pub(super) async fn read(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), Error> {
        let replies = match &mut self.replies {
            Replies::Open(replies) => replies,
            Replies::Opening(answer) => {
                let answer = answer.await.map_err(|status| failed(&status))?;
                self.replies = Replies::Open(Box::new(answer.into_inner()));
                return Ok(());
            }
        };
        match replies.message().await.map_err(|status| failed(&status))? {
            None => Err(Error::Ended("stream ended".to_owned())),
            Some(message) if message.is_empty() => {
                // A queue that is full has more urgent troubles than a pong.
                let _full: Result<(), _> = self.commands.try_send(Bytes::new());
                Ok(())
            }
            Some(message) => {
                take(&message);
                Ok(())
            }
        }
    }
}

/// One call of the server API.
pub(super) async fn call(
    channel: Channel,
    path: &'static str,
    mut request: Request<Bytes>,
    key: &str,
) -> Result<Bytes, Error> {
    if !key.is_empty() {
        let value = format!("apikey {key}").parse();
        let value = value.map_err(|_invalid| Error::Api("the key is no text".to_owned()))?;
        request.metadata_mut().insert("authorization", value);
    }
    let mut calls = Grpc::new(channel);
    let ready = calls.ready().await;
    ready.map_err(|error| Error::Grpc(error.to_string()))?;
    let answer = calls
        .unary(request, PathAndQuery::from_static(path), Opaque)
        .await;
    Ok(answer.map_err(|status| failed(&status))?.into_inner())
}

fn failed(status: &Status) -> Error {
    Error::Grpc(format!("{}: {}", status.code(), status.message()))
}
