//! TLS of the listeners: who shows which certificate, which protocols are offered, and what is known of a peer after its
//! handshake. Certificates can be replaced while connections are open (gateway.md 5).
//!
//! Knows nothing of what is spoken inside, and opens no listener.

use std::{io, sync::Arc};

use parking_lot::RwLock;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::{model::Certified, transport::SecuredStream};

mod config;
mod identity;
mod material;

pub use config::{Config, Place};
pub use material::Error;

/// The protocol that both ends agreed upon (ALPN).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Nobody said anything, as without TLS.
    #[default]
    Unsaid,
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
}

/// A connection after its handshake, and what the handshake told.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) stream: SecuredStream,
    pub(super) protocol: Protocol,
    /// The name in the peer's certificate, where one is verified and counts.
    pub(super) certified: Option<Certified>,
}

/// TLS of one listener. New handshakes use what was installed last; connections keep what they began with.
#[derive(Clone, Debug)]
pub struct Endpoint(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    place: Place,
    /// Which name of a certificate is the user.
    identity: config::Identity,
    present: RwLock<Arc<ServerConfig>>,
}

impl Endpoint {
    /// Shakes hands. Takes as long as the peer likes.
    pub(super) async fn accept(&self, socket: TcpStream) -> io::Result<Secured> {
        let config = self.0.present.read().clone();
        let stream = Box::new(TlsAcceptor::from(config).accept(socket).await?);
        let (_, connection) = stream.get_ref();
        let protocol = match connection.alpn_protocol() {
            Some(material::HTTP_2) => Protocol::Http2,
            Some(material::HTTP_1) => Protocol::Http1,
            _ => Protocol::Unsaid,
        };
        let certificate = connection.peer_certificates().and_then(<[_]>::first);
        let certified = certificate.and_then(|found| identity::name(found, self.0.identity));
        Ok(Secured {
            stream,
            protocol,
            certified: certified.map(Certified),
        })
    }
}

/// TLS of all listeners that have it. Cloning is a reference count.
#[derive(Clone, Debug, Default)]
pub struct Endpoints(Arc<[Endpoint]>);

/// Certificates that were read and can be used, but are not in use yet.
#[derive(Debug)]
pub struct Prepared(Vec<(Endpoint, Arc<ServerConfig>)>);

impl Endpoints {
    /// Reads all certificates and keys.
    ///
    /// # Errors
    /// When one cannot be used; the error names its key.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let endpoints = Place::ALL.into_iter().filter_map(|place| {
            let (key, tls) = config.of(place)?;
            let made = material::server(key, tls, place.protocols()).map(|present| {
                Endpoint(Arc::new(Shared {
                    place,
                    identity: config.identity(place),
                    present: RwLock::new(Arc::new(present)),
                }))
            });
            Some(made)
        });
        endpoints.collect::<Result<Arc<[_]>, _>>().map(Self)
    }

    /// TLS of one listener; `None` when it has none.
    #[must_use]
    pub fn of(&self, place: Place) -> Option<Endpoint> {
        let mut all = self.0.iter();
        all.find(|endpoint| endpoint.0.place == place).cloned()
    }

    /// Reads the certificates and keys of a new configuration for the listeners that have TLS. Changes nothing yet.
    ///
    /// # Errors
    /// When one cannot be used; the error names its key.
    pub fn prepare(&self, config: &Config) -> Result<Prepared, Error> {
        let read = self.0.iter().filter_map(|endpoint| {
            let place = endpoint.0.place;
            // A listener cannot stop being one with TLS while it runs.
            let (key, tls) = config.of(place)?;
            let made = material::server(key, tls, place.protocols());
            Some(made.map(|next| (endpoint.clone(), Arc::new(next))))
        });
        read.collect::<Result<_, _>>().map(Prepared)
    }
}

impl Prepared {
    /// From now on new handshakes use these.
    pub fn install(self) {
        for (endpoint, next) in self.0 {
            *endpoint.0.present.write() = next;
        }
    }
}

#[cfg(test)]
mod tests;
