//! The complete tree seen from three sides: looked up by rules, handed to the modules' structs, shown to people.

use serde_json::{Map, Value, json};

use super::{
    convert,
    schema::{self, Form, Kind, Tables, Width},
    value::format_duration,
    warning::Warning,
};

const NANOS: i64 = 1_000_000_000;

/// A section of the complete tree. Every key of the schema is there, so a lookup of a key that is not gives zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a>(&'a Value);

impl<'a> Section<'a> {
    pub(super) const fn new(tree: &'a Value) -> Self {
        Self(tree)
    }

    /// The value at a dotted path below this section.
    pub(super) fn get(&self, path: &str) -> &'a Value {
        const NOTHING: &Value = &Value::Null;
        path.split('.')
            .fold(self.0, |at, key| at.get(key).unwrap_or(NOTHING))
    }

    pub(super) fn section(&self, path: &str) -> Self {
        Self(self.get(path))
    }

    pub(super) fn on(&self, path: &str) -> bool {
        self.get(path).as_bool().unwrap_or_default()
    }

    pub(super) fn int(&self, path: &str) -> i64 {
        self.get(path).as_i64().unwrap_or_default()
    }

    /// A duration in nanoseconds.
    pub(super) fn nanos(&self, path: &str) -> i64 {
        self.int(path)
    }

    pub(super) fn text(&self, path: &str) -> &'a str {
        self.get(path).as_str().unwrap_or_default()
    }

    pub(super) fn texts(&self, path: &str) -> impl Iterator<Item = &'a str> {
        self.get(path)
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    pub(super) fn entries(&self, path: &str) -> impl Iterator<Item = Self> {
        self.get(path).as_array().into_iter().flatten().map(Self)
    }
}

/// The form that the modules' structs are read from: durations as serde writes them, "off" as null.
///
/// Negative numbers of the compatible server mean zero wherever they are no switch; they become it here.
pub(super) fn typed(tables: Tables, tree: &Value) -> Value {
    mapped(tables, tree, &|kind, value| match (kind, value.as_i64()) {
        (Kind::Duration(_, true), Some(nanos)) if nanos < 0 => Value::Null,
        (Kind::Duration(..), Some(nanos)) => {
            let nanos = nanos.max(0);
            json!({"secs": nanos / NANOS, "nanos": nanos % NANOS})
        }
        (Kind::Int(_, Width::Count | Width::Int32), Some(number)) => number.max(0).into(),
        _ => value.clone(),
    })
}

/// The form that listings show: durations as text, empty lists of texts as null, hidden options left out.
pub(super) fn shown(tables: Tables, tree: &Value) -> Value {
    mapped(tables, tree, &|kind, value| match kind {
        Kind::Duration(..) => format_duration(value.as_i64().unwrap_or_default()).into(),
        Kind::Texts(_) if convert::is_zero(value) => Value::Null,
        _ => value.clone(),
    })
}

fn mapped(tables: Tables, tree: &Value, leaf: &dyn Fn(&Kind, &Value) -> Value) -> Value {
    let mut section = Map::new();
    for field in schema::fields(tables).filter(|field| !field.hidden) {
        let Some(value) = tree.get(field.key) else {
            continue;
        };
        let value = match field.kind {
            Kind::Section(inner) => mapped(inner, value, leaf),
            Kind::Objects(inner) | Kind::Named(inner) => value
                .as_array()
                .into_iter()
                .flatten()
                .map(|entry| mapped(inner, entry, leaf))
                .collect(),
            _ => leaf(&field.kind, value),
        };
        section.insert(field.key.to_owned(), value);
    }
    Value::Object(section)
}

/// One option of a complete tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf<'a> {
    pub(super) field: &'static schema::Field,
    /// Innermost section around it.
    pub(super) parent: Option<&'static schema::Field>,
    pub(super) value: &'a Value,
}

/// Calls `visit` with every option of the tree, entries of lists included, and its key.
pub(super) fn leaves<'a>(tables: Tables, tree: &'a Value, visit: &mut dyn FnMut(&str, Leaf<'a>)) {
    descend(tables, tree, ("", None), visit);
}

fn descend<'a>(
    tables: Tables,
    tree: &'a Value,
    (prefix, parent): (&str, Option<&'static schema::Field>),
    visit: &mut dyn FnMut(&str, Leaf<'a>),
) {
    for field in schema::fields(tables) {
        let path = schema::join(prefix, field.key);
        let Some(value) = tree.get(field.key) else {
            continue;
        };
        match field.kind {
            Kind::Section(inner) => descend(inner, value, (&path, Some(field)), visit),
            Kind::Objects(inner) | Kind::Named(inner) => {
                for (index, entry) in value.as_array().into_iter().flatten().enumerate() {
                    let path = format!("{path}.[{index}]");
                    descend(inner, entry, (&path, Some(field)), visit);
                }
            }
            _ => visit(
                &path,
                Leaf {
                    field,
                    parent,
                    value,
                },
            ),
        }
    }
}

/// Warnings about negative values that count as zero.
pub(super) fn negatives(tree: &Value) -> Vec<Warning> {
    let mut warnings = Vec::new();
    leaves(schema::ROOT, tree, &mut |path, leaf| {
        let counts_as_zero = matches!(
            leaf.field.kind,
            Kind::Duration(_, false) | Kind::Int(_, Width::Count | Width::Int32)
        );
        if counts_as_zero && leaf.value.as_i64().is_some_and(i64::is_negative) {
            warnings.push(Warning::negative(path));
        }
    });
    warnings
}

/// Keys whose values differ, entries of lists by name. Secrets are compared, never returned.
pub(super) fn differences(old: &Value, new: &Value) -> Vec<String> {
    let mut changed = Vec::new();
    compare(schema::ROOT, (old, new), "", &mut changed);
    changed
}

fn compare(tables: Tables, (old, new): (&Value, &Value), prefix: &str, changed: &mut Vec<String>) {
    for field in schema::fields(tables) {
        let path = schema::join(prefix, field.key);
        let (Some(before), Some(after)) = (old.get(field.key), new.get(field.key)) else {
            continue;
        };
        match field.kind {
            Kind::Section(inner) => compare(inner, (before, after), &path, changed),
            _ if before != after => changed.push(path),
            _ => {}
        }
    }
}

/// True when a listing must not show the value.
pub(super) const fn is_secret(kind: &Kind) -> bool {
    matches!(kind, Kind::Text(_, Form::Secret))
}
