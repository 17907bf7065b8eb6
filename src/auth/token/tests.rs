//! Tokens, claim by claim and key by key.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
        ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding,
        RsaKeyPair,
    },
};
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::{
    auth::{
        Authenticator, Config,
        tests::{anywhere, authenticator, config, hs, jwt, now},
    },
    model::{ChannelOptions, ClientError, RecoveryMode},
};

fn part(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// A token with any header, signed by `sign`.
fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(text.as_bytes()));
    format!("{text}.{signature}")
}

fn pem(tag: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n",
        STANDARD.encode(der)
    )
}

fn ec_sign(key: &EcdsaKeyPair) -> impl Fn(&[u8]) -> Vec<u8> {
    |text| {
        key.sign(&SystemRandom::new(), text)
            .unwrap()
            .as_ref()
            .to_vec()
    }
}

fn rsa_sign(key: &RsaKeyPair, padding: &'static dyn RsaEncoding) -> impl Fn(&[u8]) -> Vec<u8> {
    move |text| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(padding, &SystemRandom::new(), text, &mut signature)
            .unwrap();
        signature
    }
}

fn rsa_pem(key: &RsaKeyPair) -> String {
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    pem("PUBLIC KEY", der.as_ref())
}

fn ec_pem(key: &EcdsaKeyPair) -> String {
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    pem("PUBLIC KEY", der.as_ref())
}

async fn verify(auth: &Authenticator, token: &str) -> Result<ConnectionToken, Reason> {
    let verified = auth.connection(token, &now(), &anywhere).await;
    verified.map_err(|refusal| refusal.reason)
}

/// Verifies claims signed with the configured secret.
async fn claims(claims: Value) -> Result<ConnectionToken, Reason> {
    verify(&authenticator(&config()), &jwt(claims)).await
}

async fn reason(auth: &Authenticator, token: &str) -> Option<Reason> {
    verify(auth, token).await.err()
}

#[tokio::test]
async fn the_vectors_of_the_specification_verify() {
    let auth = authenticator(&config());
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiIsImV4cCI6MTkwMDAwMDAwMH0.\
                 HqH86KS2kVBy_FrFqMTQUOeQBOH6i7TGTH_htz2F-T4";
    let verified = verify(&auth, token).await.unwrap();
    assert_eq!(verified.user.as_str(), "42");
    assert_eq!(verified.expire_at, Some(1_900_000_000));
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0MiIsImNoYW5uZWwiOiIkY2hhdDoxIiwiZXhwIjoxOTAwMDAw\
                 MDAwfQ.iHvgFe13ZfGKNC5MzF3yS17_g6WRNU3bWEExEHIU_SY";
    let verified = auth.subscription(token, &now(), &anywhere).await.unwrap();
    assert_eq!(verified.channel.as_str(), "$chat:1");
    assert_eq!(verified.user.as_str(), "42");
    assert_eq!(verified.options.expire_at, Some(1_900_000_000));
}

#[tokio::test]
async fn the_form_is_strict() {
    let auth = authenticator(&config());
    let good = jwt(json!({"sub": "42"}));
    let (text, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = text.split_once('.').unwrap();
    for broken in [
        "abc".to_owned(),
        "eyJ".to_owned(),
        text.to_owned(),
        format!("{good}.x"),
        format!("{good}="),
        format!(" {good}"),
        format!("eyJhbGciOiJIUzI1NiJ9.!!!.{signature}"),
        format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode("[]")),
        format!("{}.{signature}", text.replacen("eyJ", "eyK", 1)),
    ] {
        assert_eq!(
            reason(&auth, &broken).await,
            Some(Reason::Malformed),
            "{broken}"
        );
    }
    let white = URL_SAFE_NO_PAD.encode(" {\"alg\":\"HS256\"}");
    assert_eq!(
        reason(&auth, &format!("{white}.{}.x", part(&json!({})))).await,
        Some(Reason::Malformed)
    );
}

