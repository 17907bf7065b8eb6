//! What an operator sets about tokens and credentials (config.md 7.5, 8.9, 11; tokens.md 9.1, 10.1).
//!
//! Plain values. The shape is that of the whole configuration tree, so that the sections concerned keep their names;
//! what is wrong with the values is found when the verifiers are built from them.

use std::time::Duration;

use serde::Deserialize;

use crate::model::Secret;

/// Everything the verifiers are built from.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Section `client`.
    pub client: ClientConfig,
    /// Section `centripetal`.
    pub centripetal: CentripetalConfig,
    /// Section `shared_poll`; its secrets must differ from those of credentials.
    #[serde(default)]
    pub shared_poll: SharedPollConfig,
}

/// The keys of section `client` that concern tokens.
#[derive(Clone, Debug, Deserialize)]
pub struct ClientConfig {
    /// How connection tokens are verified, and subscription tokens unless they have a section of their own.
    pub token: TokenConfig,
    /// How subscription tokens are verified.
    pub subscription_token: SubscriptionTokenConfig,
    /// Credentials signed without a JWT library.
    pub hmac_credentials: CredentialsConfig,
    /// Refuse tokens and credentials of the empty user.
    pub disallow_anonymous_connection_tokens: bool,
    /// Do not check token signatures (tests).
    pub insecure_skip_token_signature_verify: bool,
}

/// Table Token (config.md 7.5).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TokenConfig {
    /// Secret for HS256, HS384 and HS512.
    pub hmac_secret_key: Secret,
    /// Also accepted during rotation.
    pub hmac_previous_secret_key: Secret,
    /// Unix seconds until which the previous secret is accepted; 0 has no limit.
    pub hmac_previous_secret_key_valid_until: i64,
    /// PEM for RS256, RS384 and RS512.
    pub rsa_public_key: String,
    /// PEM for ES256, ES384 or ES512.
    pub ecdsa_public_key: String,
    /// Address of a key set; replaces the static keys.
    pub jwks_public_endpoint: String,
    /// Required `aud`.
    pub audience: String,
    /// Pattern for `aud`.
    pub audience_regex: String,
    /// Required `iss`.
    pub issuer: String,
    /// Pattern for `iss`.
    pub issuer_regex: String,
    /// Claim with the user instead of `sub`.
    pub user_id_claim: String,
    /// Only warn about unsafe patterns behind a key set address with placeholders.
    pub insecure_skip_jwks_endpoint_safety_check: bool,
}

/// Section `client.subscription_token`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SubscriptionTokenConfig {
    /// Verify subscription tokens with `token` only; nothing is inherited.
    pub enabled: bool,
    /// Table Token.
    #[serde(flatten)]
    pub token: TokenConfig,
}

/// Section `client.hmac_credentials` (tokens.md 9.1).
#[derive(Clone, Debug, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each a key of tokens.md 9.1"
)]
pub struct CredentialsConfig {
    /// Accept the safe form.
    pub enabled: bool,
    /// Secret, at least 16 bytes.
    pub secret_key: Secret,
    /// Also accepted.
    pub previous_secret_key: Secret,
    /// Unix seconds until which the previous secret is accepted; 0 has no limit.
    pub previous_secret_key_valid_until: i64,
    /// Credentials that expire later than this from now are refused.
    pub max_ttl: Duration,
    /// Member of connect data that holds credentials.
    pub data_field: String,
    /// Refuse the empty user.
    pub disallow_anonymous: bool,
    /// Accept a secret of less than 16 bytes (tests).
    #[serde(default)]
    pub insecure_short_key: bool,
    /// TLS ends in front of this node; no warning about plain listeners.
    #[serde(default)]
    pub tls_terminated_upstream: bool,
    /// The form of old deployments.
    pub legacy: LegacyConfig,
}

/// Section `client.hmac_credentials.legacy` (tokens.md 10.1).
#[derive(Clone, Debug, Deserialize)]
pub struct LegacyConfig {
    /// Accept the legacy form.
    pub enabled: bool,
    /// A secret of its own.
    pub secret_key: Secret,
    /// What the timestamp means: `exp` or `issued`.
    pub timestamp_meaning: TimestampMeaning,
    /// Life of credentials for `issued`, and of connections without a timestamp.
    pub lifetime: Duration,
    /// Accept credentials without a timestamp (development).
    pub allow_without_timestamp: bool,
    /// Unix seconds after which the legacy form is refused; 0 for never.
    pub disable_after: i64,
}

/// Meaning of the timestamp of legacy credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimestampMeaning {
    /// When they expire.
    #[default]
    Exp,
    /// When they were issued.
    Issued,
}

/// The keys of section `centripetal` that concern tokens (config.md 11).
#[derive(Clone, Debug, Deserialize)]
pub struct CentripetalConfig {
    /// Section `centripetal.token`.
    pub token: ExtensionConfig,
}

/// Section `centripetal.token`.
#[derive(Clone, Debug, Deserialize)]
pub struct ExtensionConfig {
    /// Accept PS256, PS384 and PS512.
    pub allow_ps: bool,
    /// Longest use of a cached key without a fetch.
    pub jwks_max_age: Duration,
}

/// Secrets of track signatures (tokens.md 11), known here only to be told apart.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SharedPollConfig {
    /// Present secret.
    pub hmac_secret_key: Secret,
    /// Previous secret.
    pub hmac_previous_secret_key: Secret,
}

impl Default for CredentialsConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            secret_key: Secret::default(),
            previous_secret_key: Secret::default(),
            previous_secret_key_valid_until: 0,
            max_ttl: Duration::from_hours(24),
            data_field: "hmac".to_owned(),
            disallow_anonymous: false,
            insecure_short_key: false,
            tls_terminated_upstream: false,
            legacy: LegacyConfig::default(),
        }
    }
}

impl Default for LegacyConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            secret_key: Secret::default(),
            timestamp_meaning: TimestampMeaning::Exp,
            lifetime: Duration::from_hours(1),
            allow_without_timestamp: false,
            disable_after: 0,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            client: ClientConfig {
                token: TokenConfig::default(),
                subscription_token: SubscriptionTokenConfig::default(),
                hmac_credentials: CredentialsConfig::default(),
                disallow_anonymous_connection_tokens: false,
                insecure_skip_token_signature_verify: false,
            },
            centripetal: CentripetalConfig {
                token: ExtensionConfig {
                    allow_ps: false,
                    jwks_max_age: Duration::from_hours(24),
                },
            },
            shared_poll: SharedPollConfig::default(),
        }
    }
}
