//! A gateway in miniature: answers commands by a script, over gRPC and WebSocket. Shares only the codec with the client.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{SinkExt as _, Stream, StreamExt as _, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request as Upgrade, Response as Upgraded},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use tonic::{Code, Status, metadata::MetadataMap, server::NamedService, transport::Identity};

use super::super::grpc::Opaque;
pub(crate) use crate::protocol::{Command, Push, PushBody, ReplyBody, Request, SubscribeResult};
use crate::{
    model::{Encoding, Version},
    protocol::{
        Decoder, Reply,
        frame::{self, Framing, PositionFormat, WireForm},
    },
};

/// What the little server does about a command.
pub(crate) enum Act {
    Say(u32, ReplyBody),
    /// Ends the connection with this code.
    End(u32),
}

/// What a little server does about commands.
pub(crate) type Script = fn(Command) -> Vec<Act>;

/// Accepts everything; an RPC names the code to end with, or echoes.
pub(crate) fn obliging(command: Command) -> Vec<Act> {
    let id = command.id;
    match command.request {
        Request::Connect(connect) if connect.token == "wrong" => vec![Act::End(3500)],
        Request::Connect(_) => vec![Act::Say(id, ReplyBody::Connect(Box::default()))],
        Request::Subscribe(_) => vec![Act::Say(id, ReplyBody::Subscribe(Box::default()))],
        Request::Publish(publish) => {
            let publication = crate::model::Publication {
                data: publish.data,
                ..Default::default()
            };
            let push = Push {
                channel: publish.channel,
                body: PushBody::Publication(publication.into()),
            };
            vec![
                Act::Say(0, ReplyBody::Push(push)),
                Act::Say(id, ReplyBody::Publish),
            ]
        }
        Request::Rpc(rpc) => match rpc.method.parse() {
            Ok(code) => vec![Act::End(code)],
            Err(_) => vec![Act::Say(id, ReplyBody::Rpc(rpc.data))],
        },
        _ => Vec::new(),
    }
}

fn encoded(encoding: Encoding, id: u32, body: ReplyBody) -> Bytes {
    let form = WireForm {
        version: Version::V2,
        encoding,
        positions: PositionFormat::Offset,
        framing: Framing::None,
        bare: false,
    };
    frame::encode(form, &Reply { id, body }).expect("a reply")
}

fn decoded(encoding: Encoding, framing: Framing, bytes: Bytes) -> Vec<Command> {
    let mut decoder = Decoder::new(encoding, Some(Version::V2), framing, 65_536);
    let mut commands = decoder.frame(bytes);
    std::iter::from_fn(|| commands.next(&mut decoder))
        .map(|command| command.expect("a command"))
        .collect()
}

/// One stream of the gRPC server.
#[derive(Clone)]
struct Communicate(Script);

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl tonic::server::StreamingService<Bytes> for Communicate {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Answers>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<tonic::Streaming<Bytes>>) -> Self::Future {
        let script = self.0;
        let commands = request.into_inner();
        let answers = commands.flat_map(move |message| {
            let commands = message.map_or_else(
                |_| Vec::new(),
                |bytes| decoded(Encoding::Protobuf, Framing::None, bytes),
            );
            stream::iter(commands.into_iter().flat_map(script).map(|act| match act {
                Act::Say(id, body) => Ok(encoded(Encoding::Protobuf, id, body)),
                Act::End(code) => Err(ending(code)),
            }))
        });
        Box::pin(async move { Ok(tonic::Response::new(Box::pin(answers) as Answers)) })
    }
}

/// How a gRPC stream ends: the trailer tells, the status is OK or, for 3500, a refusal.
fn ending(code: u32) -> Status {
    let text = format!(r#"{{"code":{code},"reason":"told so","reconnect":true}}"#);
    let mut trailers = MetadataMap::new();
    trailers.insert("disconnect", text.parse().unwrap());
    let status = if code == 3500 {
        Code::Unauthenticated
    } else {
        Code::Ok
    };
    Status::with_metadata(status, "", trailers)
}

#[derive(Clone)]
struct Service(Script);

impl NamedService for Service {
    const NAME: &'static str = "proto.Centrifuge";
}

impl tower::Service<http::Request<tonic::body::Body>> for Service {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        assert_eq!(request.uri().path(), "/proto.Centrifuge/Communicate");
        let script = self.0;
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Opaque);
            Ok(grpc.streaming(Communicate(script), request).await)
        })
    }
}

