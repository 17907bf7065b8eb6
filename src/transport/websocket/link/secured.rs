//! The link over TLS: what a batch costs below it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use prometheus::Registry;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{cursor::SLICES, *};

/// Counts what reaches the socket.
#[derive(Debug)]
struct Counting {
    inner: DuplexStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

type Server = tokio_rustls::server::TlsStream<Counting>;
type Client = tokio_rustls::client::TlsStream<DuplexStream>;

/// Two ends after their handshake, and the number of writes of the server's.
async fn shaken() -> (Server, Client, Arc<AtomicUsize>) {
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
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (inner, peer) = duplex(1 << 20);
    let writes = Arc::new(AtomicUsize::new(0));
    let counting = Counting {
        inner,
        writes: writes.clone(),
    };
    let name = ServerName::try_from("localhost").unwrap();
    let (server, client) = tokio::join!(
        TlsAcceptor::from(Arc::new(server.unwrap())).accept(counting),
        TlsConnector::from(Arc::new(client)).connect(name, peer),
    );
    (server.unwrap(), client.unwrap(), writes)
}

#[tokio::test]
async fn a_batch_of_small_frames_is_one_record_and_one_write() {
    let (server, mut client, writes) = shaken().await;
    let settings = Arc::new(Settings {
        message_size_limit: 65536,
        deflate: None,
        write_timeout: Duration::from_secs(1),
        ping: (Duration::from_secs(25), Duration::from_secs(10)),
        metrics: Metrics::new(&Registry::new(), "centrifugo").unwrap(),
        name: "websocket",
        uni: None,
    });
    let mut link = WebSocketLink::new(server, &[], Terms::default(), settings);
    let frame = Bytes::from_static(b"\x81\x05hello");
    let before = writes.load(Ordering::Relaxed);
    link.send(&mut vec![frame.clone(); SLICES]).await.unwrap();
    assert_eq!(writes.load(Ordering::Relaxed) - before, 1);
    let mut heard = vec![0; frame.len() * SLICES];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, frame.repeat(SLICES));
    // More frames than go into one write cost a write more, not one each.
    let before = writes.load(Ordering::Relaxed);
    link.send(&mut vec![frame.clone(); 10 * SLICES])
        .await
        .unwrap();
    assert_eq!(writes.load(Ordering::Relaxed) - before, 10);
}
