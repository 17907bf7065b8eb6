//! What a connection passes before anything is spoken on it: the PROXY protocol, then TLS, against one clock.
//!
//! Runs in the connection's own task, so that a slow peer delays nobody. Whoever does not get in is counted, and named in
//! the log at most once a second and reason. Knows nothing of what is spoken behind it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http::Extensions;
use prometheus::{IntCounterVec, Opts, Registry};
use rustls::{Error as TlsError, PeerIncompatible};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    proxy_protocol,
    tls::{self, Place, Protocol},
};
use crate::{
    auth::Pace,
    model::{Certified, Now},
    transport::{RemoteAddress, SecuredStream, TrustedProxies},
};

/// Prefix of own metric names.
pub(super) const OWN_NAMESPACE: &str = "centripetal";

/// Counters of connections that did not get in.
#[derive(Clone, Debug)]
pub struct Metrics {
    tls: IntCounterVec,
    proxy: IntCounterVec,
    pace: Arc<Pace<{ Reason::COUNT }>>,
}

impl Metrics {
    /// Makes and registers the counters.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name, help| {
            let options = Opts::new(name, help).namespace(OWN_NAMESPACE);
            let counter = IntCounterVec::new(options, &["listener", "reason"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            tls: counter("tls_handshake_errors_total", "Failed TLS handshakes.")?,
            proxy: counter(
                "proxy_protocol_errors_total",
                "Connections without a PROXY protocol header that is believed.",
            )?,
            pace: Arc::default(),
        })
    }
}

/// Why a connection does not get in; the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// The clock ran out.
    Timeout,
    /// The peer went away.
    Closed,
    /// It is no trusted proxy.
    Untrusted,
    /// No header of the PROXY protocol, or no TLS.
    Malformed,
    /// TLS is too old.
    Version,
    /// No certificate, or one that is not accepted.
    Certificate,
    /// No protocol in common.
    Protocol,
    /// The peer refuses, for example because it does not trust our certificate.
    Alert,
    /// Anything else.
    Other,
}

impl Reason {
    const COUNT: usize = Self::Other as usize + 1;

    const fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Untrusted => "untrusted",
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Certificate => "certificate",
            Self::Protocol => "protocol",
            Self::Alert => "alert",
            Self::Other => "other",
        }
    }

    /// What the library says about a handshake, in few words.
    fn of(error: &io::Error) -> Self {
        let source = error.get_ref().and_then(|error| error.downcast_ref());
        let Some(error): Option<&TlsError> = source else {
            return Self::Closed;
        };
        match error {
            TlsError::InvalidMessage(_)
            | TlsError::InappropriateMessage { .. }
            | TlsError::InappropriateHandshakeMessage { .. } => Self::Malformed,
            TlsError::PeerIncompatible(
                // What TLS 1.2 demands and older versions do not have.
                PeerIncompatible::SignatureAlgorithmsExtensionRequired
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            ) => Self::Version,
            TlsError::NoCertificatesPresented | TlsError::InvalidCertificate(_) => {
                Self::Certificate
            }
            TlsError::NoApplicationProtocol | TlsError::PeerIncompatible(_) => Self::Protocol,
            TlsError::AlertReceived(_) => Self::Alert,
            _ => Self::Other,
        }
    }
}

/// What is known of a connection that got in; every request on it is told.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// Where it came from, as a trusted proxy says or else the socket.
    pub(super) remote: SocketAddr,
    /// What both ends want to speak.
    pub(super) protocol: Protocol,
    certified: Option<Certified>,
}

impl Arrival {
    /// A connection of which only the socket is known.
    pub(super) const fn plain(remote: SocketAddr) -> Self {
        Self {
            remote,
            protocol: Protocol::Unsaid,
            certified: None,
        }
    }

    /// Tells a request.
    pub(super) fn mark(&self, request: &mut Extensions) {
        request.insert(RemoteAddress(self.remote));
        if let Some(certified) = &self.certified {
            request.insert(certified.clone());
        }
    }
}

/// A connection that got in.
#[derive(Debug)]
pub(super) enum Admitted {
    Plain(TcpStream, Arrival),
    Secured(SecuredStream, Arrival),
}

