//! HMAC credentials, plain legacy form (tokens.md 10): hex HMAC-SHA256 over user, timestamp and info put together.
//!
//! The plain concatenation does not mark its borders, so the fields are restricted until it has one reading only.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};
use subtle::ConstantTimeEq as _;

use super::{
    Reason,
    config::{CredentialsConfig, TimestampMeaning},
    credentials::{DIGEST, check_window, digest, sign},
    token::ConnectionToken,
};
use crate::model::{Now, Secret, UserId};

/// How far ahead a time of issue may lie, seconds: clocks differ.
const SKEW: i64 = 60;
const TIMESTAMP_DIGITS: usize = 10;
const USER_LIMIT: usize = 128;

/// Credentials as carried, neither verified nor trusted.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signed {
    /// Marks the legacy form under the member for credentials.
    #[serde(rename = "v")]
    _version: IgnoredVersion,
    user: String,
    timestamp: String,
    info: String,
    token: String,
}

/// The version member, whose value was looked at before.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct IgnoredVersion;

impl<'de> Deserialize<'de> for IgnoredVersion {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_ignored| Self)
    }
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signed")
    }
}

impl Signed {
    /// User, timestamp, info and signature as carried.
    #[must_use]
    pub fn new(fields: [String; 4]) -> Self {
        let [user, timestamp, info, token] = fields;
        Self {
            user,
            timestamp,
            info,
            token,
            ..Self::default()
        }
    }

    /// Reads an object with the four members.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for other members and other types.
    pub fn parse_object(json: &str) -> Result<Self, Reason> {
        serde_json::from_str(json).map_err(|_not_shown| Reason::Malformed)
    }
}

/// Verifies the legacy form.
#[derive(Debug)]
pub(super) struct Verifier {
    secret: Secret,
    meaning: TimestampMeaning,
    lifetime: Duration,
    allow_without_timestamp: bool,
    pub(super) disable_after: i64,
    max_ttl: Duration,
}

impl Verifier {
    pub(super) fn new(config: &CredentialsConfig) -> Self {
        let legacy = &config.legacy;
        Self {
            secret: legacy.secret_key.clone(),
            meaning: legacy.timestamp_meaning,
            lifetime: legacy.lifetime,
            allow_without_timestamp: legacy.allow_without_timestamp,
            disable_after: legacy.disable_after,
            max_ttl: config.max_ttl,
        }
    }

    pub(super) fn verify(&self, signed: &Signed, now: &Now) -> Result<ConnectionToken, Reason> {
        if self.disable_after != 0 && now.unix() > self.disable_after {
            return Err(Reason::Lifetime);
        }
        let given = self.check_form(signed)?;
        let parts = [&signed.user, &signed.timestamp, &signed.info].map(|part| part.as_bytes());
        if !bool::from(sign(&self.secret, &parts).ct_eq(&given)) {
            return Err(Reason::Signature);
        }
        Ok(ConnectionToken {
            user: UserId::from(signed.user.as_str()),
            expire_at: Some(self.expiration(&signed.timestamp, now)?),
            info: Bytes::copy_from_slice(signed.info.as_bytes()),
            ..ConnectionToken::default()
        })
    }

    /// The rules of tokens.md 10.3. Returns the given signature.
    fn check_form(&self, signed: &Signed) -> Result<[u8; DIGEST], Reason> {
        let Signed {
            user,
            timestamp,
            info,
            token,
            ..
        } = signed;
        let fine = if timestamp.is_empty() {
            self.allow_without_timestamp && info.is_empty() && !ends_in_timestamp(user)
        } else {
            is_timestamp(timestamp) && (info.is_empty() || is_object(info))
        };
        if !fine || !is_user(user) {
            return Err(Reason::Malformed);
        }
        digest(token).ok_or(Reason::Malformed)
    }

    fn expiration(&self, timestamp: &str, now: &Now) -> Result<i64, Reason> {
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        if timestamp.is_empty() {
            return Ok(now.unix().saturating_add(lifetime));
        }
        let timestamp: i64 = timestamp.parse().map_err(|_range| Reason::Malformed)?;
        match self.meaning {
            TimestampMeaning::Exp => {
                check_window(timestamp, self.max_ttl, now)?;
                Ok(timestamp)
            }
            TimestampMeaning::Issued => {
                let expiration = timestamp.saturating_add(lifetime);
                if timestamp.saturating_mul(1000) > now.unix_ms + SKEW * 1000 {
                    return Err(Reason::Lifetime);
                }
                if now.unix_ms >= expiration.saturating_mul(1000) {
                    return Err(Reason::Expired);
                }
                Ok(expiration)
            }
        }
    }
}

fn is_timestamp(text: &str) -> bool {
    text.len() == TIMESTAMP_DIGITS
        && !text.starts_with('0')
        && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn ends_in_timestamp(user: &str) -> bool {
    user.len()
        .checked_sub(TIMESTAMP_DIGITS)
        .and_then(|start| user.get(start..))
        .is_some_and(is_timestamp)
}

fn is_user(user: &str) -> bool {
    (1..=USER_LIMIT).contains(&user.len())
        && user
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.@:+-".contains(&byte))
}

fn is_object(info: &str) -> bool {
    info.starts_with('{') && serde_json::from_str::<IgnoredAny>(info).is_ok()
}

#[cfg(test)]
mod tests;
