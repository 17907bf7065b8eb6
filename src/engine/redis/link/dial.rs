//! Opening a connection to Redis: TCP, TLS or a socket in the file system. Knows no command.

use std::{fmt, io, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::super::{
    Failure, Tls,
    address::{Endpoint, Greeting},
};

/// Both directions of a connection.
pub(in crate::engine::redis) trait Wire:
    AsyncRead + AsyncWrite + Send + Unpin
{
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Opens connections that are greeted the same way.
#[derive(Clone)]
pub(in crate::engine::redis) struct Dialer {
    pub(in crate::engine::redis) greeting: Greeting,
    tls: Option<Arc<ClientConfig>>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialer").field(&self.greeting).finish()
    }
}

impl Dialer {
    pub(in crate::engine::redis) fn new(greeting: Greeting) -> Result<Self, Failure> {
        let tls = greeting.tls.as_ref().map(client).transpose()?;
        Ok(Self { greeting, tls })
    }

    /// A connection on which nothing has been said yet.
    pub(in crate::engine::redis) async fn open(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Box<dyn Wire>, Failure> {
        let limit = self.greeting.connect_timeout;
        let failed = |why: String| Failure::Connect {
            address: endpoint.to_string(),
            why,
        };
        match timeout(limit, self.connect(endpoint)).await {
            Ok(Ok(wire)) => Ok(wire),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_elapsed) => Err(failed(format!("not within {limit:?}"))),
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> io::Result<Box<dyn Wire>> {
        let (host, port) = match endpoint {
            Endpoint::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
            Endpoint::Tcp(host, port) => (host.as_str(), *port),
        };
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let Some(config) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let named = self.greeting.tls.as_ref().map(|tls| &tls.server_name);
        let name = named
            .filter(|name| !name.is_empty())
            .map_or(host, String::as_str);
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::clone(config));
        Ok(Box::new(connector.connect(name, stream).await?))
    }
}

fn unusable(error: impl fmt::Display) -> Failure {
    Failure::Tls(error.to_string())
}

fn client(tls: &Tls) -> Result<Arc<ClientConfig>, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = if tls.insecure_skip_verify {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
    } else {
        builder.with_root_certificates(roots(tls)?)
    };
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes());
            let key = key.map_err(|_| unusable("the key of the client certificate is no key"))?;
            builder
                .with_client_auth_cert(certificates(chain)?, key)
                .map_err(unusable)?
        }
    };
    Ok(Arc::new(config))
}

/// The configured authority alone, or those of the system.
fn roots(tls: &Tls) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    if tls.authority.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    }
    for certificate in certificates(&tls.authority)? {
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(roots)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = read.map_err(unusable)?;
    if certificates.is_empty() {
        return Err(unusable("there is no certificate in the PEM text"));
    }
    Ok(certificates)
}

/// Takes any certificate (`insecure_skip_verify`); only that the peer has its key is verified.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
