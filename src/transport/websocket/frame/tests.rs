//! Framing rules row by row (client-protocol.md 3.2, gateway.md 8).

use proptest::prelude::*;

use super::*;

const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// A masked frame with any first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | u8::try_from(n).unwrap()),
        n @ 126..=65535 => {
            out.push(0xfe);
            out.extend(u16::try_from(n).unwrap().to_be_bytes());
        }
        n => {
            out.push(0xff);
            out.extend((n as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b));
    out
}

fn read(limit: usize, bytes: &[u8]) -> Result<Vec<Incoming>, Disconnect> {
    let mut reader = Reader::new(limit);
    reader.feed(bytes);
    std::iter::from_fn(|| reader.next().transpose()).collect()
}

fn message(bytes: &[u8]) -> Incoming {
    Incoming::Message(Bytes::copy_from_slice(bytes))
}

#[test]
fn text_and_binary_are_alike() {
    let bytes = [frame(0x81, b"one"), frame(0x82, b"two"), frame(0x81, b"")].concat();
    assert_eq!(
        read(10, &bytes).unwrap(),
        [message(b"one"), message(b"two"), message(b"")]
    );
}

#[test]
fn fragments_are_put_together_around_control_frames() {
    let bytes = [
        frame(0x01, b"{\"connect\":"),
        frame(0x89, b"abc"),
        frame(0x00, b"{},"),
        frame(0x80, b"\"id\":1}"),
        frame(0x8a, b"abc"),
    ]
    .concat();
    assert_eq!(
        read(100, &bytes).unwrap(),
        [
            Incoming::Ping(Bytes::from_static(b"abc")),
            message(b"{\"connect\":{},\"id\":1}"),
            Incoming::Pong
        ]
    );
}

#[test]
fn broken_framing_is_1002() {
    let unmasked = [0x81, 0x02, 0x7b, 0x7d].to_vec();
    let mut long_control = vec![0x89, 0xfe, 0, 126];
    long_control.extend(MASK);
    for bytes in [
        unmasked,
        frame(0xc1, b"{}"),
        frame(0xa1, b"{}"),
        frame(0x91, b"{}"),
        frame(0x83, b"x"),
        frame(0x8b, b"x"),
        frame(0x80, b"x"),
        frame(0x00, b"x"),
        frame(0x09, b"x"),
        long_control,
        [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
        frame(0x88, b"x"),
        frame(0x88, &1005_u16.to_be_bytes()),
        frame(0x88, &999_u16.to_be_bytes()),
        frame(0x88, &5000_u16.to_be_bytes()),
        frame(0x88, &[0x0f, 0xa2, 0xff]),
    ] {
        assert_eq!(read(100, &bytes).unwrap_err().code, 1002, "{bytes:02x?}");
    }
}

#[test]
fn a_false_length_is_refused_before_anything_is_kept() {
    let mut header = vec![0x81, 0xff];
    header.extend(u64::MAX.to_be_bytes());
    header.extend(MASK);
    let mut reader = Reader::new(65536);
    reader.feed(&header);
    assert_eq!(reader.next().unwrap_err(), MESSAGE_TOO_BIG);
    assert!(reader.held() < 64);
}

#[test]
fn the_limit_is_for_the_whole_message() {
    assert_eq!(read(4, &frame(0x81, b"1234")).unwrap(), [message(b"1234")]);
    assert_eq!(
        read(4, &frame(0x81, b"12345")).unwrap_err(),
        MESSAGE_TOO_BIG
    );
    let parts = [frame(0x01, b"123"), frame(0x00, b""), frame(0x80, b"45")].concat();
    assert_eq!(read(4, &parts).unwrap_err(), MESSAGE_TOO_BIG);
    let parts = [frame(0x01, b"123"), frame(0x80, b"4")].concat();
    assert_eq!(read(4, &parts).unwrap(), [message(b"1234")]);
}

#[test]
fn closes_are_read() {
    assert_eq!(read(9, &frame(0x88, b"")).unwrap(), [Incoming::Close(None)]);
    assert_eq!(
        read(9, &frame(0x88, b"\x0f\xa2bye")).unwrap(),
        [Incoming::Close(Some(4002))]
    );
}

#[test]
fn memory_is_given_back() {
    let mut reader = Reader::new(65536);
    let large = frame(0x81, &[7; 60_000]);
    for chunk in large.chunks(4096) {
        assert_eq!(reader.next().unwrap(), None);
        reader.feed(chunk);
    }
    assert!(matches!(reader.next().unwrap(), Some(Incoming::Message(m)) if m.len() == 60_000));
    assert_eq!(reader.held(), 0);
}

#[test]
fn after_our_close_only_the_close_of_the_peer_counts() {
    let bytes = [
        frame(0x81, &[b'x'; 70_000]),
        frame(0x89, b"p"),
        frame(0x88, b""),
    ]
    .concat();
    let mut discard = Discard::default();
    let end = bytes.len() - 5;
    for byte in &bytes[..end] {
        assert!(!discard.feed(std::slice::from_ref(byte)));
    }
    assert!(discard.feed(&bytes[end..]));
    let mut lost = Discard::default();
    assert!(!lost.feed(&[0x83, 0x00]));
    assert!(!lost.feed(&frame(0x88, b"")));
}

#[test]
fn close_frames_carry_what_they_can() {
    assert_eq!(
        close_frame(3001, "shutdown").unwrap(),
        &b"\x88\x0a\x0b\xb9shutdown"[..]
    );
    assert_eq!(close_frame(4001, &"r".repeat(123)).unwrap().len(), 127);
    assert_eq!(close_frame(0, "x").unwrap(), &b"\x88\x03\0\0x"[..]);
    for code in [1005, 1006, 1015, 5000, 70_000] {
        assert_eq!(close_frame(code, ""), None);
    }
}

proptest! {
    /// Any bytes in any pieces: no panic, and never more held than limit and one piece.
    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>, size in 1_usize..64) {
        let mut reader = Reader::new(100);
        'all: for chunk in bytes.chunks(size) {
            reader.feed(chunk);
            loop {
                match reader.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'all,
                }
            }
            prop_assert!(reader.held() <= 4 * (100 + 14 + 64));
        }
    }

    /// The pieces in which a message arrives play no part.
    #[test]
    fn pieces_play_no_part(payload in proptest::collection::vec(any::<u8>(), 0..400), size in 1_usize..64) {
        let mut reader = Reader::new(400);
        let mut seen = Vec::new();
        for chunk in frame(0x82, &payload).chunks(size) {
            reader.feed(chunk);
            while let Some(incoming) = reader.next().unwrap() {
                seen.push(incoming);
            }
        }
        prop_assert_eq!(seen, [message(&payload)]);
    }
}
