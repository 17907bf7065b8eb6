//! The PROXY protocol, versions 1 and 2: the line or block with which a proxy tells where a connection came from.
//!
//! Reads the header and not a byte more. Whom to believe is decided by the [entrance](super::entrance) alone.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{io::AsyncReadExt, net::TcpStream};

/// First bytes of version 1.
const V1: &[u8] = b"PROXY ";
/// Longest header of version 1, with its line end.
const V1_LONGEST: usize = 107;
/// First bytes of version 2.
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses.
const V2_FIXED: usize = 16;
/// Longest header of version 2. The addresses take 36 bytes; the rest are additions such as a client's certificate.
const V2_LONGEST: usize = V2_FIXED + 4096;
/// Bytes looked at in one go.
const CHUNK: usize = 256;

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    /// Its length in bytes.
    length: usize,
    /// Where the connection came from; `None` when the proxy speaks for itself or does not know.
    source: Option<SocketAddr>,
}

/// Bytes that are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Malformed(&'static str);

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The connection ended.
    #[error("the connection ended before the header")]
    Ended(#[from] io::Error),
    /// What came is something else.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Reads a header off a connection and returns where it says that the connection came from. What follows stays unread.
pub(super) async fn receive(socket: &mut TcpStream) -> Result<Option<SocketAddr>, Error> {
    let mut seen = Vec::new();
    let mut chunk = [0; CHUNK];
    loop {
        let had = seen.len();
        let found = socket.peek(&mut chunk).await?;
        if found == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        seen.extend_from_slice(&chunk[..found]);
        let header = parse(&seen)?;
        // Without an end in sight all of it belongs to the header.
        let taken = header.map_or(found, |header| header.length - had);
        socket.read_exact(&mut chunk[..taken]).await?;
        if let Some(header) = header {
            return Ok(header.source);
        }
    }
}

/// The header at the beginning of these bytes; `None` while all of them belong to one that goes on.
fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    if begins(bytes, V2) {
        version_2(bytes)
    } else if begins(bytes, V1) {
        version_1(bytes)
    } else {
        Err(Malformed("no PROXY protocol header"))
    }
}

/// Do the bytes begin with this, or may they still?
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    let length = bytes.len().min(with.len());
    bytes[..length] == with[..length]
}

fn version_1(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let within = &bytes[..bytes.len().min(V1_LONGEST)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return if within.len() < V1_LONGEST {
            Ok(None)
        } else {
            Err(Malformed("a line of version 1 is too long"))
        };
    };
    let line = within[..end].strip_suffix(b"\r");
    let line = line.and_then(|line| std::str::from_utf8(line).ok());
    let line = line.ok_or(Malformed("a line of version 1 is no text"))?;
    let mut words = line.split(' ').skip(1);
    let source = match words.next() {
        Some("UNKNOWN") => None,
        Some("TCP4") => Some(endpoint::<Ipv4Addr>(words)?),
        Some("TCP6") => Some(endpoint::<Ipv6Addr>(words)?),
        _ => return Err(Malformed("a line of version 1 names no known protocol")),
    };
    Ok(Some(Header {
        length: end + 1,
        source,
    }))
}

/// Source address, destination address, source port, destination port; the source of them.
fn endpoint<'a, A: std::str::FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'a str>,
) -> Result<SocketAddr, Malformed> {
    let mut address = || words.next()?.parse::<A>().ok();
    let addresses = (address(), address());
    let mut port = || words.next().and_then(port);
    match (addresses, port(), port(), words.next()) {
        ((Some(source), Some(_)), Some(port), Some(_), None) => Ok((source.into(), port).into()),
        _ => Err(Malformed("a line of version 1 has malformed addresses")),
    }
}

/// A decimal number without sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

fn version_2(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((fixed, rest)) = bytes.split_at_checked(V2_FIXED) else {
        return Ok(None);
    };
    let (version, command) = (fixed[12] >> 4, fixed[12] & 0x0f);
    if version != 2 || command > 1 {
        return Err(Malformed("a header of version 2 has an unknown command"));
    }
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if V2_FIXED + length > V2_LONGEST {
        return Err(Malformed("a header of version 2 is too long"));
    }
    let Some(block) = rest.get(..length) else {
        return Ok(None);
    };
    let source = match (command, fixed[13]) {
        // The proxy's own connection, such as a health check, or one of which it does not know where it came from.
        (0, _) | (1, 0x00 | 0x31 | 0x32) => None,
        (1, 0x11) => Some(address::<4, 8>(block)?),
        (1, 0x21) => Some(address::<16, 32>(block)?),
        _ => return Err(Malformed("a header of version 2 is not about TCP")),
    };
    Ok(Some(Header {
        length: V2_FIXED + length,
        source,
    }))
}

/// The source in a block: two addresses of `N` bytes, `PORT` in sum, then the two ports.
fn address<const N: usize, const PORT: usize>(block: &[u8]) -> Result<SocketAddr, Malformed>
where
    [u8; N]: Into<IpAddr>,
{
    let source = block.first_chunk::<N>();
    let port = block.get(PORT..).and_then(<[u8]>::first_chunk::<4>);
    match (source, port) {
        (Some(source), Some([high, low, ..])) => {
            Ok(((*source).into(), u16::from_be_bytes([*high, *low])).into())
        }
        _ => Err(Malformed("a header of version 2 is too short")),
    }
}

#[cfg(test)]
mod tests;
