//! Just enough of Redis's protocol, generation 2 and 3, to find where one value ends and which of them are PUB/SUB messages.

/// What a value is to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A published message.
    Message,
    /// The answer to a subscription: this connection is used for PUB/SUB.
    Subscribed,
    /// Anything else.
    Other,
}

/// Bytes of the first value, when it is there as a whole.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut open) = (0, 1_usize);
    while open > 0 {
        let (kind, number, next) = header(bytes, at)?;
        (at, open) = (next, open - 1);
        match kind {
            b'$' | b'=' | b'!' if number >= 0 => {
                at += usize::try_from(number).ok()? + 2;
            }
            b'*' | b'~' | b'>' => open += usize::try_from(number).unwrap_or(0),
            b'%' => open += 2 * usize::try_from(number).unwrap_or(0),
            // Attributes precede what they belong to.
            b'|' => open += 2 * usize::try_from(number).unwrap_or(0) + 1,
            _ => {}
        }
        if at > bytes.len() {
            return None;
        }
    }
    Some(at)
}

/// What a whole value is.
pub(super) fn kind(value: &[u8]) -> Kind {
    let Some((b'*' | b'>', _, at)) = header(value, 0) else {
        return Kind::Other;
    };
    let Some((b'$', length, at)) = header(value, at) else {
        return Kind::Other;
    };
    let end = at + usize::try_from(length).unwrap_or(0);
    match value.get(at..end) {
        Some(b"message" | b"smessage" | b"pmessage") => Kind::Message,
        Some(b"subscribe" | b"ssubscribe" | b"psubscribe") => Kind::Subscribed,
        _ => Kind::Other,
    }
}

/// Type, number and end of the line that begins here.
fn header(bytes: &[u8], at: usize) -> Option<(u8, i64, usize)> {
    let rest = bytes.get(at..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let number = std::str::from_utf8(rest.get(1..end)?).ok()?.parse();
    Some((*rest.first()?, number.unwrap_or(0), at + end + 2))
}

#[test]
fn values_end_where_they_end() {
    let values: [&[u8]; 9] = [
        b"+OK\r\n",
        b":12\r\n",
        b"$5\r\na\r\nbc\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
        b"%1\r\n+a\r\n$0\r\n\r\n",
        b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\n\r\n\r\n",
    ];
    for value in values {
        for cut in 0..value.len() {
            assert_eq!(length(&value[..cut]), None, "{cut} of {value:?}");
        }
        let more = [value, b"+OK\r\n"].concat();
        assert_eq!(length(&more), Some(value.len()), "{value:?}");
    }
}

#[test]
fn messages_are_told_from_answers() {
    let cases: [(&[u8], Kind); 5] = [
        (
            b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n",
            Kind::Message,
        ),
        (
            b">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$1\r\nx\r\n",
            Kind::Message,
        ),
        (
            b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
            Kind::Subscribed,
        ),
        (b"*2\r\n$4\r\nmess\r\n$1\r\nc\r\n", Kind::Other),
        (b"+message\r\n", Kind::Other),
    ];
    for (value, expected) in cases {
        assert_eq!(kind(value), expected, "{value:?}");
    }
}
