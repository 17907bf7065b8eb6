//! Where the measured server is, and opening sessions there.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{net::TcpStream, time::timeout};

use super::{
    grpc::Stream,
    http::{self, Shape},
    websocket::Socket,
};
use crate::{
    client::{Address, Scheme},
    model::{Channel, ClientError, Encoding, Version},
    protocol::{
        self, Command, ConnectRequest, Reply, ReplyBody, Request, SubscribeRequest, SubscribeResult,
    },
};

/// Longest wait for an answer while a session is opened.
const ANSWER: Duration = Duration::from_secs(30);

/// Why a measurement cannot be made, or a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Not an address of a server.
    #[error(
        "{0}: not an address; use ws://HOST:PORT/connection/websocket, http://HOST:PORT/connection/http_stream, http://HOST:PORT/connection/sse or grpc://HOST:PORT"
    )]
    Address(String),
    /// Sockets of the operating system.
    #[error("{doing}{}", hint(.source))]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The server did not upgrade to WebSocket.
    #[error("no WebSocket at this address: {0}")]
    Upgrade(String),
    /// HTTP failed.
    #[error("HTTP: {0}")]
    Http(String),
    /// gRPC failed.
    #[error("gRPC: {0}")]
    Grpc(String),
    /// The server answered a command with an error.
    #[error("{command}: {message} ({code}){}", allow(*.code))]
    Refused {
        /// What was asked.
        command: &'static str,
        /// Error code.
        code: u32,
        /// Its text.
        message: String,
    },
    /// The server ended the session.
    #[error("the server ended the session: {0}")]
    Ended(String),
    /// The server ended a session that had not begun.
    #[error(
        "the server refused the connection: {0}\nhint: pass --token, or measure a server with client.insecure"
    )]
    Stranger(String),
    /// Nothing came.
    #[error("no answer within {} s", ANSWER.as_secs())]
    Silence,
    /// Data to connect with is no JSON.
    #[error("--data has to be JSON")]
    Data(#[source] serde_json::Error),
    /// The server API refused a call.
    #[error("server API: {0}")]
    Api(String),
    /// A file or the terminal.
    #[error("cannot write {0}")]
    Output(String, #[source] io::Error),
}

impl Error {
    fn refused(command: &'static str, error: &ClientError) -> Self {
        Self::Refused {
            command,
            code: error.code,
            message: error.message.to_string(),
        }
    }
}

/// What to do about the usual troubles of many sockets.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        // EMFILE, EADDRNOTAVAIL
        Some(24) => ": too many open files; raise `ulimit -n`",
        Some(99) => ": no free local port; see net.ipv4.ip_local_port_range",
        _ => "",
    }
}

fn allow(code: u32) -> &'static str {
    match code {
        101 | 103 => "\nhint: pass --token, or measure a server with client.insecure",
        102 => "\nhint: the namespace does not exist there; choose another --channel",
        _ => "",
    }
}

/// A server and how to speak to it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) address: Address,
    /// Set where messages come in the answer to a request.
    shape: Option<Shape>,
    token: Option<Arc<str>>,
    /// Data of the connect command.
    data: Bytes,
}

impl Target {
    /// Reads an address.
    pub(super) fn parse(url: &str, protobuf: bool, token: Option<&str>) -> Result<Self, Error> {
        let shape = Shape::of(url);
        let encoding = match shape {
            // Events are text.
            Some(Shape::Sse) => Encoding::Json,
            _ if protobuf || url.starts_with("grpc") => Encoding::Protobuf,
            _ => Encoding::Json,
        };
        // Where it is, is written like the address of a WebSocket.
        let written = match shape {
            Some(_) => url.replacen("http:", "ws:", 1),
            None => url.to_owned(),
        };
        let address = Address::parse(&written, encoding)
            .ok()
            .filter(|address| !address.tls);
        Ok(Self {
            address: address.ok_or_else(|| Error::Address(url.to_owned()))?,
            shape,
            token: token.map(Arc::from),
            data: Bytes::new(),
        })
    }

    /// Connects with custom data, which has to be JSON.
    pub(super) fn with_data(self, data: &str) -> Result<Self, Error> {
        serde_json::from_str::<serde::de::IgnoredAny>(data).map_err(Error::Data)?;
        let data = Bytes::copy_from_slice(data.as_bytes());
        Ok(Self { data, ..self })
    }

