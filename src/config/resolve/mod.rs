//! From sources to one complete tree: defaults, then file, then environment, then flags (config.md 1).
//!
//! The resolver walks the schema once. Every option gets its value there and nowhere else; on the way it notes what
//! was given, what was not understood, and what a person should hear about.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    convert::{self, Unfit},
    environment::Environment,
    schema::{self, Field, Kind, Tables},
    warning::Warning,
};

mod keys;
mod likeness;
mod list;
mod variables;

pub(super) use variables::{each_option, each_variable};

/// Values given on the command line, by key.
pub type Flags = BTreeMap<String, String>;

/// A value that cannot be used, with its key.
#[derive(Debug, thiserror::Error)]
#[error("'{key}': {unfit}")]
pub struct Problem {
    /// Key, list entries as `[n]`.
    pub key: String,
    /// Why.
    #[source]
    pub unfit: Unfit,
}

/// Why no tree could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unresolved {
    /// Values of the file.
    #[error("error unmarshalling config: {}", list_of(.0))]
    File(Vec<Problem>),
    /// A variable.
    #[error("error processing env: cannot use variable {name}: {unfit}")]
    Variable {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        unfit: Unfit,
    },
    /// A flag.
    #[error("cannot use flag --{name}: {unfit}")]
    Flag {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        unfit: Unfit,
    },
    /// `${…}` names a variable that is not there.
    #[error("'{key}': environment variable \"{name}\" not found")]
    Expansion {
        /// Key of the map.
        key: String,
        /// Name of the variable.
        name: String,
    },
}

fn list_of(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// The complete tree and what was noticed while making it.
#[derive(Debug)]
pub(super) struct Resolved {
    /// Every option, in converted form.
    pub(super) tree: Value,
    /// Keys that a source set.
    pub(super) given: BTreeSet<String>,
    /// Keys of the file that no option has.
    pub(super) unknown: Vec<String>,
    /// What a person should hear about.
    pub(super) warnings: Vec<Warning>,
}

/// Makes the complete tree.
///
/// # Errors
/// A value of a source cannot be used.
pub(super) fn resolve(
    file: &Value,
    environment: &Environment,
    flags: &Flags,
) -> Result<Resolved, Unresolved> {
    let mut resolver = Resolver {
        environment,
        flags,
        variables: BTreeSet::new(),
        given: BTreeSet::new(),
        unknown: Vec::new(),
        warnings: Vec::new(),
        problems: Vec::new(),
        failed: None,
    };
    let tree = resolver.section(schema::ROOT, &Place::root(), Some(file));
    if !resolver.problems.is_empty() {
        return Err(Unresolved::File(resolver.problems));
    }
    if let Some(failed) = resolver.failed {
        return Err(failed);
    }
    let mut warnings = resolver.warnings;
    warnings.extend(keys::unknown(&resolver.unknown));
    warnings.extend(variables::unknown(environment, &resolver.variables));
    Ok(Resolved {
        tree: Value::Object(tree),
        given: resolver.given,
        unknown: resolver.unknown,
        warnings,
    })
}

/// Where the walk is.
#[derive(Clone, Debug)]
struct Place {
    /// Key so far.
    path: String,
    /// Name of the variable without prefix; `None` inside lists without names.
    variable: Option<String>,
    /// Below a section of Centripetal's own.
    own: bool,
    /// Inside JSON of a variable: keys of maps keep their case, unknown keys are nobody's business.
    from_variable: bool,
}

impl Place {
    const fn root() -> Self {
        Self {
            path: String::new(),
            variable: Some(String::new()),
            own: false,
            from_variable: false,
        }
    }

    fn child(&self, field: &Field) -> Self {
        // The prefix of the variable stands for the section `centripetal`.
        let part = if field.own && self.path.is_empty() {
            String::new()
        } else {
            field.key.to_uppercase()
        };
        Self {
            path: schema::join(&self.path, field.key),
            variable: self
                .variable
                .as_deref()
                .map(|prefix| variables::join(prefix, &part)),
            own: self.own || field.own,
            from_variable: self.from_variable,
        }
    }
}

#[derive(Debug)]
struct Resolver<'a> {
    environment: &'a Environment,
    flags: &'a Flags,
    variables: BTreeSet<String>,
    given: BTreeSet<String>,
    unknown: Vec<String>,
    warnings: Vec<Warning>,
    problems: Vec<Problem>,
    failed: Option<Unresolved>,
}

