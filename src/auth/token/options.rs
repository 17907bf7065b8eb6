//! The options of one table Token, checked and ready: keys, and what issuer and audience have to be.
//!
//! Fails closed: a broken key, pattern or address stops the start.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::key::{Key, KeyError};
use crate::auth::{
    Error,
    config::{ExtensionConfig, TokenConfig},
    jwks::{Endpoint, EndpointError, KeySets},
    pattern,
};

/// Where keys come from. A published set replaces the static ones.
#[derive(Debug)]
pub(super) enum Keys {
    Static {
        hmac: Option<Key>,
        previous: Option<Key>,
        previous_valid_until: i64,
        rsa: Option<Key>,
        ec: Option<Key>,
    },
    Published {
        endpoint: Endpoint,
        sets: KeySets,
    },
}

/// What `iss` or `aud` has to be.
#[derive(Debug)]
pub(super) enum Wanted {
    Anything,
    Exactly(String),
    Like(Box<Regex>),
}

impl Keys {
    pub(super) fn new(
        section: &'static str,
        config: &TokenConfig,
        extension: &ExtensionConfig,
    ) -> Result<Self, Error> {
        let bad_key = |option| {
            move |source| Error::Key {
                section,
                option,
                source,
            }
        };
        let pem = |text: &str, parse: fn(&str) -> Result<Key, KeyError>, option| {
            (!text.is_empty())
                .then(|| parse(text).map_err(bad_key(option)))
                .transpose()
        };
        let rsa = pem(&config.rsa_public_key, Key::rsa_pem, "rsa_public_key")?;
        let ec = pem(&config.ecdsa_public_key, Key::ec_pem, "ecdsa_public_key")?;
        if config.jwks_public_endpoint.is_empty() {
            return Ok(Self::Static {
                hmac: Key::hmac(&config.hmac_secret_key),
                previous: Key::hmac(&config.hmac_previous_secret_key),
                previous_valid_until: config.hmac_previous_secret_key_valid_until,
                rsa,
                ec,
            });
        }
        let endpoint = Endpoint::parse(&config.jwks_public_endpoint)
            .map_err(|source| Error::Endpoint { section, source })?;
        check_placeholders(section, config, &endpoint)?;
        let sets = KeySets::new(extension.jwks_max_age).map_err(Error::Fetcher)?;
        Ok(Self::Published { endpoint, sets })
    }
}

/// Nobody may choose the address of a key set by what they write into a token (tokens.md 6).
fn check_placeholders(
    section: &'static str,
    config: &TokenConfig,
    endpoint: &Endpoint,
) -> Result<(), Error> {
    let names: BTreeSet<&str> = endpoint.placeholders().collect();
    if names.is_empty() {
        return Ok(());
    }
    for (option, text) in [
        ("issuer_regex", &config.issuer_regex),
        ("audience_regex", &config.audience_regex),
    ] {
        let finite = pattern::is_finite(text, &names).map_err(|source| Error::Pattern {
            section,
            option,
            source,
        })?;
        if finite {
            continue;
        }
        if !config.insecure_skip_jwks_endpoint_safety_check {
            let source = EndpointError::Unsafe;
            return Err(Error::Endpoint { section, source });
        }
        tracing::warn!(
            section,
            option,
            "INSECURE: pattern lets tokens choose the address of the key set"
        );
    }
    Ok(())
}

pub(super) fn check_user_id_claim(section: &'static str, claim: &str) -> Result<(), Error> {
    if claim
        .bytes()
        .all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    {
        Ok(())
    } else {
        Err(Error::UserIdClaim { section })
    }
}

impl Wanted {
    pub(super) fn new(
        section: &'static str,
        option: &'static str,
        exactly: &str,
        pattern: &str,
    ) -> Result<Self, Error> {
        match (exactly, pattern) {
            ("", "") => Ok(Self::Anything),
            (exactly, "") => Ok(Self::Exactly(exactly.to_owned())),
            ("", pattern) => pattern::compile(pattern)
                .map(|regex| Self::Like(Box::new(regex)))
                .map_err(|source| Error::Pattern {
                    section,
                    option,
                    source,
                }),
            _ => Err(Error::Ambiguous { section, option }),
        }
    }

    /// Step 3. The groups of the first match fill the address of the key set.
    pub(super) fn is_like<'a>(
        &self,
        mut given: impl Iterator<Item = &'a str>,
        groups: &mut BTreeMap<String, String>,
    ) -> bool {
        let Self::Like(regex) = self else {
            return true;
        };
        let Some(captures) = given.find_map(|text| regex.captures(text)) else {
            return false;
        };
        for name in regex.capture_names().flatten() {
            let value = captures.name(name).map_or("", |found| found.as_str());
            groups.insert(name.to_owned(), value.to_owned());
        }
        true
    }

    /// Step 5.
    pub(super) fn is_exactly<'a>(&self, mut given: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Self::Exactly(wanted) => given.any(|text| text == wanted),
            Self::Anything | Self::Like(_) => true,
        }
    }
}
