//! Certificates as `certs/make.sh` makes them, and clients of all kinds that trust them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::client::IntoClientRequest,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use super::Server;

/// A WebSocket over TLS.
pub(crate) type TlsSocket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How long a request may take.
const CALL: Duration = Duration::from_secs(10);

/// A folder with an authority, a server certificate and a client certificate; removed when dropped.
#[derive(Debug)]
pub(crate) struct Certificates(PathBuf);

impl Drop for Certificates {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Certificates {
    /// Makes them.
    pub(crate) fn new() -> Self {
        let name = format!("certs-{}", uuid::Uuid::new_v4());
        let made = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        made.renew();
        made
    }

    /// Makes other certificates of the same authority, under the same names.
    pub(crate) fn renew(&self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("certs/make.sh");
        let mut command = std::process::Command::new(script);
        let made = command.arg(&self.0).output();
        assert!(
            made.as_ref().is_ok_and(|made| made.status.success()),
            "no certificates: {made:?}"
        );
    }

    /// A file of the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        let read = std::fs::read(self.path(name));
        read.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Settings of a listener.
    pub(crate) fn settings(&self) -> Value {
        json!({"enabled": true, "cert_pem": self.path("server.pem"), "key_pem": self.path("server.key")})
    }

    /// Settings of a listener that wants certificates of clients.
    pub(crate) fn verifying(&self) -> Value {
        let mut settings = self.settings();
        settings["client_ca_pem"] = json!(self.path("ca.pem"));
        settings
    }

    /// The server's certificate as it is in the folder.
    pub(crate) fn server(&self) -> CertificateDer<'static> {
        certificate(&self.read("server.pem"))
    }

    /// The other end of connections that must have a certificate of this authority, offering this protocol.
    pub(crate) fn acceptor(&self, protocol: &[u8]) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        let added = roots.add(certificate(&self.read("ca.pem")));
        assert!(added.is_ok(), "{added:?}");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let verifier = verifier.unwrap_or_else(|error| panic!("{error}"));
        let key = PrivateKeyDer::from_pem_slice(&self.read("server.key"));
        let key = key.unwrap_or_else(|error| panic!("{error}"));
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap_or_else(|error| panic!("{error}"));
        let config = builder
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.server()], key);
        let mut config = config.unwrap_or_else(|error| panic!("{error}"));
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// What other libraries need; with a certificate of its own when `own`.
    fn client(&self, own: bool) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let added = roots.add(certificate(&self.read("ca.pem")));
        assert!(added.is_ok(), "{added:?}");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap_or_else(|error| panic!("{error}"));
        let builder = builder.with_root_certificates(roots);
        if !own {
            return builder.with_no_client_auth();
        }
        let key = PrivateKeyDer::from_pem_slice(&self.read("client.key"));
        let key = key.unwrap_or_else(|error| panic!("{error}"));
        let config =
            builder.with_client_auth_cert(vec![certificate(&self.read("client.pem"))], key);
        config.unwrap_or_else(|error| panic!("{error}"))
    }

    /// A builder of HTTP clients.
    pub(crate) fn http(&self, own: bool) -> reqwest::ClientBuilder {
        let authority = reqwest::Certificate::from_pem(&self.read("ca.pem"));
        let authority = authority.unwrap_or_else(|error| panic!("{error}"));
        // The environment may name a proxy for the registries; the server is on this machine.
        let builder = reqwest::Client::builder().no_proxy().timeout(CALL);
        let builder = builder.tls_certs_only([authority]);
        if !own {
            return builder;
        }
        let pair = [self.read("client.pem"), self.read("client.key")].concat();
        let pair = reqwest::Identity::from_pem(&pair);
        builder.identity(pair.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Starts a server that is asked over TLS whether it serves.
    pub(crate) async fn start(&self, settings: Value) -> Server {
        let client = self.http(true).build();
        let client = client.unwrap_or_else(|error| panic!("no HTTP client: {error}"));
        Server::start_asked(settings, async |server| {
            let health = format!("https://{}/health", server.http_target());
            let answer = client.get(health).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await
    }

    /// A gRPC connection.
    pub(crate) async fn channel(
        &self,
        target: &str,
        own: bool,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut tls =
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.read("ca.pem")));
        if own {
            let pair = Identity::from_pem(self.read("client.pem"), self.read("client.key"));
            tls = tls.identity(pair);
        }
        let endpoint = Channel::from_shared(format!("https://{target}"));
        let endpoint = endpoint.unwrap_or_else(|error| panic!("{target}: {error}"));
        endpoint.tls_config(tls)?.connect().await
    }

    /// A WebSocket.
    pub(crate) async fn websocket(
        &self,
        request: impl IntoClientRequest + Unpin,
        own: bool,
    ) -> Result<TlsSocket, tokio_tungstenite::tungstenite::Error> {
        let connector = Connector::Rustls(Arc::new(self.client(own)));
        let opened = connect_async_tls_with_config(request, None, true, Some(connector));
        opened.await.map(|(socket, _)| socket)
    }

    /// A connection that offers these protocols.
    pub(crate) async fn connect(
        &self,
        target: &str,
        protocols: &[&[u8]],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = self.client(true);
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let socket = TcpStream::connect(target).await?;
        let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
        TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
    }

    /// The certificate that a new connection sees.
    pub(crate) async fn shown(&self, target: &str) -> CertificateDer<'static> {
        let stream = self.connect(target, &[]).await;
        let stream = stream.unwrap_or_else(|error| panic!("{target}: {error}"));
        let (_, connection) = stream.get_ref();
        let shown = connection.peer_certificates().and_then(<[_]>::first);
        shown
            .cloned()
            .unwrap_or_else(|| panic!("{target}: no certificate"))
    }
}

fn certificate(pem: &[u8]) -> CertificateDer<'static> {
    let read = CertificateDer::from_pem_slice(pem);
    read.unwrap_or_else(|error| panic!("no certificate: {error}"))
}
