//! What a log may not hold, at any level: secrets, tokens, keys, payloads (metrics.md 17.5).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::{
    harness::Transport,
    support::{Server, http_client},
};

/// Payloads, which no line shows below trace.
const PAYLOAD: &str = "the-payload-nobody-logs";

fn settings(level: &str) -> Value {
    json!({
        "log": {"level": level},
        "admin": {"password": "secret-password-of-admin", "secret": "secret-of-admin-tokens"},
        "client": {
            "token": {"hmac_secret_key": Server::SECRET},
            "subscription_token": {"enabled": true, "hmac_secret_key": "secret-of-subscription-tokens-0123"},
            "hmac_credentials": {
                "enabled": true, "secret_key": "secret-of-signed-credentials-012345", "tls_terminated_upstream": true,
            },
        },
        "centripetal": {"http": {"bearer": true}},
        "channel": {"without_namespace": {
            "allow_subscribe_for_client": true, "allow_publish_for_client": true, "history_size": 5, "history_ttl": "60s",
        }},
    })
}

/// A token of which neither the whole nor the signature may be found.
fn signature(token: &str) -> &str {
    token.rsplit('.').next().unwrap_or(token)
}

/// What each kind of client does with credentials, good and bad; returns all that was secret about it.
async fn exercised(server: &Server, on: Transport) -> Vec<String> {
    let good = Server::token(&json!({"sub": "ann", "info": {"note": "claims-are-private"}}));
    let expired = Server::token(&json!({"sub": "ann", "exp": 1}));
    let wrong = format!("{}x", Server::token(&json!({"sub": "eve"})));
    let mut secrets = vec!["claims-are-private".to_owned()];
    let mut client = on.open(server).await;
    client
        .connect(json!({"token": good, "data": {"p": PAYLOAD}}))
        .await;
    client.subscribe(json!({"channel": "news"})).await;
    client.publish("news", json!({"p": PAYLOAD})).await;
    client.push().await;
    for request in [
        json!({"publish": {"channel": "no:such", "data": {"p": PAYLOAD}}}),
        json!({"rpc": {"method": "nosuch", "data": {"p": PAYLOAD}}}),
    ] {
        assert_ne!(client.refused(request).await, 0);
    }
    let subscribe = json!({"channel": "other", "token": wrong, "data": {"p": PAYLOAD}});
    let refused = client.refused(json!({"subscribe": subscribe})).await;
    assert_eq!(refused, 103);
    let mut late = on.open(server).await;
    let connect = json!({"connect": {"token": expired}});
    assert_eq!(late.refused(connect).await, 109);
    let mut foreign = on.open(server).await;
    foreign.request(json!({"connect": {"token": wrong}})).await;
    foreign.closed(3500, "invalid token").await;
    let bearer = format!("Bearer {wrong}");
    let opened = on.open_with(server, &[("authorization", &bearer)]).await;
    if let Ok(mut other) = opened {
        other.request(json!({"connect": {}})).await;
        other.closed(3500, "invalid token").await;
    }
    for token in [good, expired, wrong] {
        secrets.push(signature(&token).to_owned());
    }
    secrets
}

/// Calls of the server API with right and wrong keys.
async fn called(server: &Server) {
    for key in [Server::API_KEY, "wrong-key-of-somebody"] {
        for (path, body) in [
            (
                "publish",
                json!({"channel": "news", "data": {"p": PAYLOAD}}),
            ),
            (
                "publish",
                json!({"channel": "no:such", "data": {"p": PAYLOAD}}),
            ),
            (
                "publish",
                json!({"channel": "news", "b64data": format!("?{PAYLOAD}")}),
            ),
        ] {
            let url = format!("{}/{path}?api_key={key}", server.api_url());
            let request = http_client().post(url).header("x-api-key", key);
            let answer = request.body(body.to_string()).send().await;
            assert!(answer.is_ok());
        }
        let broken = http_client()
            .post(format!("{}/publish", server.api_url()))
            .header("authorization", format!("apikey {key}"))
            .body(format!("{{\"channel\":\"news\",\"data\":{PAYLOAD}"))
            .send()
            .await;
        assert!(broken.is_ok());
    }
}

/// Everything that was secret in a run at this level, and what it wrote.
async fn run(level: &str) -> (Vec<String>, String) {
    let mut server = Server::start(settings(level)).await;
    let mut secrets: Vec<String> = [
        Server::SECRET,
        Server::API_KEY,
        "secret-password-of-admin",
        "secret-of-admin-tokens",
        "secret-of-subscription-tokens-0123",
        "secret-of-signed-credentials-012345",
        "wrong-key-of-somebody",
    ]
    .map(str::to_owned)
    .into();
    for on in Transport::ALL {
        secrets.extend(exercised(&server, on).await);
    }
    called(&server).await;
    server.hang_up();
    server.terminate();
    server.ended().await;
    let log = server.log();
    assert!(log.contains("shutting down"), "{log}");
    (secrets, log)
}

fn assert_silent(log: &str, secrets: &[String]) {
    for secret in secrets {
        let shown = log.lines().find(|line| line.contains(secret.as_str()));
        assert!(shown.is_none(), "{secret} in {shown:?}");
        let encoded = BASE64_STANDARD.encode(secret);
        assert!(!log.contains(&encoded), "{secret}, encoded");
    }
}

#[tokio::test]
async fn no_secret_is_logged_at_any_level() {
    let (secrets, log) = run("trace").await;
    assert!(log.contains("\"level\":\"trace\""), "it was a trace");
    assert_silent(&log, &secrets);
}

#[tokio::test]
async fn no_payload_is_logged_below_trace() {
    let (mut secrets, log) = run("debug").await;
    assert!(log.contains("\"level\":\"debug\""), "it was verbose");
    secrets.push(PAYLOAD.to_owned());
    assert_silent(&log, &secrets);
}
