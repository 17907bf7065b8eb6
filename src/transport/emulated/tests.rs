//! The two endpoints with a session that sends back what it gets.

use axum::body::Bytes as Piece;
use http::Request as Ask;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::transport::testing::Echo;

fn parts(echo: &Echo) -> Parts<Echo> {
    Parts {
        serve: echo.clone(),
        body_limit: 64,
        command_limit: 64,
        patience: Duration::from_secs(10),
        write_timeout: Duration::from_secs(1),
        origins: Arc::new(Origins::new(&["http://app.example.com".to_owned()]).unwrap()),
        peers: Arc::default(),
        tasks: Tasks::default(),
    }
}

/// The router owns the sessions' tasks, so it lives as long as their bodies are read.
async fn ask(router: &Router, request: http::request::Builder, body: &'static str) -> Response {
    let request: Ask<Body> = request.body(Body::from(body)).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

async fn piece(response: &mut Response) -> Piece {
    let frame = response.body_mut().frame().await.unwrap().unwrap();
    frame.into_data().unwrap()
}

#[tokio::test]
async fn the_body_is_the_first_frame_of_a_stream() {
    let echo = Echo::default();
    let router = http_stream(parts(&echo));
    let request = Ask::post("/").header("origin", "http://app.example.com");
    let mut response = ask(&router, request, "hello").await;
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers["content-type"], TEXT);
    assert_eq!(headers["x-accel-buffering"], "no");
    assert_eq!(headers["connection"], "keep-alive");
    assert_eq!(
        headers["access-control-allow-origin"],
        "http://app.example.com"
    );
    assert_eq!(piece(&mut response).await, "hello\n");
    {
        let peers = echo.peers.lock();
        assert_eq!(
            (peers[0].transport, peers[0].encoding),
            ("http_stream", Encoding::Json)
        );
        assert_eq!(peers[0].version, Some(Version::V2));
    }
    // The client goes away.
    drop(response);
    assert_eq!(
        echo.ended(1).await,
        [crate::model::Disconnect::CONNECTION_CLOSED]
    );
}

#[tokio::test]
async fn protobuf_is_exactly_octets() {
    for (kind, encoding, answer) in [
        (
            "application/octet-stream",
            Encoding::Protobuf,
            &b"\x05hello"[..],
        ),
        ("application/octet-stream; x=y", Encoding::Json, b"hello\n"),
        ("application/json", Encoding::Json, b"hello\n"),
    ] {
        let echo = Echo::default();
        let router = http_stream(parts(&echo));
        let request = Ask::post("/").header("content-type", kind);
        let mut response = ask(&router, request, "hello").await;
        assert_eq!(piece(&mut response).await, answer, "{kind}");
        assert_eq!(echo.peers.lock()[0].encoding, encoding);
    }
    // Server-sent events are text, whatever the request says.
    let echo = Echo::default();
    let router = sse(parts(&echo));
    let request = Ask::post("/").header("content-type", "application/octet-stream");
    let mut response = ask(&router, request, "hello").await;
    assert_eq!(response.headers()["content-type"], EVENTS);
    assert_eq!(piece(&mut response).await, "\r\n");
    assert_eq!(piece(&mut response).await, "data: hello\n\n");
}

#[tokio::test]
async fn events_begin_with_the_query() {
    let echo = Echo::default();
    let router = sse(parts(&echo));
    let request = Ask::get("/?a=b&cf_connect=%7Bx+y%7D");
    let mut response = ask(&router, request, "").await;
    assert_eq!(piece(&mut response).await, "\r\n");
    assert_eq!(piece(&mut response).await, "data: {x y}\n\n");
    for query in ["/", "/?cf_connect=", "/?cf_connect=%7"] {
        let response = ask(&router, Ask::get(query), "").await;
        assert_eq!(response.status(), 400, "{query}");
    }
}

#[tokio::test]
async fn requests_that_are_none() {
    let echo = Echo::default();
    for (router, request, status) in [
        (http_stream(parts(&echo)), Ask::get("/?cf_connect=x"), 405),
        (http_stream(parts(&echo)), Ask::options("/"), 204),
        (sse(parts(&echo)), Ask::options("/"), 405),
        (sse(parts(&echo)), Ask::put("/"), 405),
    ] {
        assert_eq!(ask(&router, request, "").await.status(), status);
    }
    let large = "x".repeat(65).leak();
    let response = ask(&http_stream(parts(&echo)), Ask::post("/"), large).await;
    assert_eq!(response.status(), 413);
    assert!(echo.peers.lock().is_empty());
}

#[tokio::test]
async fn the_end_of_a_session_is_the_end_of_the_body() {
    let echo = Echo::default();
    let router = http_stream(parts(&echo));
    let response = ask(&router, Ask::post("/"), "close 3001 shutdown").await;
    assert!(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
    assert_eq!(echo.ended(1).await[0].code, 3001);
}
