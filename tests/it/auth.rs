//! Credentials before the connect command: metadata, headers, and one place only (gateway.md 2; tokens.md 1, 9, 14.6).

use serde_json::{Value, json};
use tonic::Code;

use crate::{
    harness::{Close, Transport, now, on_every_transport, server},
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
        Transport::Json | Transport::Protobuf => Code::Ok,
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
        Transport::Json | Transport::Protobuf => {
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