    /// What the report calls the way to speak.
    pub(super) fn transport(&self) -> &'static str {
        match (self.shape, self.address.scheme, self.address.encoding) {
            (Some(Shape::Sse), ..) => "sse",
            (Some(Shape::HttpStream), _, Encoding::Json) => "http-stream-json",
            (Some(Shape::HttpStream), _, Encoding::Protobuf) => "http-stream-protobuf",
            (None, Scheme::Grpc, _) => "grpc",
            (None, Scheme::WebSocket, Encoding::Json) => "websocket-json",
            (None, Scheme::WebSocket, Encoding::Protobuf) => "websocket-protobuf",
        }
    }

    /// An HTTP/2 connection for gRPC streams.
    pub(super) async fn channel(&self) -> Result<tonic::transport::Channel, Error> {
        let failed = |error: tonic::transport::Error| Error::Grpc(error.to_string());
        let endpoint =
            tonic::transport::Endpoint::from_shared(self.address.origin()).map_err(failed)?;
        endpoint.tcp_nodelay(true).connect().await.map_err(failed)
    }

    /// A connected session; over gRPC as one more stream of `channel`.
    pub(super) async fn open(
        &self,
        channel: Option<&tonic::transport::Channel>,
    ) -> Result<Session, Error> {
        let address = &self.address;
        let line = match (self.shape, address.scheme, channel) {
            (Some(shape), ..) => Line::Http(Box::new(http::Stream::new(address.clone(), shape))),
            (None, Scheme::WebSocket, _) => {
                let connected = TcpStream::connect((address.bare_host(), address.port)).await;
                let doing = "cannot connect";
                let socket = connected.map_err(|source| Error::Io { doing, source })?;
                Line::Socket(Socket::open(socket, address).await?)
            }
            (None, Scheme::Grpc, Some(channel)) => Line::Stream(Stream::open(channel.clone())?),
            (None, Scheme::Grpc, None) => Line::Stream(Stream::open(self.channel().await?)?),
        };
        let mut session = Session {
            line,
            encoding: address.encoding,
            id: 0,
        };
        let request = Request::Connect(Box::new(ConnectRequest {
            token: self.token.as_deref().unwrap_or_default().to_owned(),
            data: self.data.clone(),
            name: "bench".to_owned(),
            ..ConnectRequest::default()
        }));
        match session.call("connect", request, |_| {}).await {
            Err(Error::Ended(reason)) => Err(Error::Stranger(reason)),
            Err(other) => Err(other),
            Ok(body) => {
                if let (Line::Http(stream), ReplyBody::Connect(result)) = (&mut session.line, body)
                {
                    stream.placed(result.session, result.node);
                }
                Ok(session)
            }
        }
    }
}

/// Bytes to and from the server.
#[derive(Debug)]
enum Line {
    Socket(Socket),
    Stream(Stream),
    Http(Box<http::Stream>),
}

/// A connected client.
#[derive(Debug)]
pub(super) struct Session {
    line: Line,
    encoding: Encoding,
    id: u32,
}

impl Session {
    /// Subscribes; all messages until the answer go to `take`, the answer too.
    pub(super) async fn subscribe(
        &mut self,
        channel: &str,
        from: Option<(u64, &str)>,
        take: impl FnMut(&[u8]),
    ) -> Result<Box<SubscribeResult>, Error> {
        let mut request = SubscribeRequest {
            channel: Channel::from(channel),
            ..SubscribeRequest::default()
        };
        if let Some((offset, epoch)) = from {
            request.recover = true;
            request.recoverable = true;
            request.positioned = true;
            request.offset = offset;
            epoch.clone_into(&mut request.epoch);
        }
        let request = Request::Subscribe(Box::new(request));
        match self.call("subscribe", request, take).await? {
            ReplyBody::Subscribe(result) => Ok(result),
            other => Err(Error::Ended(format!("{other:?} in answer to subscribe"))),
        }
    }

