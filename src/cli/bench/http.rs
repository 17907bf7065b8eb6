//! The client's end of HTTP stream and SSE: one answer that never ends, and a request for every further frame.
//!
//! Knows what servers of this protocol send (HTTP/1.1 in chunks) and nothing more.

use bytes::{Buf as _, BytesMut};
use futures_util::future::BoxFuture;
use prost::encoding::decode_varint;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::target::Error;
use crate::{client::Address, model::Encoding};

/// Bytes read at a time.
const CHUNK: usize = 16 * 1024;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Messages one after the other.
    HttpStream,
    /// Server-sent events.
    Sse,
}

impl Shape {
    /// Reads it off the path of an address.
    pub(super) fn of(url: &str) -> Option<Self> {
        match url.strip_prefix("http://")?.rsplit_once('/')?.1 {
            "http_stream" => Some(Self::HttpStream),
            "sse" => Some(Self::Sse),
            _ => None,
        }
    }
}

/// Where further frames go.
#[derive(Clone, Debug)]
struct Place {
    session: String,
    node: String,
}

/// One session.
pub(super) struct Stream {
    address: Address,
    shape: Shape,
    socket: Option<TcpStream>,
    place: Option<Place>,
    /// The beginning of a chunk that is not complete; empty most of the time.
    rest: BytesMut,
    /// The beginning of a message that is not complete.
    begun: BytesMut,
    /// A pong on its way.
    errand: Option<BoxFuture<'static, Result<(), Error>>>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// A session that has said nothing yet: the first frame opens it.
    pub(super) fn new(address: Address, shape: Shape) -> Self {
        Self {
            address,
            shape,
            socket: None,
            place: None,
            rest: BytesMut::new(),
            begun: BytesMut::new(),
            errand: None,
        }
    }

    /// What the server told with its answer to the connect.
    pub(super) fn placed(&mut self, session: String, node: String) {
        self.place = Some(Place { session, node });
    }

    /// Sends one frame.
    pub(super) async fn send(&mut self, frame: &[u8]) -> Result<(), Error> {
        match &self.place {
            Some(place) => post(self.address.clone(), place.clone(), frame.to_vec()).await,
            None => self.open(frame).await,
        }
    }

    async fn open(&mut self, frame: &[u8]) -> Result<(), Error> {
        let path = self.address.path.as_str().to_owned();
        let mut socket = ask(&self.address, &path, frame).await?;
        let head = head(&mut socket, &mut self.rest).await?;
        let mut lines = head.lines();
        let status = lines.next().unwrap_or_default();
        if !status.contains(" 200 ") {
            return Err(Error::Http(status.to_owned()));
        }
        if !lines.any(|line| line == "transfer-encoding: chunked") {
            return Err(Error::Http("an answer without chunks".to_owned()));
        }
        self.socket = Some(socket);
        Ok(())
    }

