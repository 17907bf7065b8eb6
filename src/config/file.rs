//! Configuration files: JSON, YAML and TOML by extension, turned into one kind of tree (config.md 2).
//!
//! Knows nothing of keys and types; that is the resolver's business.

use std::path::Path;

use serde_json::{Map, Value};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.json`
    Json,
    /// `.yaml`, `.yml`
    Yaml,
    /// `.toml`
    Toml,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// The extension says nothing.
    #[error("unknown file extension; use .json, .yaml, .yml or .toml")]
    Extension,
    /// The file system refused.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Broken JSON.
    #[error("while parsing: {0}")]
    Json(#[from] serde_json::Error),
    /// Broken YAML.
    #[error("while parsing: {0}")]
    Yaml(#[from] serde_norway::Error),
    /// Broken TOML.
    #[error("while parsing: {0}")]
    Toml(#[from] Box<toml::de::Error>),
    /// A list, a number, a text.
    #[error("while parsing: the top level must be an object")]
    TopLevel,
    /// A key of YAML that is itself a list or an object.
    #[error("while parsing: keys must be text")]
    Key,
}

impl Format {
    /// Format of a file with this name.
    ///
    /// # Errors
    /// Another extension, or none.
    pub fn of(path: &Path) -> Result<Self, Unreadable> {
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("json") => Ok(Self::Json),
            Some("yaml" | "yml") => Ok(Self::Yaml),
            Some("toml") => Ok(Self::Toml),
            _ => Err(Unreadable::Extension),
        }
    }

    /// Text to tree. `null`, and an empty YAML or TOML file, is an empty configuration.
    ///
    /// # Errors
    /// A syntax error, or a top level that is no object.
    pub fn parse(self, text: &str) -> Result<Value, Unreadable> {
        let value = match self {
            Self::Json => serde_json::from_str(text)?,
            Self::Yaml => {
                let mut value: serde_norway::Value = serde_norway::from_str(text)?;
                value.apply_merge()?;
                from_yaml(value)?
            }
            Self::Toml => from_toml(toml::Value::Table(toml::from_str(text).map_err(Box::new)?)),
        };
        match value {
            Value::Null => Ok(Value::Object(Map::new())),
            Value::Object(_) => Ok(value),
            _ => Err(Unreadable::TopLevel),
        }
    }

    /// Tree to text, for the commands that write files.
    ///
    /// # Errors
    /// The tree holds what the format cannot express.
    pub fn write(self, tree: &Value) -> Result<String, Unwritable> {
        Ok(match self {
            Self::Json => serde_json::to_string_pretty(tree)? + "\n",
            Self::Yaml => serde_norway::to_string(tree)?,
            Self::Toml => toml::to_string(&without_nulls(tree))?,
        })
    }
}

/// Why a tree could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unwritable {
    /// As JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// As YAML.
    #[error(transparent)]
    Yaml(#[from] serde_norway::Error),
    /// As TOML.
    #[error(transparent)]
    Toml(#[from] toml::ser::Error),
}

fn from_yaml(value: serde_norway::Value) -> Result<Value, Unreadable> {
    use serde_norway::Value as Yaml;
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(yes) => Value::Bool(yes),
        Yaml::String(text) => Value::String(text),
        Yaml::Number(number) => number
            .as_i64()
            .map(Value::from)
            .or_else(|| number.as_u64().map(Value::from))
            .or_else(|| number.as_f64().map(Value::from))
            .unwrap_or_default(),
        Yaml::Sequence(items) => {
            Value::Array(items.into_iter().map(from_yaml).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(pairs) => {
            let mut map = Map::new();
            for (key, value) in pairs {
                let key = match key {
                    Yaml::String(text) => text,
                    Yaml::Bool(yes) => yes.to_string(),
                    Yaml::Number(number) => number.to_string(),
                    _ => return Err(Unreadable::Key),
                };
                map.insert(key, from_yaml(value)?);
            }
            Value::Object(map)
        }
        Yaml::Tagged(tagged) => from_yaml(tagged.value)?,
    })
}

fn from_toml(value: toml::Value) -> Value {
    use toml::Value as Toml;
    match value {
        Toml::String(text) => Value::String(text),
        Toml::Integer(number) => Value::from(number),
        Toml::Float(number) => Value::from(number),
        Toml::Boolean(yes) => Value::Bool(yes),
        Toml::Datetime(moment) => Value::String(moment.to_string()),
        Toml::Array(items) => Value::Array(items.into_iter().map(from_toml).collect()),
        Toml::Table(pairs) => Value::Object(
            pairs
                .into_iter()
                .map(|(key, value)| (key, from_toml(value)))
                .collect(),
        ),
    }
}

/// TOML has no null; a missing key says the same.
fn without_nulls(tree: &Value) -> Value {
    match tree {
        Value::Object(pairs) => Value::Object(
            pairs
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_extension_names_the_format() {
        for (name, format) in [
            ("a.json", Some(Format::Json)),
            ("a.YAML", Some(Format::Yaml)),
            ("a.yml", Some(Format::Yaml)),
            ("a.toml", Some(Format::Toml)),
            ("a.ini", None),
            ("a", None),
        ] {
            assert_eq!(Format::of(Path::new(name)).ok(), format, "{name}");
        }
    }

    #[test]
    fn the_three_formats_say_the_same() {
        let expected = json!({"log": {"level": "debug"}, "list": [{"a": 1, "b": 1.5, "c": true}]});
        for (format, text) in [
            (
                Format::Json,
                r#"{"log":{"level":"debug"},"list":[{"a":1,"b":1.5,"c":true}]}"#,
            ),
            (
                Format::Yaml,
                "log:\n  level: debug\nlist:\n  - a: 1\n    b: 1.5\n    c: true\n",
            ),
            (
                Format::Toml,
                "[log]\nlevel = \"debug\"\n[[list]]\na = 1\nb = 1.5\nc = true\n",
            ),
        ] {
            assert_eq!(format.parse(text).unwrap(), expected, "{format:?}");
        }
    }

    #[test]
    fn yaml_anchors_and_odd_keys_are_understood() {
        let text = "x: &x {a: 1}\ny:\n  <<: *x\n  b: 2\n1: one\n";
        assert_eq!(
            Format::Yaml.parse(text).unwrap(),
            json!({"x": {"a": 1}, "y": {"b": 2, "a": 1}, "1": "one"})
        );
    }

    #[test]
    fn an_empty_configuration_is_one_of_its_own() {
        for (format, text) in [
            (Format::Json, "null"),
            (Format::Yaml, ""),
            (Format::Toml, ""),
        ] {
            assert_eq!(format.parse(text).unwrap(), json!({}), "{format:?}");
        }
    }

    #[test]
    fn broken_files_are_refused() {
        for (format, text) in [
            (Format::Json, ""),
            (Format::Json, "{\"a\":"),
            (Format::Json, "[]"),
            (Format::Json, "{} // x"),
            (Format::Yaml, "a: [1"),
            (Format::Yaml, "- a"),
            (Format::Toml, "a = "),
        ] {
            assert!(format.parse(text).is_err(), "{text}");
        }
    }
}
