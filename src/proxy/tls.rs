//! TLS towards a backend (config.md 7.1, as a client): whom to trust, what to show, which name to expect.
//!
//! Errors name the option and never show what stands there.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::{ReadPem, config::TlsConfig};

/// TLS options that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// An option holds no usable PEM.
    #[error("{0} is neither PEM nor base64 of PEM nor the path of a readable file with PEM")]
    Pem(&'static str),
    /// Only one half of certificate and key is there.
    #[error("cert_pem and key_pem belong together")]
    Half,
    /// The name cannot stand in a certificate.
    #[error("server_name is no host name")]
    Name,
    /// The library refuses.
    #[error(transparent)]
    Refused(#[from] rustls::Error),
}

/// Settings of a client, without ALPN, and the name to expect instead of the host.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) config: ClientConfig,
    pub(super) name: Option<ServerName<'static>>,
}

impl Tls {
    /// Settings as configured. A section that is off means the authorities of the system and no certificate of our own;
    /// where nothing is `secure`, nobody is trusted.
    pub(super) fn new(tls: &TlsConfig, secure: bool, read: ReadPem) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if tls.enabled && tls.insecure_skip_verify {
            let anyone = Arc::new(Anyone(provider));
            builder.dangerous().with_custom_certificate_verifier(anyone)
        } else {
            builder.with_root_certificates(roots(tls, secure, read)?)
        };
        let config = match (tls.cert_pem.as_str(), tls.key_pem.as_str()) {
            _ if !tls.enabled => builder.with_no_client_auth(),
            ("", "") => builder.with_no_client_auth(),
            ("", _) | (_, "") => return Err(TlsError::Half),
            (chain, key) => {
                let chain = certificates(chain, "cert_pem", read)?;
                builder.with_client_auth_cert(chain, private_key(key, read)?)?
            }
        };
        let name = (tls.enabled && !tls.server_name.is_empty())
            .then(|| ServerName::try_from(tls.server_name.clone()))
            .transpose()
            .map_err(|_no_name| TlsError::Name)?;
        Ok(Self { config, name })
    }
}

fn roots(tls: &TlsConfig, secure: bool, read: ReadPem) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if tls.enabled && !tls.server_ca_pem.is_empty() {
        for authority in certificates(&tls.server_ca_pem, "server_ca_pem", read)? {
            roots.add(authority)?;
        }
    } else if secure {
        // Some systems have authorities nobody can parse; the others still count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(roots)
}

fn certificates(
    option: &str,
    key: &'static str,
    read: ReadPem,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(option).ok_or(TlsError::Pem(key))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or(TlsError::Pem(key))
}

fn private_key(option: &str, read: ReadPem) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(option).ok_or(TlsError::Pem("key_pem"))?;
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_not_shown| TlsError::Pem("key_pem"))
}

/// Believes every certificate (`insecure_skip_verify`).
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