#[tokio::test]
async fn hmac_algorithms_share_a_secret() {
    use jsonwebtoken::Algorithm::{HS256, HS384, HS512};
    let auth = authenticator(&config());
    for algorithm in [HS256, HS384, HS512] {
        let token = hs(algorithm, "secret", &json!({"sub": "42"}));
        assert!(verify(&auth, &token).await.is_ok());
        let wrong = hs(algorithm, "other", &json!({"sub": "42"}));
        assert_eq!(reason(&auth, &wrong).await, Some(Reason::Signature));
    }
}

#[tokio::test]
async fn no_key_verifies_nothing() {
    let auth = authenticator(&Config::default());
    let empty = hs(jsonwebtoken::Algorithm::HS256, "", &json!({"sub": "42"}));
    assert_eq!(reason(&auth, &empty).await, Some(Reason::Algorithm));
}

#[tokio::test]
async fn algorithms_are_not_confused() {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let mut config = Config::default();
    config.client.token.rsa_public_key = rsa_pem(&key);
    let auth = authenticator(&config);
    let claims = json!({"sub": "42"});
    let none = format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims));
    assert_eq!(reason(&auth, &none).await, Some(Reason::Algorithm));
    let missing = signed(&json!({"typ": "JWT"}), &claims, |_| vec![1]);
    assert_eq!(reason(&auth, &missing).await, Some(Reason::Algorithm));
    // The classic: the public key as shared secret.
    let public = config.client.token.rsa_public_key.clone();
    let confused = hs(jsonwebtoken::Algorithm::HS256, &public, &claims);
    assert_eq!(reason(&auth, &confused).await, Some(Reason::Algorithm));
    config.client.token.hmac_secret_key = "secret".into();
    auth.reload(&config).unwrap();
    assert_eq!(reason(&auth, &confused).await, Some(Reason::Signature));
    let header = json!({"alg": "HS256"});
    let relabelled = signed(&header, &claims, rsa_sign(&key, &RSA_PKCS1_SHA256));
    assert_eq!(reason(&auth, &relabelled).await, Some(Reason::Signature));
    for alg in ["ES256K", "hs256", "Ed448", "ES256", "EdDSA"] {
        let token = signed(
            &json!({"alg": alg}),
            &claims,
            rsa_sign(&key, &RSA_PKCS1_SHA256),
        );
        assert_eq!(
            reason(&auth, &token).await,
            Some(Reason::Algorithm),
            "{alg}"
        );
    }
}

#[tokio::test]
async fn rsa_signatures_verify_and_pss_only_when_allowed() {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let mut config = Config::default();
    config.client.token.rsa_public_key = rsa_pem(&key);
    let auth = authenticator(&config);
    let claims = json!({"sub": "42"});
    let sign = |alg: &str, padding| signed(&json!({"alg": alg}), &claims, rsa_sign(&key, padding));
    assert!(
        verify(&auth, &sign("RS256", &RSA_PKCS1_SHA256))
            .await
            .is_ok()
    );
    assert!(
        verify(&auth, &sign("RS384", &RSA_PKCS1_SHA384))
            .await
            .is_ok()
    );
    assert!(
        verify(&auth, &sign("RS512", &RSA_PKCS1_SHA512))
            .await
            .is_ok()
    );
    let other = sign("RS512", &RSA_PKCS1_SHA256);
    assert_eq!(reason(&auth, &other).await, Some(Reason::Signature));
    let pss = sign("PS256", &RSA_PSS_SHA256);
    assert_eq!(reason(&auth, &pss).await, Some(Reason::Algorithm));
    config.centripetal.token.allow_ps = true;
    auth.reload(&config).unwrap();
    assert!(verify(&auth, &pss).await.is_ok());
}

