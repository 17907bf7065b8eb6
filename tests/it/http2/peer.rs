//! A peer that speaks HTTP/2 frame by frame, without a library that would keep it from doing wrong.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

/// Nothing a test waits for takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(20);

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames.
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
}

/// Error codes of RFC 9113, section 7.
pub(crate) mod code {
    pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
}

/// A frame as it came.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head[..], &stream.to_be_bytes(), payload].concat()
}

/// The bytes of a SETTINGS frame with one setting.
pub(crate) fn setting(name: u16, value: u32) -> Vec<u8> {
    let payload = [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
    frame(kind::SETTINGS, 0, 0, &payload)
}

/// A header field as HPACK literal without indexing, with a new name.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

/// A string of HPACK, not compressed.
fn text(text: &str) -> Vec<u8> {
    let (mut bytes, length) = (Vec::new(), text.len());
    if length < 127 {
        bytes.push(u8::try_from(length).unwrap());
    } else {
        bytes.push(127);
        let mut rest = length - 127;
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).unwrap());
    }
    [&bytes, text.as_bytes()].concat()
}

/// The header block of a call of the stream: POST, http, path, authority, content type, te.
pub(crate) fn call() -> Vec<u8> {
    let fields = [
        field(":path", "/proto.Centrifuge/Communicate"),
        field(":authority", "localhost"),
        field("content-type", "application/grpc"),
        field("te", "trailers"),
    ];
    [&[0x83, 0x86][..], &fields.concat()].concat()
}

/// HEADERS that open a call of the stream.
pub(crate) fn open(stream: u32) -> Vec<u8> {
    frame(kind::HEADERS, flag::END_HEADERS, stream, &call())
}

/// DATA with one gRPC message.
pub(crate) fn message(stream: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let payload = [&[0][..], &length, body].concat();
    frame(kind::DATA, 0, stream, &payload)
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// GOAWAY with this code.
    Goaway(u32),
    /// Without a word.
    Silent,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Peer {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Peer {
    /// Connects and sends the preface with these settings, nothing else.
    pub(crate) async fn new(target: &str, settings: &[u8]) -> Self {
        let socket = TcpStream::connect(target).await.unwrap();
        let (read, write) = socket.into_split();
        let read = BufReader::new(read);
        let mut peer = Self { read, write };
        peer.send(&[PREFACE, settings].concat()).await.unwrap();
        peer
    }

    /// The usual beginning: no settings of its own.
    pub(crate) async fn usual(target: &str) -> Self {
        Self::new(target, &frame(kind::SETTINGS, 0, 0, &[])).await
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match timeout(PATIENCE, self.write.write_all(bytes)).await {
            Ok(written) => written,
            Err(_elapsed) => panic!("the server takes nothing"),
        }
    }

    /// Sends `bytes` so many times as long as the server takes something within the limit; returns how often it did.
    pub(crate) async fn pour(&mut self, bytes: &[u8], times: usize, limit: Duration) -> usize {
        for time in 0..times {
            match timeout(limit, self.write.write_all(bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return time,
            }
        }
        times
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        match timeout(PATIENCE, next(&mut self.read)).await {
            Ok(frame) => frame,
            Err(_elapsed) => panic!("no frame for {PATIENCE:?}"),
        }
    }

    /// Reads until a frame fits.
    pub(crate) async fn until(&mut self, fits: impl Fn(&Frame) -> bool) -> Frame {
        let mut seen = Vec::new();
        while let Some(frame) = self.next().await {
            if fits(&frame) {
                return frame;
            }
            seen.push((frame.kind, frame.stream));
        }
        panic!("the end after {seen:?}");
    }

    /// Sends all of it while it reads, and waits until the server has worked through it, as the answer to a PING tells.
    pub(crate) async fn tolerated(&mut self, bytes: &[u8]) {
        const MARK: &[u8] = b"end mark";
        let pour = async {
            self.write.write_all(bytes).await?;
            self.write.write_all(&frame(kind::PING, 0, 0, MARK)).await
        };
        let hear = async {
            while let Some(frame) = next(&mut self.read).await {
                if frame.kind == kind::PING && frame.flags == flag::ACK && frame.payload == MARK {
                    return true;
                }
                assert_ne!(frame.kind, kind::GOAWAY, "{:?}", frame.payload);
            }
            false
        };
        let both = async { tokio::join!(pour, hear) };
        match timeout(PATIENCE, both).await {
            Ok((sent, answered)) => assert!(sent.is_ok() && answered, "{sent:?}"),
            Err(_elapsed) => panic!("no answer to a PING"),
        }
    }

    /// Sends all of it while it reads, as far as the server takes it, and tells how the connection ended.
    pub(crate) async fn flood(self, bytes: &[u8]) -> End {
        let Self {
            mut read,
            mut write,
        } = self;
        let mut heard = Vec::new();
        let pour = async {
            let sent = write.write_all(bytes).await;
            // Half-closed only when all was sent; the end is the server's.
            (sent.is_ok(), write)
        };
        let hear = read.read_to_end(&mut heard);
        let both = async { tokio::join!(pour, hear) };
        let ended = timeout(PATIENCE, both).await;
        assert!(ended.is_ok(), "the connection does not end");
        goaway(&heard)
    }
}

/// The next frame; `None` at the end.
async fn next(from: &mut (impl AsyncRead + Unpin)) -> Option<Frame> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).ok()?];
    from.read_exact(&mut payload).await.ok()?;
    Some(Frame {
        kind: head[3],
        flags: head[4],
        stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
        payload,
    })
}

/// The last GOAWAY among these frames.
fn goaway(mut heard: &[u8]) -> End {
    let mut end = End::Silent;
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = heard {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        let Some((payload, after)) = rest.split_at_checked(length) else {
            break;
        };
        if let (kind::GOAWAY, [_, _, _, _, code @ ..]) = (*kind, payload) {
            end = End::Goaway(u32::from_be_bytes([code[0], code[1], code[2], code[3]]));
        }
        heard = after;
    }
    end
}
