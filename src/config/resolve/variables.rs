//! Variables: their names, which of two prefixes wins, `${…}` in maps, and names that nobody asked for (config.md 3, 5).

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;
use serde_json::{Map, Value};

use super::{Place, Resolver, Unresolved, likeness::likeness};
use crate::config::{
    environment::{COMPATIBLE_PREFIX, Environment, OWN_PREFIX},
    schema::{self, Field, Kind, Tables},
    warning::Warning,
};

/// Two parts of a name.
pub(super) fn join(prefix: &str, part: &str) -> String {
    match (prefix, part) {
        ("", part) => part.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, part) => format!("{prefix}_{part}"),
    }
}

/// An entry's name as part of a variable's name.
pub(super) fn entry_part(name: &str) -> String {
    name.to_uppercase().replace(['.', '-'], "_")
}

/// Calls `visit` with name (without prefix), ownership, kind and value of every variable that makes up a tree.
pub(in crate::config) fn each_variable(
    tree: &Value,
    visit: &mut dyn FnMut(&str, bool, &Kind, &Value),
) {
    each(schema::ROOT, &Place::root(), tree, visit);
}

fn each(
    tables: Tables,
    place: &Place,
    tree: &Value,
    visit: &mut dyn FnMut(&str, bool, &Kind, &Value),
) {
    for field in schema::fields(tables) {
        let place = place.child(field);
        let (Some(name), Some(value)) = (place.variable.as_deref(), tree.get(field.key)) else {
            continue;
        };
        if let Kind::Section(inner) = field.kind {
            each(inner, &place, value, visit);
            continue;
        }
        visit(name, place.own, &field.kind, value);
        if let Kind::Named(inner) = field.kind {
            for entry in value.as_array().into_iter().flatten() {
                let part = entry
                    .get("name")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let variable = Some(join(name, &entry_part(part)));
                let place = Place {
                    variable,
                    ..place.clone()
                };
                each(inner, &place, entry, visit);
            }
        }
    }
}

/// Calls `visit` with key, full name of the variable (if there is one) and field of every option there can be.
///
/// Entries of lists are written `[]` in keys and `<NAME>` in variables.
pub(in crate::config) fn each_option(visit: &mut dyn FnMut(&str, Option<&str>, &'static Field)) {
    options(schema::ROOT, &Place::root(), visit);
}

fn options(
    tables: Tables,
    place: &Place,
    visit: &mut dyn FnMut(&str, Option<&str>, &'static Field),
) {
    for field in schema::fields(tables) {
        let place = place.child(field);
        let prefix = if place.own {
            OWN_PREFIX
        } else {
            COMPATIBLE_PREFIX
        };
        let name = match field.kind {
            Kind::Section(_) => None,
            _ => place
                .variable
                .as_ref()
                .map(|name| format!("{prefix}{name}")),
        };
        visit(&place.path, name.as_deref(), field);
        let entry = |variable| Place {
            path: format!("{}[]", place.path),
            variable,
            ..place.clone()
        };
        match field.kind {
            Kind::Section(inner) => options(inner, &place, visit),
            Kind::Objects(inner) => options(inner, &entry(None), visit),
            Kind::Named(inner) => {
                let name = place.variable.as_ref().map(|name| join(name, "<NAME>"));
                options(inner, &entry(name), visit);
            }
            _ => {}
        }
    }
}

impl Resolver<'_> {
    /// The variable that sets the option at this place, with its full name. The own prefix wins.
    pub(super) fn variable(&mut self, place: &Place) -> Option<(String, String)> {
        let suffix = place.variable.as_deref().filter(|name| !name.is_empty())?;
        let own = format!("{OWN_PREFIX}{suffix}");
        let compatible = format!("{COMPATIBLE_PREFIX}{suffix}");
        self.variables.insert(own.clone());
        let mut first = self.environment.get(&own);
        if first.is_some_and(|text| text.starts_with("tcp://")) {
            self.warnings.push(Warning::service_link(&own));
            first = None;
        }
        let second = if place.own {
            None
        } else {
            self.variables.insert(compatible.clone());
            self.environment.get(&compatible)
        };
        if let (Some(first), Some(second)) = (first, second)
            && first != second
        {
            self.warnings.push(Warning::two_prefixes(&own, &compatible));
        }
        let (name, text) = first
            .map(|text| (own, text))
            .or(second.map(|text| (compatible, text)))?;
        Some((name, text.to_owned()))
    }

    /// Replaces `${CENTRIFUGO_VAR_…}` and `${CENTRIPETAL_VAR_…}` in the values of a map.
    pub(super) fn expand(&mut self, place: &Place, pairs: &mut Map<String, Value>) {
        static REFERENCE: LazyLock<Regex> =
            LazyLock::new(|| constant(r"\$\{((?:CENTRIFUGO|CENTRIPETAL)_VAR_\w+)\}"));
        for value in pairs.values_mut() {
            let Value::String(text) = value else { continue };
            let environment = self.environment;
            let mut missing = None;
            let expanded = REFERENCE.replace_all(text, |found: &regex::Captures<'_>| {
                let value = environment.get(&found[1]);
                if value.is_none() {
                    missing.get_or_insert_with(|| found[1].to_owned());
                }
                value.unwrap_or_default().to_owned()
            });
            let expanded = expanded.into_owned();
            if let Some(name) = missing {
                self.fail(Unresolved::Expansion {
                    key: place.path.clone(),
                    name,
                });
            }
            *value = Value::String(expanded);
        }
    }
}

/// Warnings about variables with one of the prefixes that no option has.
pub(super) fn unknown(environment: &Environment, known: &BTreeSet<String>) -> Vec<Warning> {
    environment
        .own_names()
        .filter(|name| !known.contains(*name) && !expected(name))
        .map(|name| Warning::unknown_variable(name, nearest(name, known)))
        .collect()
}

/// Names that are there for another reason: `…_VAR_…`, and what Kubernetes injects for a service.
fn expected(name: &str) -> bool {
    static OTHERS: LazyLock<Regex> = LazyLock::new(|| {
        constant(r"^(CENTRIFUGO|CENTRIPETAL)(_VAR_|(_[A-Z0-9_]+)?_(PORT|SERVICE_))")
    });
    OTHERS.is_match(name)
}

#[expect(
    clippy::expect_used,
    reason = "only called with constants, and each is used by a test"
)]
fn constant(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

fn nearest<'a>(name: &str, known: &'a BTreeSet<String>) -> Option<&'a str> {
    known
        .iter()
        .filter_map(|candidate| Some((likeness(name, candidate, 0.8)?, candidate)))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_kubernetes_injects_are_expected() {
        for (name, is) in [
            ("CENTRIFUGO_VAR_X", true),
            ("CENTRIFUGO_PORT", true),
            ("CENTRIFUGO_PORT_8000_TCP", true),
            ("CENTRIFUGO_SERVICE_HOST", true),
            ("CENTRIFUGO_WEB_PORT_80_TCP", true),
            ("CENTRIPETAL_WEB_SERVICE_PORT", true),
            ("CENTRIFUGO_NOSUCH", false),
            ("CENTRIFUGO_CLIENT_NOSUCH", false),
            ("CENTRIFUGO_SUPPORT_X", false),
        ] {
            assert_eq!(expected(name), is, "{name}");
        }
    }

    #[test]
    fn names_of_entries_lose_dots_and_dashes() {
        assert_eq!(entry_part("chat.room-1"), "CHAT_ROOM_1");
        assert_eq!(join("", "PORT"), "PORT");
        assert_eq!(join("GRPC", ""), "GRPC");
    }
}
