//! One call of the canonical stream, with a codec that passes bytes through.

use bytes::{Buf as _, BufMut as _, Bytes};
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    metadata::{MetadataKey, MetadataMap},
    transport::Channel,
};

use super::client::Close;
use crate::support::Server;

/// Commands on their way; no test sends more at a time.
const QUEUE: usize = 1024;

/// One stream.
#[derive(Debug)]
pub(super) struct Call {
    commands: mpsc::Sender<Bytes>,
    /// Waits for the response's headers.
    opening: JoinSet<Result<Streaming<Bytes>, Close>>,
    replies: Option<Streaming<Bytes>>,
}

impl Call {
    /// A connection of its own with one stream, unless the server refuses it.
    pub(super) async fn open(
        server: &Server,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Close> {
        Self::on(&channel(server).await, headers).await
    }

    /// A stream on a connection.
    pub(super) async fn on(
        channel: &Channel,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Close> {
        let mut call = Self::early(channel, headers).await;
        call.opened().await?;
        Ok(call)
    }

    /// A stream on a connection that takes commands before the response has begun: a front may hold its headers back.
    pub(super) async fn early(channel: &Channel, headers: &[(&'static str, &str)]) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE);
        let mut request = Request::new(ReceiverStream::new(queue));
        for (name, value) in headers {
            let key = MetadataKey::from_static(name);
            request.metadata_mut().insert(key, value.parse().unwrap());
        }
        let mut client = Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/proto.Centrifuge/Communicate");
        let mut opening = JoinSet::new();
        opening.spawn(async move {
            let response = client.streaming(request, path, Raw).await;
            let response = response.map_err(|status| ended(&status));
            response.map(tonic::Response::into_inner)
        });
        Self {
            commands,
            opening,
            replies: None,
        }
    }

    /// Waits for the response's headers.
    async fn opened(&mut self) -> Result<&mut Streaming<Bytes>, Close> {
        if let Some(opened) = self.opening.join_next().await {
            self.replies = Some(opened.unwrap()?);
        }
        self.replies.as_mut().ok_or_else(Close::silent)
    }

    /// One command. A server that has ended the stream takes none; the end tells.
    pub(super) async fn send(&self, command: Vec<u8>) {
        drop(self.commands.send(command.into()).await);
    }

    /// The next message, or the end.
    pub(super) async fn receive(&mut self) -> Result<Vec<u8>, Close> {
        let replies = self.opened().await?;
        match replies.message().await {
            Ok(Some(message)) => Ok(message.to_vec()),
            Ok(None) => {
                let trailers = replies.trailers().await.ok().flatten();
                Err(trailers.map_or_else(Close::silent, |trailers| disconnect(&trailers)))
            }
            Err(status) => Err(ended(&status)),
        }
    }

    /// Sends no more commands.
    pub(super) fn half_close(&mut self) {
        self.commands = mpsc::channel(1).0;
    }
}

/// A connection to the canonical stream's listener.
pub(super) async fn channel(server: &Server) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", server.grpc_target())).unwrap();
    endpoint.connect().await.unwrap()
}

pub(super) fn ended(status: &Status) -> Close {
    Close {
        status: status.code(),
        ..disconnect(status.metadata())
    }
}

/// What the trailer tells, and whether it tells the truth about reconnecting.
fn disconnect(trailers: &MetadataMap) -> Close {
    let Some(trailer) = trailers.get("disconnect") else {
        return Close::silent();
    };
    let told: Value = serde_json::from_str(trailer.to_str().unwrap()).unwrap();
    let code = u32::try_from(told["code"].as_u64().unwrap()).unwrap();
    let reconnect = code < 3500 || (4000..4500).contains(&code) || code >= 5000;
    assert_eq!(told["reconnect"], reconnect, "{told}");
    Close::told(code, told["reason"].as_str().unwrap())
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}
