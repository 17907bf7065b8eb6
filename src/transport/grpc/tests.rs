//! Streams over loopback with tonic's client, and what a listener answers besides.

use std::net::{Ipv4Addr, SocketAddr};

use futures_util::StreamExt;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

use super::*;
use crate::{
    model::{Credentials, Disconnect, UserId},
    transport::testing::Echo,
};

const SECOND: Duration = Duration::from_secs(1);

struct Server {
    echo: Echo,
    address: SocketAddr,
    age: CancellationToken,
    sessions: Tasks,
}

#[derive(Clone)]
struct Streams(Tasks);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        StreamScope::spawn(&self.0, stream);
    }
}

async fn start(compression: bool) -> Server {
    let (echo, sessions, tasks) = (Echo::default(), Tasks::default(), Tasks::default());
    let communicate = Communicate(Arc::new(Shared {
        serve: echo.clone(),
        settings: Arc::new(Settings {
            message_size_limit: 65536,
            write_timeout: Duration::from_millis(300),
            end_wait: Duration::from_millis(300),
        }),
        compression,
        peers: Arc::new(PeerRules {
            kept: vec![http::HeaderName::from_static("x-kept")],
            ..PeerRules::default()
        }),
        tasks: sessions.clone(),
    }));
    let router = routes(Routes {
        communicate,
        health: Health::serving().await,
        reflection: true,
        more: None,
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let age = CancellationToken::new();
    let router = router
        .unwrap()
        .layer(axum::Extension(ConnectionAge(age.clone())));
    let owner = tasks.clone();
    sessions.spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let http = hyper::server::conn::http2::Builder::new(Streams(owner.clone()));
            let service = TowerToHyperService::new(router.clone());
            let connection = http.serve_connection(TokioIo::new(socket), service);
            // How a connection ends is the peer's affair.
            owner.spawn(async move { connection.await.unwrap_or_default() });
        }
    });
    Server {
        echo,
        address,
        age,
        sessions,
    }
}

struct Stream {
    say: mpsc::Sender<Bytes>,
    hear: Streaming<Bytes>,
}

impl Server {
    async fn connect(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// A call without the help of tonic.
    async fn ask(&self, request: Request<Body>) -> Response<Body> {
        let channel = self.connect().await;
        tower::ServiceExt::oneshot(channel, request).await.unwrap()
    }

    async fn open(&self) -> Stream {
        open(tonic::client::Grpc::new(self.connect().await), |_| ())
            .await
            .unwrap()
    }
}

async fn open(
    mut client: tonic::client::Grpc<Channel>,
    prepare: impl FnOnce(&mut tonic::Request<ReceiverStream<Bytes>>),
) -> Result<Stream, Status> {
    client.ready().await.unwrap();
    let (say, commands) = mpsc::channel(64);
    let mut request = tonic::Request::new(ReceiverStream::new(commands));
    prepare(&mut request);
    let path = http::uri::PathAndQuery::from_static(PATH);
    let hear = client.streaming(request, path, Raw).await?.into_inner();
    Ok(Stream { say, hear })
}

impl Stream {
    async fn say(&self, text: &str) {
        self.say
            .send(Bytes::copy_from_slice(text.as_bytes()))
            .await
            .unwrap();
    }

    async fn hears(&mut self, text: &str) {
        assert_eq!(self.hear.message().await.unwrap().unwrap(), text);
    }

