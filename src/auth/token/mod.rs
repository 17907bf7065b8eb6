//! JSON Web Tokens: the verification order of tokens.md 3 and what comes out of it.
//!
//! One [`Verifier`] per table Token of the configuration. Counts and logs nothing; the authenticator does.

mod claims;
pub(super) mod key;
mod options;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use serde::Deserialize;

use self::{
    claims::{ConnectionClaims, Registered, SubscriptionClaims, SubscriptionGrant},
    key::{Algorithm, Key},
    options::{Keys, Wanted},
};
use super::{
    Error, Lookup, Reason,
    config::{ExtensionConfig, TokenConfig},
};
use crate::model::{Channel, Now, SubscribeOptions, SubscribeSource, UserId};

/// What a connection token, or credentials in its place, says.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnectionToken {
    /// User; empty for anonymous.
    pub user: UserId,
    /// Expiration of the connection in Unix seconds; `None` never expires.
    pub expire_at: Option<i64>,
    /// Connection info; empty for none.
    pub info: Bytes,
    /// Connection meta, when the token has one.
    pub meta: Option<Bytes>,
    /// Server-side subscriptions with their options.
    pub channels: BTreeMap<Channel, SubscribeOptions>,
}

/// What a subscription token says.
#[derive(Clone, PartialEq, Eq)]
pub struct SubscriptionToken {
    /// Channel it is for.
    pub channel: Channel,
    /// User it is for.
    pub user: UserId,
    /// Connection it is for; empty for any.
    pub client: String,
    /// Options of the namespace with what the token changes, expiration included.
    pub options: SubscribeOptions,
}

impl std::fmt::Debug for ConnectionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionToken")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SubscriptionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscriptionToken")
            .field("channel", &self.channel)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Verifies tokens with the options of one table Token.
#[derive(Debug)]
pub(super) struct Verifier {
    keys: Keys,
    issuer: Wanted,
    audience: Wanted,
    user_id_claim: String,
    allow_ps: bool,
    skip_signature: bool,
}

#[derive(Deserialize)]
struct Header {
    alg: Option<String>,
    kid: Option<String>,
}

/// A token taken apart: steps 1 and 2.
struct Parts<'a> {
    header: Header,
    claims: Vec<u8>,
    signed: &'a [u8],
    signature: &'a str,
}

impl Verifier {
    pub(super) fn new(
        section: &'static str,
        config: &TokenConfig,
        extension: &ExtensionConfig,
        skip_signature: bool,
    ) -> Result<Self, Error> {
        options::check_user_id_claim(section, &config.user_id_claim)?;
        let audience = Wanted::new(
            section,
            "audience",
            &config.audience,
            &config.audience_regex,
        )?;
        let issuer = Wanted::new(section, "issuer", &config.issuer, &config.issuer_regex)?;
        Ok(Self {
            keys: Keys::new(section, config, extension)?,
            issuer,
            audience,
            user_id_claim: config.user_id_claim.clone(),
            allow_ps: extension.allow_ps,
            skip_signature,
        })
    }

    /// Names of the algorithms that have a key, as the start line shows them.
    pub(super) fn algorithms(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        match &self.keys {
            Keys::Published { .. } => {
                names.extend([
                    "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA",
                ]);
            }
            Keys::Static { hmac, rsa, ec, .. } => {
                if hmac.is_some() {
                    names.extend(["HS256", "HS384", "HS512"]);
                }
                if rsa.is_some() {
                    names.extend(["RS256", "RS384", "RS512"]);
                }
                match ec {
                    Some(Key::P256(_)) => names.push("ES256"),
                    Some(Key::P384(_)) => names.push("ES384"),
                    Some(Key::P521(_)) => names.push("ES512"),
                    _ => {}
                }
            }
        }
        names
    }

    /// Verifies a connection token, all ten steps.
    pub(super) async fn connection(
        &self,
        token: &str,
        now: &Now,
        lookup: &Lookup<'_>,
    ) -> Result<ConnectionToken, Reason> {
        let parts = Parts::split(token)?;
        let registered: Registered = claims::parse(&parts.claims)?;
        let own: ConnectionClaims = claims::parse(&parts.claims)?;
        self.trust(&parts, &registered, now).await?;
        if registered
            .channel
            .as_deref()
            .is_some_and(|name| !name.is_empty())
        {
            return Err(Reason::Channel);
        }
        if !registered.is_timely(now) {
            return Err(Reason::Expired);
        }
        let channels = grants(&own, lookup)?;
        Ok(ConnectionToken {
            user: self.user(&parts, &registered)?,
            expire_at: registered.expiration(),
            info: own.info()?,
            meta: own
                .meta
                .map(|raw| Bytes::copy_from_slice(raw.get().as_bytes())),
            channels,
        })
    }

    /// Verifies a subscription token, all ten steps. Whom it is for is compared by the caller.
    pub(super) async fn subscription(
        &self,
        token: &str,
        now: &Now,
        lookup: &Lookup<'_>,
    ) -> Result<SubscriptionToken, Reason> {
        let parts = Parts::split(token)?;
        let registered: Registered = claims::parse(&parts.claims)?;
        let own: SubscriptionClaims = claims::parse(&parts.claims)?;
        let grant: SubscriptionGrant = claims::parse(&parts.claims)?;
        self.trust(&parts, &registered, now).await?;
        if !registered.is_timely(now) {
            return Err(Reason::Expired);
        }
        let channel = match registered.channel.as_deref() {
            None | Some("") => return Err(Reason::Channel),
            Some(name) => Channel::from(name),
        };
        let namespace = lookup(&channel).map_err(|_unknown| Reason::UnknownChannel)?;
        let mut options = grant.options(&namespace.subscribe)?;
        options.expire_at = registered.expiration();
        options.source = SubscribeSource::SubscriptionToken;
        Ok(SubscriptionToken {
            user: self.user(&parts, &registered)?,
            client: own.client.unwrap_or_default(),
            channel,
            options,
        })
    }