/// Certificates for 127.0.0.1, made for one test.
pub(crate) struct Certificates {
    pub(super) authority: String,
    certificate: String,
    key: String,
}

pub(super) fn certificates() -> Certificates {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    Certificates {
        authority: certificate.clone(),
        certificate,
        key: key.serialize_pem(),
    }
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves gRPC until the tasks end.
pub(crate) fn serve_grpc(
    tasks: &mut JoinSet<()>,
    listener: TcpListener,
    tls: Option<&Certificates>,
    script: Script,
) {
    let mut server = tonic::transport::Server::builder();
    if let Some(tls) = tls {
        let identity = Identity::from_pem(&tls.certificate, &tls.key);
        let config = tonic::transport::ServerTlsConfig::new().identity(identity);
        server = server.tls_config(config).unwrap();
    }
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let serving = server
        .add_service(Service(script))
        .serve_with_incoming(incoming);
    tasks.spawn(async move { serving.await.unwrap() });
}

pub(super) async fn grpc_server(tasks: &mut JoinSet<()>, tls: Option<&Certificates>) -> SocketAddr {
    let (listener, address) = listen().await;
    serve_grpc(tasks, listener, tls, obliging);
    address
}

pub(super) async fn websocket_server(tasks: &mut JoinSet<()>, encoding: Encoding) -> SocketAddr {
    let (listener, address) = listen().await;
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            connections.spawn(websocket_connection(stream, encoding));
        }
    });
    address
}

async fn websocket_connection<S: AsyncRead + AsyncWrite + Unpin>(stream: S, encoding: Encoding) {
    #[expect(
        clippy::result_large_err,
        reason = "the type of the library's callback"
    )]
    let upgrade = move |request: &Upgrade, mut response: Upgraded| {
        assert_eq!(request.uri().path(), "/connection/websocket");
        let offered = request.headers().get("sec-websocket-protocol").cloned();
        assert_eq!(offered.is_some(), encoding == Encoding::Protobuf);
        if let Some(offered) = offered {
            response
                .headers_mut()
                .insert("sec-websocket-protocol", offered);
        }
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, upgrade).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        let bytes = match message {
            Message::Text(text) if encoding == Encoding::Json => Bytes::from(text),
            Message::Binary(bytes) if encoding == Encoding::Protobuf => bytes,
            Message::Close(_) => break,
            other => panic!("{other:?}"),
        };
        for act in decoded(encoding, Framing::WebSocket, bytes)
            .into_iter()
            .flat_map(obliging)
        {
            let message = match act {
                Act::Say(id, body) => websocket_message(encoding, id, body),
                Act::End(code) => Message::Close(Some(CloseFrame {
                    code: CloseCode::from(u16::try_from(code).unwrap()),
                    reason: "told so".into(),
                })),
            };
            // The client may be gone already.
            socket.send(message).await.ok();
        }
    }
}

fn websocket_message(encoding: Encoding, id: u32, body: ReplyBody) -> Message {
    let bytes = encoded(encoding, id, body);
    match encoding {
        Encoding::Json => Message::Text(String::from_utf8(bytes.to_vec()).unwrap().into()),
        Encoding::Protobuf => {
            let mut framed = Vec::new();
            prost::encode_length_delimiter(bytes.len(), &mut framed).unwrap();
            framed.extend_from_slice(&bytes);
            Message::Binary(framed.into())
        }
    }
}

pub(super) async fn wss_server(tasks: &mut JoinSet<()>, certificates: &Certificates) -> SocketAddr {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let chain = CertificateDer::from_pem_slice(certificates.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificates.key.as_bytes()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let (listener, address) = listen().await;
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    websocket_connection(stream, Encoding::Protobuf).await;
                }
            });
        }
    });
    address
}
