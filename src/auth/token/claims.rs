//! The claims of tokens, typed (tokens.md 3, 4, 5).
//!
//! Parsing is strict about types and silent about unknown claims. Knows nothing of keys.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::value::RawValue;

use crate::{
    auth::Reason,
    model::{Now, SubscribeOptions},
};

/// Claims every kind of token may have.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Registered {
    pub(super) sub: Option<String>,
    pub(super) iss: Option<String>,
    #[serde(default)]
    pub(super) aud: Audience,
    #[serde(default, deserialize_with = "numeric_date")]
    pub(super) exp: Option<f64>,
    #[serde(default, deserialize_with = "numeric_date")]
    nbf: Option<f64>,
    #[serde(default, rename = "iat", deserialize_with = "numeric_date")]
    _iat: Option<f64>,
    #[serde(rename = "jti")]
    _jti: Option<String>,
    expire_at: Option<i64>,
    pub(super) channel: Option<String>,
}

/// Claims of connection tokens.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ConnectionClaims {
    #[serde(default, deserialize_with = "raw")]
    pub(super) info: Option<Box<RawValue>>,
    pub(super) b64info: Option<String>,
    #[serde(default, deserialize_with = "raw")]
    pub(super) meta: Option<Box<RawValue>>,
    pub(super) channels: Option<Vec<String>>,
    pub(super) subs: Option<BTreeMap<String, Option<SubscriptionGrant>>>,
}

/// Claims of subscription tokens beside a [`SubscriptionGrant`].
#[derive(Debug, Default, Deserialize)]
pub(super) struct SubscriptionClaims {
    pub(super) client: Option<String>,
}

/// What a token says about one subscription.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SubscriptionGrant {
    #[serde(default, deserialize_with = "raw")]
    info: Option<Box<RawValue>>,
    b64info: Option<String>,
    #[serde(default, deserialize_with = "raw")]
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
    r#override: Option<Override>,
}

#[derive(Debug, Default, Deserialize)]
struct Override {
    presence: Option<Switch>,
    join_leave: Option<Switch>,
    force_recovery: Option<Switch>,
    force_positioning: Option<Switch>,
    force_push_join_leave: Option<Switch>,
}

#[derive(Debug, Default, Deserialize)]
struct Switch {
    value: Option<bool>,
}

/// `aud`: one text or several. `null` is neither.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Audience {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, String> {
        match self {
            Self::One(one) => std::slice::from_ref(one).iter(),
            Self::Many(many) => many.iter(),
        }
    }
}

impl Registered {
    /// Step 7 of tokens.md 3: no leeway, and too early counts as expired.
    pub(super) fn is_timely(&self, now: &Now) -> bool {
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds fit for 285,000 years"
        )]
        let now = now.unix_ms as f64 / 1000.0;
        self.exp.is_none_or(|exp| now < exp) && self.nbf.is_none_or(|nbf| now > nbf)
    }

    /// Expiration of what the token grants, in Unix seconds.
    pub(super) fn expiration(&self) -> Option<i64> {
        match self.expire_at {
            Some(at) => (at > 0).then_some(at),
            #[expect(clippy::cast_possible_truncation, reason = "saturates")]
            None => self.exp.map(|exp| exp.floor() as i64),
        }
    }
}

impl ConnectionClaims {
    /// Step 10 of tokens.md 3 for the connection itself.
    pub(super) fn info(&self) -> Result<Bytes, Reason> {
        payload(self.info.as_deref(), self.b64info.as_deref())
    }
}

impl SubscriptionGrant {
    /// The options of the namespace with what the token changes.
    pub(super) fn options(&self, namespace: &SubscribeOptions) -> Result<SubscribeOptions, Reason> {
        let mut options = namespace.clone();
        options.info = payload(self.info.as_deref(), self.b64info.as_deref())?;
        options.data = payload(self.data.as_deref(), self.b64data.as_deref())?;
        let Some(changes) = &self.r#override else {
            return Ok(options);
        };
        let set = |option: &mut bool, change: &Option<Switch>| {
            if let Some(switch) = change {
                *option = switch.value.unwrap_or_default();
            }
        };
        set(&mut options.presence, &changes.presence);
        set(&mut options.join_leave, &changes.join_leave);
        set(&mut options.recoverable, &changes.force_recovery);
        set(&mut options.positioned, &changes.force_positioning);
        set(&mut options.push_join_leave, &changes.force_push_join_leave);
        Ok(options)
    }
}

/// Parses claims into one of the types above: a JSON object, whose unknown members do not matter.
pub(super) fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Reason> {
    let first = json.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(Reason::Malformed);
    }
    serde_json::from_slice(json).map_err(|_not_shown| Reason::Claims)
}

/// Any claim as text: text itself, numbers as written, nothing for none (option `user_id_claim`).
pub(super) fn text(json: &[u8], claim: &str) -> Result<String, Reason> {
    let claims: BTreeMap<String, &RawValue> = parse(json)?;
    let Some(raw) = claims.get(claim).map(|raw| raw.get()) else {
        return Ok(String::new());
    };
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw).map_err(|_not_shown| Reason::Claims),
        _ if raw == "null" => Ok(String::new()),
        _ => Ok(raw.to_owned()),
    }
}

fn payload(json: Option<&RawValue>, base64: Option<&str>) -> Result<Bytes, Reason> {
    match base64 {
        Some(text) if !text.is_empty() => STANDARD
            .decode(text)
            .map(Bytes::from)
            .map_err(|_not_shown| Reason::Claims),
        _ => Ok(json.map_or_else(Bytes::new, |raw| {
            Bytes::copy_from_slice(raw.get().as_bytes())
        })),
    }
}

/// Keeps `null` apart from absence, which `Option` alone would not.
fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

/// Seconds as a number or as a number in quotes; `null` is absent.
fn numeric_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?.get();
    if raw == "null" {
        return Ok(None);
    }
    let number = match raw
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    {
        Some(text) if text.trim() == text => text,
        Some(_) => return Err(D::Error::custom("not a number")),
        None => raw,
    };
    serde_json::from_str(number)
        .map(Some)
        .map_err(D::Error::custom)
}
