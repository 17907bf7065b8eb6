//! The client's end of a WebSocket, as cheap as it can be: what a load generator spends, the server cannot have.
//!
//! Knows what servers of this protocol send (finished, unmasked data frames, pings and a close) and nothing more.

use bytes::{Buf, BytesMut};
use prost::encoding::decode_varint;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::target::Error;
use crate::{client::Address, model::Encoding};

/// Bytes read at a time.
const CHUNK: usize = 16 * 1024;

/// A connection after the upgrade.
#[derive(Debug)]
pub(super) struct Socket {
    socket: TcpStream,
    encoding: Encoding,
    /// The beginning of a frame that is not complete; empty most of the time.
    rest: BytesMut,
}

/// One frame of the server.
struct Frame<'b> {
    opcode: u8,
    payload: &'b [u8],
    length: usize,
}

impl Socket {
    /// Upgrades a connection.
    pub(super) async fn open(mut socket: TcpStream, address: &Address) -> Result<Self, Error> {
        let Address {
            host,
            port,
            path,
            encoding,
            ..
        } = address;
        let failed = |source| Error::Io {
            doing: "cannot upgrade to WebSocket",
            source,
        };
        socket.set_nodelay(true).map_err(failed)?;
        let subprotocol = match encoding {
            Encoding::Json => "centrifuge-json",
            Encoding::Protobuf => "centrifuge-protobuf",
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
             Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.map_err(failed)?;
        let mut rest = BytesMut::new();
        loop {
            let read = socket.read_buf(&mut rest).await.map_err(failed)?;
            let end = memchr::memmem::find(&rest, b"\r\n\r\n");
            if let Some(end) = end {
                let head = String::from_utf8_lossy(&rest[..end]).into_owned();
                let status = head.lines().next().unwrap_or_default();
                if !status.contains(" 101 ") {
                    return Err(Error::Upgrade(status.to_owned()));
                }
                rest.advance(end + 4);
                break;
            }
            if read == 0 || rest.len() > CHUNK {
                return Err(Error::Upgrade("no answer".to_owned()));
            }
        }
        Ok(Self {
            socket,
            encoding: *encoding,
            rest,
        })
    }

    /// Sends one message.
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let opcode = match self.encoding {
            Encoding::Json => 1,
            Encoding::Protobuf => 2,
        };
        let sent = self.socket.write_all(&masked(opcode, message)).await;
        sent.map_err(|source| Error::Io {
            doing: "cannot send",
            source,
        })
    }

    /// Reads once and hands on all messages that are complete. Cancel safe: pings are answered without waiting.
    pub(super) async fn read(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), Error> {
        let failed = |source| Error::Io {
            doing: "the connection broke",
            source,
        };
        if self.rest.is_empty() {
            // Nothing is allocated for the usual case: whole frames.
            self.socket.readable().await.map_err(failed)?;
            let mut chunk = [0; CHUNK];
            match self.socket.try_read(&mut chunk) {
                Ok(0) => return Err(Error::Ended("connection closed".to_owned())),
                Ok(read) => {
                    let used = self.frames(&chunk[..read], &mut take)?;
                    self.rest.extend_from_slice(&chunk[used..read]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(failed(error)),
            }
            return Ok(());
        }
        // What the upgrade brought along may hold whole frames already.
        let before = self.rest.len();
        self.held(&mut take)?;
        if self.rest.len() == before {
            self.rest.reserve(CHUNK);
            let read = self.socket.read_buf(&mut self.rest).await.map_err(failed)?;
            if read == 0 {
                return Err(Error::Ended("connection closed".to_owned()));
            }
            self.held(&mut take)?;
        }
        Ok(())
    }

    /// Hands on what `rest` holds.
    fn held(&mut self, take: &mut impl FnMut(&[u8])) -> Result<(), Error> {
        let mut rest = std::mem::take(&mut self.rest);
        let used = self.frames(&rest, take)?;
        rest.advance(used);
        if !rest.is_empty() {
            self.rest = rest;
        }
        Ok(())
    }

    /// Hands on the messages of all complete frames; returns how many bytes they took.
    fn frames(&self, bytes: &[u8], take: &mut impl FnMut(&[u8])) -> Result<usize, Error> {
        let mut used = 0;
        while let Some(frame) = frame(&bytes[used..]) {
            used += frame.length;
            match frame.opcode {
                1 | 2 => self.messages(frame.payload, take),
                8 => return Err(Error::Ended(reason(frame.payload))),
                9 => self.now(&masked(10, frame.payload)),
                _ => {}
            }
        }
        Ok(used)
    }

    /// Splits a frame into messages and answers pings.
    fn messages(&self, frame: &[u8], take: &mut impl FnMut(&[u8])) {
        match self.encoding {
            Encoding::Json => {
                for message in frame.split(|byte| *byte == b'\n') {
                    if message == b"{}" {
                        self.now(&masked(1, b"{}"));
                    } else {
                        take(message);
                    }
                }
            }
            Encoding::Protobuf => {
                let mut rest = frame;
                while let Ok(length) = decode_varint(&mut rest) {
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    let (message, next) = rest.split_at(length.min(rest.len()));
                    if length == 0 {
                        self.now(&masked(2, &[0]));
                    } else {
                        take(message);
                    }
                    rest = next;
                }
            }
        }
    }

    /// Sends a few bytes without waiting. A socket that is full has more urgent troubles than a pong.
    fn now(&self, frame: &[u8]) {
        self.socket.try_write(frame).unwrap_or_default();
    }
}

/// A frame with a mask of zeros, which leaves the payload as it is.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// The first frame, when all of it is there.
fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (payload, head): (usize, usize) = match second & 0x7f {
        126 => (
            usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
            4,
        ),
        127 => {
            let length = u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
            (usize::try_from(length).ok()?, 10)
        }
        short => (usize::from(short), 2),
    };
    let length = head.checked_add(payload)?;
    Some(Frame {
        opcode: first & 0x0f,
        payload: bytes.get(head..length)?,
        length,
    })
}

/// What a close frame says.
fn reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            format!("{code} {}", String::from_utf8_lossy(reason))
        }
        _ => "without a code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_lengths_are_read_back() {
        for length in [0, 1, 125, 126, 300, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let mut bytes = masked(1, &payload);
            // The server does not mask.
            let mask = bytes.len() - length - 4;
            bytes.drain(mask..mask + 4);
            bytes[1] &= 0x7f;
            let whole = frame(&bytes).unwrap();
            assert_eq!((whole.opcode, whole.payload), (1, &*payload));
            assert_eq!(whole.length, bytes.len());
            assert!(frame(&bytes[..bytes.len() - 1]).is_none());
        }
    }

    #[test]
    fn a_length_beyond_reason_is_no_frame() {
        assert!(frame(&[0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255, 1]).is_none());
    }
}
