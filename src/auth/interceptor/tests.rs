//! Row by row: what the inner service sees, and what a refused caller gets.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::HeaderValue;
use prometheus::Registry;
use serde_json::{Value, json};
use tower::{ServiceExt as _, service_fn};

use super::*;
use crate::{
    auth::{
        Config, credentials,
        tests::{authenticator, config, hmac_config, jwt, now},
    },
    model::UserId,
};

const GRPC: Options = Options {
    surface: Surface::Grpc,
    bearer: true,
    required: false,
};
const HTTP: Options = Options {
    surface: Surface::Http,
    bearer: false,
    required: false,
};

/// What came out of the layer.
struct Outcome {
    reached: bool,
    credentials: Option<Credentials>,
    refused: Option<Disconnect>,
    headers: HeaderMap,
    response: Response<String>,
}

impl Outcome {
    fn user(&self) -> Option<&str> {
        self.credentials.as_ref().map(|found| found.user.as_str())
    }

    /// gRPC status and the trailer `disconnect`.
    fn status(&self) -> (i32, Option<Value>) {
        let header = |name| self.response.headers().get(name);
        let status =
            header("grpc-status").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
        let trailer =
            header(TRAILER).map(|value| serde_json::from_slice(value.as_bytes()).unwrap());
        (status, trailer)
    }
}

fn request(headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in headers {
        request
            .headers_mut()
            .append(*name, HeaderValue::from_str(value).unwrap());
    }
    request
}

async fn call(auth: &Authenticator, options: Options, request: Request<()>) -> Outcome {
    let seen = Arc::new(parking_lot::Mutex::new(None));
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = {
        let (seen, calls) = (Arc::clone(&seen), Arc::clone(&calls));
        service_fn(move |request: Request<()>| {
            calls.fetch_add(1, Ordering::SeqCst);
            *seen.lock() = Some(request);
            std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(
                String::new(),
            )))
        })
    };
    let service = CredentialsLayer::new(auth.clone(), options).layer(inner);
    let response = service.oneshot(request).await.unwrap();
    let seen = seen.lock().take();
    let (parts, ()) = seen.unwrap_or_default().into_parts();
    Outcome {
        reached: calls.load(Ordering::SeqCst) == 1,
        credentials: parts.extensions.get::<Credentials>().cloned(),
        refused: parts
            .extensions
            .get::<Refused>()
            .map(|refused| refused.0.clone()),
        headers: parts.headers,
        response,
    }
}

fn bearer_of(claims: Value) -> String {
    format!("Bearer {}", jwt(claims))
}

fn h1(user: &str, exp: i64) -> String {
    credentials::issue(&"h1 secret".into(), user, exp, b"").unwrap()
}

#[tokio::test]
async fn row_0_wins_over_everything_below() {
    let auth = authenticator(&hmac_config());
    let mut request = request(&[("authorization", "Bearer wrong"), (HEADER, "wrong")]);
    let own = Credentials {
        user: UserId::from("embedder"),
        ..Credentials::default()
    };
    request.extensions_mut().insert(own.clone());
    let required = Options {
        required: true,
        ..GRPC
    };
    let outcome = call(&auth, required, request).await;
    assert_eq!(outcome.credentials, Some(own));
    assert!(outcome.reached && outcome.refused.is_none());
}

#[tokio::test]
async fn row_1_is_a_bearer_token() {
    let auth = authenticator(&config());
    let exp = now().unix() + 60;
    let claims = json!({"sub": "42", "exp": exp, "info": {"a": 1}});
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} {}", jwt(claims.clone()));
        let outcome = call(&auth, GRPC, request(&[("authorization", &value)])).await;
        let expected = Credentials {
            user: UserId::from("42"),
            expire_at: Some(exp),
            info: bytes::Bytes::from_static(b"{\"a\":1}"),
        };
        assert_eq!(outcome.credentials, Some(expected));
    }
}

