//! The environment as a value (config.md 3), and the file `.env`. The only reader of the process environment.

use std::{collections::BTreeMap, fmt};

/// Prefix of Centripetal's own variables; wins over the compatible one.
pub const OWN_PREFIX: &str = "CENTRIPETAL_";
/// Prefix of the compatible server's variables.
pub const COMPATIBLE_PREFIX: &str = "CENTRIFUGO_";

/// Variables by name.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// What the process was given. Names and values that are no UTF-8 are left out.
    #[must_use]
    pub fn process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        )
    }

    /// The value, unless it is empty: an empty variable counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// Names that begin with one of the two prefixes.
    pub fn own_names(&self) -> impl Iterator<Item = &str> {
        self.0
            .keys()
            .map(String::as_str)
            .filter(|name| name.starts_with(OWN_PREFIX) || name.starts_with(COMPATIBLE_PREFIX))
    }

    /// Variables whose names begin like this.
    pub(super) fn beginning(self, prefix: &str) -> impl Iterator<Item = (String, String)> {
        let variables = self.0.into_iter();
        variables.filter(move |(name, _)| name.starts_with(prefix))
    }

    /// Adds the lines of a `.env` file; variables that exist already stay. Lines that are no assignment are skipped.
    #[must_use]
    pub fn with_lines(mut self, text: &str) -> Self {
        for (name, value) in text.lines().filter_map(assignment) {
            self.0.entry(name).or_insert(value);
        }
        self
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Environment {
    /// Names only: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// `KEY=value`, `export KEY=value`, `KEY="value"`, `KEY='value'`; a note begins with `#`.
fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let plain = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
    plain.then(|| (name.to_owned(), unquoted(value.trim())))
}

fn unquoted(value: &str) -> String {
    if let Some((inside, _)) = value
        .strip_prefix('\'')
        .and_then(|rest| rest.split_once('\''))
    {
        return inside.to_owned();
    }
    if let Some(rest) = value.strip_prefix('"') {
        let mut text = String::new();
        let mut escaped = false;
        for c in rest.chars() {
            match (escaped, c) {
                (false, '"') => return text,
                (false, '\\') => escaped = true,
                (true, 'n') => {
                    text.push('\n');
                    escaped = false;
                }
                (_, c) => {
                    text.push(c);
                    escaped = false;
                }
            }
        }
    }
    value
        .split_once(" #")
        .map_or(value, |(before, _)| before.trim_end())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_file_fills_gaps_only() {
        let text = "A=1\n# note\nexport B=\"p q\"\nC='x # y'\nD=plain # note\nE=\"a\\nb\"\nnot an assignment\n=x\n";
        let environment = environment(&[("A", "kept")]).with_lines(text);
        for (name, value) in [
            ("A", "kept"),
            ("B", "p q"),
            ("C", "x # y"),
            ("D", "plain"),
            ("E", "a\nb"),
        ] {
            assert_eq!(environment.get(name), Some(value), "{name}");
        }
        assert_eq!(environment.0.len(), 5);
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        assert_eq!(environment(&[("A", "")]).get("A"), None);
    }

    #[test]
    fn debug_shows_no_values() {
        let shown = format!("{:?}", environment(&[("CENTRIPETAL_X", "hidden")]));
        assert!(shown.contains("CENTRIPETAL_X") && !shown.contains("hidden"));
    }
}
