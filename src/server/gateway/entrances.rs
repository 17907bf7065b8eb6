//! Which listener asks what of its connections: TLS by its section, the PROXY protocol where clients come in.

use crate::{
    config::Config,
    server::{
        Entrance, EntranceMetrics,
        tls::{Endpoints, Place},
    },
    transport::TrustedProxies,
};

/// What entrances are made of.
#[derive(Debug)]
pub(super) struct Entrances {
    pub(super) tls: Endpoints,
    /// Who has to announce where connections of clients come from; `None` when nobody does.
    pub(super) announce: Option<TrustedProxies>,
    pub(super) metrics: EntranceMetrics,
}

impl Entrances {
    /// The entrance of a listener.
    pub(super) fn of(&self, place: Place) -> Entrance {
        let clients = matches!(place, Place::Http | Place::Grpc | Place::UniGrpc);
        let proxies = self.announce.clone().filter(|_| clients);
        Entrance::new(place, proxies, self.tls.of(place), &self.metrics)
    }

    /// Everybody on the way can read what is spoken here.
    pub(super) fn is_plain(&self, place: Place) -> bool {
        self.tls.of(place).is_none()
    }

    /// Operators' tools do not announce themselves.
    pub(super) fn warn_of_operators(&self, config: &Config) {
        let http = &config.http_server;
        let together = http.internal() == http.external();
        if self.announce.is_some() && together && config.health.enabled {
            tracing::warn!(
                key = "centripetal.proxy_protocol",
                "health checks come without the PROXY protocol and are refused; set http_server.internal_port"
            );
        }
    }
}
