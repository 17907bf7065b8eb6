//! Whose certificates are trusted.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tonic::transport::{Certificate, ClientTlsConfig};

use super::super::BuildError;

/// Certificate authorities in PEM, trusted in addition to those of the operating system.
#[derive(Clone)]
pub(in crate::client) struct Authorities(Vec<u8>);

impl Authorities {
    /// Takes the content of a PEM file.
    pub(in crate::client) const fn new(pem: Vec<u8>) -> Self {
        Self(pem)
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorities")
    }
}

/// TLS of a gRPC channel.
pub(super) fn grpc(authorities: Option<&Authorities>) -> Result<ClientTlsConfig, BuildError> {
    let config = ClientTlsConfig::new().with_native_roots();
    let Some(authorities) = authorities else {
        return Ok(config);
    };
    // Read here as well, so that a file without certificates is refused before the first connection.
    certificates(authorities)?;
    Ok(config.ca_certificate(Certificate::from_pem(&authorities.0)))
}

/// TLS of a WebSocket.
pub(super) fn websocket(
    authorities: Option<&Authorities>,
) -> Result<Arc<ClientConfig>, BuildError> {
    let mut roots = RootCertStore::empty();
    // Some systems have authorities nobody can parse; the others still count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in authorities
        .map(certificates)
        .transpose()?
        .unwrap_or_default()
    {
        roots.add(certificate).map_err(unusable)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn certificates(authorities: &Authorities) -> Result<Vec<CertificateDer<'static>>, BuildError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&authorities.0).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(unusable(rustls::Error::General(
            "no certificate in the file".to_owned(),
        ))),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(error)),
    }
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> BuildError {
    BuildError::Authorities(Arc::new(error))
}