#[tokio::test]
async fn other_schemes_are_not_credentials() {
    let auth = authenticator(&config());
    for value in ["Basic YTpi", "apikey k", "Bearertoken", "b"] {
        let outcome = call(&auth, GRPC, request(&[("authorization", value)])).await;
        assert!(outcome.reached && outcome.credentials.is_none(), "{value}");
    }
    let both = [
        ("authorization", "Basic YTpi"),
        ("authorization", &*bearer_of(json!({"sub": "42"}))),
    ];
    assert_eq!(call(&auth, GRPC, request(&both)).await.user(), Some("42"));
}

#[tokio::test]
async fn a_wrong_token_refuses_the_call() {
    let auth = authenticator(&config());
    let outcome = call(&auth, GRPC, request(&[("authorization", "Bearer x")])).await;
    let trailer = json!({"code": 3500, "reason": "invalid token", "reconnect": false});
    assert_eq!(outcome.status(), (16, Some(trailer)));
    assert!(!outcome.reached);
    let message = outcome.response.headers().get("grpc-message").unwrap();
    assert_eq!(message, "unauthenticated");
    assert_eq!(auth.metrics().count(Kind::Jwt, Reason::Malformed), 1);
    let nothing = call(&auth, GRPC, request(&[("authorization", "Bearer")])).await;
    assert_eq!(nothing.status().0, 16);
}

#[tokio::test]
async fn an_expired_token_asks_for_a_new_one() {
    let auth = authenticator(&config());
    let late = bearer_of(json!({"sub": "42", "exp": 1}));
    let outcome = call(&auth, GRPC, request(&[("authorization", &late)])).await;
    let trailer = json!({"code": 3005, "reason": "connection expired", "reconnect": true});
    assert_eq!(outcome.status(), (16, Some(trailer)));
}

#[tokio::test]
async fn an_empty_user_is_refused_where_it_is_not_wanted() {
    let mut config = config();
    config.client.disallow_anonymous_connection_tokens = true;
    let auth = authenticator(&config);
    let nobody = bearer_of(json!({}));
    let outcome = call(&auth, GRPC, request(&[("authorization", &nobody)])).await;
    let trailer = json!({"code": 3507, "reason": "permission denied", "reconnect": false});
    assert_eq!(outcome.status(), (16, Some(trailer)));
}

#[tokio::test]
async fn keys_that_cannot_be_fetched_are_a_reason_to_come_back() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody_listens = listener.local_addr().unwrap();
    drop(listener);
    let mut config = Config::default();
    config.client.token.jwks_public_endpoint = format!("http://{nobody_listens}/keys");
    let auth = authenticator(&config);
    let token = jsonwebtoken::encode(
        &jsonwebtoken::Header {
            kid: Some("a".to_owned()),
            ..jsonwebtoken::Header::default()
        },
        &json!({"sub": "42"}),
        &jsonwebtoken::EncodingKey::from_secret(b"x"),
    )
    .unwrap();
    let value = format!("Bearer {token}");
    let outcome = call(&auth, GRPC, request(&[("authorization", &value)])).await;
    let trailer = json!({"code": 3004, "reason": "internal server error", "reconnect": true});
    assert_eq!(outcome.status(), (14, Some(trailer)));
}

