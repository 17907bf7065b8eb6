//! All verifiers of one configuration together, and the rules that cross their sections (tokens.md 9.1, 10.1).

use super::{
    Error, Kind, Presented, Reason,
    config::{Config, CredentialsConfig},
    credentials, legacy,
    token::{self, ConnectionToken},
};
use crate::model::Secret;

/// Shortest secret of the safe form, bytes.
const SHORTEST_SECRET: usize = 16;

/// Everything that verifies, replaced whole on reload.
#[derive(Debug)]
pub(super) struct Verifiers {
    pub(super) connection: token::Verifier,
    pub(super) subscription: Option<token::Verifier>,
    pub(super) hmac: Option<HmacVerifiers>,
    disallow_anonymous: bool,
}

/// Verifiers of HMAC credentials while these are on.
#[derive(Debug)]
pub(super) struct HmacVerifiers {
    safe: credentials::Verifier,
    pub(super) legacy: Option<legacy::Verifier>,
    pub(super) data_field: String,
    disallow_anonymous: bool,
}

impl Verifiers {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let client = &config.client;
        let extension = &config.centripetal.token;
        let skip = client.insecure_skip_token_signature_verify;
        let build = |section, token| token::Verifier::new(section, token, extension, skip);
        let separate = &client.subscription_token;
        Ok(Self {
            connection: build("client.token", &client.token)?,
            subscription: separate
                .enabled
                .then(|| build("client.subscription_token", &separate.token))
                .transpose()?,
            hmac: client
                .hmac_credentials
                .enabled
                .then(|| HmacVerifiers::new(config))
                .transpose()?,
            disallow_anonymous: client.disallow_anonymous_connection_tokens,
        })
    }

    /// Says at start and reload what can be verified.
    pub(super) fn announce(&self) {
        let algorithms = self.connection.algorithms();
        if !algorithms.is_empty() {
            tracing::info!(algorithms = algorithms.join(", "), "enabled JWT verifiers");
        }
        if let Some(verifier) = &self.subscription {
            let algorithms = verifier.algorithms().join(", ");
            tracing::info!(algorithms, "enabled JWT verifiers for subscriptions");
        }
        self.remind();
    }

    /// What a `token` is: credentials have a prefix that no JWT has.
    pub(super) fn kind(&self, token: &str) -> Kind {
        if self.hmac.is_some() && token.starts_with(credentials::PREFIX) {
            Kind::H1
        } else {
            Kind::Jwt
        }
    }

    /// The rule about the empty user, which comes after everything else.
    pub(super) fn admit(&self, token: ConnectionToken) -> Result<ConnectionToken, Reason> {
        if self.disallow_anonymous && token.user.is_empty() {
            Err(Reason::Anonymous)
        } else {
            Ok(token)
        }
    }

    pub(super) fn hmac(
        &self,
        presented: &Presented,
        now: &crate::model::Now,
    ) -> Result<ConnectionToken, Reason> {
        let hmac = self.hmac.as_ref().ok_or(Reason::Malformed)?;
        let token = match presented {
            Presented::H1(signed) => hmac.safe.verify(signed, now),
            Presented::Legacy(signed) => match &hmac.legacy {
                Some(legacy) => legacy.verify(signed, now),
                None => Err(Reason::Malformed),
            },
            Presented::Broken(_) => Err(Reason::Malformed),
        }?;
        if hmac.disallow_anonymous && token.user.is_empty() {
            return Err(Reason::Anonymous);
        }
        Ok(token)
    }

    /// The legacy form is for migrations; who leaves it on without an end is told so.
    pub(super) fn remind(&self) {
        if self.legacy_without_end() {
            tracing::warn!(
                "legacy HMAC credentials are accepted without end: set client.hmac_credentials.legacy.disable_after"
            );
        }
    }

    /// The legacy form is on and nothing says until when.
    pub(super) fn legacy_without_end(&self) -> bool {
        let legacy = self.hmac.as_ref().and_then(|hmac| hmac.legacy.as_ref());
        legacy.is_some_and(|legacy| legacy.disable_after == 0)
    }
}

impl HmacVerifiers {
    fn new(config: &Config) -> Result<Self, Error> {
        let hmac = &config.client.hmac_credentials;
        check_secrets(config)?;
        check_ranges(hmac)?;
        Ok(Self {
            safe: credentials::Verifier::new(hmac),
            legacy: hmac.legacy.enabled.then(|| legacy::Verifier::new(hmac)),
            data_field: hmac.data_field.clone(),
            disallow_anonymous: hmac.disallow_anonymous,
        })
    }
}

fn check_ranges(hmac: &CredentialsConfig) -> Result<(), Error> {
    if hmac.max_ttl.is_zero() {
        return Err(Error::Range("max_ttl"));
    }
    if hmac.data_field.is_empty() {
        return Err(Error::Range("data_field"));
    }
    if hmac.legacy.enabled && hmac.legacy.lifetime.as_secs() == 0 {
        return Err(Error::Range("legacy.lifetime"));
    }
    Ok(())
}

/// A secret that signs two kinds of things lets one be passed off as the other.
fn check_secrets(config: &Config) -> Result<(), Error> {
    let client = &config.client;
    let hmac = &client.hmac_credentials;
    let length = hmac.secret_key.expose().len();
    if length == 0 || length < SHORTEST_SECRET && !hmac.insecure_short_key {
        return Err(Error::Secret("client.hmac_credentials.secret_key"));
    }
    let previous = hmac.previous_secret_key.expose().len();
    if previous != 0 && previous < SHORTEST_SECRET && !hmac.insecure_short_key {
        return Err(Error::Secret("client.hmac_credentials.previous_secret_key"));
    }
    if hmac.legacy.enabled && hmac.legacy.secret_key.is_empty() {
        return Err(Error::Secret("client.hmac_credentials.legacy.secret_key"));
    }
    let separate = &client.subscription_token.token;
    let others = [
        (
            "client.token.hmac_secret_key",
            &client.token.hmac_secret_key,
        ),
        (
            "client.token.hmac_previous_secret_key",
            &client.token.hmac_previous_secret_key,
        ),
        (
            "client.subscription_token.hmac_secret_key",
            &separate.hmac_secret_key,
        ),
        (
            "client.subscription_token.hmac_previous_secret_key",
            &separate.hmac_previous_secret_key,
        ),
        (
            "shared_poll.hmac_secret_key",
            &config.shared_poll.hmac_secret_key,
        ),
        (
            "shared_poll.hmac_previous_secret_key",
            &config.shared_poll.hmac_previous_secret_key,
        ),
    ];
    let safe = [
        ("client.hmac_credentials.secret_key", &hmac.secret_key),
        (
            "client.hmac_credentials.previous_secret_key",
            &hmac.previous_secret_key,
        ),
    ];
    let legacy = (
        "client.hmac_credentials.legacy.secret_key",
        &hmac.legacy.secret_key,
    );
    for own in safe {
        differs(own, &others)?;
    }
    if hmac.legacy.enabled {
        differs(legacy, &others)?;
        differs(legacy, &safe)?;
    }
    Ok(())
}

fn differs(
    (name, secret): (&'static str, &Secret),
    others: &[(&'static str, &Secret)],
) -> Result<(), Error> {
    for (other_name, other) in others {
        if !secret.is_empty() && secret == *other {
            return Err(Error::SharedSecret(name, other_name));
        }
    }
    Ok(())
}