#[tokio::test]
async fn each_curve_has_its_algorithm() {
    let curves: [(&'static EcdsaSigningAlgorithm, &str); 3] = [
        (&ECDSA_P256_SHA256_FIXED_SIGNING, "ES256"),
        (&ECDSA_P384_SHA384_FIXED_SIGNING, "ES384"),
        (&ECDSA_P521_SHA512_FIXED_SIGNING, "ES512"),
    ];
    let claims = json!({"sub": "42"});
    for (curve, fitting) in curves {
        let key = EcdsaKeyPair::generate(curve).unwrap();
        let mut config = Config::default();
        config.client.token.ecdsa_public_key = ec_pem(&key);
        let auth = authenticator(&config);
        for alg in ["ES256", "ES384", "ES512"] {
            let token = signed(&json!({"alg": alg}), &claims, ec_sign(&key));
            let expected = (alg != fitting).then_some(Reason::Algorithm);
            assert_eq!(
                reason(&auth, &token).await,
                expected,
                "{fitting} key, {alg}"
            );
        }
        let header = json!({"alg": fitting});
        let forged = signed(
            &header,
            &claims,
            ec_sign(&EcdsaKeyPair::generate(curve).unwrap()),
        );
        assert_eq!(reason(&auth, &forged).await, Some(Reason::Signature));
        let short = signed(&header, &claims, |text| {
            let mut signature = ec_sign(&key)(text);
            signature.pop();
            signature
        });
        assert_eq!(reason(&auth, &short).await, Some(Reason::Signature));
    }
}

#[tokio::test]
async fn a_certificate_stands_for_its_key() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&pair)
        .unwrap();
    let mut config = Config::default();
    config.client.token.ecdsa_public_key = certificate.pem();
    let auth = authenticator(&config);
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der());
    let token = signed(
        &json!({"alg": "ES256"}),
        &json!({"sub": "42"}),
        ec_sign(&key.unwrap()),
    );
    assert!(verify(&auth, &token).await.is_ok());
}

/// What a change of the settings is refused with.
fn refused(change: impl FnOnce(&mut TokenConfig)) -> Error {
    let mut config = config();
    change(&mut config.client.token);
    config.check().unwrap_err()
}

