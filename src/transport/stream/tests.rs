//! The rules of HTTP endpoints, streamed bodies and their links, without a node.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::Request};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::{
    model::{Direction, Disconnect, Version as Generation},
    node::{Close, Inbound, Link as _, LinkTraits},
    protocol::frame::{Framing, Kind},
    transport::{Origins, outlet::outlet},
};

const SECOND: Duration = Duration::from_secs(1);

async fn ask(method: Method, headers: &[(&'static str, &str)]) -> (u16, HeaderMap) {
    let rules = Rules {
        origins: Arc::new(Origins::new(&["http://app.example.com".to_owned()]).unwrap()),
        methods: &[Method::POST],
        preflight: true,
    };
    let router = guard(Router::new().fallback(|| async { "served" }), rules);
    let mut request = Request::builder().method(method);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = router.oneshot(request.body(Body::empty()).unwrap()).await;
    let (head, _) = answer.unwrap().into_parts();
    (head.status.as_u16(), head.headers)
}

#[tokio::test]
async fn methods_and_preflights() {
    let own = ("origin", "http://app.example.com");
    let foreign = ("origin", "http://evil.example.org");
    let wanted = ("access-control-request-headers", "content-type");
    assert_eq!(ask(Method::POST, &[own]).await.0, 200);
    let (status, headers) = ask(Method::PUT, &[own]).await;
    assert_eq!((status, headers.contains_key("allow")), (405, false));
    assert_eq!(headers["access-control-allow-origin"], own.1);
    let (status, headers) = ask(Method::OPTIONS, &[own, wanted]).await;
    assert_eq!(status, 204);
    assert_eq!(headers["access-control-allow-methods"], "POST, OPTIONS");
    assert_eq!(headers["access-control-max-age"], "300");
    assert_eq!(headers["access-control-allow-headers"], "content-type");
    let (status, headers) = ask(Method::OPTIONS, &[foreign, wanted]).await;
    assert_eq!(status, 204);
    assert!(!headers.contains_key("access-control-allow-origin"));
    assert!(!headers.contains_key("access-control-allow-headers"));
}

#[tokio::test]
async fn foreign_pages_are_served_but_cannot_read() {
    let foreign = ("origin", "http://evil.example.org");
    let json = ("content-type", "application/json");
    let (status, headers) = ask(Method::POST, &[foreign, json]).await;
    assert_eq!(status, 200);
    let cors = headers
        .keys()
        .filter(|name| name.as_str().starts_with("access-control"));
    assert_eq!(cors.count(), 0, "{headers:?}");
}

#[tokio::test]
async fn forms_of_foreign_pages_are_refused() {
    let own = ("origin", "http://app.example.com");
    let foreign = ("origin", "http://evil.example.org");
    for kind in [
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "Multipart/Form-Data; boundary=x",
    ] {
        let kind = ("content-type", kind);
        assert_eq!(ask(Method::POST, &[foreign, kind]).await.0, 403, "{kind:?}");
        assert_eq!(ask(Method::POST, &[("origin", "null"), kind]).await.0, 403);
        // A page that may, and a program that is no browser.
        assert_eq!(ask(Method::POST, &[own, kind]).await.0, 200);
        assert_eq!(ask(Method::POST, &[kind]).await.0, 200);
    }
    // Bytes without a kind, from a browser and from a program.
    let browser = ("sec-fetch-site", "cross-site");
    assert_eq!(ask(Method::POST, &[foreign, browser]).await.0, 403);
    assert_eq!(ask(Method::POST, &[foreign]).await.0, 200);
    assert_eq!(ask(Method::GET, &[foreign]).await.0, 405);
    let site = |site| ("sec-fetch-site", site);
    let mode = |mode| ("sec-fetch-mode", mode);
    for (headers, status) in [
        (&[site("cross-site"), mode("no-cors")][..], 403),
        (&[site("cross-site"), mode("navigate")], 403),
        (&[site("same-site"), mode("navigate")], 403),
        (&[site("cross-site"), mode("navigate"), own], 200),
        (&[site("cross-site"), mode("no-cors"), foreign], 403),
        (&[site("cross-site"), mode("cors"), own], 200),
        (&[site("same-origin"), mode("no-cors")], 200),
        (&[site("none"), mode("navigate")], 200),
    ] {
        assert_eq!(ask(Method::POST, headers).await.0, status, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_are_bounded_in_size_and_time() {
    let read = |body| read_body(body, 4, SECOND);
    assert_eq!(read(Body::from("1234")).await.unwrap(), "1234");
    assert_eq!(read(Body::from("12345")).await, Err(Unreadable::TooLarge));
    let chunks = |last: Result<&'static str, &'static str>| {
        Body::from_stream(futures_util::stream::iter([Ok("123"), last]))
    };
    assert_eq!(read(chunks(Ok("45"))).await, Err(Unreadable::TooLarge));
    assert_eq!(read(chunks(Err("cut"))).await, Err(Unreadable::Broken));
    let silent = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    assert_eq!(read(Body::from_stream(silent)).await, Err(Unreadable::Slow));
    let over = Unreadable::TooLarge.response(Version::HTTP_11);
    assert_eq!(over.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(over.headers()["connection"], "close");
    assert!(
        Unreadable::Slow
            .response(Version::HTTP_2)
            .headers()
            .is_empty()
    );
    assert_eq!(Unreadable::Broken.response(Version::HTTP_11).status(), 499);
}

#[test]
fn query_values_are_decoded() {
    let query = Some("a=1&cf_connect=%7B%22id%22%3a1%7D+x&cf_connect=2");
    let value = query_value(query, "cf_connect").unwrap();
    assert_eq!(percent_decoded(value).unwrap(), "{\"id\":1} x");
    assert_eq!(query_value(query, "b"), None);
    assert_eq!(query_value(Some("cf_connect"), "cf_connect"), Some(""));
    for broken in ["%", "%7", "%zz", "%7Z"] {
        assert_eq!(percent_decoded(broken), None, "{broken}");
    }
}

fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        traits: LinkTraits {
            framing: Framing::Event,
            message_size_limit: 65536,
            close_carries_reason: false,
            discards_after_refusal: true,
            native_ping: false,
            direction: Direction::Push,
        },
        write_timeout: SECOND,
        end_wait: SECOND,
    })
}

fn first() -> Inbound {
    Inbound::Frame(Bytes::from_static(b"first"), Kind::Text)
}

fn close(disconnect: Disconnect) -> Close {
    Close {
        disconnect,
        version: Generation::V2,
        undecodable: false,
        error: None,
    }
}

fn batch(texts: &[&'static str]) -> Vec<Bytes> {
    let bytes = |text: &&'static str| Bytes::from_static(text.as_bytes());
    texts.iter().map(bytes).collect()
}

#[tokio::test]
async fn a_body_carries_what_the_session_says() {
    let (outlet, messages) = outlet();
    let mut link = StreamLink::new(first(), outlet, settings());
    let mut body = StreamBody::new(b"\r\n", messages);
    assert!(matches!(link.recv().await, Ok(Inbound::Frame(frame, _)) if frame == "first"));
    link.send(&mut batch(&["a", "b", "c"])).await.unwrap();
    let next = body.frame().await.unwrap().unwrap();
    assert_eq!(next.into_data().unwrap(), "\r\n");
    // What is ready together leaves together.
    let next = body.frame().await.unwrap().unwrap();
    assert_eq!(next.into_data().unwrap(), "abc");
    let ending = async { body.frame().await.is_none() };
    let (ended, ()) = tokio::join!(ending, link.close(close(Disconnect::SHUTDOWN)));
    assert!(ended);
}

#[tokio::test]
async fn each_side_notices_the_end_of_the_other() {
    let (outlet_one, messages) = outlet::<body::End>();
    let mut link = StreamLink::new(first(), outlet_one, settings());
    link.recv().await.unwrap();
    let mut waiting = tokio_test::task::spawn(link.recv());
    tokio_test::assert_pending!(waiting.poll());
    drop(StreamBody::new(b"", messages));
    assert!(waiting.is_woken());
    assert_eq!(waiting.await.unwrap_err(), Disconnect::CONNECTION_CLOSED);
    assert_eq!(
        link.send(&mut batch(&["a"])).await,
        Err(Disconnect::WRITE_ERROR)
    );
    let (outlet_two, messages) = outlet();
    let mut body = StreamBody::new(b"", messages);
    drop(StreamLink::new(first(), outlet_two, settings()));
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn a_watched_link_tells_whether_it_got_anywhere() {
    let (outlet_one, messages) = outlet::<body::End>();
    let (begun, wait) = tokio::sync::oneshot::channel();
    let link = StreamLink::new(first(), outlet_one, settings()).watched(begun);
    assert!(link.traits().close_carries_reason);
    link.close(close(Disconnect::INVALID_TOKEN)).await;
    assert_eq!(
        wait.await.unwrap().unwrap_err().disconnect,
        Disconnect::INVALID_TOKEN
    );
    drop(messages);
    let (outlet_two, messages) = outlet();
    let (begun, wait) = tokio::sync::oneshot::channel();
    let mut link = StreamLink::new(first(), outlet_two, settings()).watched(begun);
    let mut body = StreamBody::new(b"", messages);
    link.send(&mut batch(&["a"])).await.unwrap();
    assert!(wait.await.unwrap().is_ok());
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "a"
    );
    let reading = async { body.collect().await.unwrap().to_bytes() };
    let (rest, ()) = tokio::join!(reading, link.close(close(Disconnect::SHUTDOWN)));
    assert_eq!(
        rest,
        "data: {\"disconnect\":{\"code\":3001,\"reason\":\"shutdown\"}}\n\n"
    );
}
