//! What a server says on a connection for PUB/SUB, in RESP2. Pure; no input makes it panic, and lengths are bounded.
//!
//! Written here because the library passes messages through a queue without bound: a node that is behind would grow until
//! it dies, where it has to let the network wait.

use bytes::{Buf as _, Bytes, BytesMut};

/// Longest text, that of Redis itself.
const BULK_MAX: usize = 512 << 20;
/// Longest line: a number or an error.
const LINE_MAX: usize = 64 << 10;
/// Most parts of one answer.
const PARTS_MAX: usize = 16;

/// One thing a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A message in a channel.
    Message(Bytes, Bytes),
    /// One name of a SUBSCRIBE or UNSUBSCRIBE is done.
    Confirmed,
    /// This name is not listened to any more, asked for or not: sharded PUB/SUB may end by itself.
    Ended(Bytes),
    /// The answer to PING.
    Pong,
    /// A command succeeded.
    Fine,
    /// A command was refused.
    Refused(String),
    /// Something that needs no action.
    Other,
}

/// The bytes are no RESP2, or more than it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed answer of Redis")]
pub(super) struct Malformed;

/// Takes one thing out of the buffer; `None` when it is not complete yet.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Said>, Malformed> {
    let Some((&kind, _)) = buffer.split_first() else {
        return Ok(None);
    };
    let Some((line, after)) = line(buffer, 1)? else {
        return Ok(None);
    };
    let (line, after) = (line.to_vec(), after);
    match kind {
        b'+' => {
            buffer.advance(after);
            Ok(Some(if line == b"PONG" {
                Said::Pong
            } else {
                Said::Fine
            }))
        }
        b'-' => {
            buffer.advance(after);
            Ok(Some(Said::Refused(
                String::from_utf8_lossy(&line).into_owned(),
            )))
        }
        b':' => {
            buffer.advance(after);
            Ok(Some(Said::Other))
        }
        b'*' => parts(buffer, count(&line)?, after),
        _ => Err(Malformed),
    }
}

/// The parts of an array, when all are there. Nothing is taken out before.
fn parts(buffer: &mut BytesMut, count: usize, mut at: usize) -> Result<Option<Said>, Malformed> {
    if count > PARTS_MAX {
        return Err(Malformed);
    }
    let mut ranges = Vec::with_capacity(count);
    for _ in 0..count {
        let Some(&kind) = buffer.get(at) else {
            return Ok(None);
        };
        let Some((text, after)) = line(buffer, at + 1)? else {
            return Ok(None);
        };
        match kind {
            b':' => {
                ranges.push(at + 1..after - 2);
                at = after;
            }
            b'$' if text == b"-1" => {
                ranges.push(after..after);
                at = after;
            }
            b'$' => {
                let end = after + self::count(text)?;
                match buffer.get(end..end + 2) {
                    None => return Ok(None),
                    Some(b"\r\n") => {}
                    Some(_) => return Err(Malformed),
                }
                ranges.push(after..end);
                at = end + 2;
            }
            _ => return Err(Malformed),
        }
    }
    let whole = buffer.split_to(at).freeze();
    let mut parts = ranges.into_iter().map(|range| whole.slice(range));
    let Some(kind) = parts.next() else {
        return Ok(Some(Said::Other));
    };
    Ok(Some(match &kind[..] {
        b"message" | b"smessage" => match (parts.next(), parts.next()) {
            (Some(channel), Some(payload)) => Said::Message(channel, payload),
            _ => return Err(Malformed),
        },
        b"subscribe" | b"unsubscribe" | b"ssubscribe" => Said::Confirmed,
        b"sunsubscribe" => Said::Ended(parts.next().unwrap_or_default()),
        b"pong" => Said::Pong,
        _ => Said::Other,
    }))
}

/// The line that begins at `from`, and where the next begins.
fn line(buffer: &[u8], from: usize) -> Result<Option<(&[u8], usize)>, Malformed> {
    let rest = buffer.get(from..).unwrap_or_default();
    let window = &rest[..rest.len().min(LINE_MAX)];
    let Some(end) = memchr::memchr(b'\r', window) else {
        return if window.len() == LINE_MAX {
            Err(Malformed)
        } else {
            Ok(None)
        };
    };
    match rest.get(end + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some((&rest[..end], from + end + 2))),
        Some(_) => Err(Malformed),
    }
}

fn count(line: &[u8]) -> Result<usize, Malformed> {
    let text = std::str::from_utf8(line).map_err(|_why| Malformed)?;
    let count: usize = text.parse().map_err(|_why| Malformed)?;
    if count > BULK_MAX {
        return Err(Malformed);
    }
    Ok(count)
}

/// A command as bytes.
pub(super) fn command<'a>(parts: impl ExactSizeIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Said>, Malformed> {
        let mut buffer = BytesMut::from(bytes);
        let mut said = Vec::new();
        while let Some(one) = take(&mut buffer)? {
            said.push(one);
        }
        assert!(buffer.is_empty() || said.len() < 100);
        Ok(said)
    }

    fn message(channel: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        command([b"message", channel, payload].into_iter(), &mut out);
        out
    }

    #[test]
    fn everything_a_server_says_is_understood() {
        let text = b"+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n-NOPERM no\r\n*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n";
        let said = all(text).unwrap();
        let expected = [
            Said::Fine,
            Said::Confirmed,
            Said::Pong,
            Said::Refused("NOPERM no".to_owned()),
            Said::Confirmed,
        ];
        assert_eq!(said, expected);
        assert_eq!(
            all(&message(b"c", b"a\r\nb")).unwrap(),
            [Said::Message(Bytes::from("c"), Bytes::from("a\r\nb"))]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            &b"x\r\n"[..],
            b"*1\r\n+x\r\n",
            b"*-1\r\n",
            b"*999\r\n",
            b"*1\r\n$9999999999\r\n",
            b"*1\r\n$1\r\nabc",
            b"*2\r\n$7\r\nmessage\r\n$1\r\nc\r\n",
            b"+a\rb",
        ] {
            assert_eq!(
                all(text),
                Err(Malformed),
                "{}",
                String::from_utf8_lossy(text)
            );
        }
        let endless = vec![b'+'; LINE_MAX + 2];
        assert_eq!(all(&endless), Err(Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"*$:+-\r\n0123"[..])], 0..200)) {
            drop(all(&bytes));
        }

        #[test]
        fn messages_arrive_whole_however_they_are_cut(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8), cut in 1..30_usize) {
            let stream: Vec<u8> = payloads.iter().flat_map(|payload| message(b"c", payload)).collect();
            let (mut buffer, mut said) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(one) = take(&mut buffer).unwrap() {
                    said.push(one);
                }
            }
            let expected: Vec<_> = payloads.into_iter().map(|payload| Said::Message(Bytes::from("c"), payload.into())).collect();
            prop_assert_eq!(said, expected);
        }
    }
}