#[test]
fn broken_keys_stop_the_start() {
    let ec = ec_pem(&EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let off_curve = pem("PUBLIC KEY", &{
        let body: String = ec.lines().filter(|line| !line.starts_with('-')).collect();
        let mut der = STANDARD.decode(body).unwrap();
        *der.last_mut().unwrap() ^= 1;
        der
    });
    let no_key = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    for broken in ["x", no_key, &ec] {
        let error = refused(|token| broken.clone_into(&mut token.rsa_public_key));
        let option = "rsa_public_key";
        assert!(
            matches!(error, Error::Key { option: o, .. } if o == option),
            "{broken}"
        );
    }
    for broken in ["x", no_key, &private, &off_curve] {
        let error = refused(|token| broken.clone_into(&mut token.ecdsa_public_key));
        assert!(matches!(error, Error::Key { .. }), "{broken}");
    }
    let small = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = rsa_pem(&small);
    let error = refused(|token| token.ecdsa_public_key = public);
    assert!(
        matches!(error, Error::Key { .. }),
        "a key of the other kind"
    );
}

#[test]
fn broken_patterns_and_claims_stop_the_start() {
    let error = refused(|token| token.issuer_regex = "(".to_owned());
    assert!(matches!(error, Error::Pattern { .. }));
    let error = refused(|token| {
        token.audience = "a".to_owned();
        token.audience_regex = "a".to_owned();
    });
    assert!(matches!(
        error,
        Error::Ambiguous {
            option: "audience",
            ..
        }
    ));
    let error = refused(|token| {
        token.issuer = "a".to_owned();
        token.issuer_regex = "a".to_owned();
    });
    assert!(matches!(
        error,
        Error::Ambiguous {
            option: "issuer",
            ..
        }
    ));
    let error = refused(|token| token.user_id_claim = "a-b".to_owned());
    assert!(matches!(error, Error::UserIdClaim { .. }));
}

#[test]
fn broken_addresses_stop_the_start() {
    for broken in [
        "ftp://a/b",
        "https://a/b/",
        "https://a//b",
        "https://a/./b",
        "https://a/{{x",
        "https://",
    ] {
        let error = refused(|token| broken.clone_into(&mut token.jwks_public_endpoint));
        assert!(matches!(error, Error::Endpoint { .. }), "{broken}");
    }
    let open_pattern = |token: &mut TokenConfig| {
        token.jwks_public_endpoint = "https://a/{{t}}/keys".to_owned();
        token.issuer_regex = "(?P<t>.*)".to_owned();
    };
    assert!(matches!(refused(open_pattern), Error::Endpoint { .. }));
    let mut config = config();
    open_pattern(&mut config.client.token);
    config.client.token.insecure_skip_jwks_endpoint_safety_check = true;
    assert!(config.check().is_ok());
}

#[tokio::test]
async fn types_of_claims_are_checked() {
    for wrong in [
        json!({"sub": 42}),
        json!({"sub": "42", "aud": null}),
        json!({"sub": "42", "aud": [1]}),
        json!({"sub": "42", "iss": 1}),
        json!({"sub": "42", "jti": 1}),
        json!({"sub": "42", "exp": true}),
        json!({"sub": "42", "exp": "soon"}),
        json!({"sub": "42", "exp": "+4102444800"}),
        json!({"sub": "42", "exp": " 4102444800"}),
        json!({"sub": "42", "iat": {}}),
        json!({"sub": "42", "nbf": "x"}),
        json!({"sub": "42", "expire_at": 1.5}),
        json!({"sub": "42", "expire_at": "5"}),
        json!({"sub": "42", "channel": 5}),
        json!({"sub": "42", "channels": "a"}),
        json!({"sub": "42", "channels": [1]}),
        json!({"sub": "42", "subs": ["a"]}),
        json!({"sub": "42", "subs": {"a": {"override": {"presence": true}}}}),
        json!({"sub": "42", "b64info": 1}),
        json!({"sub": "42", "b64info": "###"}),
        json!({"sub": "42", "subs": {"a": {"b64data": "###"}}}),
    ] {
        assert_eq!(claims(wrong.clone()).await, Err(Reason::Claims), "{wrong}");
    }
    for fine in [
        json!({"exp": "4102444800"}),
        json!({"exp": 4_102_444_800.5}),
        json!({"exp": 4.1024448e9}),
        json!({"exp": null, "nbf": null, "iat": null, "expire_at": null, "sub": null, "channels": null, "subs": null}),
        json!({"aud": "a"}),
        json!({"aud": []}),
        json!({"channel": ""}),
        json!({"caps": 5, "unknown": [], "client": 5, "data": 1}),
    ] {
        assert!(claims(fine.clone()).await.is_ok(), "{fine}");
    }
}

#[tokio::test]
async fn times_are_exact() {
    let auth = authenticator(&config());
    let mut at = now();
    at.unix_ms = 1_800_000_000_000;
    let check = async |claims: Value, at: Now| {
        let verified = auth.connection(&jwt(claims), &at, &anywhere).await;
        verified
            .map(|token| token.expire_at)
            .map_err(|refusal| refusal.reason)
    };
    let exp = json!({"exp": 1_800_000_000});
    assert_eq!(
        check(exp.clone(), at).await,
        Err(Reason::Expired),
        "equal to now"
    );
    at.unix_ms -= 1;
    assert_eq!(check(exp, at).await, Ok(Some(1_800_000_000)));
    let nbf = json!({"nbf": 1_800_000_000});
    assert_eq!(
        check(nbf.clone(), at).await,
        Err(Reason::Expired),
        "not yet"
    );
    at.unix_ms += 1;
    assert_eq!(
        check(nbf.clone(), at).await,
        Err(Reason::Expired),
        "equal to now"
    );
    at.unix_ms += 1;
    assert_eq!(check(nbf, at).await, Ok(None));
    let fraction = json!({"exp": 1_800_000_000.5});
    assert_eq!(check(fraction.clone(), at).await, Ok(Some(1_800_000_000)));
    at.unix_ms += 500;
    assert_eq!(check(fraction, at).await, Err(Reason::Expired));
    let later = json!({"iat": 4_102_444_800u64});
    assert_eq!(check(later, at).await, Ok(None), "iat is not checked");
}

#[tokio::test]
async fn expire_at_goes_before_exp() {
    let exp = now().unix() + 3600;
    let expiration = async |extra: Value| {
        let mut all = json!({"sub": "42", "exp": exp});
        all.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        claims(all).await.unwrap().expire_at
    };
    assert_eq!(expiration(json!({})).await, Some(exp));
    assert_eq!(expiration(json!({"expire_at": null})).await, Some(exp));
    assert_eq!(expiration(json!({"expire_at": 0})).await, None);
    assert_eq!(expiration(json!({"expire_at": -1})).await, None);
    assert_eq!(
        expiration(json!({"expire_at": exp + 5})).await,
        Some(exp + 5)
    );
    assert_eq!(
        expiration(json!({"expire_at": 5})).await,
        Some(5),
        "judged by the node"
    );
}

#[tokio::test]
async fn info_and_meta_are_kept_as_written() {
    let info = async |all: Value| claims(all).await.unwrap();
    assert_eq!(
        &*info(json!({"info": {"a": "<b>"}})).await.info,
        b"{\"a\":\"<b>\"}"
    );
    assert_eq!(&*info(json!({"info": null})).await.info, b"null");
    assert_eq!(&*info(json!({})).await.info, b"");
    let both = info(json!({"info": {"x": 1}, "b64info": "eyJ5IjoyfQ=="})).await;
    assert_eq!(&*both.info, b"{\"y\":2}");
    assert_eq!(&*info(json!({"info": 1, "b64info": ""})).await.info, b"1");
    assert_eq!(info(json!({})).await.meta, None);
    let meta = info(json!({"meta": [1]})).await.meta;
    assert_eq!(meta.as_deref(), Some(b"[1]".as_slice()));
}

#[tokio::test]
async fn another_claim_may_name_the_user() {
    let mut config = config();
    config.client.token.user_id_claim = "uid".to_owned();
    let auth = authenticator(&config);
    let user = async |claims: Value| {
        verify(&auth, &jwt(claims))
            .await
            .map(|token| token.user.to_string())
    };
    assert_eq!(user(json!({"uid": 42})).await, Ok("42".to_owned()));
    assert_eq!(
        user(json!({"uid": "a\"b", "sub": "x"})).await,
        Ok("a\"b".to_owned())
    );
    assert_eq!(user(json!({"uid": true})).await, Ok("true".to_owned()));
    assert_eq!(user(json!({"uid": null})).await, Ok(String::new()));
    assert_eq!(user(json!({"sub": "x"})).await, Ok(String::new()));
    assert_eq!(user(json!({"uid": 1.50})).await, Ok("1.5".to_owned()));
    assert_eq!(
        user(json!({"uid": "x", "sub": 5})).await,
        Err(Reason::Claims)
    );
    config.client.token.user_id_claim = "sub".to_owned();
    auth.reload(&config).unwrap();
    assert_eq!(
        verify(&auth, &jwt(json!({"sub": 42}))).await.unwrap_err(),
        Reason::Claims,
        "typed decoding comes first"
    );
}

#[tokio::test]
async fn issuer_and_audience_are_checked() {
    let mut config = config();
    config.client.token.audience = "me".to_owned();
    config.client.token.issuer = "us".to_owned();
    let auth = authenticator(&config);
    let check = async |claims: Value| reason(&auth, &jwt(claims)).await;
    assert_eq!(check(json!({"aud": "me", "iss": "us"})).await, None);
    assert_eq!(check(json!({"aud": ["x", "me"], "iss": "us"})).await, None);
    assert_eq!(
        check(json!({"aud": "you", "iss": "us"})).await,
        Some(Reason::Audience)
    );
    assert_eq!(
        check(json!({"aud": "me", "iss": "them"})).await,
        Some(Reason::Issuer)
    );
    assert_eq!(check(json!({})).await, Some(Reason::Audience));
    config.client.token.audience.clear();
    config.client.token.issuer.clear();
    config.client.token.audience_regex = "^m".to_owned();
    config.client.token.issuer_regex = "s$".to_owned();
    auth.reload(&config).unwrap();
    assert_eq!(check(json!({"aud": ["x", "me"], "iss": "us"})).await, None);
    assert_eq!(
        check(json!({"aud": ["x"], "iss": "us"})).await,
        Some(Reason::Audience)
    );
    assert_eq!(check(json!({"aud": "me"})).await, Some(Reason::Issuer));
}

#[tokio::test]
async fn patterns_come_before_the_signature_and_values_after_it() {
    let mut config = config();
    config.client.token.issuer_regex = "^us$".to_owned();
    config.client.token.audience = "me".to_owned();
    let auth = authenticator(&config);
    let forged = |claims: Value| hs(jsonwebtoken::Algorithm::HS256, "other", &claims);
    assert_eq!(
        reason(&auth, &forged(json!({"iss": "them"}))).await,
        Some(Reason::Issuer)
    );
    assert_eq!(
        reason(&auth, &forged(json!({"iss": "us", "aud": "you"}))).await,
        Some(Reason::Signature)
    );
    let late = json!({"iss": "us", "aud": "me", "channel": "x", "exp": 1});
    assert_eq!(
        reason(&auth, &forged(late.clone())).await,
        Some(Reason::Signature)
    );
    assert_eq!(
        reason(&auth, &jwt(late)).await,
        Some(Reason::Channel),
        "before the time"
    );
    let late = json!({"iss": "us", "aud": "me", "channels": ["x"], "exp": 1});
    let nowhere = |_: &Channel| Err(ClientError::UNKNOWN_CHANNEL);
    let refused = auth
        .connection(&jwt(late), &now(), &nowhere)
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::Expired, "before the channels");
    let both =
        json!({"iss": "us", "aud": "me", "subs": {"x": {"b64data": "###"}}, "b64info": "###"});
    let refused = auth
        .connection(&jwt(both), &now(), &nowhere)
        .await
        .unwrap_err();
    assert_eq!(refused.reason, Reason::UnknownChannel, "before base64");
    assert_eq!(
        auth.metrics()
            .count(crate::auth::Kind::Jwt, Reason::Expired),
        1
    );
}

