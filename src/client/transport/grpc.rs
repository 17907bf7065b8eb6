//! The canonical gRPC stream: one command per request message, one reply per response message (client-protocol.md 3.7).

use std::{collections::VecDeque, fmt, future::Future, pin::Pin};

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    client::Grpc as Calls,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

use super::{
    super::{BuildError, Error, machine::Loss, wire},
    Address, Authorities, Receiving, Sending, tls,
};
use crate::{
    model::Encoding,
    protocol::{Command, Reply, frame::Framing},
};

/// Commands between the connection's task and the HTTP/2 stream.
const QUEUE: usize = 16;

/// Opens gRPC streams, each over a connection of its own.
#[derive(Clone, Debug)]
pub(in crate::client) struct Grpc {
    endpoint: Endpoint,
    path: PathAndQuery,
    message_size_limit: usize,
}

impl Grpc {
    pub(super) fn new(
        address: &Address,
        authorities: Option<&Authorities>,
        message_size_limit: usize,
    ) -> Result<Self, BuildError> {
        let unusable = |error| BuildError::Authorities(std::sync::Arc::new(error));
        let mut endpoint = Endpoint::from_shared(address.origin())
            .map_err(unusable)?
            .tcp_nodelay(true);
        if address.tls {
            endpoint = endpoint
                .tls_config(tls::grpc(authorities)?)
                .map_err(unusable)?;
        }
        Ok(Self {
            endpoint,
            path: address.path.clone(),
            message_size_limit,
        })
    }

    pub(super) async fn open(self) -> Result<(GrpcSending, GrpcReceiving), Error> {
        let channel = self.endpoint.connect().await.map_err(Error::transport)?;
        let mut calls = Calls::new(channel).max_decoding_message_size(self.message_size_limit);
        calls.ready().await.map_err(Error::transport)?;
        let (commands, queue) = mpsc::channel(QUEUE);
        let request = Request::new(ReceiverStream::new(queue));
        // Some servers answer with headers only after the first command, so nobody waits for them here.
        let answer = call(calls, request, self.path);
        Ok((
            GrpcSending { commands },
            GrpcReceiving::Opening(Box::pin(answer)),
        ))
    }
}

async fn call(
    mut calls: Calls<Channel>,
    request: Request<ReceiverStream<Bytes>>,
    path: PathAndQuery,
) -> Result<Response<Streaming<Bytes>>, Status> {
    calls.streaming(request, path, Opaque).await
}

/// The request half of a stream.
#[derive(Debug)]
pub(in crate::client) struct GrpcSending {
    commands: mpsc::Sender<Bytes>,
}

impl Sending for GrpcSending {
    async fn send(&mut self, queue: &mut VecDeque<Command>) -> Result<(), Loss> {
        while !queue.is_empty() {
            // The receiving half reports why the stream is gone; a closed queue alone means nothing.
            let Ok(slot) = self.commands.reserve().await else {
                return std::future::pending().await;
            };
            if let Some(command) = queue.pop_front() {
                slot.send(wire::encode(Encoding::Protobuf, Framing::None, &command)?);
            }
        }
        Ok(())
    }

    /// Closes the request half, which ends the session after the replies that are owed.
    async fn finish(self) {
        drop(self.commands);
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Streaming<Bytes>>, Status>> + Send>>;

/// The response half of a stream.
pub(in crate::client) enum GrpcReceiving {
    /// No response headers yet.
    Opening(Answer),
    Open(Box<Streaming<Bytes>>),
}

impl fmt::Debug for GrpcReceiving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GrpcReceiving")
    }
}

impl Receiving for GrpcReceiving {
    async fn receive(&mut self) -> Result<Vec<Reply>, Loss> {
        loop {
            match self {
                Self::Opening(answer) => match answer.await {
                    Ok(response) => *self = Self::Open(Box::new(response.into_inner())),
                    Err(status) => return Err(refused(status)),
                },
                Self::Open(stream) => {
                    return match stream.message().await {
                        Ok(Some(message)) => {
                            wire::decode(Encoding::Protobuf, Framing::None, message)
                        }
                        Ok(None) => Err(ended(stream).await),
                        Err(status) => Err(refused(status)),
                    };
                }
            }
        }
    }
}

/// The stream ended as it should: the trailer says why.
async fn ended(stream: &mut Streaming<Bytes>) -> Loss {
    match stream.trailers().await {
        Ok(Some(trailers)) => disconnect(&trailers).unwrap_or_default(),
        Ok(None) => Loss::default(),
        Err(status) => refused(status),
    }
}

/// The stream was refused or broke: a trailer may say why, otherwise the status does.
fn refused(status: Status) -> Loss {
    disconnect(status.metadata()).unwrap_or_else(|| Loss::of(Error::transport(status)))
}

/// The trailer `disconnect` (client-protocol.md 6.2).
fn disconnect(trailers: &MetadataMap) -> Option<Loss> {
    #[derive(Deserialize)]
    struct Disconnect {
        code: u32,
        #[serde(default)]
        reason: String,
    }
    let text = trailers.get("disconnect")?.as_bytes();
    let Disconnect { code, reason } = serde_json::from_slice(text).ok()?;
    Some(Loss {
        code,
        reason,
        error: None,
    })
}

/// Passes bytes through: `protocol` encodes and decodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opaque;

impl Codec for Opaque {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Opaque {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
