//! A WebSocket on a plain TCP socket, open to abuse: any bytes in any frame, and below the frames as well.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Duration, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest as _,
        handshake::client::Response,
        http::{HeaderName, HeaderValue},
        protocol::{
            Role,
            frame::{
                Frame,
                coding::{Data, OpCode},
            },
        },
    },
};

use super::{client::Close, front::Front, protobuf};
use crate::support::Server;

/// A WebSocket, straight to the server without TLS, through a front with it.
pub(crate) type TcpSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a handshake offers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offer<'a> {
    /// Query without the question mark.
    pub(crate) query: &'a str,
    /// Further headers.
    pub(crate) headers: &'a [(&'static str, &'a str)],
}

impl Offer<'_> {
    /// Does the handshake.
    pub(crate) async fn handshake(
        &self,
        server: &Server,
    ) -> Result<(TcpSocket, Response), tungstenite::Error> {
        let tcp = TcpStream::connect(server.http_target()).await?;
        tcp.set_nodelay(true)?;
        self.on(&server.ws_url(), MaybeTlsStream::Plain(tcp)).await
    }

    /// Does the handshake through a front, with TLS.
    pub(crate) async fn through(
        &self,
        front: &Front,
    ) -> Result<(TcpSocket, Response), tungstenite::Error> {
        let tls = MaybeTlsStream::Rustls(front.connect().await);
        self.on(&front.ws_url(), tls).await
    }

    async fn on(
        &self,
        url: &str,
        connection: MaybeTlsStream<TcpStream>,
    ) -> Result<(TcpSocket, Response), tungstenite::Error> {
        let url = format!("{url}?{}", self.query);
        let mut request = url.into_client_request()?;
        for (name, value) in self.headers {
            let value = HeaderValue::from_str(value).unwrap();
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        client_async(request, connection).await
    }
}

impl Offer<'_> {
    /// The status of a handshake that is refused.
    pub(crate) async fn refused(&self, server: &Server) -> u16 {
        match self.handshake(server).await {
            Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
            other => panic!("not refused: {other:?}"),
        }
    }

    /// The subprotocol that was agreed on, and whether the connection speaks Protobuf, as told by its first frame.
    pub(crate) async fn tried(&self, server: &Server) -> (Option<String>, bool) {
        // Handshakes of the library insist on an answer to what they offer; this one does not.
        let url = server.ws_url();
        let (_, path) = url.split_once("//").unwrap();
        let (host, path) = path.split_once('/').unwrap();
        let mut request = format!("GET /{path}?{} HTTP/1.1\r\nHost: {host}\r\n", self.query);
        for (name, value) in self.headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        request += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut tcp = TcpStream::connect(server.http_target()).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        let agreed = head
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        let mut socket = WebSocketStream::from_raw_socket(tcp, Role::Client, None).await;
        let connect = protobuf::delimited(&protobuf::unhex("0801 2200"));
        socket.send(Message::binary(connect)).await.unwrap();
        let is_protobuf = match socket.next().await {
            Some(Ok(Message::Binary(_))) => true,
            Some(Ok(Message::Close(_))) => false,
            other => panic!("{other:?}"),
        };
        (agreed.map(str::to_owned), is_protobuf)
    }
}

/// One WebSocket connection of one encoding.
#[derive(Debug)]
pub(super) struct Socket {
    socket: TcpSocket,
    protobuf: bool,
}

impl Socket {
    /// Opens a connection that speaks Protobuf or JSON, unless the handshake fails.
    pub(super) async fn open(
        server: &Server,
        protobuf: bool,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Close> {
        let query = if protobuf { "format=protobuf" } else { "" };
        let opened = Offer { query, headers }.handshake(server).await;
        // A server may end in the middle of it.
        let (socket, _) = opened.map_err(|error| Close::told(0, &error.to_string()))?;
        Ok(Self { socket, protobuf })
    }

    /// The same through a front, with TLS.
    pub(super) async fn through(front: &Front, protobuf: bool) -> Self {
        let query = if protobuf { "format=protobuf" } else { "" };
        let headers = &[];
        let (socket, _) = Offer { query, headers }.through(front).await.unwrap();
        Self { socket, protobuf }
    }

    /// Commands in one frame.
    pub(super) async fn send(&mut self, commands: &[Vec<u8>]) {
        let frame = if self.protobuf {
            let framed = commands.iter().map(|command| protobuf::delimited(command));
            framed.collect::<Vec<_>>().concat()
        } else {
            commands.join(&b'\n')
        };
        self.raw(frame).await;
    }

    /// Bytes as the content of one frame. A server that has closed takes none; the close tells.
    pub(super) async fn raw(&mut self, content: Vec<u8>) {
        let kind = if self.protobuf {
            Data::Binary
        } else {
            Data::Text
        };
        let frame = Frame::message(content, OpCode::Data(kind), true);
        drop(self.socket.send(Message::Frame(frame)).await);
    }

    /// Bytes on the TCP connection, below all framing.
    pub(super) async fn below(&mut self, bytes: &[u8]) {
        self.socket.get_mut().write_all(bytes).await.unwrap();
    }

    /// The messages of the next frame, or the end.
    pub(super) async fn receive(&mut self) -> Result<Vec<Vec<u8>>, Close> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    assert!(!self.protobuf, "a text frame on a Protobuf connection");
                    assert!(!text.is_empty() && !text.ends_with('\n'), "{text:?}");
                    return Ok(fits(text.split('\n').map(Into::into).collect()));
                }
                Some(Ok(Message::Binary(bytes))) => {
                    assert!(self.protobuf, "a binary frame on a JSON connection");
                    return Ok(fits(protobuf::split(&bytes)));
                }
                Some(Ok(Message::Close(frame))) => {
                    let frame = frame.expect("a close frame has a code");
                    self.answer_close().await;
                    return Err(Close::told(
                        u16::from(frame.code).into(),
                        frame.reason.as_str(),
                    ));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Close::silent()),
            }
        }
    }

    /// The answer to a close frame goes out with the next look at the socket; the server then ends TCP.
    async fn answer_close(&mut self) {
        let ended = timeout(Duration::from_secs(10), self.socket.next()).await;
        assert!(!matches!(ended, Ok(Some(Ok(_)))), "{ended:?} after a close");
    }

    /// Says good-bye and waits for the answer.
    pub(super) async fn close(mut self) {
        drop(self.socket.close(None).await);
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

/// Messages that may share a frame.
const MOST: usize = 16;

/// No frame is empty and none holds too many messages.
fn fits(messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let count = messages.len();
    assert!((1..=MOST).contains(&count), "{count} messages in a frame");
    messages
}