impl Resolver<'_> {
    fn section(
        &mut self,
        tables: Tables,
        place: &Place,
        raw: Option<&Value>,
    ) -> Map<String, Value> {
        let given = match raw {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(pairs)) => keys::fold(pairs),
            Some(other) => {
                self.problem(place, unfit("section", other));
                Map::new()
            }
        };
        let mut section = Map::new();
        for field in schema::fields(tables) {
            let place = place.child(field);
            let value = self.field(field, &place, given.get(field.key));
            section.insert(field.key.to_owned(), value);
        }
        if !place.from_variable {
            let strange = given.keys().filter(|key| !section.contains_key(*key));
            self.unknown
                .extend(strange.map(|key| schema::join(&place.path, key)));
        }
        section
    }

    fn field(&mut self, field: &Field, place: &Place, raw: Option<&Value>) -> Value {
        match field.kind {
            Kind::Section(tables) => Value::Object(self.section(tables, place, raw)),
            Kind::Objects(tables) => Value::Array(self.objects(tables, place, raw)),
            Kind::Named(tables) => Value::Array(self.named(tables, place, raw)),
            _ => self.single(field, place, raw),
        }
    }

    /// A value without parts: the strongest source that gives one.
    fn single(&mut self, field: &Field, place: &Place, raw: Option<&Value>) -> Value {
        let mut value = convert::default(&field.kind);
        if let Some(found) = raw.and_then(|raw| self.file_value(field, place, raw)) {
            value = found;
        }
        if let Some((name, text)) = self.variable(place) {
            match convert::from_text(&field.kind, &text) {
                Ok(found) => value = self.give(place, found),
                Err(unfit) => self.fail(Unresolved::Variable { name, unfit }),
            }
        }
        if let Some(text) = self.flags.get(&place.path) {
            match convert::from_text(&field.kind, text) {
                Ok(found) => value = self.give(place, found),
                Err(unfit) => self.fail(Unresolved::Flag {
                    name: place.path.clone(),
                    unfit,
                }),
            }
        }
        if let Value::Object(pairs) = &mut value {
            self.expand(place, pairs);
        }
        value
    }

    /// The file's value, unless it counts as not given.
    fn file_value(&mut self, field: &Field, place: &Place, raw: &Value) -> Option<Value> {
        let value = match convert::from_file(&field.kind, raw, place.from_variable) {
            Ok(value) => value?,
            Err(unfit) => {
                self.problem(place, unfit);
                return None;
            }
        };
        if convert::is_zero(&value) && !place.own {
            let default = convert::default(&field.kind);
            if !convert::is_zero(&default) {
                self.warnings
                    .push(Warning::zero_replaced(&place.path, field));
            }
            return None;
        }
        if matches!(field.kind, Kind::Duration(..)) && raw.is_number() && !convert::is_zero(&value)
        {
            self.warnings.push(Warning::duration_as_number(&place.path));
        }
        Some(self.give(place, value))
    }

    fn give(&mut self, place: &Place, value: Value) -> Value {
        self.given.insert(place.path.clone());
        value
    }

    fn problem(&mut self, place: &Place, unfit: Unfit) {
        self.problems.push(Problem {
            key: place.path.clone(),
            unfit,
        });
    }

    /// Keeps the first failure.
    fn fail(&mut self, failed: Unresolved) {
        self.failed.get_or_insert(failed);
    }
}

fn unfit(expected: &'static str, got: &Value) -> Unfit {
    Unfit::Kind {
        expected,
        got: convert::word(got),
    }
}

#[cfg(test)]
mod tests;