    /// Status code and trailer at the end of the stream.
    async fn end(&mut self) -> (Code, Option<String>) {
        let (code, metadata) = match timeout(5 * SECOND, self.hear.message()).await.unwrap() {
            Ok(None) => (
                Code::Ok,
                self.hear.trailers().await.unwrap().unwrap_or_default(),
            ),
            Ok(Some(message)) => panic!("unexpected {message:?}"),
            Err(status) => (status.code(), status.metadata().clone()),
        };
        let trailer = metadata.get("disconnect");
        (
            code,
            trailer.map(|value| value.to_str().unwrap().to_owned()),
        )
    }
}

fn bad_request() -> Option<String> {
    Some(r#"{"code":3501,"reason":"bad request","reconnect":false}"#.to_owned())
}

#[tokio::test]
async fn messages_come_back_and_closes_are_trailers() {
    let server = start(false).await;
    let mut stream = server.open().await;
    for text in ["a", "", "c"] {
        stream.say(text).await;
        stream.hears(text).await;
    }
    stream.say("flood 3 100000").await;
    for _ in 0..3 {
        stream.hears(&"x".repeat(100_000)).await;
    }
    stream.say("close 3001 shutdown").await;
    let trailer = r#"{"code":3001,"reason":"shutdown","reconnect":true}"#.to_owned();
    assert_eq!(stream.end().await, (Code::Ok, Some(trailer)));
}

#[tokio::test]
async fn a_close_with_3000_says_nothing() {
    let server = start(false).await;
    let mut stream = server.open().await;
    stream.say("close 3000 x").await;
    assert_eq!(stream.end().await, (Code::Ok, None));
}

#[tokio::test]
async fn half_close_ends_after_what_is_owed() {
    let server = start(false).await;
    let mut stream = server.open().await;
    stream.say("owed").await;
    let (say, _) = mpsc::channel(1);
    stream.say = say;
    stream.hears("owed").await;
    assert_eq!(stream.end().await, (Code::Ok, None));
    assert_eq!(server.echo.ended(1).await, [Disconnect::CONNECTION_CLOSED]);
}

#[tokio::test]
async fn cancel_ends_the_session() {
    let server = start(false).await;
    let channel = server.connect().await;
    let mut kept = open(tonic::client::Grpc::new(channel.clone()), |_| ())
        .await
        .unwrap();
    let mut stream = open(tonic::client::Grpc::new(channel), |_| ())
        .await
        .unwrap();
    stream.say("a").await;
    stream.hears("a").await;
    drop(stream);
    assert_eq!(server.echo.ended(1).await, [Disconnect::CONNECTION_CLOSED]);
    kept.say("still here").await;
    kept.hears("still here").await;
}

#[tokio::test]
async fn too_large_and_malformed_messages_have_a_status() {
    let server = start(false).await;
    let channel = server.connect().await;
    let mut other = open(tonic::client::Grpc::new(channel.clone()), |_| ())
        .await
        .unwrap();
    let mut stream = open(tonic::client::Grpc::new(channel.clone()), |_| ())
        .await
        .unwrap();
    stream.say(&"x".repeat(65536)).await;
    stream.hears(&"x".repeat(65536)).await;
    stream.say(&"x".repeat(65537)).await;
    assert_eq!(stream.end().await, (Code::ResourceExhausted, bad_request()));
    let mut stream = open(tonic::client::Grpc::new(channel.clone()), |_| ())
        .await
        .unwrap();
    stream.say("broken").await;
    assert_eq!(stream.end().await, (Code::InvalidArgument, bad_request()));
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let client = tonic::client::Grpc::new(channel.clone()).send_compressed(encoding);
        let mut stream = open(client, |_| ()).await.unwrap();
        stream.say("pressed").await;
        stream.hears("pressed").await;
        stream.say(&"x".repeat(65537)).await;
        assert_eq!(stream.end().await, (Code::ResourceExhausted, bad_request()));
    }
    other.say("untouched").await;
    other.hears("untouched").await;
}

#[tokio::test]
async fn unknown_compression_is_unimplemented() {
    let server = start(false).await;
    let http = Request::post(format!("http://{}{PATH}", server.address))
        .header("content-type", "application/grpc")
        .header("grpc-encoding", "snappy")
        .body(Body::empty())
        .unwrap();
    assert_eq!(server.ask(http).await.headers()["grpc-status"], "12");
}

#[tokio::test]
async fn responses_are_compressed_only_when_configured_and_offered() {
    for (configured, offered, compressed) in [
        (true, true, true),
        (true, false, false),
        (false, true, false),
    ] {
        let server = start(configured).await;
        let mut http = Request::post(format!("http://{}{PATH}", server.address))
            .header("content-type", "application/grpc");
        if offered {
            http = http.header("grpc-accept-encoding", "gzip");
        }
        let message = Bytes::from_static(b"\0\0\0\0\x01x");
        let body = Body::new(http_body_util::Full::new(message));
        let answer = server.ask(http.body(body).unwrap()).await;
        assert_eq!(answer.headers().get("grpc-encoding").is_some(), compressed);
    }
}

#[tokio::test]
async fn a_truncated_message_is_malformed() {
    let server = start(false).await;
    for bytes in [
        &b"\0\0\0\0\x05x"[..],
        b"\x07\0\0\0\x01x",
        b"\x01\0\0\0\x01x",
    ] {
        let http = Request::post(format!("http://{}{PATH}", server.address))
            .header("content-type", "application/grpc")
            .body(Body::new(http_body_util::Full::new(Bytes::from_static(
                bytes,
            ))))
            .unwrap();
        let answer = server.ask(http).await;
        let collected = http_body_util::BodyExt::collect(answer.into_body())
            .await
            .unwrap();
        let trailers = collected.trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "3", "{bytes:?}");
        assert_eq!(trailers["disconnect"], bad_request().unwrap());
    }
}

#[tokio::test]
async fn the_deadline_of_the_peer_counts() {
    let server = start(false).await;
    let client = tonic::client::Grpc::new(server.connect().await);
    let mut stream = open(client, |request| {
        request
            .metadata_mut()
            .insert("grpc-timeout", "200m".parse().unwrap());
    })
    .await
    .unwrap();
    stream.say("a").await;
    stream.hears("a").await;
    assert_eq!(stream.end().await, (Code::DeadlineExceeded, None));
    assert_eq!(server.echo.ended(1).await, [Disconnect::CONNECTION_CLOSED]);
}

