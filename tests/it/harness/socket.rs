//! A WebSocket on a plain TCP socket, open to abuse: any bytes in any frame, and below the frames as well.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Duration, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest as _,
        handshake::client::Response,
        http::{HeaderName, HeaderValue},
        protocol::frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use super::{client::Close, protobuf};
use crate::support::Server;

/// A WebSocket without TLS.
pub(crate) type TcpSocket = WebSocketStream<TcpStream>;

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
        let url = format!("{}?{}", server.ws_url(), self.query);
        let mut request = url.into_client_request()?;
        for (name, value) in self.headers {
            let value = HeaderValue::from_str(value).unwrap();
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        let tcp = TcpStream::connect(server.http_target()).await?;
        tcp.set_nodelay(true)?;
        client_async(request, tcp).await
    }
}

/// One WebSocket connection of one encoding.
#[derive(Debug)]
pub(super) struct Socket {
    socket: TcpSocket,
    protobuf: bool,
}

impl Socket {
    /// Opens a connection that speaks Protobuf or JSON.
    pub(super) async fn open(
        server: &Server,
        protobuf: bool,
        headers: &[(&'static str, &str)],
    ) -> Self {
        let query = if protobuf { "format=protobuf" } else { "" };
        let (socket, _) = Offer { query, headers }.handshake(server).await.unwrap();
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
                    return Ok(text.split('\n').map(|line| line.into()).collect());
                }
                Some(Ok(Message::Binary(bytes))) => {
                    assert!(self.protobuf, "a binary frame on a JSON connection");
                    return Ok(protobuf::split(&bytes));
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