#[tokio::test]
async fn row_2_is_hmac_credentials_and_nobody_sees_them_further() {
    let auth = authenticator(&hmac_config());
    let exp = now().unix() + 60;
    let outcome = call(
        &auth,
        GRPC,
        request(&[(HEADER, &h1("42", exp)), ("x-kept", "1")]),
    )
    .await;
    assert_eq!(outcome.user(), Some("42"));
    assert_eq!(outcome.credentials.unwrap().expire_at, Some(exp));
    assert!(!outcome.headers.contains_key(HEADER));
    assert!(outcome.headers.contains_key("x-kept"));
    let late = call(&auth, GRPC, request(&[(HEADER, &h1("42", 1))])).await;
    assert_eq!(late.status().1.unwrap()["code"], 3005);
    let broken = call(&auth, GRPC, request(&[(HEADER, "h1.x")])).await;
    assert_eq!(broken.status().1.unwrap()["code"], 3500);
    let twice = [(HEADER, &*h1("42", exp)), (HEADER, &*h1("42", exp))];
    let twice = call(&auth, GRPC, request(&twice)).await;
    assert_eq!(twice.status().1.unwrap()["code"], 3501);
    let mut binary = request(&[]);
    let value = HeaderValue::from_bytes(b"h1.\xff").unwrap();
    binary.headers_mut().insert(HEADER, value);
    assert_eq!(
        call(&auth, GRPC, binary).await.status().1.unwrap()["code"],
        3500
    );
}

#[tokio::test]
async fn row_1_is_no_place_for_hmac_credentials() {
    let auth = authenticator(&hmac_config());
    let value = format!("Bearer {}", h1("42", now().unix() + 60));
    let outcome = call(&auth, GRPC, request(&[("authorization", &value)])).await;
    assert_eq!(outcome.status().1.unwrap()["code"], 3500);
}

#[tokio::test]
async fn row_2_knows_the_legacy_form() {
    let auth = authenticator(&hmac_config());
    let timestamp = (now().unix() + 60).to_string();
    let token = credentials::hex(&credentials::sign(
        &"legacy secret".into(),
        &[b"42", timestamp.as_bytes()],
    ));
    let fields = [
        (LEGACY_HEADERS[0], "42"),
        (LEGACY_HEADERS[1], &timestamp),
        (LEGACY_HEADERS[3], &token),
    ];
    let outcome = call(&auth, GRPC, request(&fields)).await;
    assert_eq!(outcome.user(), Some("42"));
    assert!(outcome.headers.is_empty());
    let partly = call(&auth, GRPC, request(&fields[..2])).await;
    assert_eq!(partly.status().1.unwrap()["code"], 3500);
    assert_eq!(auth.metrics().count(Kind::Legacy, Reason::Malformed), 1);
}

#[tokio::test]
async fn row_2_is_absent_while_the_feature_is_off() {
    let auth = authenticator(&config());
    let fields = [(HEADER, "h1.x"), (LEGACY_HEADERS[0], "42")];
    let outcome = call(&auth, GRPC, request(&fields)).await;
    assert!(outcome.reached && outcome.credentials.is_none());
    assert_eq!(outcome.headers.len(), 2, "headers pass as they are");
}

#[tokio::test]
async fn rows_1_and_2_exclude_each_other() {
    let auth = authenticator(&hmac_config());
    let token = bearer_of(json!({"sub": "42"}));
    let fields = [
        ("authorization", &*token),
        (HEADER, &*h1("42", now().unix() + 60)),
    ];
    let outcome = call(&auth, GRPC, request(&fields)).await;
    assert_eq!(outcome.status().0, 16);
    assert_eq!(outcome.status().1.unwrap()["code"], 3501);
    let twice = [("authorization", &*token), ("authorization", &*token)];
    let outcome = call(&auth, GRPC, request(&twice)).await;
    assert_eq!(outcome.status().1.unwrap()["code"], 3501);
}

#[tokio::test]
async fn row_4_opens_unless_credentials_are_required() {
    let auth = authenticator(&config());
    let outcome = call(&auth, GRPC, request(&[])).await;
    assert!(outcome.reached && outcome.credentials.is_none());
    let required = Options {
        required: true,
        ..GRPC
    };
    let outcome = call(&auth, required, request(&[])).await;
    let trailer = json!({"code": 3501, "reason": "bad request", "reconnect": false});
    assert_eq!(outcome.status(), (16, Some(trailer)));
    let token = bearer_of(json!({"sub": "42"}));
    let outcome = call(&auth, required, request(&[("authorization", &token)])).await;
    assert_eq!(outcome.user(), Some("42"));
}