    /// Steps 3 to 5: who issued it for whom, and is it really from them.
    async fn trust(&self, parts: &Parts<'_>, claims: &Registered, now: &Now) -> Result<(), Reason> {
        let issuer = claims.iss.as_deref().unwrap_or_default();
        let mut groups = BTreeMap::new();
        if !self.issuer.is_like(std::iter::once(issuer), &mut groups) {
            return Err(Reason::Issuer);
        }
        let audience = || claims.aud.iter().map(String::as_str);
        if !self.audience.is_like(audience(), &mut groups) {
            return Err(Reason::Audience);
        }
        if !self.skip_signature {
            self.check_signature(parts, &groups, now).await?;
        }
        if !self.audience.is_exactly(audience()) {
            return Err(Reason::Audience);
        }
        if !self.issuer.is_exactly(std::iter::once(issuer)) {
            return Err(Reason::Issuer);
        }
        Ok(())
    }

    async fn check_signature(
        &self,
        parts: &Parts<'_>,
        groups: &BTreeMap<String, String>,
        now: &Now,
    ) -> Result<(), Reason> {
        let name = parts.header.alg.as_deref().unwrap_or_default();
        let algorithm = Algorithm::named(name).ok_or(Reason::Algorithm)?;
        if matches!(algorithm, Algorithm::Pss(_)) && !self.allow_ps {
            return Err(Reason::Algorithm);
        }
        let verified = match &self.keys {
            Keys::Published { endpoint, sets } => {
                let kid = parts.header.kid.as_deref().unwrap_or_default();
                if kid.is_empty() {
                    return Err(Reason::Key);
                }
                let address = endpoint.resolve(groups).ok_or(Reason::Key)?;
                let published = sets.key(&address, kid).await?;
                let named = published.algorithm.as_deref();
                if named.is_some_and(|named| named != name) || !published.key.fits(algorithm) {
                    return Err(Reason::Algorithm);
                }
                parts.is_signed_with(&published.key, algorithm)
            }
            Keys::Static { hmac, rsa, ec, .. } => {
                let mut keys = [hmac, rsa, ec].into_iter().flatten();
                let key = keys
                    .find(|key| key.fits(algorithm))
                    .ok_or(Reason::Algorithm)?;
                parts.is_signed_with(key, algorithm)
                    || self
                        .previous(algorithm, now)
                        .is_some_and(|key| parts.is_signed_with(key, algorithm))
            }
        };
        if verified {
            Ok(())
        } else {
            Err(Reason::Signature)
        }
    }

    /// The secret before the present one, while it is accepted.
    fn previous(&self, algorithm: Algorithm, now: &Now) -> Option<&Key> {
        match &self.keys {
            Keys::Static {
                previous: Some(key),
                previous_valid_until: until,
                ..
            } if key.fits(algorithm) && (*until == 0 || now.unix() <= *until) => Some(key),
            _ => None,
        }
    }

    fn user(&self, parts: &Parts<'_>, claims: &Registered) -> Result<UserId, Reason> {
        if self.user_id_claim.is_empty() {
            Ok(UserId::from(claims.sub.as_deref().unwrap_or_default()))
        } else {
            claims::text(&parts.claims, &self.user_id_claim).map(UserId::from)
        }
    }
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, Reason> {
        if !token.starts_with("eyJ") {
            return Err(Reason::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Reason::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Reason::Malformed)?;
        let decode = |part: &str| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_not_shown| Reason::Malformed)
        };
        let header = decode(header)?;
        decode(signature)?;
        Ok(Self {
            header: serde_json::from_slice(&header).map_err(|_not_shown| Reason::Malformed)?,
            claims: decode(claims)?,
            signed: signed.as_bytes(),
            signature,
        })
    }

    fn is_signed_with(&self, key: &Key, algorithm: Algorithm) -> bool {
        key.verifies(algorithm, self.signed, self.signature)
    }
}

/// Step 9 and 10 for the channels of a connection token; `channels` counts only without `subs`.
fn grants(
    claims: &ConnectionClaims,
    lookup: &Lookup<'_>,
) -> Result<BTreeMap<Channel, SubscribeOptions>, Reason> {
    let default = SubscriptionGrant::default();
    let subs = claims.subs.iter().flatten();
    let mut named: Vec<(&str, &SubscriptionGrant)> = subs
        .map(|(name, grant)| (name.as_str(), grant.as_ref().unwrap_or(&default)))
        .collect();
    if named.is_empty() {
        let channels = claims.channels.iter().flatten();
        named.extend(channels.map(|name| (name.as_str(), &default)));
    }
    let mut channels = BTreeMap::new();
    for (name, grant) in named {
        if name.is_empty() {
            return Err(Reason::Claims);
        }
        let channel = Channel::from(name);
        let namespace = lookup(&channel).map_err(|_unknown| Reason::UnknownChannel)?;
        let mut options = grant.options(&namespace.subscribe)?;
        options.source = SubscribeSource::ConnectionToken;
        channels.insert(channel, options);
    }
    Ok(channels)
}

#[cfg(test)]
mod tests;
