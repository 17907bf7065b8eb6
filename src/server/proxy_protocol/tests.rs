//! Headers as proxies write them, what is none, and no bytes that do harm.

use proptest::prelude::*;
use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::*;

fn header(length: usize, source: &str) -> Result<Option<Header>, Malformed> {
    let source = (!source.is_empty()).then(|| source.parse().unwrap());
    Ok(Some(Header { length, source }))
}

/// A header of version 2 with this command, protocol and block.
fn v2(command: u8, protocol: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&V2[..], &[command, protocol], &length, block].concat()
}

#[test]
fn version_1_names_source_and_port() {
    for (line, source) in [
        (
            "PROXY TCP4 203.0.113.9 10.0.0.1 56324 443\r\n",
            "203.0.113.9:56324",
        ),
        (
            "PROXY TCP6 2001:db8::9 ::1 65535 0\r\n",
            "[2001:db8::9]:65535",
        ),
        ("PROXY UNKNOWN\r\n", ""),
        ("PROXY UNKNOWN ff::1 whatever 9 9\r\n", ""),
    ] {
        assert_eq!(parse(line.as_bytes()), header(line.len(), source), "{line}");
        let more = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(parse(more.as_bytes()), header(line.len(), source), "{line}");
    }
}

#[test]
fn version_1_is_strict() {
    for line in [
        "GET / HTTP/1.1\r\n",
        "PROXY\r\n",
        "PROXY TCP4\r\n",
        "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY \u{ff}\r\n",
    ] {
        assert!(parse(line.as_bytes()).is_err(), "{line}");
    }
}

#[test]
fn version_1_ends_after_107_bytes() {
    let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(parse(line(107).as_bytes()), header(107, ""));
    assert!(parse(line(108).as_bytes()).is_err());
    assert_eq!(parse(&line(108).as_bytes()[..106]), Ok(None));
    assert!(parse(&line(108).as_bytes()[..107]).is_err());
}

#[test]
fn version_2_names_source_and_port() {
    let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0xdc, 0x04, 0x01, 0xbb];
    assert_eq!(
        parse(&v2(0x21, 0x11, &v4)),
        header(28, "203.0.113.9:56324"),
        "TCP over IPv4"
    );
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 9;
    v6[33] = 7;
    assert_eq!(
        parse(&v2(0x21, 0x21, &v6)),
        header(52, "[2001:db8::9]:7"),
        "TCP over IPv6"
    );
    let additions = [&v4[..], &[0x04, 0x00, 0x03, 1, 2, 3]].concat();
    assert_eq!(
        parse(&v2(0x21, 0x11, &additions)),
        header(34, "203.0.113.9:56324"),
        "additions are stepped over"
    );
}

#[test]
fn version_2_without_addresses_keeps_those_of_the_socket() {
    for (command, protocol, block) in [
        (0x20, 0x00, &[][..]),
        (0x20, 0x11, &[1; 12]),
        (0x20, 0xff, &[1; 5]),
        (0x21, 0x00, &[]),
        (0x21, 0x31, &[b'/'; 216]),
    ] {
        let bytes = v2(command, protocol, block);
        assert_eq!(parse(&bytes), header(bytes.len(), ""));
    }
}

#[test]
fn version_2_is_strict() {
    for bytes in [
        v2(0x11, 0x11, &[0; 12]),
        v2(0x22, 0x11, &[0; 12]),
        v2(0x21, 0x12, &[0; 12]),
        v2(0x21, 0x41, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x11, &[0; 4097]),
    ] {
        assert!(parse(&bytes).is_err(), "{bytes:?}");
    }
    assert!(parse(&v2(0x21, 0x11, &[0; 4096])).is_ok());
    // What is too long is known before any of it came.
    assert!(parse(&v2(0x21, 0x11, &[0; 4097])[..V2_FIXED]).is_err());
}

