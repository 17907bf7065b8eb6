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

fn reader(limit: usize) -> Reader {
    Reader::new(Limits {
        message: limit,
        inflated: None,
    })
}

fn all(mut reader: Reader, bytes: &[u8]) -> Result<Vec<Incoming>, Disconnect> {
    reader.feed(bytes);
    std::iter::from_fn(|| reader.next().transpose()).collect()
}

fn read(limit: usize, bytes: &[u8]) -> Result<Vec<Incoming>, Disconnect> {
    all(reader(limit), bytes)
}

fn text(bytes: &[u8]) -> Incoming {
    Incoming::Message(Bytes::copy_from_slice(bytes), Kind::Text)
}

fn binary(bytes: &[u8]) -> Incoming {
    Incoming::Message(Bytes::copy_from_slice(bytes), Kind::Binary)
}

#[test]
fn text_and_binary_are_told_apart_and_treated_alike() {
    let bytes = [frame(0x81, b"one"), frame(0x82, b"two"), frame(0x81, b"")].concat();
    assert_eq!(
        read(10, &bytes).unwrap(),
        [text(b"one"), binary(b"two"), text(b"")]
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
            text(b"{\"connect\":{},\"id\":1}"),
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
    let mut reader = self::reader(65536);
    reader.feed(&header);
    assert_eq!(reader.next().unwrap_err(), MESSAGE_TOO_BIG);
    assert!(reader.held() < 64);
}

#[test]
fn the_limit_is_for_the_whole_message() {
    assert_eq!(read(4, &frame(0x81, b"1234")).unwrap(), [text(b"1234")]);
    assert_eq!(
        read(4, &frame(0x81, b"12345")).unwrap_err(),
        MESSAGE_TOO_BIG
    );
    let parts = [frame(0x01, b"123"), frame(0x00, b""), frame(0x80, b"45")].concat();
    assert_eq!(read(4, &parts).unwrap_err(), MESSAGE_TOO_BIG);
    let parts = [frame(0x01, b"123"), frame(0x80, b"4")].concat();
    assert_eq!(read(4, &parts).unwrap(), [text(b"1234")]);
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
    let mut reader = self::reader(65536);
    let large = frame(0x81, &[7; 60_000]);
    for chunk in large.chunks(4096) {
        assert_eq!(reader.next().unwrap(), None);
        reader.feed(chunk);
    }
    assert!(matches!(reader.next().unwrap(), Some(Incoming::Message(m, _)) if m.len() == 60_000));
    assert_eq!(reader.held(), 0);
}

/// What a client makes of a message: raw deflate without the end of its flush.
fn deflate(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 1024);
    let mut stream = flate2::Compress::new(flate2::Compression::best(), false);
    stream
        .compress_vec(message, &mut out, flate2::FlushCompress::Sync)
        .unwrap();
    assert!(out.len() < out.capacity() && stream.total_in() == message.len() as u64);
    out.truncate(out.len() - 4);
    out
}

fn inflating(message: usize, inflated: usize) -> Reader {
    Reader::new(Limits {
        message,
        inflated: Some(inflated),
    })
}

#[test]
fn compressed_messages_are_read_whole_or_in_parts() {
    let hello = deflate(b"Hello, hello, hello");
    let (head, tail) = hello.split_at(4);
    let bytes = [
        frame(0xc1, &hello),
        frame(0x42, head),
        frame(0x89, b"p"),
        frame(0x00, b""),
        frame(0x80, tail),
        frame(0x81, b"plain"),
        frame(0xc1, &[0]),
    ];
    assert_eq!(
        all(inflating(100, 100), &bytes.concat()).unwrap(),
        [
            text(b"Hello, hello, hello"),
            Incoming::Ping(Bytes::from_static(b"p")),
            binary(b"Hello, hello, hello"),
            text(b"plain"),
            text(b""),
        ]
    );
}

/// RFC 7692 7.2.3: the examples of what may come.
#[test]
fn blocks_of_all_kinds_are_read() {
    for payload in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
    ] {
        let read = all(inflating(100, 5), &frame(0xc1, payload));
        assert_eq!(read.unwrap(), [text(b"Hello")], "{payload:02x?}");
    }
}

