//! Tests of the authenticator as a whole, and what other tests need to make tokens.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use prometheus::Registry;
use serde_json::{Value, json};

use super::*;

/// The present.
pub(crate) fn now() -> Now {
    Now::at(tokio::time::Instant::now().into_std())
}

/// A token signed with a shared secret.
pub(crate) fn hs(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

/// A token signed with `secret` by HS256.
#[expect(clippy::needless_pass_by_value, reason = "claims are written in place")]
pub(crate) fn jwt(claims: Value) -> String {
    hs(Algorithm::HS256, "secret", &claims)
}

/// Settings with the secret `secret` for tokens.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.client.token.hmac_secret_key = "secret".into();
    config
}

/// Settings with HMAC credentials of both forms on, secrets `h1 secret` and `legacy secret`.
pub(crate) fn hmac_config() -> Config {
    let mut config = config();
    let hmac = &mut config.client.hmac_credentials;
    hmac.enabled = true;
    hmac.insecure_short_key = true;
    hmac.secret_key = "h1 secret".into();
    hmac.max_ttl = std::time::Duration::from_hours(24 * 365 * 20);
    hmac.legacy.enabled = true;
    hmac.legacy.secret_key = "legacy secret".into();
    config
}

/// Signature of legacy credentials for [`hmac_config`].
pub(crate) fn legacy_token(user: &str, timestamp: &str, info: &str) -> String {
    let parts = [user.as_bytes(), timestamp.as_bytes(), info.as_bytes()];
    credentials::hex(&credentials::sign(&"legacy secret".into(), &parts))
}

/// An authenticator with a registry of its own.
pub(crate) fn authenticator(config: &Config) -> Authenticator {
    Authenticator::new(config, &Registry::new()).unwrap()
}

/// A lookup in which every channel exists and has no options.
#[expect(clippy::unnecessary_wraps, reason = "has the type of a lookup")]
pub(crate) fn anywhere(_: &Channel) -> Result<Arc<ChannelOptions>, ClientError> {
    Ok(Arc::default())
}

async fn user_of(auth: &Authenticator, token: &str) -> Result<String, Reason> {
    let verified = auth.connection(token, &now(), &anywhere).await;
    verified
        .map(|token| token.user.as_str().to_owned())
        .map_err(|refusal| refusal.reason)
}

#[tokio::test]
async fn refusals_are_counted_by_kind_and_reason() {
    let auth = authenticator(&hmac_config());
    let wrong = hs(Algorithm::HS256, "other", &json!({"sub": "42"}));
    assert_eq!(user_of(&auth, &wrong).await, Err(Reason::Signature));
    assert_eq!(user_of(&auth, "h1.broken").await, Err(Reason::Malformed));
    let metrics = auth.metrics();
    assert_eq!(metrics.count(Kind::Jwt, Reason::Signature), 1);
    assert_eq!(metrics.count(Kind::H1, Reason::Malformed), 1);
    assert_eq!(metrics.count(Kind::Jwt, Reason::Malformed), 0);
}

#[tokio::test]
async fn all_series_are_there_before_anything_was_refused() {
    let registry = Registry::new();
    let _auth = Authenticator::new(&config(), &registry).unwrap();
    let families = registry.gather();
    assert_eq!(families[0].name(), "centripetal_tokens_rejected_total");
    assert_eq!(families[0].get_metric().len(), 3 * (Reason::COUNT - 1));
    assert!(matches!(
        Authenticator::new(&config(), &registry),
        Err(Error::Metrics(_))
    ));
}

