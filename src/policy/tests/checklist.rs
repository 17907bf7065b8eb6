//! The checklist of tokens.md 14.6, one test a row.

use super::*;
use crate::auth::{HEADER, credentials};

const FAR: i64 = 1_900_000_000;

/// HMAC credentials as in the vectors: secret `secret`, all of them accepted for some years.
fn vectors() -> Setup {
    let mut setup = Setup::hmac();
    setup.auth.client.token.hmac_secret_key = "token secret".into();
    setup.auth.client.hmac_credentials.secret_key = "secret".into();
    setup.auth.client.hmac_credentials.legacy.enabled = false;
    setup
}

#[tokio::test]
async fn row_01_wrong_algorithms() {
    use aws_lc_rs::{
        encoding::{AsDer, PublicKeyX509Der},
        signature::{KeyPair as _, RsaKeyPair},
    };
    use base64::{Engine as _, engine::general_purpose as b64};
    let key = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        b64::STANDARD.encode(der.as_ref())
    );
    let mut setup = Setup::anonymous();
    setup.auth.client.token.hmac_secret_key = "".into();
    setup.auth.client.token.rsa_public_key.clone_from(&pem);
    let policy = setup.build();
    let part = |json: Value| b64::URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = |alg: &str, padding: &'static dyn aws_lc_rs::signature::RsaEncoding| {
        let text = format!(
            "{}.{}",
            part(json!({"alg": alg})),
            part(json!({"sub": "42"}))
        );
        let mut signature = vec![0; key.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        key.sign(padding, &random, text.as_bytes(), &mut signature)
            .unwrap();
        format!("{text}.{}", b64::URL_SAFE_NO_PAD.encode(signature))
    };
    let good = signed("RS256", &aws_lc_rs::signature::RSA_PKCS1_SHA256);
    assert_eq!(policy.connect_outcome(&good).await, "ok");
    let none = format!(
        "{}.{}.",
        part(json!({"alg": "none"})),
        part(json!({"sub": "42"}))
    );
    assert_eq!(policy.connect_outcome(&none).await, "D3500");
    let pss = signed("PS256", &aws_lc_rs::signature::RSA_PSS_SHA256);
    assert_eq!(policy.connect_outcome(&pss).await, "D3500");
    let confused = signed_by(&pem, &json!({"sub": "42"}));
    assert_eq!(policy.connect_outcome(&confused).await, "D3500");
}

#[tokio::test]
async fn row_02_types_come_before_the_user_claim() {
    let number = jwt(json!({"sub": 42}));
    assert_eq!(
        Setup::anonymous().build().connect_outcome(&number).await,
        "D3500"
    );
    let mut setup = Setup::anonymous();
    setup.auth.client.token.user_id_claim = "sub".to_owned();
    assert_eq!(setup.build().connect_outcome(&number).await, "D3500");
    setup.auth.client.token.user_id_claim = "uid".to_owned();
    let answer = setup
        .build()
        .connect(&client(""), connect(&jwt(json!({"uid": 42}))))
        .await;
    assert_eq!(answer.unwrap().user.as_str(), "42");
}

#[tokio::test]
async fn row_03_the_edges_of_time() {
    let policy = Setup::anonymous().build();
    let mut at = client("");
    at.now.unix_ms = FAR * 1000;
    let on_time = policy
        .connect(&at, connect(&jwt(json!({"sub": "42", "exp": FAR}))))
        .await;
    assert_eq!(outcome(on_time), "E109");
    let early = policy
        .connect(&at, connect(&jwt(json!({"sub": "42", "nbf": FAR + 1}))))
        .await;
    assert_eq!(outcome(early), "E109");
    at.now = later(&at.now, 2);
    let now = policy
        .connect(&at, connect(&jwt(json!({"sub": "42", "nbf": FAR + 1}))))
        .await;
    assert_eq!(outcome(now), "ok");
}

#[tokio::test]
async fn row_04_expire_at_zero() {
    let policy = Setup::new().build();
    let token = jwt(json!({"sub": "42", "exp": in_seconds(3600), "expire_at": 0}));
    let answer = policy.connect(&client(""), connect(&token)).await.unwrap();
    assert_eq!(answer.expire_at, None);
}

