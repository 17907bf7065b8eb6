//! What stands between clients and a server, spoken to over TLS.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Certificate, Channel, ClientTlsConfig};

/// The name in every certificate of the tests.
const NAME: &str = "localhost";

/// Where a front is, and who signed its certificate.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    port: u16,
    authority: Vec<u8>,
}

impl Front {
    /// A front on this port of this machine.
    pub(crate) fn new(port: u16, authority: &Path) -> Self {
        let authority = std::fs::read(authority).unwrap();
        Self { port, authority }
    }

    /// An HTTP/2 connection.
    pub(crate) async fn channel(&self) -> Channel {
        let authority = Certificate::from_pem(&self.authority);
        let tls = ClientTlsConfig::new().ca_certificate(authority);
        let endpoint = Channel::from_shared(format!("https://{NAME}:{}", self.port));
        let endpoint = endpoint.unwrap().tls_config(tls).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// A connection without ALPN, as for HTTP/1.1.
    pub(super) async fn connect(&self) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.authority) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect((NAME, self.port)).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, tcp).await.unwrap()
    }

    /// A client of HTTP that trusts the front, without a limit on the time of a response.
    pub(super) fn http(&self) -> reqwest::Client {
        let authority = reqwest::Certificate::from_pem(&self.authority).unwrap();
        let builder = reqwest::Client::builder().no_proxy();
        let builder = builder.add_root_certificate(authority);
        builder.pool_max_idle_per_host(0).build().unwrap()
    }

    /// Address of a path.
    pub(super) fn url(&self, path: &str) -> String {
        format!("https://{NAME}:{}{path}", self.port)
    }

    /// WebSocket endpoint.
    pub(super) fn ws_url(&self) -> String {
        format!("wss://{NAME}:{}/connection/websocket", self.port)
    }
}
