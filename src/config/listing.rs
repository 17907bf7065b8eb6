//! Listings of a configuration: as a file, as variables, and the minimal file to begin with (config.md 10).

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::Rng as _;
use serde_json::{Value, json};

use super::{
    Config, convert,
    environment::{COMPATIBLE_PREFIX, OWN_PREFIX},
    resolve,
    schema::{self, Kind},
    tree,
    value::format_duration,
};

/// The whole configuration as a file would hold it.
#[must_use]
pub fn shown(config: &Config) -> Value {
    tree::shown(schema::ROOT, &config.tree)
}

/// The whole configuration as variables, one a line, sorted; on request without those that are zero.
#[must_use]
pub fn environment_lines(config: &Config, non_zero_only: bool) -> Vec<String> {
    let mut lines = Vec::new();
    resolve::each_variable(&config.tree, &mut |name, own, kind, value| {
        if non_zero_only && convert::is_zero(value) {
            return;
        }
        let prefix = if own { OWN_PREFIX } else { COMPATIBLE_PREFIX };
        lines.push(format!("{prefix}{name}={}", text(kind, value)));
    });
    lines.sort();
    lines
}

/// The value of a variable: texts in quotes, the rest bare.
fn text(kind: &Kind, value: &Value) -> String {
    let words = |key: Option<&str>| -> String {
        let items = value.as_array().into_iter().flatten();
        let words: Vec<&str> = items
            .filter_map(|item| key.map_or(Some(item), |key| item.get(key)))
            .filter_map(Value::as_str)
            .collect();
        words.join(" ")
    };
    match kind {
        Kind::Bool(_) | Kind::Int(..) => value.to_string(),
        Kind::Duration(..) => format_duration(value.as_i64().unwrap_or_default()),
        Kind::Text(..) => quoted(value.as_str().unwrap_or_default()),
        Kind::Texts(_) => quoted(&words(None)),
        Kind::Named(_) => quoted(&words(Some("name"))),
        Kind::Objects(tables) => {
            let items = value.as_array().into_iter().flatten();
            let shown: Value = items.map(|item| tree::shown(tables, item)).collect();
            quoted(&shown.to_string())
        }
        Kind::Map | Kind::Section(_) => quoted(&value.to_string()),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A minimal file with fresh secrets.
#[must_use]
pub fn minimal() -> Value {
    json!({
        "client": {
            "token": {"hmac_secret_key": random::<64>()},
            "allowed_origins": [],
        },
        "admin": {
            "enabled": false,
            "password": random::<16>(),
            "secret": random::<64>(),
        },
        "http_api": {"key": random::<64>()},
    })
}

fn random<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    rand::rng().fill_bytes(&mut bytes);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