    /// Asks many things of one kind in one frame and waits for all answers, which come in order.
    ///
    /// # Errors
    /// The first refusal.
    pub(super) async fn calls(
        &mut self,
        command: &'static str,
        requests: Vec<Request>,
    ) -> Result<(), Error> {
        let (mut open, encoding) = (requests.len(), self.encoding);
        let first = self.id + 1;
        let last = self.send(requests).await?;
        let mut refused = None;
        let waiting = async {
            while open > 0 {
                self.read(|message| {
                    let decoded = protocol::decode_reply(encoding, Bytes::copy_from_slice(message));
                    let Ok(Reply { id, body }) = decoded else {
                        return;
                    };
                    if (first..=last).contains(&id) {
                        open -= 1;
                        if let ReplyBody::Error(error) = body {
                            refused.get_or_insert(error);
                        }
                    }
                })
                .await?;
            }
            Ok(())
        };
        timeout(ANSWER, waiting).await.map_err(silence)??;
        match refused {
            None => Ok(()),
            Some(error) => Err(Error::refused(command, &error)),
        }
    }

    /// Asks and waits for the answer. It and everything that comes before goes to `take` as well, in order.
    pub(super) async fn call(
        &mut self,
        command: &'static str,
        request: Request,
        mut take: impl FnMut(&[u8]),
    ) -> Result<ReplyBody, Error> {
        let id = self.send(vec![request]).await?;
        let encoding = self.encoding;
        let mut answer = None;
        let waiting = async {
            while answer.is_none() {
                self.read(|message| {
                    let decoded = protocol::decode_reply(encoding, Bytes::copy_from_slice(message));
                    if let Ok(Reply { id: found, body }) = decoded
                        && found == id
                    {
                        answer = Some(body);
                    }
                    take(message);
                })
                .await?;
            }
            Ok(())
        };
        timeout(ANSWER, waiting).await.map_err(silence)??;
        match answer {
            Some(ReplyBody::Error(error)) => Err(Error::refused(command, &error)),
            Some(body) => Ok(body),
            None => Err(Error::Silence),
        }
    }

    /// Sends commands in one frame, and returns the id of the last.
    pub(super) async fn send(&mut self, requests: Vec<Request>) -> Result<u32, Error> {
        let commands = requests.into_iter().map(|request| {
            self.id += 1;
            Command {
                id: self.id,
                request,
            }
        });
        let commands: Vec<Command> = commands.collect();
        let broken = |_inappropriate| Error::Ended("a payload that is no JSON".to_owned());
        match &mut self.line {
            Line::Socket(socket) => {
                let encoding = self.encoding;
                let frame = protocol::encode_commands(Version::V2, encoding, &commands);
                socket.send(&frame.map_err(broken)?).await?;
            }
            Line::Http(stream) => {
                let encoding = self.encoding;
                let frame = protocol::encode_commands(Version::V2, encoding, &commands);
                stream.send(&frame.map_err(broken)?).await?;
            }
            Line::Stream(stream) => {
                for command in &commands {
                    let message =
                        protocol::encode_command(Version::V2, Encoding::Protobuf, command);
                    stream.send(message.map_err(broken)?).await?;
                }
            }
        }
        Ok(self.id)
    }

    /// Waits for bytes and hands every message on, pings apart: they are answered. Cancel safe.
    pub(super) async fn read(&mut self, take: impl FnMut(&[u8])) -> Result<(), Error> {
        match &mut self.line {
            Line::Socket(socket) => socket.read(take).await,
            Line::Stream(stream) => stream.read(take).await,
            Line::Http(stream) => stream.read(take).await,
        }
    }
}

fn silence(_: tokio::time::error::Elapsed) -> Error {
    Error::Silence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (url, protobuf, transport, path, port) in [
            (
                "ws://127.0.0.1:8000",
                false,
                "websocket-json",
                "/connection/websocket",
                8000,
            ),
            (
                "http://host:8000/connection/http_stream",
                true,
                "http-stream-protobuf",
                "/connection/http_stream",
                8000,
            ),
            (
                "http://host/connection/sse",
                true,
                "sse",
                "/connection/sse",
                80,
            ),
            ("ws://host/x?y=z", true, "websocket-protobuf", "/x?y=z", 80),
            (
                "grpc://host",
                false,
                "grpc",
                "/proto.Centrifuge/Communicate",
                8001,
            ),
        ] {
            let target = Target::parse(url, protobuf, None).unwrap();
            assert_eq!(target.transport(), transport);
            assert_eq!(
                (target.address.path.as_str(), target.address.port),
                (path, port)
            );
        }
        for wrong in ["http://host", "host:80", "ws://", "wss://host", ""] {
            assert!(Target::parse(wrong, false, None).is_err(), "{wrong}");
        }
    }
}
