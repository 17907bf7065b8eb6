//! Where HMAC credentials may be carried, and taking them out of there (tokens.md 9.4, 10.2).
//!
//! Finds, never verifies. While the feature is off nothing here is called, and data and headers pass as they are.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use serde::{
    Deserialize,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Kind, Reason, credentials, legacy};

/// Header and metadata key of the compact form.
pub const HEADER: &str = "centripetal-credentials";
/// Header and metadata keys of the legacy form: user, timestamp, info, signature.
pub const LEGACY_HEADERS: [&str; 4] = [
    "centripetal-legacy-user",
    "centripetal-legacy-timestamp",
    "centripetal-legacy-info",
    "centripetal-legacy-token",
];

/// Members of the legacy form when it is spread over connect data itself.
const LEGACY_MEMBERS: [&str; 4] = ["user", "timestamp", "info", "token"];

/// Credentials found somewhere, not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// Safe form.
    H1(credentials::Signed),
    /// Legacy form.
    Legacy(legacy::Signed),
    /// Something in their place that is in neither form.
    Broken(Kind),
}

impl Presented {
    /// Which form they are in.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::H1(_) => Kind::H1,
            Self::Legacy(_) => Kind::Legacy,
            Self::Broken(kind) => *kind,
        }
    }

    pub(super) fn compact(text: &str) -> Self {
        credentials::Signed::parse(text).map_or(Self::Broken(Kind::H1), Self::H1)
    }
}

/// Values of one header, in order; `None` for one that is not text.
pub type HeaderValues<'a> = Vec<Option<&'a str>>;

/// Looks into headers or metadata.
///
/// # Errors
/// [`Reason::Places`] when both forms are there, or one value twice.
pub(super) fn in_headers<'a>(
    values: impl Fn(&'static str) -> HeaderValues<'a>,
    legacy: bool,
) -> Result<Option<Presented>, Reason> {
    let one = |name| {
        let values = values(name);
        match values.as_slice() {
            [] => Ok(None),
            [value] => Ok(Some(*value)),
            _ => Err(Reason::Places),
        }
    };
    let compact = one(HEADER)?;
    let mut fields = [None; 4];
    if legacy {
        for (field, name) in fields.iter_mut().zip(LEGACY_HEADERS) {
            *field = one(name)?;
        }
    }
    match (compact, fields.iter().any(Option::is_some)) {
        (None, false) => Ok(None),
        (Some(_), true) => Err(Reason::Places),
        (Some(value), false) => Ok(Some(
            value.map_or(Presented::Broken(Kind::H1), Presented::compact),
        )),
        (None, true) if fields.contains(&Some(None)) => Ok(Some(Presented::Broken(Kind::Legacy))),
        (None, true) => Ok(Some(Presented::Legacy(legacy::Signed::new(
            fields.map(|field| field.flatten().unwrap_or_default().to_owned()),
        )))),
    }
}

/// Values of one emulated header, whose names are written in any case.
pub(super) fn emulated<'a>(
    headers: &'a BTreeMap<String, String>,
    name: &'static str,
) -> HeaderValues<'a> {
    headers
        .iter()
        .filter(|(given, _)| given.eq_ignore_ascii_case(name))
        .map(|(_, value)| Some(value.as_str()))
        .collect()
}

/// Looks into connect data. Returns what was found, and the data without it; other members stay byte for byte.
///
/// # Errors
/// [`Reason::Places`] when both forms are there, or one of them twice.
pub(super) fn in_data(
    data: &Bytes,
    field: &str,
    legacy: bool,
) -> Result<(Option<Presented>, Bytes), Reason> {
    let Ok(Members(members)) = serde_json::from_slice::<Members<'_>>(data) else {
        return Ok((None, data.clone()));
    };
    let count = |name: &str| members.iter().filter(|(given, _)| given == name).count();
    let nested = count(field);
    let spread = legacy && count("user") > 0 && count("token") > 0;
    if nested + usize::from(spread) == 0 {
        return Ok((None, data.clone()));
    }
    let twice = |name: &&str| count(name) > 1;
    if nested + usize::from(spread) > 1 || spread && LEGACY_MEMBERS.iter().any(twice) {
        return Err(Reason::Places);
    }
    let (taken, rest): (Vec<_>, Vec<_>) = members.iter().partition(|(name, _)| {
        if spread {
            LEGACY_MEMBERS.contains(&name.as_str())
        } else {
            name == field
        }
    });
    let presented = if spread {
        spread_legacy(&taken)
    } else {
        taken
            .first()
            .map_or(Presented::Broken(Kind::H1), |(_, raw)| {
                nested_object(raw.get(), legacy)
            })
    };
    Ok((Some(presented), write(&rest)))
}

/// The member for credentials: the safe form, or with `"v": 0` the legacy form.
fn nested_object(json: &str, legacy: bool) -> Presented {
    let Ok(Members(members)) = serde_json::from_str::<Members<'_>>(json) else {
        return Presented::Broken(Kind::H1);
    };
    let version = members.iter().find(|(name, _)| name == "v");
    if legacy && version.is_some_and(|(_, value)| value.get() == "0") {
        legacy::Signed::parse_object(json)
            .map_or(Presented::Broken(Kind::Legacy), Presented::Legacy)
    } else {
        credentials::Signed::parse_object(json).map_or(Presented::Broken(Kind::H1), Presented::H1)
    }
}

fn spread_legacy(taken: &[&(String, &RawValue)]) -> Presented {
    let text = |name: &str| {
        let Some((_, raw)) = taken.iter().find(|(given, _)| given == name) else {
            return Some(String::new());
        };
        serde_json::from_str(raw.get()).ok()
    };
    let [user, timestamp, info, token] = LEGACY_MEMBERS.map(text);
    match (user, timestamp, info, token) {
        (Some(user), Some(timestamp), Some(info), Some(token)) => {
            Presented::Legacy(legacy::Signed::new([user, timestamp, info, token]))
        }
        _ => Presented::Broken(Kind::Legacy),
    }
}

fn write(members: &[&(String, &RawValue)]) -> Bytes {
    let mut json = String::from("{");
    for (name, value) in members {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&serde_json::Value::from(name.as_str()).to_string());
        json.push(':');
        json.push_str(value.get());
    }
    json.push('}');
    json.into()
}

/// Members of a JSON object in their order, values untouched.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Object).map(Members)
    }
}

#[cfg(test)]
mod tests;