#[tokio::test]
async fn the_signature_alone_can_be_skipped() {
    let mut config = config();
    config.client.insecure_skip_token_signature_verify = true;
    let auth = authenticator(&config);
    let none = |claims: Value| format!("{}.{}.", part(&json!({"alg": "none"})), part(&claims));
    assert!(verify(&auth, &none(json!({"sub": "42"}))).await.is_ok());
    assert_eq!(
        reason(&auth, &none(json!({"exp": 1}))).await,
        Some(Reason::Expired)
    );
    assert_eq!(
        reason(&auth, &none(json!({"sub": 1}))).await,
        Some(Reason::Claims)
    );
}

#[tokio::test]
async fn the_previous_secret_is_accepted_for_a_while() {
    let mut config = config();
    config.client.token.hmac_previous_secret_key = "before".into();
    let auth = authenticator(&config);
    let old = hs(
        jsonwebtoken::Algorithm::HS384,
        "before",
        &json!({"sub": "42"}),
    );
    assert!(verify(&auth, &old).await.is_ok());
    config.client.token.hmac_previous_secret_key_valid_until = now().unix() - 1;
    auth.reload(&config).unwrap();
    assert_eq!(reason(&auth, &old).await, Some(Reason::Signature));
    config.client.token.hmac_previous_secret_key_valid_until = now().unix() + 60;
    auth.reload(&config).unwrap();
    assert!(verify(&auth, &old).await.is_ok());
}