#[tokio::test]
async fn subscription_tokens_have_their_own_section_or_none() {
    let mut config = config();
    config.client.subscription_token.enabled = true;
    config.client.subscription_token.token.hmac_secret_key = "sub-secret".into();
    let auth = authenticator(&config);
    let claims = json!({"sub": "42", "channel": "a"});
    let first = jwt(claims.clone());
    let second = hs(Algorithm::HS256, "sub-secret", &claims);
    let refused = auth.subscription(&first, &now(), &anywhere).await;
    assert_eq!(refused.unwrap_err().reason, Reason::Signature);
    assert!(auth.subscription(&second, &now(), &anywhere).await.is_ok());
    let connection = hs(Algorithm::HS256, "sub-secret", &json!({"sub": "42"}));
    assert_eq!(user_of(&auth, &connection).await, Err(Reason::Signature));
    assert_eq!(
        user_of(&auth, &jwt(json!({"sub": "42"}))).await,
        Ok("42".into())
    );
}

#[tokio::test]
async fn an_empty_separate_section_inherits_nothing() {
    let mut config = config();
    config.client.subscription_token.enabled = true;
    let auth = authenticator(&config);
    let token = jwt(json!({"sub": "42", "channel": "a"}));
    let refused = auth.subscription(&token, &now(), &anywhere).await;
    assert_eq!(refused.unwrap_err().reason, Reason::Algorithm);
}

#[tokio::test]
async fn settings_are_replaced_whole_or_not_at_all() {
    let auth = authenticator(&config());
    let old = jwt(json!({"sub": "42"}));
    let new = hs(Algorithm::HS256, "new", &json!({"sub": "42"}));
    let mut config = config();
    config.client.token.hmac_secret_key = "new".into();
    auth.reload(&config).unwrap();
    assert_eq!(user_of(&auth, &new).await, Ok("42".into()));
    assert_eq!(user_of(&auth, &old).await, Err(Reason::Signature));
    config.client.token.rsa_public_key = "broken".to_owned();
    config.client.token.hmac_secret_key = "newer".into();
    assert!(auth.reload(&config).is_err());
    assert_eq!(user_of(&auth, &new).await, Ok("42".into()));
}

#[tokio::test]
async fn the_empty_user_is_refused_where_it_is_not_wanted() {
    let mut config = hmac_config();
    config.client.disallow_anonymous_connection_tokens = true;
    let auth = authenticator(&config);
    assert_eq!(
        user_of(&auth, &jwt(json!({}))).await,
        Err(Reason::Anonymous)
    );
    let exp = now().unix() + 60;
    let nobody = credentials::issue(&"h1 secret".into(), "", exp, b"").unwrap();
    assert_eq!(user_of(&auth, &nobody).await, Err(Reason::Anonymous));
    // The rule is about connecting; a refresh compares the user instead.
    assert!(
        auth.refresh(&jwt(json!({})), &now(), &anywhere)
            .await
            .is_ok()
    );
    config.client.disallow_anonymous_connection_tokens = false;
    config.client.hmac_credentials.disallow_anonymous = true;
    auth.reload(&config).unwrap();
    assert_eq!(user_of(&auth, &nobody).await, Err(Reason::Anonymous));
    assert_eq!(user_of(&auth, &jwt(json!({}))).await, Ok(String::new()));
}

fn hmac_on() -> Config {
    let mut config = config();
    config.client.hmac_credentials.enabled = true;
    config.client.hmac_credentials.secret_key = "sixteen bytes !!".into();
    config
}

#[test]
fn secrets_are_long() {
    assert!(hmac_on().check().is_ok());
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = hmac_on();
        change(&mut config);
        config.check().unwrap_err()
    };
    let missing = refused(&|c| c.client.hmac_credentials.secret_key = "".into());
    assert!(matches!(missing, Error::Secret(_)));
    let short = refused(&|c| c.client.hmac_credentials.secret_key = "fifteen bytes !".into());
    assert!(matches!(short, Error::Secret(_)));
    let previous = refused(&|c| c.client.hmac_credentials.previous_secret_key = "short".into());
    assert!(matches!(previous, Error::Secret(_)));
    let legacy = refused(&|c| c.client.hmac_credentials.legacy.enabled = true);
    assert!(matches!(legacy, Error::Secret(_)));
    for (field, error) in [
        (
            refused(&|c| c.client.hmac_credentials.max_ttl = std::time::Duration::ZERO),
            "max_ttl",
        ),
        (
            refused(&|c| c.client.hmac_credentials.data_field.clear()),
            "data_field",
        ),
    ] {
        assert!(matches!(field, Error::Range(name) if name == error));
    }
}

