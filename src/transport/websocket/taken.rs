//! What hyper gives back after an upgrade is the stream itself, with and without TLS, whichever of hyper's servers had it.

use std::convert::Infallible;

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioExecutor, server::conn::auto};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

const UPGRADE_REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nafter";

/// Does hyper find out what is spoken, and is the stream lent to it?
const CASES: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

/// Serves one request that upgrades, and returns what is taken.
async fn upgraded<S>(stream: S, auto: bool) -> Taken
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut taken) = mpsc::channel(1);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (upgrade, sender) = (hyper::upgrade::on(&mut request), sender.clone());
        async move {
            sender.send(upgrade).await.unwrap();
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let websocket = HeaderValue::from_static("websocket");
            response.headers_mut().insert(UPGRADE, websocket);
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(stream);
    if auto {
        let builder = auto::Builder::new(TokioExecutor::new());
        let served = builder.serve_connection_with_upgrades(io, service);
        served.await.unwrap();
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        let served = builder.serve_connection(io, service).with_upgrades();
        served.await.unwrap();
    }
    Taken::of(taken.recv().await.unwrap().await.unwrap()).unwrap()
}

/// Two ends of a connection; the first has sent its request.
async fn asked() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap());
    let (peer, accepted) = tokio::join!(peer, listener.accept());
    (peer.unwrap(), accepted.unwrap().0)
}

/// What was read too early and what comes later, which together is what the peer has sent after its request.
async fn follows<S: AsyncRead + Unpin>(mut stream: S, read: Bytes) -> Vec<u8> {
    let mut heard = read.to_vec();
    while heard.len() < b"after".len() {
        assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0);
    }
    heard
}

#[tokio::test]
async fn a_plain_socket_comes_back() {
    for (auto, lent) in CASES {
        let (mut peer, socket) = asked().await;
        peer.write_all(UPGRADE_REQUEST).await.unwrap();
        let taken = if lent {
            upgraded(Lent::new(socket), auto).await
        } else {
            upgraded(socket, auto).await
        };
        let Taken::Socket(socket, read) = taken else {
            panic!("not the socket; found out by hyper: {auto}, lent: {lent}");
        };
        assert_eq!(follows(socket, read).await, b"after");
    }
}

#[tokio::test]
async fn a_secured_stream_comes_back() {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        );
    let acceptor = TlsAcceptor::from(Arc::new(server.unwrap()));
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(client));
    for (auto, lent) in CASES {
        let (peer, socket) = asked().await;
        let name = ServerName::try_from("localhost").unwrap();
        let (peer, stream) = tokio::join!(connector.connect(name, peer), acceptor.accept(socket));
        let mut peer = peer.unwrap();
        peer.write_all(UPGRADE_REQUEST).await.unwrap();
        peer.flush().await.unwrap();
        let stream: SecuredStream = Box::new(stream.unwrap());
        let taken = if lent {
            upgraded(Lent::new(stream), auto).await
        } else {
            upgraded(stream, auto).await
        };
        let Taken::Secured(stream, read) = taken else {
            panic!("not the stream; found out by hyper: {auto}, lent: {lent}");
        };
        assert_eq!(follows(stream, read).await, b"after");
    }
}
