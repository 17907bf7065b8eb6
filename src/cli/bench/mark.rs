//! What a measured publication carries: run, channel, number and time of sending, as text inside a JSON payload.
//!
//! The mark survives every encoding unchanged, so that a receiver finds it in a frame without decoding the frame.

use std::fmt::Write as _;

use memchr::memmem::Finder;

/// Digits of run, channel, number and time.
const DIGITS: [usize; 4] = [8, 6, 10, 16];
/// Bytes of a mark without its beginning: digits and the dashes between run, channel, number and time.
const REST: usize = DIGITS[1] + DIGITS[2] + DIGITS[3] + 2;
/// Payload around the mark and its padding.
const FRAME: usize = r#"{"bench":"-------","pad":""}"#.len();

/// One publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Which channel of the run.
    pub(super) channel: usize,
    /// Which publication of the channel, from 0.
    pub(super) number: u64,
    /// When it was sent: nanoseconds since the run began.
    pub(super) sent: u64,
}

/// Writes and finds marks of one run.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    begin: String,
    finder: Finder<'static>,
    padding: String,
}

impl Marks {
    /// Marks of a run whose payloads have this many bytes, if a mark needs no more.
    pub(super) fn new(run: u32, size: usize) -> Self {
        let begin = format!("\"bench\":\"{run:08x}-");
        let marked = FRAME - 4 + DIGITS.iter().sum::<usize>();
        Self {
            finder: Finder::new(begin.as_bytes()).into_owned(),
            begin,
            padding: "x".repeat(size.saturating_sub(marked)),
        }
    }

    /// A payload: a JSON object.
    pub(super) fn payload(&self, mark: Mark) -> String {
        let Mark {
            channel,
            number,
            sent,
        } = mark;
        let mut payload = String::with_capacity(FRAME + REST + self.padding.len() + 16);
        payload.push('{');
        payload.push_str(&self.begin);
        // Writing into a String cannot fail.
        write!(
            payload,
            "{channel:06x}-{number:010x}-{sent:016x}\",\"pad\":\""
        )
        .unwrap_or_default();
        payload.push_str(&self.padding);
        payload.push_str("\"}");
        payload
    }

    /// All marks of this run in a message, in their order.
    pub(super) fn find<'m>(&'m self, message: &'m [u8]) -> impl Iterator<Item = Mark> + 'm {
        let places = self.finder.find_iter(message);
        places.filter_map(|place| read(message.get(place + self.begin.len()..)?))
    }
}

fn read(text: &[u8]) -> Option<Mark> {
    let text = std::str::from_utf8(text.get(..REST)?).ok()?;
    let mut parts = text.split('-');
    let mut next = || u64::from_str_radix(parts.next()?, 16).ok();
    Some(Mark {
        channel: usize::try_from(next()?).ok()?,
        number: next()?,
        sent: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark {
        channel: 3,
        number: 77,
        sent: 123_456_789,
    };

    #[test]
    fn a_mark_is_found_in_any_frame_and_only_of_its_run() {
        let marks = Marks::new(7, 120);
        let payload = marks.payload(MARK);
        assert_eq!(payload.len(), 120);
        assert!(serde_json::from_str::<serde_json::Value>(&payload).is_ok());
        let next = marks.payload(Mark { number: 78, ..MARK });
        let frame = format!("\u{1}\u{2}{payload}\n{{\"push\":{next}}}");
        let found: Vec<_> = marks.find(frame.as_bytes()).collect();
        assert_eq!(found, [MARK, Mark { number: 78, ..MARK }]);
        assert_eq!(Marks::new(8, 120).find(frame.as_bytes()).count(), 0);
    }

    #[test]
    fn small_payloads_have_no_padding_and_cut_ones_no_mark() {
        let marks = Marks::new(7, 0);
        let payload = marks.payload(MARK);
        assert_eq!(marks.find(payload.as_bytes()).next(), Some(MARK));
        assert_eq!(marks.find(&payload.as_bytes()[..40]).count(), 0);
    }
}
