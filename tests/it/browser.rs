//! A real browser: Debian's Chromium against the demo page and against a gateway in production's shape.
//!
//! What is checked is written in the programs of `tests/browser`. Two browsers run at a time: much of it is waiting, but more
//! of them would only be in each other's way.

use std::{ffi::OsString, path::Path, path::PathBuf};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::{
    emulation::BUFFERING,
    harness::Transport,
    support::{Dev, Nginx, Program, Server, browser, free_ports, needed},
};

static BROWSERS: Semaphore = Semaphore::const_new(2);

type Settings = Vec<(&'static str, OsString)>;

/// Where the pictures are kept.
fn artefacts() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser")
}

/// What every program is told.
fn settings(url: String) -> Settings {
    vec![
        ("BROWSER_URL", url.into()),
        ("BROWSER_CLI", env!("CARGO_BIN_EXE_centripetal").into()),
        ("BROWSER_ARTEFACTS", artefacts().into()),
    ]
}

/// What is behind TLS has a certificate; the browser trusts this one only.
fn trusting(nginx: &Nginx, mut settings: Settings) -> Settings {
    let authority = nginx.authority();
    let certificate = authority.with_file_name("server.pem");
    settings.push(("BROWSER_CERTIFICATE", certificate.into()));
    // For `centripetal sub` and `pub`.
    settings.push(("SSL_CERT_FILE", authority.into()));
    settings
}

/// Runs a program to its end, and does what it asks for meanwhile.
async fn passes(name: &str, settings: Settings, front: Option<&mut Nginx>) {
    if let Some(program) = browser(name, settings) {
        ends_well(name, program, front).await;
    }
}

async fn ends_well(name: &str, program: Program, mut front: Option<&mut Nginx>) {
    let mut running = program.start_alone(name);
    loop {
        let line = running.line().await;
        match (line.as_str(), front.as_deref_mut()) {
            ("do kill", Some(nginx)) => {
                nginx.kill().await;
                running.tell("done kill").await;
            }
            ("do restart", Some(nginx)) => {
                nginx.restart().await;
                running.tell("done restart").await;
            }
            (line, _) if line.ends_with(" checks passed") => break,
            (line, _) => eprintln!("{line}"),
        }
    }
    running.end().await;
}

/// `centripetal dev` behind the shipped nginx configuration, with the page let through.
async fn demo_behind_nginx() -> Option<(Dev, Nginx)> {
    demo_behind(&[]).await
}

/// The same with further changes of the configuration.
async fn demo_behind(more: &[(&str, &str)]) -> Option<(Dev, Nginx)> {
    let program = PathBuf::from(needed("CENTRIPETAL_NGINX")?);
    let [http, grpc] = free_ports();
    let replacements = [
        ("127.0.0.1:8000", format!("127.0.0.1:{http}")),
        ("127.0.0.1:8001", format!("127.0.0.1:{grpc}")),
        (
            "return 404;",
            "proxy_pass http://centripetal_http;".to_owned(),
        ),
    ];
    let more = more.iter().map(|(old, new)| (*old, (*new).to_owned()));
    let replacements: Vec<_> = replacements
        .into_iter()
        .chain(more)
        .map(|(old, new)| (old.to_owned(), new))
        .collect();
    let nginx = Nginx::run(program, Nginx::SHIPPED, &replacements).await;
    let origin = format!("https://localhost:{}", nginx.port());
    let dev = Dev::on(http, grpc, &["--origin", &origin]).await;
    assert!(dev.log().contains(&origin), "it says where to look");
    Some((dev, nginx))
}

#[tokio::test]
async fn demo_page_through_nginx_with_two_tabs_and_a_grpc_client_loses_nothing() {
    let _turn = BROWSERS.acquire().await;
    let Some((dev, mut nginx)) = demo_behind_nginx().await else {
        return;
    };
    let front = format!("localhost:{}", nginx.port());
    let mut settings = trusting(&nginx, settings(format!("https://{front}/")));
    settings.push(("BROWSER_GRPC", format!("grpcs://{front}").into()));
    settings.push(("BROWSER_DIRECT", dev.grpc_url().into()));
    passes("demo.mjs", settings, Some(&mut nginx)).await;
}