#[tokio::test]
async fn an_old_connection_sends_its_sessions_away() {
    let server = start(false).await;
    let mut stream = server.open().await;
    stream.say("a").await;
    stream.hears("a").await;
    server.age.cancel();
    let trailer = r#"{"code":3011,"reason":"force reconnect","reconnect":true}"#.to_owned();
    assert_eq!(stream.end().await, (Code::Ok, Some(trailer)));
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_reset() {
    let server = start(false).await;
    let mut stream = server.open().await;
    stream.say("flood 200 60000").await;
    stream.say("one more").await;
    assert_eq!(server.echo.ended(1).await, [Disconnect::WRITE_ERROR]);
    tokio::time::sleep(SECOND).await;
    // What the peer's window held comes, then the reset.
    let mut read = 0;
    let end = loop {
        match timeout(5 * SECOND, stream.hear.message()).await.unwrap() {
            Ok(Some(message)) => read += message.len(),
            Ok(None) => break Code::Ok,
            Err(status) => break status.code(),
        }
    };
    assert_ne!(end, Code::Ok);
    assert!(read < 200 * 60_000, "{read}");
}

#[tokio::test]
async fn many_streams_share_a_connection() {
    let server = start(false).await;
    let channel = server.connect().await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(
            open(tonic::client::Grpc::new(channel.clone()), |_| ())
                .await
                .unwrap(),
        );
    }
    for (n, stream) in streams.iter().enumerate() {
        stream.say(&n.to_string()).await;
    }
    for (n, stream) in streams.iter_mut().enumerate() {
        stream.hears(&n.to_string()).await;
    }
}

#[tokio::test]
async fn an_aborted_session_leaves_no_stream_behind() {
    let server = start(false).await;
    let mut stream = server.open().await;
    stream.say("a").await;
    stream.hears("a").await;
    server.sessions.abort_all();
    assert_eq!(stream.end().await, (Code::Unavailable, None));
}

#[tokio::test]
async fn metadata_and_credentials_reach_the_peer() {
    let server = start(false).await;
    let client = tonic::client::Grpc::new(server.connect().await);
    let mut stream = open(client, |request| {
        request
            .metadata_mut()
            .insert("x-kept", "a".parse().unwrap());
        request
            .metadata_mut()
            .insert("x-other", "b".parse().unwrap());
    })
    .await
    .unwrap();
    stream.say("a").await;
    stream.hears("a").await;
    let peer = server.echo.peers.lock()[0].clone();
    assert_eq!(
        (peer.transport, peer.encoding, peer.version),
        ("grpc", Encoding::Protobuf, None)
    );
    assert_eq!(&*peer.headers, [("x-kept".to_owned(), "a".to_owned())]);
    let mut extensions = http::Extensions::new();
    extensions.insert(Credentials {
        user: UserId::from("42"),
        ..Credentials::default()
    });
    let call = Call::new(&PeerRules::default(), &HeaderMap::new(), &extensions);
    assert_eq!(call.peer.credentials.unwrap().user.as_str(), "42");
}

#[tokio::test]
async fn health_and_reflection_are_there() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let server = start(false).await;
    let mut client = HealthClient::new(server.connect().await);
    for name in ["", "proto.Centrifuge"] {
        let service = name.to_owned();
        let answer = client.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(answer.into_inner().status, 1);
    }
    let service = "nobody".to_owned();
    let refused = client
        .check(HealthCheckRequest { service })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(
            "proto.Centrifuge".to_owned(),
        )),
    };
    let mut client = ServerReflectionClient::new(server.connect().await);
    let answers = client
        .server_reflection_info(tokio_stream::iter([request]))
        .await
        .unwrap();
    let answer = answers.into_inner().next().await.unwrap().unwrap();
    assert!(format!("{answer:?}").contains("FileDescriptorResponse"));
}

#[tokio::test]
async fn watchers_of_health_see_the_drain_and_the_end() {
    use tonic_health::pb::{HealthCheckRequest, health_server::Health as _};
    let mut health = Health::serving().await;
    let service = tonic_health::server::HealthService::from_health_reporter(health.0.clone());
    let request = HealthCheckRequest {
        service: "proto.Centrifuge".to_owned(),
    };
    let mut watch = service
        .watch(tonic::Request::new(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status, 1);
    health.not_serving().await;
    assert_eq!(watch.next().await.unwrap().unwrap().status, 2);
    health.close().await;
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn other_calls_are_refused_in_their_own_language() {
    let server = start(false).await;
    for path in ["/proto.Centrifuge/Other", "/nobody.Nothing/Never"] {
        let http = Request::post(format!("http://{}{path}", server.address))
            .header("content-type", "application/grpc")
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            server.ask(http).await.headers()["grpc-status"],
            "12",
            "{path}"
        );
    }
    let http = Request::get(format!("http://{}/", server.address))
        .body(Body::empty())
        .unwrap();
    assert_eq!(server.ask(http).await.status(), 415);
}
