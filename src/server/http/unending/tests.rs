//! Responses that never end, down to their bytes.

use std::convert::Infallible;

use futures_util::{Stream as Messages, StreamExt as _, stream};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::*;

/// A response of these messages.
fn response<E>(messages: impl Messages<Item = Result<Bytes, E>> + Send + 'static) -> Response
where
    E: Into<axum::BoxError> + Send + 'static,
{
    let mut response = Response::new(Body::from_stream(messages));
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.extensions_mut().insert(Unending);
    response
}

fn said(messages: Vec<Vec<u8>>) -> impl Messages<Item = Result<Bytes, Infallible>> {
    stream::iter(messages).map(|message| Ok(message.into()))
}

/// A session that says nothing more, and tells when it is given up.
fn silence() -> (
    impl Messages<Item = Result<Bytes, Infallible>>,
    CancellationToken,
) {
    let gone = CancellationToken::new();
    let guard = gone.clone().drop_guard();
    let forever = stream::pending().map(move |never: Infallible| -> Result<Bytes, Infallible> {
        let _held: &DropGuard = &guard;
        match never {}
    });
    (forever, gone)
}

/// Everything that comes, and what it says: headers in order, the body, and whether it is complete.
async fn heard(mut peer: DuplexStream) -> (String, Vec<u8>, bool) {
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).await.unwrap();
    let text = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let head = String::from_utf8(bytes[..text].to_vec()).unwrap();
    let (mut rest, mut body) = (&bytes[text..], Vec::new());
    loop {
        let Some(line) = rest.windows(2).position(|two| two == CRLF) else {
            assert_eq!(rest, b"", "half a chunk");
            return (head, body, false);
        };
        let digits = str::from_utf8(&rest[..line]).unwrap();
        let size = usize::from_str_radix(digits, 16).unwrap();
        let data = &rest[line + 2..];
        assert_eq!(&data[size..size + 2], CRLF);
        body.extend_from_slice(&data[..size]);
        rest = &data[size + 2..];
        if size == 0 {
            assert_eq!(rest, b"", "something after the end");
            return (head, body, true);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_body_arrives_as_it_is(
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5_000), 0..8),
        room in 1..3_000_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let expected = messages.concat();
        let (ours, peer) = duplex(room);
        let response = response(said(messages));
        let (_, (head, body, complete)) =
            runtime.block_on(async { tokio::join!(serve(ours, response), heard(peer)) });
        prop_assert!(complete);
        prop_assert_eq!(body, expected);
        prop_assert!(head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"));
        prop_assert!(head.contains("\r\ntransfer-encoding: chunked\r\n"));
        prop_assert!(head.ends_with(" GMT\r\n\r\n"));
    }
}

#[tokio::test]
async fn a_lost_session_leaves_its_body_incomplete() {
    let (ours, peer) = duplex(100);
    let messages = [Ok(Bytes::from_static(b"one")), Err("lost")];
    let mut response = response(stream::iter(messages));
    *response.status_mut() = StatusCode::ACCEPTED;
    let ((), (head, body, complete)) = tokio::join!(serve(ours, response), heard(peer));
    assert!(head.starts_with("HTTP/1.1 202 Accepted\r\n"), "{head}");
    assert_eq!((&body[..], complete), (&b"one"[..], false));
}

#[tokio::test]
async fn a_peer_that_goes_is_noticed_in_silence() {
    let (ours, peer) = duplex(1_000);
    let (messages, gone) = silence();
    let mut served = tokio_test::task::spawn(serve(ours, response(messages)));
    tokio_test::assert_pending!(served.poll());
    assert!(!gone.is_cancelled());
    drop(peer);
    served.await;
    assert!(gone.is_cancelled());
}

#[tokio::test]
async fn a_peer_that_takes_nothing_and_goes_is_noticed() {
    let (ours, peer) = duplex(10);
    let (messages, gone) = silence();
    let messages = said(vec![vec![0; 1_000]]).chain(messages);
    let mut served = tokio_test::task::spawn(serve(ours, response(messages)));
    tokio_test::assert_pending!(served.poll());
    drop(peer);
    served.await;
    assert!(gone.is_cancelled());
}

#[tokio::test]
async fn a_little_talk_is_ignored_and_much_is_the_end() {
    let (ours, mut peer) = duplex(1_000);
    let (messages, gone) = silence();
    let mut served = tokio_test::task::spawn(serve(ours, response(messages)));
    tokio_test::assert_pending!(served.poll());
    for _ in 0..UNEXPECTED / 1_000 {
        peer.write_all(&[b'x'; 1_000]).await.unwrap();
        tokio_test::assert_pending!(served.poll());
    }
    peer.write_all(&[b'x'; 1_000]).await.unwrap();
    tokio_test::assert_ready!(served.poll());
    drop(served);
    assert!(gone.is_cancelled());
}

#[test]
fn only_answers_that_suit_are_kept() {
    let suits = |method: Method, version| {
        let request = Request::builder().method(method).version(version);
        Handover::suits(&request.body(()).unwrap())
    };
    assert!(suits(Method::GET, Version::HTTP_11));
    assert!(suits(Method::POST, Version::HTTP_11));
    assert!(!suits(Method::HEAD, Version::HTTP_11));
    assert!(!suits(Method::GET, Version::HTTP_10));
    assert!(!suits(Method::GET, Version::HTTP_2));
}
