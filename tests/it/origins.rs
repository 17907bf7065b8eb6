//! What pages of other origins can make a browser do (client-protocol.md 3.1, server-api.md 15.1): at every endpoint.

use reqwest::{Method, RequestBuilder, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::{
    harness::{Bystander, server},
    support::{Server, http_client},
};

const GOOD: &str = "http://app.example.com";
const EVIL: &str = "http://evil.example.org";
/// What a form can send, and what a script sends without a word about it.
const FORMS: [Option<&str>; 4] = [
    Some("text/plain;charset=UTF-8"),
    Some("application/x-www-form-urlencoded"),
    Some("multipart/form-data; boundary=x"),
    None,
];
const CONNECT: &str = r#"{"id":1,"connect":{}}"#;

/// How an endpoint treats other origins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// Everybody is served, but only pages of allowed origins read the answer.
    Cors,
    /// Handshakes are refused.
    Handshake,
    /// No page of another origin reads anything.
    Never,
}

/// Everything a browser can reach: method, path, body, kind of content, rule.
type Endpoint = (
    Method,
    &'static str,
    &'static str,
    Option<&'static str>,
    Rule,
);
const JSON: Option<&str> = Some("application/json");
const ENDPOINTS: [Endpoint; 15] = [
    (
        Method::GET,
        "/connection/websocket",
        "",
        None,
        Rule::Handshake,
    ),
    (
        Method::GET,
        "/connection/uni_websocket",
        "",
        None,
        Rule::Handshake,
    ),
    (
        Method::GET,
        "/connection/sockjs/0/SESSION/websocket",
        "",
        None,
        Rule::Handshake,
    ),
    (
        Method::POST,
        "/connection/http_stream",
        CONNECT,
        JSON,
        Rule::Cors,
    ),
    (
        Method::GET,
        "/connection/sse?cf_connect=%7B%7D",
        "",
        None,
        Rule::Cors,
    ),
    (
        Method::POST,
        "/connection/uni_http_stream",
        "{}",
        JSON,
        Rule::Cors,
    ),
    (
        Method::GET,
        "/connection/uni_sse?cf_connect=%7B%7D",
        "",
        None,
        Rule::Cors,
    ),
    (
        Method::POST,
        "/emulation",
        r#"{"session":"x","node":"y","data":1}"#,
        JSON,
        Rule::Cors,
    ),
    (Method::GET, "/connection/init", "", None, Rule::Cors),
    (Method::GET, "/connection/sockjs/info", "", None, Rule::Cors),
    (
        Method::POST,
        "/connection/sockjs/0/SESSION/xhr",
        "",
        None,
        Rule::Cors,
    ),
    (
        Method::POST,
        "/connection/sockjs/0/SESSION/xhr_streaming",
        "",
        None,
        Rule::Cors,
    ),
    (
        Method::GET,
        "/connection/sockjs/0/SESSION/eventsource",
        "",
        None,
        Rule::Cors,
    ),
    (Method::POST, "/api/info", "{}", JSON, Rule::Never),
    (Method::GET, "/admin/init", "", None, Rule::Never),
];

fn settings() -> Value {
    let on = json!({"enabled": true});
    json!({
        "client": {"allowed_origins": [GOOD]},
        "http_stream": on, "sse": on, "sockjs": on, "emulation": on, "init": on,
        "uni_websocket": on, "uni_sse": on, "uni_http_stream": on,
        "admin": {"enabled": true, "password": "p", "secret": "s", "insecure": true},
        "http_api": {"insecure": true},
        "channel": {"without_namespace": {"allow_subscribe_for_client": true}},
    })
}

fn request(server: &Server, (method, path, body, kind, rule): &Endpoint) -> RequestBuilder {
    // Sessions of SockJS have one receiver at a time.
    let path = path.replace("SESSION", &uuid::Uuid::new_v4().to_string());
    let url = format!("http://{}{path}", server.http_target());
    let mut request = http_client().request(method.clone(), url).body(*body);
    if let Some(kind) = kind {
        request = request.header("content-type", *kind);
    }
    if *rule == Rule::Handshake {
        for (name, value) in [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ] {
            request = request.header(name, value);
        }
    }
    request
}

/// The answer as far as its head: some never end.
async fn head(request: RequestBuilder) -> (StatusCode, HeaderMap) {
    let answer: Response = request.send().await.unwrap();
    (answer.status(), answer.headers().clone())
}

const ALLOWED: &str = "access-control-allow-origin";

#[tokio::test]
async fn only_pages_of_allowed_origins_read_answers() {
    let server = server(settings()).await;
    for endpoint in &ENDPOINTS {
        let (path, rule) = (endpoint.1, endpoint.4);
        let asked = |origin| head(request(&server, endpoint).header("origin", origin));
        let ((good, readable), (evil, hidden)) = (asked(GOOD).await, asked(EVIL).await);
        assert!(!hidden.contains_key(ALLOWED), "{path}: {hidden:?}");
        if rule == Rule::Handshake {
            let found = (good, evil);
            let wanted = (StatusCode::SWITCHING_PROTOCOLS, StatusCode::FORBIDDEN);
            assert_eq!(found, wanted, "{path}");
        } else {
            assert_eq!(good, evil, "{path}");
        }
        if rule == Rule::Cors {
            assert_eq!(readable[ALLOWED], GOOD, "{path}");
            let credentials = &readable["access-control-allow-credentials"];
            assert_eq!(credentials, "true", "{path}");
        } else if rule == Rule::Never {
            assert!(!readable.contains_key(ALLOWED), "{path}");
            assert_eq!(good, StatusCode::OK, "{path}");
        }
    }
}

/// Without an origin, or from an allowed one, the same requests are served: nothing else keeps them out.
#[tokio::test]
async fn forms_of_other_pages_change_nothing() {
    let server = server(settings()).await;
    let mut bystander = Bystander::of(&server).await;
    let publish = r#"{"channel":"bystander","data":{}}"#;
    let legacy = r#"{"method":"publish","params":{"channel":"bystander","data":{}}}"#;
    for (path, body) in [
        ("/connection/http_stream", CONNECT),
        ("/connection/uni_http_stream", "{}"),
        ("/connection/uni_sse", "{}"),
        ("/connection/sse", CONNECT),
        ("/emulation", r#"{"session":"x","node":"y","data":1}"#),
        ("/api/publish", publish),
        ("/api", legacy),
        ("/admin/api", legacy),
    ] {
        for kind in FORMS {
            let (method, rule) = (Method::POST, Rule::Cors);
            let form = request(&server, &(method, path, body, kind, rule));
            let form = form
                .header("origin", EVIL)
                .header("sec-fetch-site", "cross-site");
            let (status, headers) = head(form.header("sec-fetch-mode", "cors")).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path} {kind:?}");
            assert!(!headers.contains_key(ALLOWED), "{path} {kind:?}");
        }
        if path.contains("api") {
            let backend = request(&server, &(Method::POST, path, body, FORMS[1], Rule::Never));
            assert_eq!(head(backend).await.0, StatusCode::OK, "{path}");
            bystander.heard(&json!({})).await;
        }
    }
    for path in ["/connection/sse?cf_connect=%7B%7D", "/connection/uni_sse"] {
        for mode in ["navigate", "no-cors"] {
            let link = request(&server, &(Method::GET, path, "", None, Rule::Cors));
            let link = link.header("sec-fetch-site", "cross-site");
            let (status, _) = head(link.header("sec-fetch-mode", mode)).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path} {mode}");
        }
    }
    // All that came is what backends published.
    bystander.served(&server).await;
}