#[tokio::test]
async fn demo_page_is_for_everybody() {
    let _turn = BROWSERS.acquire().await;
    let dev = Dev::start().await;
    passes("access.mjs", settings(dev.url()), None).await;
}

#[tokio::test]
async fn websites_cannot_use_a_development_server() {
    let _turn = BROWSERS.acquire().await;
    let dev = Dev::start().await;
    passes("foreign.mjs", settings(dev.url()), None).await;
}

/// As an operator sets it up: one allowed origin, tokens, a trusted front.
fn production() -> Value {
    json!({
        "client": {"allowed_origins": ["https://localhost:*"]},
        "centripetal": {"trusted_proxies": ["127.0.0.1"]},
        "channel": {"namespaces": [{
            "name": "room",
            "presence": true,
            "join_leave": true,
            "force_push_join_leave": true,
            "history_size": 100,
            "history_ttl": "300s",
            "force_recovery": true,
            "allow_subscribe_for_client": true,
            "allow_publish_for_subscriber": true,
            "allow_presence_for_subscriber": true,
            "allow_history_for_subscriber": true,
        }]},
    })
}

#[tokio::test]
async fn streams_in_a_page_through_nginx() {
    streams_in_a_page(&[]).await;
}

#[tokio::test]
async fn streams_in_a_page_through_an_nginx_that_buffers_and_compresses() {
    streams_in_a_page(&BUFFERING).await;
}

/// With further changes of the configuration.
async fn streams_in_a_page(more: &[(&str, &str)]) {
    let _turn = BROWSERS.acquire().await;
    let mut settings_of_node = production();
    settings_of_node["uni_sse"] = json!({"enabled": true});
    let server = Server::start(settings_of_node).await;
    let site = "default_type text/html; return 200 '<!doctype html><title>site</title>';";
    let changes = [&[("return 404;", site)], more].concat();
    let nginx = Nginx::changed(Nginx::SHIPPED, &server, &changes).await;
    let Some(nginx) = nginx else {
        return;
    };
    let url = |host: &str| format!("https://{host}:{}/", nginx.port());
    let mut settings = trusting(&nginx, settings(url("localhost")));
    settings.push(("BROWSER_FOREIGN", url("127.0.0.1").into()));
    let ann = Server::token(&json!({"sub": "ann"}));
    let listener = Server::token(&json!({"sub": "eve", "channels": ["room:listened"]}));
    let tokens = format!("{ann} {listener}");
    settings.push(("BROWSER_TOKENS", tokens.into()));
    passes("streams.mjs", settings, None).await;
    let log = server.log();
    assert!(log.contains("request of a foreign page refused"), "{log}");
}

#[tokio::test]
async fn sdk_in_a_page_with_json_and_protobuf_through_nginx() {
    let _turn = BROWSERS.acquire().await;
    let server = Server::start(production()).await;
    let site = "default_type text/html; return 200 '<!doctype html><title>site</title>';";
    let nginx = Nginx::changed(Nginx::SHIPPED, &server, &[("return 404;", site)]).await;
    let Some(nginx) = nginx else {
        return;
    };
    let url = |host: &str| format!("https://{host}:{}/", nginx.port());
    let mut settings = trusting(&nginx, settings(url("localhost")));
    settings.push(("BROWSER_FOREIGN", url("127.0.0.1").into()));
    let tokens = ["ann", "bob"].map(|user| Server::token(&json!({"sub": user})));
    settings.push(("BROWSER_TOKENS", tokens.join(" ").into()));
    passes("sdk.mjs", settings, None).await;
    let log = server.log();
    assert!(log.contains("request Origin is not authorized"), "{log}");
}

