//! HMAC credentials, safe form `h1` (tokens.md 9): who, until when, and what others see, signed with a shared secret.
//!
//! Owns the form and its verification. Where credentials were found, and what happens to them, is decided elsewhere.

use std::time::Duration;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use super::{Reason, config::CredentialsConfig, token::ConnectionToken};
use crate::model::{Now, Secret, UserId};

/// Separates these signatures from every other use of HMAC.
const TAG: &[u8] = b"centripetal/credentials/h1";
/// Longest compact form, user and info, bytes.
const COMPACT_LIMIT: usize = 24 * 1024;
const USER_LIMIT: usize = 255;
const INFO_LIMIT: usize = 16 * 1024;
/// A signature or its secret, bytes.
pub(super) const DIGEST: usize = 32;

/// Prefix of the compact form. A JWT begins with `eyJ`, so nothing is both.
pub const PREFIX: &str = "h1.";

/// Credentials as carried, neither verified nor trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed {
    user: String,
    exp: String,
    info: Bytes,
    signature: [u8; DIGEST],
}

impl std::fmt::Debug for Signed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signed")
    }
}

/// The object form, as a member of connect data.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<'a> {
    user: String,
    #[serde(borrow)]
    exp: &'a RawValue,
    info: Option<String>,
    b64info: Option<String>,
    sign: String,
}

impl Signed {
    /// Reads the compact form.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for anything that is not exactly of this form.
    pub fn parse(text: &str) -> Result<Self, Reason> {
        if text.len() > COMPACT_LIMIT {
            return Err(Reason::Malformed);
        }
        let rest = text.strip_prefix(PREFIX).ok_or(Reason::Malformed)?;
        let mut parts = rest.split('.');
        let mut part = || parts.next().ok_or(Reason::Malformed);
        let (user, exp, info, signature) = (part()?, part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(Reason::Malformed);
        }
        let decode = |text: &str| {
            URL_SAFE_NO_PAD
                .decode(text)
                .map_err(|_not_shown| Reason::Malformed)
        };
        let user = String::from_utf8(decode(user)?).map_err(|_not_shown| Reason::Malformed)?;
        Self::new(user, exp, decode(info)?.into(), signature)
    }

    /// Reads the object form.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for anything that is not exactly of this form.
    pub fn parse_object(json: &str) -> Result<Self, Reason> {
        let object: Object<'_> =
            serde_json::from_str(json).map_err(|_not_shown| Reason::Malformed)?;
        let info = match (object.info, object.b64info) {
            (Some(_), Some(_)) => return Err(Reason::Malformed),
            (None, Some(text)) => STANDARD
                .decode(text)
                .map_err(|_not_shown| Reason::Malformed)?,
            (info, None) => info.unwrap_or_default().into_bytes(),
        };
        Self::new(object.user, object.exp.get(), info.into(), &object.sign)
    }

    fn new(user: String, exp: &str, info: Bytes, signature: &str) -> Result<Self, Reason> {
        let fine = user.len() <= USER_LIMIT
            && !user.contains(|c: char| c.is_ascii_control())
            && info.len() <= INFO_LIMIT
            && is_exp(exp)
            && !signature.bytes().any(|byte| byte.is_ascii_uppercase());
        if !fine {
            return Err(Reason::Malformed);
        }
        Ok(Self {
            user,
            exp: exp.to_owned(),
            info,
            signature: digest(signature).ok_or(Reason::Malformed)?,
        })
    }
}

/// Expiration of credentials: decimal, no sign, no leading zero, at most sixteen digits.
fn is_exp(text: &str) -> bool {
    (1..=16).contains(&text.len())
        && !text.starts_with('0')
        && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// 64 hexadecimal digits of either case as bytes.
pub(super) fn digest(hex: &str) -> Option<[u8; DIGEST]> {
    if hex.len() != 2 * DIGEST {
        return None;
    }
    let mut bytes = [0; DIGEST];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

/// HMAC-SHA256 over the parts, one after another.
pub(super) fn sign(secret: &Secret, parts: &[&[u8]]) -> [u8; DIGEST] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes keys of every length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Hexadecimal text of a signature.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Signature over the fields; each carries its length, so that no two sets of fields sign the same bytes.
fn signature(secret: &Secret, user: &str, exp: &str, info: &[u8]) -> [u8; DIGEST] {
    let fields: [&[u8]; 4] = [TAG, user.as_bytes(), exp.as_bytes(), info];
    let lengths = fields.map(|field| u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
    let mut parts: Vec<&[u8]> = Vec::with_capacity(8);
    for (length, field) in lengths.iter().zip(fields) {
        parts.push(length);
        parts.push(field);
    }
    sign(secret, &parts)
}

/// Makes the compact form (command line, tests).
///
/// # Errors
/// [`Reason::Malformed`] when a field is not allowed to be as it is.
pub fn issue(secret: &Secret, user: &str, exp: i64, info: &[u8]) -> Result<String, Reason> {
    let exp = exp.to_string();
    let text = format!(
        "{PREFIX}{}.{exp}.{}.{}",
        URL_SAFE_NO_PAD.encode(user),
        URL_SAFE_NO_PAD.encode(info),
        hex(&signature(secret, user, &exp, info)),
    );
    Signed::parse(&text).map(|_valid| text)
}

/// Verifies the safe form.
#[derive(Debug)]
pub(super) struct Verifier {
    secret: Secret,
    previous: Secret,
    previous_valid_until: i64,
    max_ttl: Duration,
}

impl Verifier {
    pub(super) fn new(config: &CredentialsConfig) -> Self {
        Self {
            secret: config.secret_key.clone(),
            previous: config.previous_secret_key.clone(),
            previous_valid_until: config.previous_secret_key_valid_until,
            max_ttl: config.max_ttl,
        }
    }

    /// Steps 2 to 4 and 6 of tokens.md 9.5.
    pub(super) fn verify(&self, signed: &Signed, now: &Now) -> Result<ConnectionToken, Reason> {
        if !bool::from(self.is_signed(signed, now)) {
            return Err(Reason::Signature);
        }
        let exp: i64 = signed.exp.parse().map_err(|_range| Reason::Malformed)?;
        check_window(exp, self.max_ttl, now)?;
        Ok(ConnectionToken {
            user: UserId::from(signed.user.as_str()),
            expire_at: Some(exp),
            info: signed.info.clone(),
            ..ConnectionToken::default()
        })
    }

    /// Both secrets are tried whatever the first says, so that time does not tell which one it was.
    fn is_signed(&self, signed: &Signed, now: &Now) -> Choice {
        let by = |secret: &Secret| {
            signature(secret, &signed.user, &signed.exp, &signed.info).ct_eq(&signed.signature)
        };
        let usable = !self.previous.is_empty()
            && (self.previous_valid_until == 0 || now.unix() <= self.previous_valid_until);
        by(&self.secret) | (by(&self.previous) & Choice::from(u8::from(usable)))
    }
}

/// Steps 3 and 4: not over yet, and not too far ahead.
pub(super) fn check_window(exp: i64, max_ttl: Duration, now: &Now) -> Result<(), Reason> {
    if now.unix_ms >= exp.saturating_mul(1000) {
        return Err(Reason::Expired);
    }
    let ahead = i64::try_from(max_ttl.as_millis()).unwrap_or(i64::MAX);
    if exp.saturating_mul(1000) > now.unix_ms.saturating_add(ahead) {
        return Err(Reason::Lifetime);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
