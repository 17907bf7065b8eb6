//! The pattern language of `channels` (server-api.md 8.13): `*`, `?`, `[abc]`, `[a-z]`, `[!a-z]`, `{a,b}` and `\`.
//!
//! Characters are Unicode characters and none of them is a separator, which is where path globs differ: those match
//! bytes and treat `**/` in a way of their own. A pattern becomes a regular expression, so matching takes linear time.

use std::iter::Peekable;

use regex::Regex;

/// Longest pattern, bytes: parsing takes many times its length.
const LONGEST: usize = 64 * 1024;

/// Why a pattern is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A class or an alternative is not closed, or closed without being opened.
    #[error("unbalanced bracket in pattern")]
    Unbalanced,
    /// A class without members, or a range that ends before it begins.
    #[error("malformed class in pattern")]
    Class,
    /// A backslash at the end.
    #[error("nothing to escape at the end of pattern")]
    Escape,
    /// Too long, or too large for the limits of the expression compiler.
    #[error("pattern is too large")]
    Size,
}

/// A compiled pattern. The empty one matches everything.
#[derive(Debug)]
pub(super) struct Pattern(Option<Regex>);

impl Pattern {
    pub(super) fn new(pattern: &str) -> Result<Self, Error> {
        if pattern.is_empty() {
            return Ok(Self(None));
        }
        if pattern.len() > LONGEST {
            return Err(Error::Size);
        }
        let expression = translate(pattern)?;
        let regex = Regex::new(&expression).map_err(|_too_large| Error::Size)?;
        Ok(Self(Some(regex)))
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|regex| regex.is_match(name))
    }
}

fn translate(pattern: &str) -> Result<String, Error> {
    let mut out = String::from("(?s)^");
    let mut chars = pattern.chars().peekable();
    let mut depth = 0_usize;
    while let Some(next) = chars.next() {
        match next {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => class(&mut chars, &mut out)?,
            '{' => {
                depth += 1;
                out.push_str("(?:");
            }
            '}' => {
                depth = depth.checked_sub(1).ok_or(Error::Unbalanced)?;
                out.push(')');
            }
            ',' if depth > 0 => out.push('|'),
            '\\' => literal(chars.next().ok_or(Error::Escape)?, &mut out),
            other => literal(other, &mut out),
        }
    }
    if depth > 0 {
        return Err(Error::Unbalanced);
    }
    out.push('$');
    Ok(out)
}

/// A class, its opening bracket being read.
fn class(chars: &mut Peekable<impl Iterator<Item = char>>, out: &mut String) -> Result<(), Error> {
    out.push('[');
    if chars.next_if_eq(&'!').is_some() {
        out.push('^');
    }
    let mut empty = true;
    loop {
        let first = match chars.next().ok_or(Error::Unbalanced)? {
            ']' if empty => return Err(Error::Class),
            ']' => break,
            other => member(other, chars)?,
        };
        empty = false;
        literal(first, out);
        if chars.next_if_eq(&'-').is_some() {
            match chars.next().ok_or(Error::Unbalanced)? {
                // A hyphen at the end stands for itself.
                ']' => {
                    out.push_str(r"\-");
                    break;
                }
                other => {
                    let last = member(other, chars)?;
                    if last < first {
                        return Err(Error::Class);
                    }
                    out.push('-');
                    literal(last, out);
                }
            }
        }
    }
    out.push(']');
    Ok(())
}

fn member(first: char, rest: &mut impl Iterator<Item = char>) -> Result<char, Error> {
    if first == '\\' {
        return rest.next().ok_or(Error::Escape);
    }
    Ok(first)
}

fn literal(character: char, out: &mut String) {
    // Other characters have no meaning of their own, but some get one after a backslash.
    if character.is_ascii_punctuation() && !matches!(character, '<' | '>') {
        out.push('\\');
    }
    out.push(character);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(name)
    }

    #[test]
    fn wildcards_span_everything() {
        for (pattern, name, expected) in [
            ("", "anything", true),
            ("*", "chat:1/a", true),
            ("chan*", "chan/1", true),
            ("chan*", "achan", false),
            ("**/x", "x", false),
            ("a**b", "a:/b", true),
            ("chan?", "chan2", true),
            ("chan?", "chan/1", false),
            ("кана?", "канал", true),
            ("кан?", "канал", false),
            ("a?b", "a\nb", true),
            ("a.c", "abc", false),
            ("(a|b)+$^", "(a|b)+$^", true),
            ("x#1,2", "x#1,2", true),
            ("$a:*", "$a:b", true),
            ("<a>", "<a>", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn classes_alternatives_and_escapes() {
        for (pattern, name, expected) in [
            ("chan/[0-9]", "chan/1", true),
            ("chan/[!1]", "chan/1", false),
            ("chan/[!1]", "chan/2", true),
            ("[а-я]1", "л1", true),
            ("[a-]", "-", true),
            ("[a\\]b]", "]", true),
            ("[a&&b]", "&", true),
            ("[^a]", "^", true),
            ("{chan2,zzz}", "chan2", true),
            ("{chan2,zzz}", "zzz1", false),
            ("{a,{b,c}d}e", "cde", true),
            ("{a,}b", "b", true),
            ("{*:1,?}", "chat:1", true),
            ("a]", "a]", true),
            ("chan\\2", "chan2", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\\\", "\\", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in [
            "[", "[a", "[]", "[!]", "[b-a]", "{a", "a}", "a\\", "[\\", "[a-",
        ] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
        let longest = "a".repeat(LONGEST);
        assert!(Pattern::new(&longest).is_ok());
        assert!(matches!(
            Pattern::new(&format!("{longest}a")),
            Err(Error::Size)
        ));
    }
}
