//! What a person should hear about, though nothing stops: one line of the log each (config.md 5).

use super::schema::{Field, Kind};

/// A line of level warn, with its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Warning {
    /// What is the matter.
    pub message: String,
    /// Key of the file.
    pub key: Option<String>,
    /// Variable of the environment.
    pub variable: Option<String>,
    /// What might have been meant, or what to do.
    pub hint: Option<String>,
}

impl Warning {
    /// A line without fields.
    pub(super) fn plain(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }

    fn of_key(message: &str, key: &str, hint: Option<String>) -> Self {
        Self {
            message: message.to_owned(),
            key: Some(key.to_owned()),
            hint,
            ..Self::default()
        }
    }

    fn of_variable(message: &str, variable: &str, hint: Option<String>) -> Self {
        Self {
            message: message.to_owned(),
            variable: Some(variable.to_owned()),
            hint,
            ..Self::default()
        }
    }

    pub(super) fn unknown_key(key: &str, nearest: Option<&str>) -> Self {
        let hint = nearest.map(|nearest| format!("did you mean {nearest}?"));
        Self::of_key(UNKNOWN_KEY, key, hint)
    }

    pub(super) fn commercial_key(key: &str) -> Self {
        let hint = "this feature of the commercial edition is not available here";
        Self::of_key(UNKNOWN_KEY, key, Some(hint.to_owned()))
    }

    pub(super) fn unknown_variable(name: &str, nearest: Option<&str>) -> Self {
        let hint = nearest.map(|nearest| format!("did you mean {nearest}?"));
        Self::of_variable("unknown var in environment", name, hint)
    }

    pub(super) fn two_prefixes(own: &str, compatible: &str) -> Self {
        let hint = format!("the value of {own} is used, {compatible} is ignored");
        Self::of_variable(
            "two variables set one key to different values",
            own,
            Some(hint),
        )
    }

    pub(super) fn service_link(name: &str) -> Self {
        Self::of_variable(
            "variable looks like a Kubernetes service link and is ignored",
            name,
            Some("set enableServiceLinks: false, or name the service differently".to_owned()),
        )
    }

    pub(super) fn equal_variables(list: &str, one: &str, other: &str) -> Self {
        let hint = format!("{one} and {other} both receive the values of these variables");
        Self::of_key(
            "names of two entries are equal as variables",
            list,
            Some(hint),
        )
    }

    pub(super) fn zero_replaced(key: &str, field: &Field) -> Self {
        let default = match field.kind {
            Kind::Int(number, _) => number.to_string(),
            Kind::Duration(nanos, _) => super::value::format_duration(nanos),
            Kind::Text(text, _) => format!("{text:?}"),
            _ => "its default".to_owned(),
        };
        Self::of_key(
            "zero in the configuration file counts as not set",
            key,
            Some(format!(
                "{default} is used; only an environment variable can set zero"
            )),
        )
    }

    pub(super) fn duration_as_number(key: &str) -> Self {
        Self::of_key(
            "duration given as a number means nanoseconds",
            key,
            Some("write it with a unit, such as \"25s\"".to_owned()),
        )
    }

    pub(super) fn negative(key: &str) -> Self {
        Self::of_key("negative value counts as zero", key, None)
    }

    pub(super) fn missing_file() -> Self {
        Self::plain("config file not found, continue using environment and flag options")
    }
}

const UNKNOWN_KEY: &str = "unknown key in configuration file";
