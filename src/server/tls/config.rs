//! Which listener has TLS, and from which section (server-api.md 1.1, gateway.md 2 and 7).

use serde::Deserialize;

use super::{Error, material};
use crate::config::{HttpServer, Tls};

/// A listener, as metrics and logs call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// HTTP for clients.
    Http,
    /// HTTP for operators, when it is separate.
    Internal,
    /// The canonical gRPC stream.
    Grpc,
    /// The server API over gRPC.
    GrpcApi,
    /// The stream of clients that only listen.
    UniGrpc,
}

impl Place {
    pub(super) const ALL: [Self; 5] = [
        Self::Http,
        Self::Internal,
        Self::Grpc,
        Self::GrpcApi,
        Self::UniGrpc,
    ];

    /// Value of the label `listener`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Internal => "http_internal",
            Self::Grpc => "grpc",
            Self::GrpcApi => "grpc_api",
            Self::UniGrpc => "uni_grpc",
        }
    }

    /// Protocols to offer, the preferred one first. A gRPC listener has only one, so whoever speaks another is told so by
    /// the handshake.
    pub(super) const fn protocols(self) -> &'static [&'static [u8]] {
        match self {
            Self::Http | Self::Internal => &[material::HTTP_2, material::HTTP_1],
            Self::Grpc | Self::GrpcApi | Self::UniGrpc => &[material::HTTP_2],
        }
    }
}

/// Which name of a client certificate is the user (`centripetal.grpc.identity`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Identity {
    /// None: certificates open the door and name nobody.
    #[default]
    #[serde(rename = "")]
    Nobody,
    /// The first alternative name that is a URI, such as a SPIFFE ID.
    SanUri,
    /// The first alternative name that is a DNS name.
    SanDns,
    /// The first common name of the subject.
    CommonName,
}

/// What TLS reads of the configuration.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    http_server: HttpServer,
    grpc_api: Listener,
    uni_grpc: Listener,
    centripetal: Own,
}

#[derive(Clone, Debug, Deserialize)]
struct Listener {
    enabled: bool,
    tls: Tls,
}

#[derive(Clone, Debug, Deserialize)]
struct Own {
    grpc: Grpc,
}

#[derive(Clone, Debug, Deserialize)]
struct Grpc {
    enabled: bool,
    identity: Identity,
    tls: Tls,
}

impl Config {
    /// Can every certificate and key be used?
    ///
    /// # Errors
    /// The first one that cannot, by its key.
    pub fn check(&self) -> Result<(), Error> {
        Place::ALL.into_iter().try_for_each(|place| {
            let section = self.of(place);
            section.map_or(Ok(()), |(key, tls)| {
                material::server(key, tls, place.protocols()).map(drop)
            })
        })
    }

    /// The section that a listener takes its TLS from, and its key; `None` when it has no TLS.
    pub(super) fn of(&self, place: Place) -> Option<(&'static str, &Tls)> {
        let http = &self.http_server;
        let grpc = &self.centripetal.grpc;
        let separate = http.internal() != http.external();
        let common = ("http_server.tls", &http.tls);
        let ours = !http.tls_autocert.enabled;
        let (listens, (key, tls)) = match place {
            Place::Http => (ours, common),
            Place::Internal if http.internal_tls.enabled => {
                (separate, ("http_server.internal_tls", &http.internal_tls))
            }
            Place::Internal => (ours && separate && !http.tls_external, common),
            Place::Grpc => (grpc.enabled, ("centripetal.grpc.tls", &grpc.tls)),
            Place::GrpcApi => (self.grpc_api.enabled, ("grpc_api.tls", &self.grpc_api.tls)),
            Place::UniGrpc => (self.uni_grpc.enabled, ("uni_grpc.tls", &self.uni_grpc.tls)),
        };
        (listens && tls.enabled).then_some((key, tls))
    }

    /// Which name counts on a listener: on those for clients the one that was configured, on others none.
    pub(super) const fn identity(&self, place: Place) -> Identity {
        match place {
            Place::Http | Place::Grpc | Place::UniGrpc => self.centripetal.grpc.identity,
            Place::Internal | Place::GrpcApi => Identity::Nobody,
        }
    }
}
