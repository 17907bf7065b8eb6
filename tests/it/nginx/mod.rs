//! One public address: everything through nginx, with the very files that are shipped (gateway.md 4).

pub(crate) mod breaks;
mod comeback;

use std::path::PathBuf;

use reqwest::{Certificate, Client as HttpClient, StatusCode};
use serde_json::{Value, json};

use crate::{
    harness::{Client, Front, Offer, Transport, on_every_transport, server},
    support::{Nginx, Server, examine, needed, repository},
};

on_every_transport!(everything_works_on_one_port);

/// How nginx 1.22 spells HTTP/2, and how 1.25.1 and later do.
const SPELLING: (&str, &str) = ("listen 443 ssl http2;", "listen 443 ssl; http2 on;");

pub(crate) fn settings() -> Value {
    json!({
        "client": {"allowed_origins": ["https://example.com"]},
        "centripetal": {"trusted_proxies": ["127.0.0.1"]},
        "channel": {"without_namespace": {
            "allow_subscribe_for_client": true, "allow_publish_for_client": true,
            "history_size": 10, "history_ttl": "60s", "force_recovery": true,
        }},
    })
}

fn front(nginx: &Nginx) -> Front {
    Front::new(nginx.port(), &nginx.authority())
}

/// Connects, subscribes, publishes and receives.
pub(crate) async fn talk(client: &mut Client, server: &Server) {
    let token = Server::token(&json!({"sub": "alice"}));
    client.connect(json!({"token": token})).await;
    client.subscribe(json!({"channel": "news"})).await;
    client.publish("news", json!({"n": 1})).await;
    let own = client.push().await;
    assert_eq!(own["pub"]["data"], json!({"n": 1}));
    server.publish("news", &json!({"n": 2})).await;
    let other = client.push().await;
    assert_eq!(other["pub"]["data"], json!({"n": 2}));
}

async fn everything_works_on_one_port(on: Transport) {
    let server = server(settings()).await;
    let Some(nginx) = Nginx::start(Nginx::SHIPPED, &server).await else {
        return;
    };
    talk(&mut on.through(&front(&nginx)).await, &server).await;
}

#[test]
fn the_files_are_taken_without_a_word() {
    let Some(program) = needed("CENTRIPETAL_NGINX") else {
        return;
    };
    for file in [Nginx::SHIPPED, Nginx::CLUSTER] {
        let (taken, said) = examine(&PathBuf::from(&program), file, &[]);
        assert!(taken, "{file}: {said}");
        assert!(!said.contains("[warn]"), "{file}: {said}");
    }
}

#[test]
fn newer_versions_take_the_files_with_one_line_changed() {
    let Some(program) = needed("CENTRIPETAL_NGINX_NEW") else {
        return;
    };
    for file in [Nginx::SHIPPED, Nginx::CLUSTER] {
        let (taken, said) = examine(&PathBuf::from(&program), file, &[SPELLING]);
        assert!(taken, "{file}: {said}");
        assert!(!said.contains("[warn]"), "{file}: {said}");
    }
}

/// Here a client may wait for the beginning of the response before it sends anything; 1.22 holds it back on TLS.
#[tokio::test]
async fn newer_versions_show_the_beginning_of_a_response_at_once() {
    let Some(program) = needed("CENTRIPETAL_NGINX_NEW") else {
        return;
    };
    let server = server(settings()).await;
    let owned = |(old, new): (&str, &str)| (old.to_owned(), new.to_owned());
    let replacements = [
        owned(SPELLING),
        ("127.0.0.1:8000".to_owned(), server.http_target()),
        ("127.0.0.1:8001".to_owned(), server.grpc_target()),
    ];
    let nginx = Nginx::run(program.into(), Nginx::SHIPPED, &replacements).await;
    let channel = front(&nginx).channel().await;
    talk(&mut Client::on(&channel).await, &server).await;
}

#[test]
fn both_files_say_the_same_about_the_public_address() {
    let below = |file: &str| {
        let text = std::fs::read_to_string(repository(file)).unwrap();
        let (_, below) = text.split_once("# ---- the public address").unwrap();
        below.to_owned()
    };
    assert_eq!(below(Nginx::SHIPPED), below(Nginx::CLUSTER));
}

/// A commented location of a file, and the same without the comment and for this machine.
fn opened(file: &str, begins: &str) -> (String, String) {
    let text = std::fs::read_to_string(repository(file)).unwrap();
    let from = text.find(&format!("        # location {begins}")).unwrap();
    let end = "        # }\n";
    let until = from + text[from..].find(end).unwrap() + end.len();
    let commented = &text[from..until];
    let open = commented.replace("        # ", "        ");
    (commented.to_owned(), open)
}