#[tokio::test]
async fn subs_replace_channels_and_override_options() {
    let namespace = Arc::new(ChannelOptions {
        subscribe: SubscribeOptions {
            presence: true,
            recovery_mode: RecoveryMode::Cache,
            ..SubscribeOptions::default()
        },
        ..ChannelOptions::default()
    });
    let lookup = |_: &Channel| Ok(Arc::clone(&namespace));
    let auth = authenticator(&config());
    let channels = async |claims: Value| {
        let verified = auth.connection(&jwt(claims), &now(), &lookup).await;
        verified
            .map(|token| token.channels)
            .map_err(|refusal| refusal.reason)
    };
    let plain = SubscribeOptions {
        source: SubscribeSource::ConnectionToken,
        ..namespace.subscribe.clone()
    };
    let named = channels(json!({"channels": ["a", "b"], "subs": {}}))
        .await
        .unwrap();
    assert_eq!(
        named.keys().map(Channel::as_str).collect::<Vec<_>>(),
        ["a", "b"]
    );
    assert_eq!(named["a"], plain);
    let subs = channels(json!({"channels": ["a"], "subs": {"b": null}}))
        .await
        .unwrap();
    assert_eq!(subs, BTreeMap::from([(Channel::from("b"), plain.clone())]));
    let own = json!({"a": {
        "info": {"i": 1}, "data": {"d": 1}, "b64data": "eyJiIjoxfQ==",
        "override": {"presence": {"value": false}, "join_leave": {"value": true}, "force_recovery": {"value": true},
            "force_positioning": {"value": true}, "force_push_join_leave": {"value": true}},
    }});
    let options = &channels(json!({"subs": own})).await.unwrap()["a"];
    let expected = SubscribeOptions {
        presence: false,
        join_leave: true,
        push_join_leave: true,
        positioned: true,
        recoverable: true,
        info: Bytes::from_static(b"{\"i\":1}"),
        data: Bytes::from_static(b"{\"b\":1}"),
        ..plain
    };
    assert_eq!(*options, expected);
    assert_eq!(
        channels(json!({"channels": [""]})).await,
        Err(Reason::Claims)
    );
}