#[test]
fn secrets_are_not_shared() {
    let same: [fn(&mut Config); 6] = [
        |c| c.client.token.hmac_secret_key = "sixteen bytes !!".into(),
        |c| c.client.token.hmac_previous_secret_key = "sixteen bytes !!".into(),
        |c| c.client.subscription_token.token.hmac_secret_key = "sixteen bytes !!".into(),
        |c| c.shared_poll.hmac_secret_key = "sixteen bytes !!".into(),
        |c| {
            c.client.hmac_credentials.legacy.enabled = true;
            c.client.hmac_credentials.legacy.secret_key = "sixteen bytes !!".into();
        },
        |c| {
            c.client.hmac_credentials.legacy.enabled = true;
            c.client.hmac_credentials.legacy.secret_key = "secret".into();
        },
    ];
    for change in same {
        let mut config = hmac_on();
        change(&mut config);
        let refused = config.check().unwrap_err();
        assert!(matches!(refused, Error::SharedSecret(_, _)));
    }
}

#[test]
fn settings_are_read_from_the_tree() {
    let tree = json!({
        "client": {
            "insecure": true,
            "token": token_tree("secret"),
            "subscription_token": {
                "enabled": true,
                "hmac_secret_key": "sub", "hmac_previous_secret_key": "",
                "hmac_previous_secret_key_valid_until": 5, "rsa_public_key": "", "ecdsa_public_key": "",
                "jwks_public_endpoint": "", "audience": "", "audience_regex": "", "issuer": "", "issuer_regex": "",
                "user_id_claim": "uid", "insecure_skip_jwks_endpoint_safety_check": false,
            },
            "hmac_credentials": {
                "enabled": false, "secret_key": "", "previous_secret_key": "",
                "previous_secret_key_valid_until": 0, "max_ttl": {"secs": 60, "nanos": 0}, "data_field": "hmac",
                "disallow_anonymous": false,
                "legacy": {
                    "enabled": false, "secret_key": "", "timestamp_meaning": "issued",
                    "lifetime": {"secs": 3600, "nanos": 0}, "allow_without_timestamp": false, "disable_after": 0,
                },
            },
            "disallow_anonymous_connection_tokens": false,
            "insecure_skip_token_signature_verify": true,
        },
        "centripetal": {"token": {"allow_ps": true, "jwks_max_age": {"secs": 86400, "nanos": 0}}, "grpc": {}},
        "channel": {},
    });
    let config: Config = serde_json::from_value(tree).unwrap();
    assert_eq!(config.client.subscription_token.token.user_id_claim, "uid");
    assert_eq!(config.client.hmac_credentials.max_ttl.as_secs(), 60);
    assert!(config.centripetal.token.allow_ps);
    assert_eq!(
        config.client.hmac_credentials.legacy.timestamp_meaning,
        config::TimestampMeaning::Issued
    );
    let shown = format!("{config:?}");
    assert!(!shown.contains("secret\""), "{shown}");
}

fn token_tree(secret: &str) -> Value {
    json!({
        "hmac_secret_key": secret, "hmac_previous_secret_key": "", "hmac_previous_secret_key_valid_until": 0,
        "rsa_public_key": "", "ecdsa_public_key": "", "jwks_public_endpoint": "", "audience": "",
        "audience_regex": "", "issuer": "", "issuer_regex": "", "user_id_claim": "",
        "insecure_skip_jwks_endpoint_safety_check": false,
    })
}
