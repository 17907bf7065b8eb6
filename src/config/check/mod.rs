//! The rules of config.md 9: everything that can be judged without starting anything.
//!
//! A rule sees the complete tree and says the first thing that is wrong. Rules that need a module's own knowledge
//! (keys of tokens, key set templates) are that module's; they are called from `MODULE_RULES`.

use serde_json::Value;

use crate::{
    auth::Config as AuthConfig,
    policy::Config as PolicyConfig,
    proxy::Config as ProxyConfig,
    server::{storage::Config as StorageConfig, tls::Config as TlsConfig},
};

use super::{
    Config,
    schema::{self, Gate},
    tree::{self, Section},
    warning::Warning,
};

mod channel;
mod client;
mod consumer;
mod map;
mod proxy;
mod server;

/// A rule is broken; the text names the place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    /// For rules of other modules.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The same, with the place in front.
    fn at(self, place: &str) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

type Checked = Result<(), Invalid>;

fn broken(text: impl Into<String>) -> Checked {
    Err(Invalid::new(text))
}

/// Rules of single modules, called after all others. A module adds one line here.
const MODULE_RULES: &[fn(&Config) -> Checked] =
    &[tokens, namespaces, certificates, backends, storage];

/// Keys, patterns and key set templates of tokens, and the secrets of credentials.
fn tokens(config: &Config) -> Checked {
    let section: AuthConfig = config
        .section("")
        .map_err(|error| Invalid::new(error.to_string()))?;
    section.check().map_err(|error| told(&error))
}

/// Namespaces as the policy reads them.
fn namespaces(config: &Config) -> Checked {
    let section: PolicyConfig = config
        .section("")
        .map_err(|error| Invalid::new(error.to_string()))?;
    section.check().map_err(|error| told(&error))
}

/// Certificates and keys as the listeners read them.
fn certificates(config: &Config) -> Checked {
    let section: TlsConfig = config
        .section("")
        .map_err(|error| Invalid::new(error.to_string()))?;
    section.check().map_err(|error| told(&error))
}

/// Addresses, certificates and headers of proxies.
fn backends(config: &Config) -> Checked {
    let section: ProxyConfig = config
        .section("")
        .map_err(|error| Invalid::new(error.to_string()))?;
    section
        .check(|option| super::read_pem(option).ok())
        .map_err(|error| told(&error))
}

/// Addresses and TLS of Redis.
fn storage(config: &Config) -> Checked {
    let section: StorageConfig = config
        .section("")
        .map_err(|error| Invalid::new(error.to_string()))?;
    section.check()
}

/// An error with its causes, on one line.
fn told(error: &dyn std::error::Error) -> Invalid {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    Invalid::new(causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")))
}

pub(super) fn validate(config: &Config) -> Checked {
    let root = Section::new(&config.tree);
    channel::check(root)?;
    proxy::check(root)?;
    client::check(root)?;
    consumer::check(root)?;
    server::check(root)?;
    MODULE_RULES.iter().try_for_each(|rule| rule(config))
}

/// Refuses what this version does not have; which options that are stands in the schema alone.
pub(super) fn missing(tree: &Value) -> Checked {
    let mut refused = None;
    tree::leaves(schema::ROOT, tree, &mut |path, leaf| {
        let default = super::convert::default(&leaf.field.kind);
        let changed = *leaf.value != default;
        let switches_section = leaf.field.key == "enabled"
            && leaf
                .parent
                .is_some_and(|section| section.gate == Gate::Missing);
        let reason = match leaf.field.gate {
            Gate::Missing if changed => Some(path.to_owned()),
            Gate::Only(known) if !known.iter().any(|known| leaf.value == known) => Some(format!(
                "{path}: {}",
                leaf.value.as_str().unwrap_or_default()
            )),
            _ if switches_section && changed => Some(path.to_owned()),
            Gate::Open | Gate::Missing | Gate::Only(_) => None,
        };
        if refused.is_none() {
            refused = reason;
        }
    });
    match refused {
        Some(key) => broken(format!("{key} is not available in this version")),
        None => Ok(()),
    }
}

pub(super) fn start_warnings(tree: &Value) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let root = Section::new(tree);
    for (key, what) in [
        ("client.insecure", "client mode"),
        ("http_api.insecure", "HTTP API mode"),
        ("admin.insecure", "admin mode"),
        (
            "client.insecure_skip_token_signature_verify",
            "skip token signature verify",
        ),
    ] {
        if root.on(key) {
            warnings.push(Warning::plain(format!(
                "INSECURE {what} enabled, make sure you understand risks"
            )));
        }
    }
    if root.on("debug.enabled") {
        let path = root.text("debug.handler_prefix");
        warnings.push(Warning::plain(format!("DEBUG mode enabled, see on {path}")));
    }
    if root
        .texts("client.allowed_origins")
        .any(|origin| origin == "*")
    {
        warnings.push(Warning::plain(
            "usage of allowed_origins * is discouraged for security reasons, consider setting exact list of origins",
        ));
    }
    if root.on("http_server.tls.enabled") && root.on("http_server.tls_autocert.enabled") {
        warnings.push(Warning::plain(
            "http_server.tls and http_server.tls_autocert are both enabled, tls_autocert is used",
        ));
    }
    warnings
}

/// True for `^[-a-zA-Z0-9_.]{2,}$`.
fn is_name(text: &str) -> bool {
    text.len() >= 2
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

const NAME_PATTERN: &str = "^[-a-zA-Z0-9_.]{2,}$";

/// Compiles a pattern; the error is one line.
fn pattern(text: &str) -> Result<regex::Regex, String> {
    regex::Regex::new(text).map_err(|error| {
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default();
        last.trim_start_matches("error: ").to_owned()
    })
}

/// The first text that occurs twice.
fn repeated<'a>(mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = std::collections::BTreeSet::new();
    names.find(|name| !seen.insert(*name))
}

/// Fails unless the text is one of these; the empty text counts when it is listed.
fn one_of(what: &str, text: &str, known: &[&str]) -> Checked {
    if known.contains(&text) {
        Ok(())
    } else {
        broken(format!("unknown {what}: {text:?}"))
    }
}

#[cfg(test)]
mod tests;
