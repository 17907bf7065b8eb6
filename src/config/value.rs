//! Text forms of single values (config.md 3, 4): booleans, whole numbers, durations. Knows no keys and no sources.

const NANOS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Why a text is not a value. The text itself is added by the caller, unless it is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// None of the words for yes and no.
    #[error("not a boolean; use true or false")]
    Bool,
    /// No whole number.
    #[error("not a whole number")]
    Int,
    /// A number beyond the range.
    #[error("number out of range")]
    Range,
    /// No duration.
    #[error("not a duration; use a number and a unit, such as 300ms, 25s or 1h30m")]
    Duration,
    /// A number alone.
    #[error("missing unit in duration; use ns, us, ms, s, m or h")]
    Unit,
    /// A unit that does not exist.
    #[error("unknown unit in duration; use ns, us, ms, s, m or h")]
    UnknownUnit,
}

/// `1 t T TRUE true True` and their opposites.
///
/// # Errors
/// Any other word.
pub(super) fn parse_bool(text: &str) -> Result<bool, Malformed> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Malformed::Bool),
    }
}

/// A whole number: decimal, or with prefix `0x`, `0o`, `0b`; a leading zero means octal; `_` between digits.
///
/// # Errors
/// Anything else, and numbers beyond 64 bits.
pub(super) fn parse_int(text: &str) -> Result<i64, Malformed> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, rest) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let prefixed = rest.len() < lower.len();
    let plain = without_separators(rest, prefixed).ok_or(Malformed::Int)?;
    if plain.is_empty() || !plain.chars().all(|c| c.is_digit(radix)) {
        return Err(Malformed::Int);
    }
    // All are digits, so what remains to fail is the size.
    let size = i128::from_str_radix(&plain, radix).map_err(|_too_large| Malformed::Range)?;
    i64::try_from(if negative { -size } else { size }).map_err(|_too_large| Malformed::Range)
}

/// Removes `_`, which may stand between digits and behind a prefix.
fn without_separators(digits: &str, prefixed: bool) -> Option<String> {
    let misplaced =
        digits.ends_with('_') || digits.contains("__") || (digits.starts_with('_') && !prefixed);
    (!misplaced).then(|| digits.replace('_', ""))
}

/// A duration in nanoseconds, such as `1h30m`, `-1s`, `1.5ms`, `0`.
///
/// # Errors
/// No number, a missing or unknown unit, or more than 64 bits of nanoseconds.
pub(super) fn parse_duration(text: &str) -> Result<i64, Malformed> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(Malformed::Duration);
    }
    let mut total = 0i128;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(end);
        let end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        total = total.saturating_add(nanos(number, unit)?);
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_too_large| Malformed::Range)
}

/// One number with its unit. Whole part and fraction are kept apart, so that whole numbers stay exact.
#[expect(
    clippy::cast_possible_truncation,
    reason = "factors are whole and small, the fraction is below one unit"
)]
fn nanos(number: &str, unit: &str) -> Result<i128, Malformed> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(Malformed::Duration);
    }
    let factor = NANOS
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| *factor)
        .ok_or(if unit.is_empty() {
            Malformed::Unit
        } else {
            Malformed::UnknownUnit
        })?;
    let units: i128 = match whole {
        "" => 0,
        digits => digits.parse().map_err(|_too_large| Malformed::Range)?,
    };
    let part: f64 = match fraction {
        "" => 0.0,
        digits => format!("0.{digits}")
            .parse()
            .map_err(|_not_a_number| Malformed::Duration)?,
    };
    units
        .checked_mul(factor as i128)
        .map(|exact| exact + (part * factor) as i128)
        .ok_or(Malformed::Range)
}

/// The shortest usual text of a duration: `1m30s`, `1.5s`, `500µs`, `0s`.
#[must_use]
pub(super) fn format_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let size = nanos.unsigned_abs();
    let text = match size {
        0..1_000 => format!("{size}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(size, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(size, 1_000_000)),
        _ => {
            let minute = 60_000_000_000;
            let (hours, minutes) = (size / (60 * minute), size / minute % 60);
            let seconds = decimal(size % minute, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}s"),
                (0, _) => format!("{minutes}m{seconds}s"),
                _ => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

/// `size / unit` with as many digits behind the point as it takes.
fn decimal(size: u64, unit: u64) -> String {
    let digits = unit.ilog10() as usize;
    let fraction = format!("{:0digits$}", size % unit);
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        (size / unit).to_string()
    } else {
        format!("{}.{fraction}", size / unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_have_six_words_each() {
        for yes in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(parse_bool(yes), Ok(true));
        }
        for no in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(parse_bool(no), Ok(false));
        }
        for other in ["yes", "on", "", "tRUE", " true"] {
            assert_eq!(parse_bool(other), Err(Malformed::Bool), "{other}");
        }
    }

    #[test]
    fn numbers_have_prefixes_and_separators() {
        for (text, number) in [
            ("0", 0),
            ("8000", 8000),
            ("-5", -5),
            ("0x10", 16),
            ("0b11", 3),
            ("0o17", 15),
            ("017", 15),
            ("1_000", 1000),
            ("0x_ff", 255),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_int(text), Ok(number), "{text}");
        }
        for text in [
            "", "ten", "1.5", "0x", "_1", "1_", "1__0", "08", "--1", "0xg",
        ] {
            assert_eq!(parse_int(text), Err(Malformed::Int), "{text}");
        }
        for text in [
            "9223372036854775808",
            "99999999999999999999999999999999999999999",
        ] {
            assert_eq!(parse_int(text), Err(Malformed::Range), "{text}");
        }
    }

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("25s", 25_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("-1s", -1_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("500us", 500_000),
            ("500µs", 500_000),
            ("1h0m0s", 3_600_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
        }
        for (text, error) in [
            ("", Malformed::Duration),
            ("x", Malformed::Duration),
            ("-", Malformed::Duration),
            ("25", Malformed::Unit),
            ("1m30", Malformed::Unit),
            ("1d", Malformed::UnknownUnit),
            ("1 s", Malformed::UnknownUnit),
            ("1.2.3s", Malformed::Duration),
            ("9999999999h", Malformed::Range),
        ] {
            assert_eq!(parse_duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn durations_are_written_the_usual_way_and_read_back() {
        for text in [
            "0s", "25ns", "500µs", "1.5ms", "1.5s", "8s", "1m0s", "1m30s", "2h0m0s", "720h0m0s",
            "-1s", "1h0m0.5s",
        ] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }
}