fn https(nginx: &Nginx) -> HttpClient {
    let authority = std::fs::read(nginx.authority()).unwrap();
    let authority = Certificate::from_pem(&authority).unwrap();
    let builder = HttpClient::builder().no_proxy();
    builder.add_root_certificate(authority).build().unwrap()
}

/// Status and size of the answer to a call of the server API over HTTP and over gRPC.
async fn api(nginx: &Nginx) -> [(StatusCode, usize); 2] {
    let client = https(nginx);
    let url = |path: &str| format!("https://localhost:{}{path}", nginx.port());
    let http = client
        .post(url("/api/info"))
        .header("x-api-key", Server::API_KEY)
        .body("{}");
    let grpc = client
        .post(url("/centrifugal.centrifugo.api.CentrifugoApi/Info"))
        .header("content-type", "application/grpc")
        .header("authorization", format!("apikey {}", Server::API_KEY))
        // An empty message.
        .body(vec![0; 5]);
    let mut answers = Vec::new();
    for request in [http, grpc] {
        let answer = request.send().await.unwrap();
        let status = answer.status();
        answers.push((status, answer.bytes().await.unwrap().len()));
    }
    answers.try_into().unwrap()
}

#[tokio::test]
async fn the_server_api_is_there_only_where_it_is_opened() {
    let server = server(settings()).await;
    let Some(nginx) = Nginx::start(Nginx::SHIPPED, &server).await else {
        return;
    };
    let statuses = api(&nginx).await.map(|(status, _)| status);
    assert_eq!(statuses, [StatusCode::NOT_FOUND; 2]);
    // Opened, but not to this machine.
    let (http, grpc) = (
        opened(Nginx::SHIPPED, "~ ^/api"),
        opened(Nginx::SHIPPED, "/centrifugal"),
    );
    let (http_target, grpc_target) = (server.http_target(), server.grpc_api_target());
    let mut open = vec![
        (&*http.0, &*http.1),
        (&*grpc.0, &*grpc.1),
        ("127.0.0.1:9000", &*http_target),
        ("127.0.0.1:10000", &*grpc_target),
    ];
    let nginx = Nginx::changed(Nginx::SHIPPED, &server, &open)
        .await
        .unwrap();
    let statuses = api(&nginx).await.map(|(status, _)| status);
    assert_eq!(statuses, [StatusCode::FORBIDDEN; 2]);
    // Opened to it.
    open.push(("allow 10.0.0.0/8;", "allow 127.0.0.0/8;"));
    let nginx = Nginx::changed(Nginx::SHIPPED, &server, &open)
        .await
        .unwrap();
    let [http, grpc] = api(&nginx).await;
    assert_eq!(http.0, StatusCode::OK);
    assert!(http.1 > 2, "{http:?}");
    // More than the head of a message: there is one.
    assert_eq!(grpc.0, StatusCode::OK);
    assert!(grpc.1 > 5, "{grpc:?}");
}

#[tokio::test]
async fn nothing_of_the_operators_is_public() {
    let mut settings = settings();
    settings["centripetal"]["readiness"]["enabled"] = json!(true);
    let server = server(settings).await;
    let Some(nginx) = Nginx::start(Nginx::SHIPPED, &server).await else {
        return;
    };
    let client = https(&nginx);
    for path in ["/", "/api", "/metrics", "/health", "/ready", "/admin/"] {
        let url = format!("https://localhost:{}{path}", nginx.port());
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn origin_and_address_of_the_client_reach_the_node() {
    let mut settings = settings();
    settings["log"]["level"] = json!("debug");
    let server = server(settings).await;
    let Some(nginx) = Nginx::start(Nginx::SHIPPED, &server).await else {
        return;
    };
    let front = front(&nginx);
    let from = |origin| Offer {
        query: "",
        headers: match origin {
            "ours" => &[
                ("origin", "https://example.com"),
                ("x-forwarded-for", "6.6.6.6"),
            ],
            _ => &[("origin", "https://example.net")],
        },
    };
    from("ours").through(&front).await.unwrap();
    let refused = from("theirs").through(&front).await;
    assert!(
        format!("{refused:?}").contains("status: 403"),
        "{refused:?}"
    );
    // What the client claims is kept, and what nginx has seen comes after it: the node believes the latter.
    let forwarded = r#""addr":"6.6.6.6, 127.0.0.1""#;
    assert!(server.log().contains(forwarded), "{}", server.log());
}
