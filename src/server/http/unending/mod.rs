//! HTTP/1.1 responses that never end, written without hyper (RFC 9112, 7.1).
//!
//! Once the request was read, such a connection needs nothing but chunks written and its end noticed, so hyper and its 16 KiB
//! are let go, and the body goes to the socket from here. When it has ended, the connection is closed.

use std::{
    future::{pending, poll_fn},
    io::{self, IoSlice, Write as _},
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use chrono::Utc;
use http::{
    HeaderMap, Method, Request, Version,
    header::{DATE, TRANSFER_ENCODING},
};
use http_body::Body as _;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncWriteExt as _, ReadBuf},
    time::timeout,
};

use super::connection::Duplex;
use crate::transport::Unending;

/// Bytes that a peer may send although nothing is expected of it any more.
const UNEXPECTED: usize = 8 * 1024;
/// Longest wait until the peer has taken the end.
const END_WAIT: Duration = Duration::from_secs(5);
/// The chunk that ends a body.
const LAST: &[u8] = b"0\r\n\r\n";
/// What ends any other chunk.
const CRLF: &[u8] = b"\r\n";
/// Longest chunk that is put together before it is written.
const SMALL: usize = 512;
/// Room for the size of a chunk in hexadecimal digits and its end of line.
const SIZE: usize = usize::BITS as usize / 4 + CRLF.len();

/// Where a response that never ends waits until hyper is let go. Of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Handover(Arc<Mutex<Option<Response>>>);

impl Handover {
    /// Can the answer to this request go without hyper? HTTP/2 shares its connection, HTTP/1.0 knows no chunks.
    pub(super) fn suits<B>(request: &Request<B>) -> bool {
        request.version() == Version::HTTP_11 && request.method() != Method::HEAD
    }

    /// Gives a response back if it ends some day. Keeps it if it does not, and then hyper waits for it until it is let go.
    pub(super) async fn offer<E>(self, response: Response) -> Result<Response, E> {
        if response.extensions().get::<Unending>().is_none() {
            return Ok(response);
        }
        *self.0.lock() = Some(response);
        pending().await
    }

    /// Is it time to let hyper go?
    pub(super) fn waits(&self) -> bool {
        self.0.lock().is_some()
    }

    /// What is to be sent without hyper.
    pub(super) fn take(&self) -> Option<Response> {
        self.0.lock().take()
    }
}

/// Sends a response and ends the connection.
pub(super) async fn serve<S: Duplex>(io: S, response: Response) {
    let (parts, body) = response.into_parts();
    let mut stream = Stream {
        io,
        body,
        piece: Piece::whole(head(parts.status, &parts.headers)),
        written: 0,
        last: false,
        unexpected: 0,
    };
    drop(parts);
    let sent = poll_fn(|cx| stream.poll(cx)).await;
    if let Err(error) = sent {
        tracing::debug!(%error, "stream ended");
        return;
    }
    // With a FIN of its own the last chunk arrives even if unread bytes make the kernel reset the connection.
    if !matches!(timeout(END_WAIT, stream.io.shutdown()).await, Ok(Ok(()))) {
        tracing::trace!("stream was gone before its end");
    }
}

/// Status line and headers.
fn head(status: http::StatusCode, headers: &HeaderMap) -> Bytes {
    let mut head = Vec::with_capacity(512);
    let reason = status.canonical_reason().unwrap_or_default();
    let line = [
        b"HTTP/1.1 ",
        status.as_str().as_bytes(),
        b" ",
        reason.as_bytes(),
    ];
    head.extend_from_slice(&line.concat());
    let date = Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let own = [(TRANSFER_ENCODING, "chunked"), (DATE, &date)];
    let own = own.iter().map(|(name, value)| (name, value.as_bytes()));
    let given = headers.iter().map(|(name, value)| (name, value.as_bytes()));
    for (name, value) in given.chain(own) {
        head.extend_from_slice(CRLF);
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
    }
    head.extend_from_slice(b"\r\n\r\n");
    head.into()
}

/// Something to write: a chunk, or bytes as they are.
struct Piece {
    size: [u8; SIZE],
    /// Bytes of `size`.
    digits: usize,
    data: Bytes,
    end: &'static [u8],
}

impl Piece {
    const fn whole(data: Bytes) -> Self {
        Self {
            size: [0; SIZE],
            digits: 0,
            data,
            end: &[],
        }
    }

    fn chunk(data: Bytes) -> io::Result<Self> {
        let mut size = [0; SIZE];
        let mut rest = &mut size[..];
        write!(rest, "{:x}\r\n", data.len())?;
        let digits = SIZE - rest.len();
        Ok(Self {
            size,
            digits,
            data,
            end: CRLF,
        })
    }

    /// What is left of it after so many bytes.
    fn rest(&self, mut written: usize) -> [IoSlice<'_>; 3] {
        [&self.size[..self.digits], &self.data, self.end].map(|part| {
            let skipped = written.min(part.len());
            written -= skipped;
            IoSlice::new(&part[skipped..])
        })
    }

    const fn len(&self) -> usize {
        self.digits + self.data.len() + self.end.len()
    }
}

/// Puts parts behind each other; there is room for all.
fn gather(parts: &[IoSlice<'_>], whole: &mut [u8]) {
    let mut rest = whole;
    for part in parts {
        let (place, behind) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = behind;
    }
}

/// A body on its way to a socket.
struct Stream<S> {
    io: S,
    body: Body,
    piece: Piece,
    /// Bytes of the piece that are out.
    written: usize,
    /// Nothing comes after the piece.
    last: bool,
    /// Bytes that nobody asked for.
    unexpected: usize,
}

impl<S: Duplex> Stream<S> {
    /// Ready when everything is sent.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_send(cx)? {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => self.poll_gone(cx).map(Err),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_write(cx))?;
            if self.last {
                return Pin::new(&mut self.io).poll_flush(cx);
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame.transpose().map_err(io::Error::other)?,
                Poll::Pending => {
                    // Its end is noticed when the next piece is written.
                    ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                    return Poll::Pending;
                }
            };
            match frame.map(http_body::Frame::into_data) {
                Some(Ok(data)) if !data.is_empty() => self.piece = Piece::chunk(data)?,
                // Trailers were never announced, and an empty chunk would be the last one.
                Some(_) => {}
                None => {
                    self.piece = Piece::whole(Bytes::from_static(LAST));
                    self.last = true;
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.piece.len() {
            let rest = self.piece.rest(self.written);
            let io = Pin::new(&mut self.io);
            // Putting a small chunk together and a `send` take less time than a `writev` of its parts.
            let written = ready!(match self.piece.len() - self.written {
                length @ ..=SMALL => {
                    let mut whole = [0; SMALL];
                    gather(&rest, &mut whole);
                    io.poll_write(cx, &whole[..length])
                }
                _ => io.poll_write_vectored(cx, &rest),
            })?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        // What was sent is held no longer: it may be the last of a large message.
        (self.piece, self.written) = (Piece::whole(Bytes::new()), 0);
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer has gone, or talks where it should listen.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let mut bytes = [MaybeUninit::uninit(); 1024];
            let mut bytes = ReadBuf::uninit(&mut bytes);
            if let Err(error) = ready!(Pin::new(&mut self.io).poll_read(cx, &mut bytes)) {
                return Poll::Ready(error);
            }
            self.unexpected += bytes.filled().len();
            if bytes.filled().is_empty() {
                return Poll::Ready(io::ErrorKind::UnexpectedEof.into());
            }
            if self.unexpected > UNEXPECTED {
                return Poll::Ready(io::Error::other("input after the request of a stream"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