#[test]
fn the_first_wrong_byte_is_enough() {
    assert!(parse(b"G").is_err());
    assert!(parse(b"PRI").is_err());
    assert!(parse(b"\x16\x03\x01").is_err());
    assert!(parse(b"\r\n\r\n\0\r\nQUIX").is_err());
    assert_eq!(parse(b""), Ok(None));
    assert_eq!(parse(b"PR"), Ok(None));
    assert_eq!(parse(b"\r\n\r\n"), Ok(None));
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    let beginnings = prop::sample::select(vec![
        Vec::new(),
        V1.to_vec(),
        b"PROXY TCP4 1.2.3.4 ".to_vec(),
        b"PROXY TCP6 ".to_vec(),
        V2.to_vec(),
        [&V2[..], b"\x21\x11\x00"].concat(),
        [&V2[..], b"\x21\x21\x00\x24"].concat(),
        [&V2[..], b"\x20"].concat(),
    ]);
    (beginnings, noise).prop_map(|(beginning, noise)| [beginning, noise].concat())
}

proptest! {
    /// No bytes make it panic, and an end lies within what came and within the bound.
    #[test]
    fn any_bytes_are_judged(bytes in bytes()) {
        if let Ok(Some(header)) = parse(&bytes) {
            prop_assert!(header.length <= bytes.len() && header.length <= V2_LONGEST);
        }
    }

    /// The judgement is the same however the bytes were cut, and a header never shrinks back into an earlier piece.
    #[test]
    fn pieces_make_no_difference(bytes in bytes()) {
        let whole = parse(&bytes);
        for end in 0..bytes.len() {
            match parse(&bytes[..end]) {
                Ok(None) => {}
                decided => {
                    prop_assert_eq!(decided, whole);
                    if let Ok(Some(header)) = decided {
                        prop_assert_eq!(header.length, end);
                    }
                    break;
                }
            }
        }
    }

    /// Every address survives both versions.
    #[test]
    fn addresses_survive(source: [u8; 16], port: u16, short: bool) {
        let (ip, block): (IpAddr, Vec<u8>) = if short {
            let ip = <[u8; 4]>::try_from(&source[..4]).unwrap();
            (ip.into(), [&ip[..], &[0; 4]].concat())
        } else {
            (source.into(), [&source[..], &[0; 16]].concat())
        };
        let (family, protocol) = if short { ("TCP4", 0x11) } else { ("TCP6", 0x21) };
        let line = format!("PROXY {family} {ip} {ip} {port} 443\r\n");
        prop_assert_eq!(parse(line.as_bytes()).unwrap().unwrap().source, Some((ip, port).into()));
        let block = [&block[..], &port.to_be_bytes(), &[1, 187]].concat();
        prop_assert_eq!(parse(&v2(0x21, protocol, &block)).unwrap().unwrap().source, Some((ip, port).into()));
    }
}

/// Two ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await;
    let (socket, _) = listener.accept().await.unwrap();
    (socket, peer.unwrap())
}

#[tokio::test]
async fn what_follows_a_header_stays_unread() {
    let additions = [&[203, 0, 113, 9, 10, 0, 0, 1, 0, 7, 0, 8][..], &[9; 3000]].concat();
    for bytes in [
        b"PROXY TCP4 203.0.113.9 10.0.0.1 7 8\r\n".to_vec(),
        v2(0x21, 0x11, &additions[..12]),
        v2(0x21, 0x11, &additions),
    ] {
        let (mut socket, mut peer) = pair().await;
        peer.write_all(&bytes).await.unwrap();
        peer.write_all(b"hello").await.unwrap();
        drop(peer);
        let source = receive(&mut socket).await.unwrap();
        assert_eq!(source, Some("203.0.113.9:7".parse().unwrap()));
        let mut rest = String::new();
        socket.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "hello");
    }
}

#[tokio::test]
async fn a_header_may_come_byte_by_byte() {
    let (mut socket, mut peer) = pair().await;
    peer.set_nodelay(true).unwrap();
    let slowly = async {
        for byte in b"PROXY UNKNOWN\r\nx" {
            peer.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (source, ()) = tokio::join!(receive(&mut socket), slowly);
    assert_eq!(source.unwrap(), None);
    assert_eq!(socket.read_u8().await.unwrap(), b'x');
}

#[tokio::test]
async fn an_end_before_the_end_is_an_error() {
    for (bytes, ended) in [(&b""[..], true), (b"PROXY TCP4", true), (b"GET", false)] {
        let (mut socket, mut peer) = pair().await;
        peer.write_all(bytes).await.unwrap();
        drop(peer);
        let error = receive(&mut socket).await.unwrap_err();
        assert_eq!(matches!(error, Error::Ended(_)), ended, "{error}");
    }
}
