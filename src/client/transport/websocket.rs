//! WebSocket: commands in text or binary frames, the server's reason in the close frame (client-protocol.md 3.2).

use std::{collections::VecDeque, fmt, sync::Arc, task::Poll};

use bytes::Bytes;
use futures_util::{
    Sink as _, SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use http::{Request, header::SEC_WEBSOCKET_PROTOCOL};
use rustls::ClientConfig;
use serde::Deserialize;
use std::pin::Pin;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        self, Message, Utf8Bytes,
        client::IntoClientRequest as _,
        error::CapacityError,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use super::{
    super::{BuildError, Error, machine::Loss, wire},
    Address, Authorities, Receiving, Sending, tls,
};
use crate::{
    model::Encoding,
    protocol::{Command, Reply, frame::Framing},
};

/// Bytes read at once; many clients of one process stay cheap.
const READ_BUFFER: usize = 8 << 10;
/// Bytes gathered before a write.
const WRITE_BUFFER: usize = 8 << 10;
/// Bytes not written yet before the next command has to wait.
const MAX_WRITE_BUFFER: usize = 1 << 20;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens WebSockets.
#[derive(Clone)]
pub(in crate::client) struct WebSocket {
    address: Address,
    tls: Option<Arc<ClientConfig>>,
    config: WebSocketConfig,
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WebSocket").field(&self.address).finish()
    }
}

impl WebSocket {
    pub(super) fn new(
        address: Address,
        authorities: Option<&Authorities>,
        message_size_limit: usize,
    ) -> Result<Self, BuildError> {
        let tls = address
            .tls
            .then(|| tls::websocket(authorities))
            .transpose()?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(message_size_limit))
            .max_frame_size(Some(message_size_limit));
        Ok(Self {
            address,
            tls,
            config,
        })
    }

    pub(super) async fn open(self) -> Result<(WebSocketSending, WebSocketReceiving), Error> {
        let request = self.request().map_err(Error::transport)?;
        let host = (self.address.bare_host(), self.address.port);
        let stream = TcpStream::connect(host).await.map_err(Error::transport)?;
        stream.set_nodelay(true).map_err(Error::transport)?;
        let connector = self.tls.map_or(Connector::Plain, Connector::Rustls);
        let opening =
            client_async_tls_with_config(request, stream, Some(self.config), Some(connector));
        let (socket, _response) = Box::pin(opening).await.map_err(Error::transport)?;
        let (sink, stream) = socket.split();
        let encoding = self.address.encoding;
        Ok((
            WebSocketSending {
                sink,
                encoding,
                flushed: true,
            },
            WebSocketReceiving { stream, encoding },
        ))
    }

    fn request(&self) -> Result<Request<()>, tungstenite::Error> {
        let url = format!("{}{}", self.address.origin(), self.address.path);
        let mut request = url.into_client_request()?;
        if self.address.encoding == Encoding::Protobuf {
            let name = http::HeaderValue::from_static("centrifuge-protobuf");
            request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
        }
        Ok(request)
    }
}

/// The half that writes frames.
pub(in crate::client) struct WebSocketSending {
    sink: SplitSink<Socket, Message>,
    encoding: Encoding,
    flushed: bool,
}

impl fmt::Debug for WebSocketSending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebSocketSending")
    }
}

impl Sending for WebSocketSending {
    async fn send(&mut self, queue: &mut VecDeque<Command>) -> Result<(), Loss> {
        // Polled by hand: a command leaves the queue in the moment the sink has it, so that dropping the future loses none.
        let written = std::future::poll_fn(|cx| {
            let mut sink = Pin::new(&mut self.sink);
            while !queue.is_empty() {
                match sink.as_mut().poll_ready(cx) {
                    Poll::Ready(Ok(())) => {}
                    other => return other.map_err(broken),
                }
                if let Some(command) = queue.pop_front() {
                    self.flushed = false;
                    let frame = message(self.encoding, &command)?;
                    sink.as_mut().start_send(frame).map_err(broken)?;
                }
            }
            let flushed = sink.poll_flush(cx);
            self.flushed = flushed.is_ready();
            flushed.map_err(broken)
        });
        written.await
    }

    fn is_flushed(&self) -> bool {
        self.flushed
    }

    async fn finish(mut self) {
        // The peer may be gone already, then there is nobody to say good-bye to.
        drop(self.sink.close().await);
    }
}

fn message(encoding: Encoding, command: &Command) -> Result<Message, Loss> {
    let frame = wire::encode(encoding, Framing::WebSocket, command)?;
    Ok(match encoding {
        Encoding::Protobuf => Message::Binary(frame),
        Encoding::Json => Utf8Bytes::try_from(frame)
            .map(Message::Text)
            .map_err(|error| Loss::of(Error::transport(error)))?,
    })
}

/// The half that reads frames.
pub(in crate::client) struct WebSocketReceiving {
    stream: SplitStream<Socket>,
    encoding: Encoding,
}

impl fmt::Debug for WebSocketReceiving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebSocketReceiving")
    }
}

impl Receiving for WebSocketReceiving {
    async fn receive(&mut self) -> Result<Vec<Reply>, Loss> {
        loop {
            let frame = match self.stream.next().await {
                Some(Ok(Message::Text(text))) => Bytes::from(text),
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Close(Some(frame)))) => return Err(closed(&frame)),
                Some(Ok(Message::Close(None))) | None => return Err(Loss::default()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Err(error)) => return Err(broken(error)),
            };
            let replies = wire::decode(self.encoding, Framing::WebSocket, frame)?;
            if !replies.is_empty() {
                return Ok(replies);
            }
        }
    }
}

/// Code and reason of a close frame; the reason may be the JSON object of older servers (client-protocol.md 6.2).
fn closed(frame: &CloseFrame) -> Loss {
    #[derive(Deserialize)]
    struct Wrapped {
        reason: String,
    }
    let wrapped = serde_json::from_str::<Wrapped>(&frame.reason);
    Loss {
        code: u16::from(frame.code).into(),
        reason: wrapped.map_or_else(|_| frame.reason.to_string(), |w| w.reason),
        error: None,
    }
}

fn broken(error: tungstenite::Error) -> Loss {
    let too_large = matches!(
        error,
        tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. })
    );
    Loss {
        code: if too_large { 1009 } else { 0 },
        reason: String::new(),
        error: Some(Error::transport(error)),
    }
}
