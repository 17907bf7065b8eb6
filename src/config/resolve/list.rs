//! Lists of objects: those without names, and named lists, whose entries may also come from variables (config.md 3).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Place, Resolver, Unresolved, unfit, variables};
use crate::config::{convert::Unfit, schema::Tables, warning::Warning};

/// One entry before it is resolved.
struct Entry {
    raw: Value,
    from_variable: bool,
}

impl Resolver<'_> {
    /// A list without names: from the file, or as a JSON array in a variable.
    pub(super) fn objects(
        &mut self,
        tables: Tables,
        place: &Place,
        raw: Option<&Value>,
    ) -> Vec<Value> {
        let mut entries = self.file_entries(place, raw);
        if let Some((name, text)) = self.variable(place) {
            match json_entries(&text) {
                Some(found) => entries = found,
                None => self.fail(Unresolved::Variable {
                    name,
                    unfit: Unfit::Json("list of objects"),
                }),
            }
        }
        if !entries.is_empty() {
            self.given.insert(place.path.clone());
        }
        (0..)
            .zip(&entries)
            .map(|(index, entry): (usize, &Entry)| {
                let place = place.entry(index, None, entry);
                Value::Object(self.section(tables, &place, Some(&entry.raw)))
            })
            .collect()
    }

    /// A named list: the file's entries, then those of the variable; JSON there replaces the list.
    pub(super) fn named(
        &mut self,
        tables: Tables,
        place: &Place,
        raw: Option<&Value>,
    ) -> Vec<Value> {
        let mut entries = self.file_entries(place, raw);
        if let Some((_, text)) = self.variable(place) {
            if let Some(found) = json_entries(&text) {
                entries = found;
            } else {
                append_names(&mut entries, &text);
            }
        }
        if !entries.is_empty() {
            self.given.insert(place.path.clone());
        }
        let parts: Vec<String> = entries
            .iter()
            .map(|entry| variables::entry_part(name_of(&entry.raw)))
            .collect();
        self.warn_of_equal_parts(place, &entries, &parts);
        (0..)
            .zip(entries.iter().zip(&parts))
            .map(|(index, (entry, part)): (usize, _)| {
                let place = place.entry(index, Some(part), entry);
                Value::Object(self.section(tables, &place, Some(&entry.raw)))
            })
            .collect()
    }

    /// One object stands for a list with only that entry.
    fn file_entries(&mut self, place: &Place, raw: Option<&Value>) -> Vec<Entry> {
        let items = match raw {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items.clone(),
            Some(Value::Object(pairs)) if pairs.is_empty() => Vec::new(),
            Some(object @ Value::Object(_)) => vec![object.clone()],
            Some(other) => {
                self.problem(place, unfit("list of objects", other));
                Vec::new()
            }
        };
        items
            .into_iter()
            .map(|raw| Entry {
                raw,
                from_variable: place.from_variable,
            })
            .collect()
    }

    fn warn_of_equal_parts(&mut self, place: &Place, entries: &[Entry], parts: &[String]) {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (entry, part) in entries.iter().zip(parts) {
            let name = name_of(&entry.raw);
            match seen.insert(part, name) {
                Some(other) if other != name => {
                    self.warnings
                        .push(Warning::equal_variables(&place.path, other, name));
                }
                _ => {}
            }
        }
    }
}

impl Place {
    fn entry(&self, index: usize, part: Option<&str>, entry: &Entry) -> Self {
        let variable = self.variable.as_deref().zip(part);
        Self {
            path: format!("{}.[{index}]", self.path),
            // An entry without a name has no variables of its own.
            variable: variable
                .filter(|(_, part)| !part.is_empty())
                .map(|(prefix, part)| variables::join(prefix, part)),
            own: self.own,
            from_variable: entry.from_variable,
        }
    }
}

/// The text as a JSON array of objects, if it is one.
fn json_entries(text: &str) -> Option<Vec<Entry>> {
    let objects: Vec<Map<String, Value>> = serde_json::from_str(text).ok()?;
    let entries = objects.into_iter().map(|object| Entry {
        raw: Value::Object(object),
        from_variable: true,
    });
    Some(entries.collect())
}

/// Adds an entry for every name that is not there yet.
fn append_names(entries: &mut Vec<Entry>, text: &str) {
    for name in text.split_whitespace() {
        if entries.iter().any(|entry| name_of(&entry.raw) == name) {
            continue;
        }
        let named = Map::from_iter([("name".to_owned(), Value::from(name))]);
        entries.push(Entry {
            raw: Value::Object(named),
            from_variable: true,
        });
    }
}

fn name_of(raw: &Value) -> &str {
    raw.as_object()
        .and_then(|pairs| {
            pairs
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case("name"))
        })
        .and_then(|(_, name)| name.as_str())
        .unwrap_or_default()
}