#[test]
fn the_bit_of_compression_is_for_first_frames_where_it_was_agreed_upon() {
    let hello = deflate(b"hello");
    assert_eq!(read(100, &frame(0xc1, &hello)).unwrap_err().code, 1002);
    for bytes in [
        frame(0xc9, b"x"),
        frame(0xc8, b"\x03\xe8"),
        frame(0xe1, &hello),
        [frame(0x41, &hello), frame(0xc0, b"")].concat(),
        [frame(0x01, b"a"), frame(0xc0, b"b")].concat(),
    ] {
        let error = all(inflating(100, 100), &bytes).unwrap_err();
        assert_eq!(error.code, 1002, "{bytes:02x?}");
    }
}

#[test]
fn broken_compression_is_1002() {
    let whole = deflate(&[b"one ".repeat(9), b"two ".repeat(9)].concat());
    for payload in [&[0xff; 30][..], b"", &whole[..whole.len() / 2], &[0x07]] {
        let error = all(inflating(100, 100), &frame(0xc1, payload)).unwrap_err();
        assert_eq!(error.code, 1002, "{payload:02x?}");
    }
}

#[test]
fn both_sizes_have_their_limit() {
    let (fits, exceeds) = (deflate(&[7; 5000]), deflate(&[7; 5001]));
    let read = |limit, payload: &[u8]| all(inflating(limit, 5000), &frame(0xc2, payload));
    assert_eq!(read(1000, &fits).unwrap(), [binary(&[7; 5000])]);
    assert_eq!(read(1000, &exceeds).unwrap_err(), MESSAGE_TOO_BIG);
    assert_eq!(read(fits.len() - 1, &fits).unwrap_err(), MESSAGE_TOO_BIG);
    // Without compression the ordinary limit counts.
    let plain = all(inflating(1000, 5000), &frame(0x82, &[7; 1001]));
    assert_eq!(plain.unwrap_err(), MESSAGE_TOO_BIG);
}

#[test]
fn a_bomb_is_never_held() {
    let bomb = deflate(&vec![0; 60 << 20]);
    assert!(bomb.len() < 65_536, "{}", bomb.len());
    let bytes = frame(0xc2, &bomb);
    let mut reader = inflating(65_536, 655_360);
    let used = allocation_counter::measure(|| {
        reader.feed(&bytes);
        assert_eq!(reader.next().unwrap_err(), MESSAGE_TOO_BIG);
    });
    // Growing, the message is for a moment there twice; the inflater has tables of its own.
    assert!(used.bytes_max < 2 * 655_360 + 65_536, "{}", used.bytes_max);
    assert_eq!(used.bytes_current, 0);
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
    // Nor does what is illegal hide it, be it an unknown opcode, a missing mask or the close frame itself.
    for before in [&[0x83, 0x00][..], &[0xff, 0x82, 0, 0, 0, 0, 1, 2]] {
        let mut discard = Discard::default();
        assert!(!discard.feed(before));
        assert!(discard.feed(&frame(0x88, b"x")));
    }
    let mut reader = self::reader(100);
    reader.feed(&frame(0x88, b"x"));
    assert_eq!(reader.next().unwrap_err().code, 1002);
    assert!(Discard::default().feed(&reader.take_rest()));
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
        let mut reader = self::reader(100);
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

    /// Any compressed bytes: no panic, and nothing above the limit.
    #[test]
    fn any_compressed_bytes_are_survived(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
        match all(inflating(400, 300), &frame(0xc2, &payload)) {
            Ok(seen) => {
                let small = matches!(&seen[..], [Incoming::Message(m, Kind::Binary)] if m.len() <= 300);
                prop_assert!(small);
            }
            Err(why) => prop_assert!(matches!(why.code, 1002 | 1009)),
        }
    }

    /// What was compressed comes out of it as it was.
    #[test]
    fn compression_is_undone(payload: Vec<u8>, times in 1_usize..9) {
        let payload = payload.repeat(times);
        let read = all(inflating(65_536, payload.len()), &frame(0xc2, &deflate(&payload)));
        prop_assert_eq!(read.unwrap(), [binary(&payload)]);
    }

    /// The pieces in which a message arrives play no part.
    #[test]
    fn pieces_play_no_part(payload in proptest::collection::vec(any::<u8>(), 0..400), size in 1_usize..64) {
        let mut reader = self::reader(400);
        let mut seen = Vec::new();
        for chunk in frame(0x82, &payload).chunks(size) {
            reader.feed(chunk);
            while let Some(incoming) = reader.next().unwrap() {
                seen.push(incoming);
            }
        }
        prop_assert_eq!(seen, [binary(&payload)]);
    }
}
