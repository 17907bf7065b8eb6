//! Credentials before the connect command: metadata, headers, and one place only (gateway.md 2; tokens.md 1, 9, 14.6).

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tonic::Code;

use crate::{
    harness::{Close, Transport, now, on_every_listener, on_every_transport, server},
    support::Server,
};

on_every_transport!(
    a_bearer_token_is_enough,
    a_wrong_bearer_token_is_refused,
    credentials_come_from_one_place,
    other_schemes_are_no_credentials,
    bearer_credentials_expire_and_are_refreshed,
    the_header_of_a_trusted_proxy_names_the_user,
    nothing_is_checked_when_insecure,
    another_key_for_subscriptions,
    signed_credentials_come_in_many_places,
    wrong_signed_credentials_are_refused,
    signed_credentials_are_refreshed,
);

on_every_listener!(
    credentials_come_from_one_place,
    other_schemes_are_no_credentials,
);

fn settings() -> Value {
    json!({
        "centripetal": {"http": {"bearer": true}},
        "channel": {"without_namespace": {"allow_subscribe_for_client": true,
            "allow_presence_for_subscriber": true, "presence": true}},
    })
}

fn bearer(claims: &Value) -> String {
    format!("Bearer {}", Server::token(claims))
}

/// Who the server thinks this connection is.
async fn user(on: Transport, server: &Server, header: (&'static str, &str)) -> Value {
    let mut client = on.open_with(server, &[header]).await.unwrap();
    client.connect(json!({})).await;
    client.subscribe(json!({"channel": "news"})).await;
    let reply = client.call(json!({"presence": {"channel": "news"}})).await;
    reply["presence"]["presence"][&client.id].clone()
}

async fn a_bearer_token_is_enough(on: Transport) {
    let server = server(settings()).await;
    let token = bearer(&json!({"sub": "alice", "info": {"name": "Alice"}}));
    let found = user(on, &server, ("authorization", &token)).await;
    assert_eq!(
        (&found["user"], &found["conn_info"]["name"]),
        (&json!("alice"), &json!("Alice"))
    );
    let token = token.replace("Bearer", "bEARER");
    assert_eq!(
        user(on, &server, ("authorization", &token)).await["user"],
        "alice"
    );
}

/// How a connection with this header ends, at once or after connecting.
async fn end(
    on: Transport,
    server: &Server,
    headers: &[(&'static str, &str)],
    connect: Value,
) -> Close {
    match on.open_with(server, headers).await {
        Ok(mut client) => {
            client.request(json!({"connect": connect})).await;
            client.close().await
        }
        Err(close) => close,
    }
}

fn refused(on: Transport, code: u32, reason: &str) -> Close {
    let status = match on {
        Transport::Grpc => Code::Unauthenticated,
        _ => Code::Ok,
    };
    Close {
        code,
        reason: reason.to_owned(),
        status,
    }
}

async fn a_wrong_bearer_token_is_refused(on: Transport) {
    let server = server(settings()).await;
    for (token, code, reason) in [
        ("Bearer x".to_owned(), 3500, "invalid token"),
        (bearer(&json!({"sub": 42})), 3500, "invalid token"),
        (
            bearer(&json!({"sub": "alice", "exp": now() - 1})),
            3005,
            "connection expired",
        ),
    ] {
        let close = end(on, &server, &[("authorization", &token)], json!({})).await;
        assert_eq!(close, refused(on, code, reason), "{token}");
    }
}

async fn credentials_come_from_one_place(on: Transport) {
    let server = server(settings()).await;
    let token = Server::token(&json!({"sub": "alice"}));
    let header = format!("Bearer {token}");
    let connect = json!({"token": token});
    let mut client = on
        .open_with(&server, &[("authorization", &header)])
        .await
        .unwrap();
    client.request(json!({"connect": connect})).await;
    client.closed(3501, "bad request").await;
}

async fn other_schemes_are_no_credentials(on: Transport) {
    let server = server(settings()).await;
    let token = Server::token(&json!({"sub": "alice"}));
    for header in ["Basic YTpi", "apikey x", &token] {
        let headers = [("authorization", header)];
        let mut client = on.open_with(&server, &headers).await.unwrap();
        client.connect(json!({"token": token})).await;
        let close = end(on, &server, &headers, json!({})).await;
        assert_eq!((close.code, close.status), (3501, Code::Ok), "{header}");
    }
}

async fn bearer_credentials_expire_and_are_refreshed(on: Transport) {
    let mut settings = settings();
    settings["client"] = json!({"expired_close_delay": "100ms"});
    let server = server(settings).await;
    let header = bearer(&json!({"sub": "alice", "exp": now() + 2}));
    let headers = [("authorization", &*header)];
    let mut expires = on.open_with(&server, &headers).await.unwrap();
    let mut refreshed = on.open_with(&server, &headers).await.unwrap();
    let result = expires.connect(json!({})).await;
    assert_eq!(result["expires"], true, "{result}");
    refreshed.connect(json!({})).await;
    let token = Server::token(&json!({"sub": "alice", "exp": now() + 100}));
    let reply = refreshed.call(json!({"refresh": {"token": token}})).await;
    assert_eq!(reply["refresh"]["expires"], true, "{reply}");
    expires.closed(3005, "connection expired").await;
    assert_eq!(refreshed.so_far().await, Vec::<Value>::new());
}

async fn the_header_of_a_trusted_proxy_names_the_user(on: Transport) {
    let mut settings = settings();
    settings["client"] = json!({"user_id_http_header": "X-User"});
    let server = server(settings).await;
    let mut nobodies = vec![""];
    match on {
        // Services reach the canonical stream without the proxy that sets the header.
        Transport::Grpc => nobodies.push("alice"),
        _ => {
            let found = user(on, &server, ("x-user", "alice")).await;
            assert_eq!(found["user"], "alice");
        }
    }
    for nobody in nobodies {
        let close = end(on, &server, &[("x-user", nobody)], json!({})).await;
        assert_eq!(close.code, 3501, "{nobody}");
    }
}

async fn nothing_is_checked_when_insecure(on: Transport) {
    let settings = json!({
        "client": {"insecure": true},
        "channel": {"without_namespace": {"presence": true, "history_size": 1, "history_ttl": "60s"}},
    });
    let server = server(settings).await;
    let mut client = on.connect(&server, json!({})).await;
    client.subscribe(json!({"channel": "news"})).await;
    client.publish("news", json!(1)).await;
    for command in ["presence", "presence_stats", "history"] {
        let reply = client.call(json!({command: {"channel": "news"}})).await;
        assert!(reply.get(command).is_some(), "{reply}");
    }
    assert_eq!(
        client
            .refused(json!({"subscribe": {"channel": "$private"}}))
            .await,
        103
    );
    // A token that is there is looked at.
    let expired = Server::token(&json!({"sub": "alice", "exp": now() - 1}));
    let mut client = on.open(&server).await;
    let request = json!({"connect": {"token": expired}});
    assert_eq!(client.refused(request).await, 109);
}

async fn another_key_for_subscriptions(on: Transport) {
    let settings = json!({"client": {"subscription_token": {
        "enabled": true, "hmac_secret_key": "another-secret-of-32-bytes-and-more-than-that",
    }}});
    let server = server(settings).await;
    let mut client = on.user(&server, "alice").await;
    let token = Server::token(&json!({"sub": "alice", "channel": "$news"}));
    let request = json!({"subscribe": {"channel": "$news", "token": token}});
    assert_eq!(client.refused(request).await, 103);
}

/// Secret of signed credentials.
const SIGNING: &[u8] = b"a-secret-for-signed-credentials";

fn signing() -> Value {
    let mut settings = settings();
    let secret = std::str::from_utf8(SIGNING).unwrap();
    settings["client"] = json!({"hmac_credentials": {"enabled": true, "secret_key": secret}});
    settings
}

/// Hexadecimal signature of user, expiration and info.
fn sign(user: &str, expires: i64, info: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SIGNING).unwrap();
    for part in [
        "centripetal/credentials/h1",
        user,
        &expires.to_string(),
        info,
    ] {
        mac.update(&u32::try_from(part.len()).unwrap().to_be_bytes());
        mac.update(part.as_bytes());
    }
    let bytes = mac.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Signed credentials in their compact form.
fn h1(user: &str, expires: i64, info: &str) -> String {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let signature = sign(user, expires, info);
    format!("h1.{}.{expires}.{}.{signature}", part(user), part(info))
}

async fn signed_credentials_come_in_many_places(on: Transport) {
    let server = server(signing()).await;
    let expires = now() + 60;
    let info = r#"{"name":"Ann"}"#;
    let compact = h1("42", expires, info);
    let members =
        json!({"user": "42", "exp": expires, "info": info, "sign": sign("42", expires, info)});
    let header = ("centripetal-credentials", &*compact);
    let emulated = json!({"Centripetal-Credentials": compact});
    for (headers, request) in [
        (vec![], json!({"token": compact})),
        (vec![header], json!({})),
        (vec![], json!({"headers": emulated})),
        (vec![], json!({"data": {"hmac": members}})),
    ] {
        let mut client = on.open_with(&server, &headers).await.unwrap();
        let result = client.connect(request.clone()).await;
        assert_eq!(result["expires"], true, "{request}");
        client.subscribe(json!({"channel": "news"})).await;
        let reply = client.call(json!({"presence": {"channel": "news"}})).await;
        let found = &reply["presence"]["presence"][&client.id];
        let expected = json!({"user": "42", "client": client.id, "conn_info": {"name": "Ann"}});
        assert_eq!(found, &expected, "{request}");
    }
    // More than one place, even with the same.
    for (headers, request) in [
        (vec![header], json!({"token": compact})),
        (vec![], json!({"token": compact, "headers": emulated})),
        (
            vec![],
            json!({"headers": emulated, "data": {"hmac": members}}),
        ),
    ] {
        let close = end(on, &server, &headers, request.clone()).await;
        assert_eq!((close.code, close.status), (3501, Code::Ok), "{request}");
    }
}

async fn wrong_signed_credentials_are_refused(on: Transport) {
    let server = server(signing()).await;
    let good = h1("42", now() + 60, "");
    let wrong = [
        good.replacen("h1.", "h1.x", 1),
        good[..good.len() - 1].to_owned(),
        format!("{good}.x"),
        format!("{good}0"),
        h1("42", now() + 100_000, ""),
        format!("h1.{}", good.rsplit('.').next().unwrap()),
    ];
    for credentials in wrong {
        let request = json!({"token": credentials});
        let close = end(on, &server, &[], request).await;
        assert_eq!(
            (close.code, close.status),
            (3500, Code::Ok),
            "{credentials}"
        );
        let headers = [("centripetal-credentials", &*credentials)];
        let close = end(on, &server, &headers, json!({})).await;
        assert_eq!(close, refused(on, 3500, "invalid token"), "{credentials}");
    }
    let expired = h1("42", now() - 1, "");
    let mut client = on.open(&server).await;
    let request = json!({"connect": {"token": expired}});
    assert_eq!(client.refused(request).await, 109);
    let headers = [("centripetal-credentials", &*expired)];
    let close = end(on, &server, &headers, json!({})).await;
    assert_eq!(close, refused(on, 3005, "connection expired"));
}

async fn signed_credentials_are_refreshed(on: Transport) {
    let server = server(signing()).await;
    let token = h1("42", now() + 60, "");
    let mut client = on.connect(&server, json!({"token": token})).await;
    let token = h1("42", now() + 600, "");
    let reply = client.call(json!({"refresh": {"token": token}})).await;
    let ttl = reply["refresh"]["ttl"].as_u64().unwrap();
    assert!((590..=600).contains(&ttl), "{reply}");
    let other = h1("43", now() + 600, "");
    client.request(json!({"refresh": {"token": other}})).await;
    client.closed(3500, "invalid token").await;
}

#[tokio::test]
async fn metadata_names_one_credential() {
    let server = server(signing()).await;
    let token = bearer(&json!({"sub": "alice"}));
    let credentials = h1("42", now() + 60, "");
    let headers = [
        ("authorization", &*token),
        ("centripetal-credentials", &*credentials),
    ];
    let close = end(Transport::Grpc, &server, &headers, json!({})).await;
    assert_eq!(close.status, Code::Unauthenticated, "{close:?}");
}

#[tokio::test]
async fn credentials_can_be_required_of_services() {
    let settings = json!({"centripetal": {"grpc": {"require_credentials": true}}});
    let server = server(settings).await;
    let token = Server::token(&json!({"sub": "alice"}));
    let close = end(Transport::Grpc, &server, &[], json!({"token": token})).await;
    assert_eq!(close, refused(Transport::Grpc, 3501, "bad request"));
    let header = format!("Bearer {token}");
    let headers = [("authorization", &*header)];
    let client = Transport::Grpc.open_with(&server, &headers).await;
    client.unwrap().connect(json!({})).await;
    // Pages cannot set metadata; they are not meant.
    Transport::Json.user(&server, "bob").await;
}
