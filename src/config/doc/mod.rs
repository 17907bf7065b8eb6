//! Documents made from the schema: the reference as Markdown and as a page, and the example file.

use super::{
    resolve,
    schema::{self, Field, Flag, Gate, Kind, Tier},
    tree,
    value::format_duration,
};

mod example;
mod html;
mod markdown;

pub use example::example;
pub use html::html;
pub use markdown::markdown;

/// One option as documents show it.
#[derive(Debug)]
struct Row {
    key: String,
    variable: Option<String>,
    field: &'static Field,
}

impl Row {
    /// Depth below the top level.
    fn is_section(&self) -> bool {
        matches!(self.field.kind, Kind::Section(_))
    }

    fn default(&self) -> String {
        match self.field.kind {
            Kind::Bool(yes) => yes.to_string(),
            Kind::Int(number, _) => number.to_string(),
            Kind::Duration(nanos, _) => format_duration(nanos),
            Kind::Text(text, _) => text.to_owned(),
            Kind::Texts(texts) => texts.join(", "),
            Kind::Map => "{}".to_owned(),
            Kind::Objects(_) | Kind::Named(_) => "[]".to_owned(),
            Kind::Section(_) => String::new(),
        }
    }

    /// Flags, and what this version lacks.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match self.field.flag {
            Flag::Absent => {}
            Flag::Long => notes.push(format!("Flag `--{}`.", self.key)),
            Flag::Short(letter) => notes.push(format!("Flag `-{letter}`, `--{}`.", self.key)),
        }
        match self.field.gate {
            Gate::Open => {}
            Gate::Missing => notes.push("Not available in this version.".to_owned()),
            Gate::Only(known) => {
                let known: Vec<String> = known
                    .iter()
                    .filter(|known| !known.is_empty())
                    .map(|known| format!("`{known}`"))
                    .collect();
                notes.push(format!("This version has only {}.", known.join(", ")));
            }
        }
        if tree::is_secret(&self.field.kind) {
            notes.push("Secret.".to_owned());
        }
        notes
    }
}

/// Rows below one top-level key, or all, without hidden ones.
fn rows(section: Option<&str>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut hidden: Option<String> = None;
    resolve::each_option(&mut |key, variable, field| {
        if hidden
            .as_deref()
            .is_some_and(|prefix| key.starts_with(prefix))
        {
            return;
        }
        if field.hidden {
            hidden = Some(format!("{key}."));
            return;
        }
        let top = key.split(['.', '[']).next().unwrap_or(key);
        if section.is_none_or(|section| section == top) {
            rows.push(Row {
                key: key.to_owned(),
                variable: variable.map(str::to_owned),
                field,
            });
        }
    });
    rows
}

/// Keys of the top level, for `configdoc --list`.
#[must_use]
pub fn sections() -> Vec<&'static str> {
    schema::fields(schema::ROOT)
        .map(|field| field.key)
        .collect()
}

const INTRODUCTION: &str = "A value comes from, strongest first: a command-line flag, an environment variable, the \
    configuration file, the default. Below `centripetal` and `client.hmac_credentials` only the prefix `CENTRIPETAL_` \
    is read; everywhere else both `CENTRIPETAL_` and `CENTRIFUGO_` are, and the former wins. Durations carry a unit \
    (`300ms`, `25s`, `1h30m`). Tier A options matter in a typical deployment, tier B options are common, tier C \
    options are rare.";

const fn letter(tier: Tier) -> &'static str {
    match tier {
        Tier::A => "A",
        Tier::B => "B",
        Tier::C => "C",
    }
}

#[cfg(test)]
mod tests;