    /// Reads once and hands on all messages that are complete. Cancel safe: a pong on its way is kept.
    pub(super) async fn read(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), Error> {
        if !self.rest.is_empty() {
            // What came with the head of the answer may hold whole messages already.
            let rest = std::mem::take(&mut self.rest);
            let before = rest.len();
            self.chunks(&rest, &mut take)?;
            if self.rest.len() != before {
                return Ok(());
            }
        }
        let Some(socket) = &self.socket else {
            return Err(Error::Ended("nothing was asked".to_owned()));
        };
        let ready = async {
            match &mut self.errand {
                Some(errand) => errand.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            sent = ready => {
                self.errand = None;
                return sent;
            }
            readable = socket.readable() => readable.map_err(broke)?,
        }
        let mut bytes = [0; CHUNK];
        match socket.try_read(&mut bytes) {
            Ok(0) => Err(Error::Ended("connection closed".to_owned())),
            Ok(read) if self.rest.is_empty() => self.chunks(&bytes[..read], &mut take),
            Ok(read) => {
                let mut rest = std::mem::take(&mut self.rest);
                rest.extend_from_slice(&bytes[..read]);
                self.chunks(&rest, &mut take)
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(broke(error)),
        }
    }

    /// Takes the content out of complete chunks and keeps the rest.
    fn chunks(&mut self, bytes: &[u8], take: &mut impl FnMut(&[u8])) -> Result<(), Error> {
        let (mut used, mut pings) = (0, 0);
        while let Some((content, length)) = chunk(&bytes[used..])? {
            used += length;
            if content.is_empty() {
                return Err(Error::Ended("the answer ended".to_owned()));
            }
            pings += self.content(content, take);
        }
        self.rest.extend_from_slice(&bytes[used..]);
        if let (1.., None, Some(place)) = (pings, &self.errand, &self.place) {
            let pong: &[u8] = match self.address.encoding {
                Encoding::Json => b"{}",
                Encoding::Protobuf => &[0],
            };
            let sending = post(self.address.clone(), place.clone(), pong.to_vec());
            self.errand = Some(Box::pin(sending));
        }
        Ok(())
    }

    /// Hands on complete messages and returns how many were pings.
    fn content(&mut self, content: &[u8], take: &mut impl FnMut(&[u8])) -> usize {
        let mut whole = std::mem::take(&mut self.begun);
        let mut bytes = content;
        if !whole.is_empty() {
            whole.extend_from_slice(content);
            bytes = &whole;
        }
        let mut pings = 0;
        while let Some((message, length)) = message(self.shape, self.address.encoding, bytes) {
            match message {
                b"{}" if self.address.encoding == Encoding::Json => pings += 1,
                b"" if self.address.encoding == Encoding::Protobuf => pings += 1,
                b"" => {}
                message => take(message),
            }
            bytes = &bytes[length..];
        }
        self.begun = BytesMut::from(bytes);
        pings
    }
}

/// The first chunk and how many bytes it takes, when all of it is there.
fn chunk(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Error> {
    let Some(line) = memchr::memmem::find(bytes, b"\r\n") else {
        return Ok(None);
    };
    let size = std::str::from_utf8(&bytes[..line]).ok();
    let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
    let size = size.ok_or_else(|| Error::Http("a chunk without a size".to_owned()))?;
    let start = line + 2;
    let end = start.saturating_add(size);
    let content = bytes.get(start..end).filter(|_| bytes.len() >= end + 2);
    Ok(content.map(|content| (content, end + 2)))
}

/// The first message and how many bytes it takes, when all of it is there. Empty for what is between messages.
fn message(shape: Shape, encoding: Encoding, bytes: &[u8]) -> Option<(&[u8], usize)> {
    match (shape, encoding) {
        (Shape::Sse, _) if bytes.starts_with(b"\r\n") => Some((b"", 2)),
        (Shape::Sse, _) => {
            let end = memchr::memmem::find(bytes, b"\n\n")?;
            let event = &bytes[..end];
            Some((event.strip_prefix(b"data: ").unwrap_or(event), end + 2))
        }
        (Shape::HttpStream, Encoding::Json) => {
            let end = memchr::memchr(b'\n', bytes)?;
            Some((&bytes[..end], end + 1))
        }
        (Shape::HttpStream, Encoding::Protobuf) => {
            let mut rest = bytes;
            let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let message = rest.get(..length)?;
            Some((message, bytes.len() - rest.len() + length))
        }
    }
}

/// Sends a request on a connection of its own.
async fn ask(address: &Address, path: &str, body: &[u8]) -> Result<TcpStream, Error> {
    let failed = |source| Error::Io {
        doing: "cannot connect",
        source,
    };
    let connected = TcpStream::connect((address.bare_host(), address.port)).await;
    let mut socket = connected.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    let kind = match address.encoding {
        Encoding::Json => "application/json",
        Encoding::Protobuf => "application/octet-stream",
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        address.host,
        address.port,
        body.len()
    );
    let request = [head.as_bytes(), body].concat();
    socket.write_all(&request).await.map_err(failed)?;
    Ok(socket)
}

/// Reads the head of an answer; what follows it is left in `rest`.
async fn head(socket: &mut TcpStream, rest: &mut BytesMut) -> Result<String, Error> {
    loop {
        if let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest.advance(end + 4);
            return Ok(head);
        }
        let read = socket.read_buf(rest).await.map_err(broke)?;
        if read == 0 || rest.len() > CHUNK {
            return Err(Error::Http("no answer".to_owned()));
        }
    }
}

/// Sends a frame of a session.
async fn post(address: Address, place: Place, frame: Vec<u8>) -> Result<(), Error> {
    let body = match address.encoding {
        Encoding::Json => {
            let data = String::from_utf8_lossy(&frame);
            let body =
                serde_json::json!({"session": place.session, "node": place.node, "data": data});
            body.to_string().into_bytes()
        }
        Encoding::Protobuf => {
            let mut body = Vec::with_capacity(frame.len() + 96);
            prost::encoding::string::encode(1, &place.node, &mut body);
            prost::encoding::string::encode(2, &place.session, &mut body);
            prost::encoding::bytes::encode(3, &frame, &mut body);
            body
        }
    };
    let mut socket = ask(&address, "/emulation", &body).await?;
    let head = head(&mut socket, &mut BytesMut::new()).await?;
    let status = head.lines().next().unwrap_or_default();
    if status.contains(" 204 ") {
        return Ok(());
    }
    Err(Error::Http(format!("/emulation: {status}")))
}

fn broke(source: std::io::Error) -> Error {
    Error::Io {
        doing: "the connection broke",
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, encoding: Encoding, pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
        let socket = url.replacen("http", "ws", 1);
        let address = Address::parse(&socket, encoding).unwrap();
        let mut stream = Stream::new(address, Shape::of(url).unwrap());
        let mut found = Vec::new();
        let mut ended = false;
        for piece in pieces {
            let mut bytes = std::mem::take(&mut stream.rest);
            bytes.extend_from_slice(piece);
            let take = &mut |message: &[u8]| found.push(message.to_vec());
            ended |= stream.chunks(&bytes, take).is_err();
        }
        (found, ended)
    }

    #[test]
    fn messages_are_taken_out_of_chunks_wherever_they_are_cut() {
        let url = "http://host/connection/http_stream";
        let bytes: &[u8] =
            b"4\r\n{\"a\"\r\n9\r\n:1}\n{\"b\":\r\n4\r\n2}\n{\r\n2\r\n}\n\r\n0\r\n\r\n";
        let expected = [b"{\"a\":1}".to_vec(), b"{\"b\":2}".to_vec()];
        for cut in 0..bytes.len() {
            let (one, two) = bytes.split_at(cut);
            let (found, ended) = read(url, Encoding::Json, &[one, two]);
            assert_eq!((found.as_slice(), ended), (&expected[..], true), "{cut}");
        }
        let events: &[u8] = b"2\r\n\r\n\r\n10\r\ndata: {\"a\":1}\n\nd\r\n";
        let (found, ended) = read("http://host/connection/sse", Encoding::Json, &[events]);
        assert_eq!((found.as_slice(), ended), (&expected[..1], false));
        let framed: &[u8] = b"5\r\n\x02ab\x00\x03\r\n3\r\nxyz\r\n";
        let (found, _) = read(url, Encoding::Protobuf, &[framed]);
        assert_eq!(found, [b"ab".to_vec(), b"xyz".to_vec()]);
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        assert!(chunk(b"zz\r\n").is_err());
        assert!(chunk(b"5\r\nabc").unwrap().is_none());
        assert!(chunk(b"").unwrap().is_none());
    }
}
