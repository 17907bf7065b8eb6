//! Certificates and keys out of the options of table TLS (config.md 7.1), ready for handshakes.
//!
//! Every error names the key that is wrong and never shows what stands there.

use std::sync::Arc;

use rustls::{
    InconsistentKeys, RootCertStore, ServerConfig,
    crypto::aws_lc_rs::{self, Ticketer},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::config::{NoPem, Tls, read_pem};

/// HTTP/1.1 in handshakes.
pub(super) const HTTP_1: &[u8] = b"http/1.1";
/// HTTP/2 in handshakes.
pub(super) const HTTP_2: &[u8] = b"h2";

/// A certificate or key that cannot be used. The text says all: it goes to log lines that show no causes.
#[derive(Debug, thiserror::Error)]
#[error("in {key}: {why}")]
pub struct Error {
    /// The option.
    key: String,
    why: Why,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error(transparent)]
    NoPem(#[from] NoPem),
    #[error("no certificate in the PEM")]
    NoCertificate,
    #[error("no private key in the PEM; an encrypted one has to be decrypted before")]
    NoKey,
    #[error("the PEM is malformed")]
    Malformed,
    #[error("the key does not belong to the certificate of cert_pem")]
    OtherKey,
    #[error("unusable: {0}")]
    Unusable(#[from] rustls::Error),
    #[error("unusable: {0}")]
    Verifier(#[from] VerifierBuilderError),
}

/// What a listener needs for handshakes. Sessions are resumed with tickets of its own, so that nobody comes in with a
/// session that another certificate or another authority began.
pub(super) fn server(place: &str, tls: &Tls, protocols: &[&[u8]]) -> Result<ServerConfig, Error> {
    let failed = |key: &str| {
        let key = format!("{place}.{key}");
        move |why| Error { key, why }
    };
    let chain = certificates(&tls.cert_pem).map_err(failed("cert_pem"))?;
    let private = private_key(&tls.key_pem).map_err(failed("key_pem"))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("enabled")(error.into()))?;
    let builder = if tls.client_ca_pem.is_empty() {
        builder.with_no_client_auth()
    } else {
        let verifier = verifier(&tls.client_ca_pem, provider);
        builder.with_client_cert_verifier(verifier.map_err(failed("client_ca_pem"))?)
    };
    let mut config = builder
        .with_single_cert(chain, private)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                failed("key_pem")(Why::OtherKey)
            }
            rustls::Error::InvalidCertificate(_) => failed("cert_pem")(error.into()),
            error => failed("key_pem")(error.into()),
        })?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.ticketer = Ticketer::new().map_err(|error| failed("enabled")(error.into()))?;
    Ok(config)
}

/// Lets in whoever has a certificate of one of these authorities.
fn verifier(
    option: &str,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Why> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(option)? {
        roots.add(authority)?;
    }
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
}

fn certificates(option: &str) -> Result<Vec<CertificateDer<'static>>, Why> {
    let pem = read_pem(option)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(Why::NoCertificate),
        Ok(certificates) => Ok(certificates),
        // The cause may show parts of the text.
        Err(_not_shown) => Err(Why::Malformed),
    }
}

fn private_key(option: &str) -> Result<PrivateKeyDer<'static>, Why> {
    use rustls::pki_types::pem::Error as PemError;
    let pem = read_pem(option)?;
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| match error {
        PemError::NoItemsFound => Why::NoKey,
        _ => Why::Malformed,
    })
}