#[tokio::test]
async fn row_3_is_enough_where_credentials_are_required() {
    let auth = authenticator(&hmac_config());
    let required = Options {
        required: true,
        ..GRPC
    };
    let certified = |headers: &[(&'static str, &str)]| {
        let mut request = request(headers);
        let name = Certified(UserId::from("service"));
        request.extensions_mut().insert(name);
        request
    };
    let outcome = call(&auth, required, certified(&[])).await;
    assert!(outcome.reached && outcome.credentials.is_none());
    let token = bearer_of(json!({"sub": "42"}));
    let both = certified(&[("authorization", &token)]);
    assert_eq!(call(&auth, required, both).await.user(), Some("42"));
    let wrong = certified(&[("authorization", "Bearer x")]);
    let outcome = call(&auth, required, wrong).await;
    assert_eq!(outcome.status().1.unwrap()["code"], 3500, "no way back");
}

#[tokio::test]
async fn http_requests_go_on_with_a_mark() {
    let auth = authenticator(&hmac_config());
    let refused = async |value: &str| call(&auth, HTTP, request(&[(HEADER, value)])).await;
    let wrong = refused("h1.x").await;
    assert!(wrong.reached && wrong.credentials.is_none());
    assert_eq!(wrong.refused, Some(Disconnect::INVALID_TOKEN));
    assert_eq!(wrong.response.status(), 200);
    assert_eq!(
        refused(&h1("42", 1)).await.refused,
        Some(Disconnect::EXPIRED)
    );
    let fine = refused(&h1("42", now().unix() + 60)).await;
    assert_eq!((fine.user(), fine.refused.clone()), (Some("42"), None));
}

#[tokio::test]
async fn bearer_counts_on_http_only_when_switched_on() {
    let auth = authenticator(&config());
    let foreign = request(&[("authorization", "Bearer of-some-proxy")]);
    let outcome = call(&auth, HTTP, foreign).await;
    assert!(outcome.reached && outcome.refused.is_none() && outcome.credentials.is_none());
    assert!(outcome.headers.contains_key("authorization"));
    let on = Options {
        bearer: true,
        ..HTTP
    };
    let token = bearer_of(json!({"sub": "42"}));
    let outcome = call(&auth, on, request(&[("authorization", &token)])).await;
    assert_eq!(outcome.user(), Some("42"));
    let outcome = call(&auth, on, request(&[("authorization", "Bearer x")])).await;
    assert_eq!(outcome.refused, Some(Disconnect::INVALID_TOKEN));
}

#[test]
fn the_server_api_is_guarded_by_its_key() {
    let guard = |key: &str, authorization: &[&str]| {
        let mut request = tonic::Request::new(());
        for value in authorization {
            let value = AsciiMetadataValue::try_from(*value).unwrap();
            request.metadata_mut().append("authorization", value);
        }
        ApiKeyGuard::new(ApiKey::new(&key.into())).call(request)
    };
    assert!(guard("", &[]).is_ok(), "no key, no check");
    assert!(guard("k", &["apikey k"]).is_ok());
    assert!(
        guard("k", &["apikey k", "x"]).is_ok(),
        "the first value counts"
    );
    for wrong in [
        &[][..],
        &["k"],
        &["Apikey k"],
        &["apikey K"],
        &["x", "apikey k"],
    ] {
        let status = guard("k", wrong).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
        assert_eq!(status.message(), "unauthenticated");
    }
}

#[test]
fn the_layer_keeps_the_name_of_its_service() {
    #[derive(Clone)]
    struct Named;
    impl NamedService for Named {
        const NAME: &'static str = "proto.Centrifuge";
    }
    let auth = Authenticator::new(&config(), &Registry::new()).unwrap();
    let _wrapped = CredentialsLayer::new(auth, GRPC).layer(Named);
    assert_eq!(
        <CredentialsService<Named> as NamedService>::NAME,
        "proto.Centrifuge"
    );
}