#[tokio::test]
async fn demo_page_lets_a_person_choose_the_transport() {
    let _turn = BROWSERS.acquire().await;
    let dev = Dev::start().await;
    let Some(program) = browser("transports.mjs", settings(dev.url())) else {
        return;
    };
    ends_well("transports.mjs", program.with(&["open"]), None).await;
}

#[tokio::test]
async fn demo_page_falls_back_where_websocket_is_blocked() {
    let _turn = BROWSERS.acquire().await;
    let blocked = (
        "# WebSocket at /connection/websocket, HTTP streaming and SSE.",
        "location = /connection/websocket { return 403; }",
    );
    let Some((_dev, nginx)) = demo_behind(&[blocked]).await else {
        return;
    };
    let url = format!("https://localhost:{}/", nginx.port());
    let settings = trusting(&nginx, settings(url));
    let Some(program) = browser("transports.mjs", settings) else {
        return;
    };
    ends_well("transports.mjs", program.with(&["blocked"]), None).await;
}

/// SockJS behind the shipped nginx configuration, in pages of this kind of origin.
async fn sockjs_in_a_page(kind: &str) {
    let _turn = BROWSERS.acquire().await;
    let mut production = production();
    production["client"]["allowed_origins"] = json!(["https://localhost:*", "https://127.0.0.1:*"]);
    production["centripetal"]["sockjs"] = json!({"enabled": true, "url": "/sockjs-client.js"});
    let server = Server::start(production).await;
    let site =
        "default_type text/html; return 200 '<!doctype html><title>site</title><body></body>';";
    let nginx = Nginx::changed(Nginx::SHIPPED, &server, &[("return 404;", site)]).await;
    let Some(nginx) = nginx else {
        return;
    };
    let url = |host: &str| format!("https://{host}:{}/", nginx.port());
    let mut settings = trusting(&nginx, settings(url("localhost")));
    settings.push(("BROWSER_FOREIGN", url("127.0.0.1").into()));
    settings.push(("BROWSER_EVIL", url("evil.localhost").into()));
    let token = Server::token(&json!({"sub": "ann"}));
    settings.push(("BROWSER_TOKENS", token.into()));
    let Some(program) = browser("sockjs.mjs", settings) else {
        return;
    };
    ends_well("sockjs.mjs", program.with(&[kind]), None).await;
    if kind == "cross" {
        let log = server.log();
        assert!(log.contains("request Origin is not authorized"), "{log}");
    }
}

#[tokio::test]
async fn sockjs_over_each_transport_through_nginx() {
    sockjs_in_a_page("same").await;
}

#[tokio::test]
async fn sockjs_across_origins_in_frames_and_without_them() {
    sockjs_in_a_page("cross").await;
}

#[tokio::test]
async fn operators_see_and_act() {
    let _turn = BROWSERS.acquire().await;
    let server = Server::start(json!({
        "admin": {"enabled": true, "password": "of the operator", "secret": "of sessions"},
        // The clients only wait, so nobody would answer.
        "client": {"ping_interval": "1h"},
        "channel": {"without_namespace": {
            "presence": true,
            "history_size": 10,
            "history_ttl": "300s",
            "allow_subscribe_for_client": true,
        }},
    }))
    .await;
    let mut clients = Vec::new();
    for user in ["ann", "bob"] {
        let mut client = Transport::Json.user(&server, user).await;
        client.subscribe(json!({"channel": "news"})).await;
        clients.push(client);
    }
    let mut settings = settings(format!("http://{}/", server.http_target()));
    settings.push(("ADMIN_PASSWORD", "of the operator".into()));
    passes("admin.mjs", settings, None).await;
    for mut client in clients {
        assert_eq!(
            client.close().await.code,
            3503,
            "disconnected by the operator"
        );
    }
    assert!(!server.log().contains("of the operator"));
}