#[tokio::test]
async fn row_05_subs_and_channels() {
    let policy = Setup::new().build();
    let subscribed = async |claims: Value| {
        let answer = policy
            .connect(&client(""), connect(&jwt(claims)))
            .await
            .unwrap();
        answer
            .channels
            .into_keys()
            .map(|channel| channel.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        subscribed(json!({"subs": {}, "channels": ["a"]})).await,
        ["a"]
    );
    assert_eq!(
        subscribed(json!({"subs": {"b": {}}, "channels": ["a"]})).await,
        ["b"]
    );
}

#[tokio::test]
async fn row_06_the_channel_claim() {
    let policy = Setup::anonymous().build();
    assert_eq!(
        policy
            .connect_outcome(&jwt(json!({"sub": "42", "channel": "x"})))
            .await,
        "D3500"
    );
    let without = jwt(json!({"sub": "42"}));
    assert_eq!(
        policy
            .subscribe_outcome(&client("42"), "open:a", &without)
            .await,
        "E103"
    );
}

#[tokio::test]
async fn row_07_separate_secrets() {
    let mut setup = Setup::new();
    setup.auth.client.subscription_token.enabled = true;
    setup.auth.client.subscription_token.token.hmac_secret_key = "sub-secret".into();
    let policy = setup.build();
    let connection = json!({"sub": "42"});
    let subscription = json!({"sub": "42", "channel": "closed:a"});
    assert_eq!(policy.connect_outcome(&jwt(connection.clone())).await, "ok");
    assert_eq!(
        policy
            .connect_outcome(&signed_by("sub-secret", &connection))
            .await,
        "D3500"
    );
    let user = client("42");
    let first = jwt(subscription.clone());
    assert_eq!(
        policy.subscribe_outcome(&user, "closed:a", &first).await,
        "E103"
    );
    let second = signed_by("sub-secret", &subscription);
    assert_eq!(
        policy.subscribe_outcome(&user, "closed:a", &second).await,
        "source 3"
    );
}

#[tokio::test]
async fn row_08_other_channels_on_refresh() {
    // The node compares; what it compares with is the list of the token, empty or not.
    let policy = Setup::new().build();
    let channels = async |claims: Value| {
        policy
            .refresh(&client("42"), &jwt(claims))
            .await
            .unwrap()
            .channels
    };
    let both = channels(json!({"sub": "42", "channels": ["open:a", "open:b"]})).await;
    assert_eq!(
        both,
        Some(vec![Channel::from("open:a"), Channel::from("open:b")])
    );
    assert_eq!(channels(json!({"sub": "42"})).await, Some(Vec::new()));
}

#[tokio::test]
async fn row_09_a_subscription_token_of_another_user() {
    let policy = Setup::new().build();
    let token = jwt(json!({"sub": "43", "channel": "closed:a"}));
    assert_eq!(
        policy
            .subscribe_outcome(&client("42"), "closed:a", &token)
            .await,
        "D3500"
    );
}

#[tokio::test]
async fn row_10_user_limited_channels() {
    let mut setup = Setup::anonymous();
    setup
        .policy
        .channel
        .without_namespace
        .allow_user_limited_channels = true;
    let policy = setup.build();
    let check = async |user: &str, channel: &str| {
        policy.subscribe_outcome(&client(user), channel, "").await
    };
    assert_eq!(check("1", "news#1,2").await, "source 5");
    assert_eq!(check("2", "news#1,2").await, "source 5");
    assert_eq!(check("3", "news#1,2").await, "E103");
    assert_eq!(check("1", "a#1#2").await, "E103");
    assert_eq!(check("2", "a#1#2").await, "source 5");
    assert_eq!(check("", "news#1,2").await, "E103");
    assert_eq!(check("", "news#").await, "E103");
}

#[tokio::test]
async fn row_11_anonymous_before_the_user_header() {
    let header = of_peer(Peer {
        user_header: Some(UserId::from("7")),
        ..peer()
    });
    let answer = Setup::anonymous()
        .build()
        .connect(&header, connect(""))
        .await
        .unwrap();
    assert!(answer.user.is_empty());
}

#[tokio::test]
async fn row_12_broken_credentials() {
    let mut setup = vectors();
    let policy = setup.build();
    let good =
        "h1.NDI.1900000000..6eeacd57b49a39c8b2f49ba8dbcf2453046e66989426e1e7a083ce5d83f982ef";
    assert_eq!(policy.connect_outcome(good).await, "ok");
    for at in 0..good.len() {
        let mut altered = good.as_bytes().to_vec();
        altered[at] = if altered[at] == b'1' { b'2' } else { b'1' };
        let altered = String::from_utf8(altered).unwrap();
        assert_eq!(policy.connect_outcome(&altered).await, "D3500", "{altered}");
    }
    for broken in [
        good[..good.len() - 1].to_owned(),
        format!("{good}0"),
        good.replace("6eeacd", "6EEACD"),
        format!("{good}.x"),
    ] {
        assert_eq!(policy.connect_outcome(&broken).await, "D3500", "{broken}");
    }
    let secret = "secret".into();
    let late = credentials::issue(&secret, "42", in_seconds(-1), b"").unwrap();
    assert_eq!(policy.connect_outcome(&late).await, "E109");
    setup.auth.client.hmac_credentials.max_ttl = std::time::Duration::from_secs(60);
    let policy = setup.build();
    let far = credentials::issue(&secret, "42", in_seconds(62), b"").unwrap();
    assert_eq!(policy.connect_outcome(&far).await, "D3500");
    let near = credentials::issue(&secret, "42", in_seconds(58), b"").unwrap();
    assert_eq!(policy.connect_outcome(&near).await, "ok");
}

#[tokio::test]
async fn row_13_credentials_in_two_places() {
    use tower::{Layer as _, ServiceExt as _};
    let setup = vectors();
    let compact = credentials::issue(&"secret".into(), "42", in_seconds(60), b"").unwrap();
    let auth = authenticator(&setup.auth);
    let policy = Policy::new(&setup.policy, auth.clone()).unwrap();
    let options = auth::interceptor::Options {
        surface: auth::interceptor::Surface::Grpc,
        bearer: true,
        required: false,
    };
    // The layer reads the metadata, the transport hands on what it found, the command brings the token.
    let found = Arc::new(parking_lot::Mutex::new(None));
    let seen = Arc::clone(&found);
    let inner = tower::service_fn(move |request: http::Request<()>| {
        *seen.lock() = request.extensions().get().cloned();
        std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(())))
    });
    let request = http::Request::builder()
        .header(HEADER, &compact)
        .body(())
        .unwrap();
    let service = auth::interceptor::CredentialsLayer::new(auth, options).layer(inner);
    service.oneshot(request).await.unwrap();
    let client = of_peer(Peer {
        credentials: found.lock().take(),
        ..peer()
    });
    assert_eq!(outcome(policy.connect(&client, connect("")).await), "ok");
    assert_eq!(
        outcome(policy.connect(&client, connect(&compact)).await),
        "D3501"
    );
}