/// What is asked of connections at one listener; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Entrance(Option<Arc<Checks>>);

/// Made of these.
#[derive(Debug)]
struct Checks {
    place: Place,
    /// Who has to say where its connections come from; `None` when nobody does.
    proxies: Option<TrustedProxies>,
    tls: Option<tls::Endpoint>,
    metrics: Metrics,
}

impl Entrance {
    /// The PROXY protocol from these proxies, and TLS, each if given.
    #[must_use]
    pub fn new(
        place: Place,
        proxies: Option<TrustedProxies>,
        tls: Option<tls::Endpoint>,
        metrics: &Metrics,
    ) -> Self {
        let checks = (proxies.is_some() || tls.is_some()).then(|| Checks {
            place,
            proxies,
            tls,
            metrics: metrics.clone(),
        });
        Self(checks.map(Arc::new))
    }

    /// Lets a connection in within this time, or counts why not.
    pub(super) async fn admit(
        &self,
        socket: TcpStream,
        remote: SocketAddr,
        patience: Duration,
    ) -> Option<Admitted> {
        match &self.0 {
            None => Some(Admitted::Plain(socket, Arrival::plain(remote))),
            // Rare enough, and its state is not part of every connection's task.
            Some(checks) => Box::pin(checks.admit(socket, remote, Instant::now() + patience)).await,
        }
    }
}

impl Checks {
    async fn admit(
        &self,
        mut socket: TcpStream,
        remote: SocketAddr,
        deadline: Instant,
    ) -> Option<Admitted> {
        let mut arrival = Arrival::plain(remote);
        if let Some(proxies) = &self.proxies {
            match timeout_at(deadline, announced(&mut socket, remote, proxies)).await {
                Ok(Ok(source)) => arrival.remote = source.unwrap_or(remote),
                Ok(Err((reason, text))) => {
                    return self.refuse(&self.metrics.proxy, remote, reason, &text);
                }
                Err(_elapsed) => {
                    let text = "no PROXY protocol header in time";
                    return self.refuse(&self.metrics.proxy, remote, Reason::Timeout, text);
                }
            }
        }
        let Some(tls) = &self.tls else {
            return Some(Admitted::Plain(socket, arrival));
        };
        let remote = arrival.remote;
        match timeout_at(deadline, tls.accept(socket)).await {
            Ok(Ok(secured)) => {
                arrival.protocol = secured.protocol;
                arrival.certified = secured.certified;
                Some(Admitted::Secured(secured.stream, arrival))
            }
            Ok(Err(error)) => {
                let reason = Reason::of(&error);
                self.refuse(&self.metrics.tls, remote, reason, &error.to_string())
            }
            Err(_elapsed) => {
                let text = "no TLS handshake in time";
                self.refuse(&self.metrics.tls, remote, Reason::Timeout, text)
            }
        }
    }

    /// Counts and tells; the connection is closed by being dropped.
    fn refuse(
        &self,
        counter: &IntCounterVec,
        remote: SocketAddr,
        reason: Reason,
        error: &str,
    ) -> Option<Admitted> {
        let (listener, label) = (self.place.label(), reason.label());
        counter.with_label_values(&[listener, label]).inc();
        let now = Now::at(Instant::now().into_std());
        if self.metrics.pace.permits(reason as usize, &now) {
            tracing::warn!(listener, reason = label, error, addr = %remote, "connection refused");
        }
        None
    }
}

/// Where a trusted proxy says that a connection came from; `None` when it speaks for itself.
async fn announced(
    socket: &mut TcpStream,
    remote: SocketAddr,
    proxies: &TrustedProxies,
) -> Result<Option<SocketAddr>, (Reason, String)> {
    use proxy_protocol::Error;
    if !proxies.contains(RemoteAddress(remote).ip()) {
        let text = "not from centripetal.trusted_proxies";
        return Err((Reason::Untrusted, text.to_owned()));
    }
    let source = proxy_protocol::receive(socket).await;
    source.map_err(|error| match &error {
        Error::Ended(_) => (Reason::Closed, error.to_string()),
        Error::Malformed(_) => (Reason::Malformed, error.to_string()),
    })
}
