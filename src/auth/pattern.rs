//! Regular expressions as operators write them: RE2 syntax, where `\d`, `\w`, `\s` and `\b` mean ASCII.
//!
//! Also decides whether a pattern may choose the address of a key set (tokens.md 6). Matches nothing by itself.

use std::collections::BTreeSet;

use regex::Regex;
use regex_syntax::ast::{
    AssertionKind, Ast, ClassPerl, ClassPerlKind, GroupKind, Span, Visitor, parse::Parser, visit,
};

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Not a regular expression.
    #[error("malformed regular expression")]
    Syntax(#[from] Box<regex_syntax::ast::Error>),
    /// Too large, or with something RE2 does not know either.
    #[error("regular expression cannot be compiled")]
    Compile(#[from] regex::Error),
}

/// Compiles a pattern with RE2's meaning of the shorthands.
///
/// # Errors
/// [`PatternError`] when it is not a regular expression.
pub fn compile(pattern: &str) -> Result<Regex, PatternError> {
    let ast = parse(pattern)?;
    let Ok(shorthands) = visit(&ast, Shorthands::default());
    let mut text = String::with_capacity(pattern.len());
    let mut copied = 0;
    for (span, replacement) in shorthands.found {
        text.push_str(&pattern[copied..span.start.offset]);
        text.push_str(replacement);
        copied = span.end.offset;
    }
    text.push_str(&pattern[copied..]);
    Ok(Regex::new(&text)?)
}

/// True when `pattern` may fill the placeholders `names` of an address: no character classes anywhere, and every group
/// named so is a finite list of words.
///
/// # Errors
/// [`PatternError`] when it is not a regular expression.
pub fn is_finite(pattern: &str, names: &BTreeSet<&str>) -> Result<bool, PatternError> {
    let ast = parse(pattern)?;
    let Ok(classes) = visit(&ast, Classes::default());
    Ok(!classes.found && groups_are_finite(&ast, names))
}

fn parse(pattern: &str) -> Result<Ast, PatternError> {
    Parser::new()
        .parse(pattern)
        .map_err(|error| PatternError::Syntax(Box::new(error)))
}

fn groups_are_finite(ast: &Ast, names: &BTreeSet<&str>) -> bool {
    match ast {
        Ast::Group(group) => {
            let named = match &group.kind {
                GroupKind::CaptureName { name, .. } => names.contains(name.name.as_str()),
                GroupKind::CaptureIndex(_) | GroupKind::NonCapturing(_) => false,
            };
            (!named || words(&group.ast)) && groups_are_finite(&group.ast, names)
        }
        Ast::Concat(concat) => concat.asts.iter().all(|ast| groups_are_finite(ast, names)),
        Ast::Alternation(alternation) => alternation
            .asts
            .iter()
            .all(|ast| groups_are_finite(ast, names)),
        Ast::Repetition(repetition) => groups_are_finite(&repetition.ast, names),
        Ast::Empty(_)
        | Ast::Flags(_)
        | Ast::Literal(_)
        | Ast::Dot(_)
        | Ast::Assertion(_)
        | Ast::ClassUnicode(_)
        | Ast::ClassPerl(_)
        | Ast::ClassBracketed(_) => true,
    }
}

fn words(ast: &Ast) -> bool {
    match ast {
        Ast::Empty(_) | Ast::Literal(_) => true,
        Ast::Concat(concat) => concat.asts.iter().all(words),
        Ast::Alternation(alternation) => alternation.asts.iter().all(words),
        Ast::Group(group) => words(&group.ast),
        Ast::Flags(_)
        | Ast::Dot(_)
        | Ast::Assertion(_)
        | Ast::Repetition(_)
        | Ast::ClassUnicode(_)
        | Ast::ClassPerl(_)
        | Ast::ClassBracketed(_) => false,
    }
}

/// Places of the shorthands whose meaning differs, in the order of the pattern.
#[derive(Default)]
struct Shorthands {
    found: Vec<(Span, &'static str)>,
}

impl Shorthands {
    fn class(&mut self, class: &ClassPerl) {
        let replacement = match (&class.kind, class.negated) {
            (ClassPerlKind::Digit, false) => "[0-9]",
            (ClassPerlKind::Digit, true) => "[^0-9]",
            (ClassPerlKind::Space, false) => r"[\t\n\f\r\x20]",
            (ClassPerlKind::Space, true) => r"[^\t\n\f\r\x20]",
            (ClassPerlKind::Word, false) => "[0-9A-Za-z_]",
            (ClassPerlKind::Word, true) => "[^0-9A-Za-z_]",
        };
        self.found.push((class.span, replacement));
    }
}

impl Visitor for Shorthands {
    type Output = Self;
    type Err = std::convert::Infallible;

    fn finish(self) -> Result<Self, Self::Err> {
        Ok(self)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        match ast {
            Ast::ClassPerl(class) => self.class(class),
            Ast::Assertion(assertion) => match assertion.kind {
                AssertionKind::WordBoundary => self.found.push((assertion.span, r"(?-u:\b)")),
                AssertionKind::NotWordBoundary => self.found.push((assertion.span, r"(?-u:\B)")),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn visit_class_set_item_pre(
        &mut self,
        item: &regex_syntax::ast::ClassSetItem,
    ) -> Result<(), Self::Err> {
        if let regex_syntax::ast::ClassSetItem::Perl(class) = item {
            self.class(class);
        }
        Ok(())
    }
}

/// Whether there is any character class.
#[derive(Default)]
struct Classes {
    found: bool,
}

impl Visitor for Classes {
    type Output = Self;
    type Err = std::convert::Infallible;

    fn finish(self) -> Result<Self, Self::Err> {
        Ok(self)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        self.found |= matches!(
            ast,
            Ast::ClassPerl(_) | Ast::ClassUnicode(_) | Ast::ClassBracketed(_)
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern).unwrap().is_match(text)
    }

    #[test]
    fn shorthands_mean_ascii() {
        assert!(matches(r"^\w+\d$", "ab1"));
        assert!(!matches(r"^\w+$", "é"));
        assert!(!matches(r"^\d$", "٣"));
        assert!(!matches(r"^\s$", "\u{a0}"));
        assert!(matches(r"^[\w-]+\D\S$", "a-b.é"));
        assert!(!matches(r"^[^\w]$", "a"));
        assert!(matches(r"^[^\w]$", "é"));
        assert!(matches(r"é\bx", "éx"), "é is not a word character");
        assert!(matches(r"^a.c$", "aéc"));
    }

    #[test]
    fn matching_is_a_search() {
        assert!(matches("b", "abc"));
        assert!(compile("(").is_err());
        assert!(compile(r"\pZZ{").is_err());
    }

    #[test]
    fn finite_patterns_are_lists_of_words() {
        let names = BTreeSet::from(["tenant"]);
        let finite = |pattern: &str| is_finite(pattern, &names).unwrap();
        assert!(finite("^https://(?P<tenant>one|two)$"));
        assert!(finite("(?P<tenant>one|t(wo|en))"));
        assert!(
            finite("(?P<other>.*)/(?P<tenant>one)"),
            "the other group fills nothing"
        );
        for unsafe_pattern in [
            "(?P<tenant>.*)",
            "(?P<tenant>a+)",
            "(?P<tenant>ab?)",
            "(?P<tenant>a{2})",
            "(?P<tenant>[ab])",
            r"(?P<tenant>\d)",
            r"(?P<tenant>one)\d",
            r"(?P<tenant>one)\pL",
            "(?P<tenant>one)[0-9]",
            "((?P<tenant>a.))",
        ] {
            assert!(!finite(unsafe_pattern), "{unsafe_pattern}");
        }
    }
}
