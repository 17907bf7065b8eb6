//! Decimal numbers of any length, compared without allocation.
//!
//! A sign or none, digits, and maybe a point with digits behind it. Nothing else is a number here: no exponent, no blank.

use std::cmp::Ordering;

/// A number, normalised: equal numbers are equal values.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Decimal {
    negative: bool,
    /// Digits before the point, without zeros in front.
    whole: Box<str>,
    /// Digits behind it, without zeros at the end.
    fraction: Box<str>,
}

/// The same, borrowed from the text.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

impl Decimal {
    /// The number in this text, if it is one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts = parts(text)?;
        Some(Self {
            negative: parts.negative,
            whole: parts.whole.into(),
            fraction: parts.fraction.into(),
        })
    }
}

/// How the number in this text stands to another; `None` when it is no number.
pub(super) fn compare(text: &str, other: &Decimal) -> Option<Ordering> {
    let left = parts(text)?;
    let right = Parts {
        negative: other.negative,
        whole: &other.whole,
        fraction: &other.fraction,
    };
    Some(match (left.negative, right.negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => magnitude(left, right),
        (true, true) => magnitude(right, left),
    })
}

/// Without zeros in front a longer number is a larger one; fractions compare digit by digit from the left.
fn magnitude(left: Parts<'_>, right: Parts<'_>) -> Ordering {
    left.whole
        .len()
        .cmp(&right.whole.len())
        .then_with(|| left.whole.cmp(right.whole))
        .then_with(|| left.fraction.cmp(right.fraction))
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (unsigned, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let zero = whole.is_empty() && fraction.is_empty();
    Some(Parts {
        negative: text.starts_with('-') && !zero,
        whole,
        fraction,
    })
}