#[tokio::test]
async fn row_14_the_feature_is_off() {
    let setup = Setup::anonymous();
    let auth = authenticator(&setup.auth);
    let data = Bytes::from_static(b"{ \"hmac\": {\"user\":\"42\",\"exp\":1,\"sign\":\"x\"} }");
    let pairs = headers(&[(HEADER, "h1.x")]);
    let found = auth.find(&pairs, &data).unwrap();
    assert_eq!((found.presented, found.data), (None, data.clone()));
    let question = ConnectQuestion {
        data,
        headers: pairs,
        ..connect("")
    };
    let answer = setup.build().connect(&client(""), question).await.unwrap();
    assert!(answer.user.is_empty(), "anonymous, as without credentials");
    let compact = credentials::issue(&"secret".into(), "42", in_seconds(60), b"").unwrap();
    assert_eq!(setup.build().connect_outcome(&compact).await, "D3500");
}

#[tokio::test]
async fn row_15_the_legacy_form_is_off() {
    let mut setup = vectors();
    setup.policy.client.allow_anonymous_connect_without_token = true;
    let token = "29dac4c69b0c15956d889651fe9905f1db2839f397e4705232eca91440810038";
    let vector = json!({"user": "42", "timestamp": "1900000000", "info": "", "token": token});
    let spread = ConnectQuestion {
        data: Bytes::from(vector.to_string()),
        ..connect("")
    };
    let names = auth::LEGACY_HEADERS;
    let in_headers = ConnectQuestion {
        headers: headers(&[
            (names[0], "42"),
            (names[1], "1900000000"),
            (names[3], token),
        ]),
        ..connect("")
    };
    let off = setup.build();
    for question in [spread.clone(), in_headers.clone()] {
        let answer = off.connect(&client(""), question).await.unwrap();
        assert!(answer.user.is_empty(), "not interpreted");
    }
    let legacy = &mut setup.auth.client.hmac_credentials;
    legacy.secret_key = "another secret".into();
    legacy.legacy.enabled = true;
    legacy.legacy.secret_key = "secret".into();
    let on = setup.build();
    for question in [spread, in_headers] {
        let answer = on.connect(&client(""), question).await.unwrap();
        assert_eq!(answer.user.as_str(), "42");
    }
}

#[tokio::test]
async fn row_16_an_expired_token_on_sub_refresh() {
    let policy = Setup::new().build();
    let token = jwt(json!({"sub": "42", "channel": "closed:a", "exp": 1}));
    let refused = policy
        .sub_refresh(&client("42"), &Channel::from("closed:a"), &token)
        .await;
    assert_eq!(refused.unwrap_err(), ClientError::TOKEN_EXPIRED.into());
}