#[tokio::test]
async fn connection_and_subscription_tokens_are_told_apart() {
    let auth = authenticator(&config());
    assert_eq!(claims(json!({"channel": "x"})).await, Err(Reason::Channel));
    for without in [json!({"sub": "42"}), json!({"sub": "42", "channel": ""})] {
        let refused = auth.subscription(&jwt(without), &now(), &anywhere).await;
        assert_eq!(refused.unwrap_err().reason, Reason::Channel);
    }
    let late = jwt(json!({"exp": 1}));
    let refused = auth
        .subscription(&late, &now(), &anywhere)
        .await
        .unwrap_err();
    assert_eq!(
        refused.reason,
        Reason::Expired,
        "time comes before the channel"
    );
    let wrong = jwt(json!({"channel": "a", "client": 5}));
    assert!(auth.subscription(&wrong, &now(), &anywhere).await.is_err());
    let ignored = jwt(json!({"channel": "a", "channels": 5, "subs": 5, "meta": 5}));
    assert!(auth.subscription(&ignored, &now(), &anywhere).await.is_ok());
}

#[tokio::test]
async fn a_subscription_token_carries_options() {
    let auth = authenticator(&config());
    let exp = now().later(Duration::from_mins(1)).unix();
    let token = jwt(
        json!({"sub": "42", "channel": "a", "client": "c", "exp": exp, "b64info": "MQ==", "data": null,
        "override": {"presence": {"value": true}}}),
    );
    let verified = auth.subscription(&token, &now(), &anywhere).await.unwrap();
    assert_eq!(verified.client, "c");
    assert_eq!(
        verified.options,
        SubscribeOptions {
            presence: true,
            expire_at: Some(exp),
            info: Bytes::from_static(b"1"),
            data: Bytes::from_static(b"null"),
            source: SubscribeSource::SubscriptionToken,
            ..SubscribeOptions::default()
        }
    );
    let never = jwt(json!({"channel": "a", "exp": exp, "expire_at": 0}));
    let verified = auth.subscription(&never, &now(), &anywhere).await.unwrap();
    assert_eq!(verified.options.expire_at, None);
}
