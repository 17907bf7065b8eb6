//! The transports beside WebSocket and the canonical stream: HTTP stream, SSE, their way back, and those that only carry pushes.

use std::time::Duration;

use axum::Router;
use tower::Layer as _;

use super::{Built, OwnConfig, builder::Front};
use crate::{
    auth::interceptor::{CredentialsLayer, Options, Surface},
    config::Config,
    server::{Error, GrpcListener, http::Paths, tls::Place},
    transport::{
        self, ClientConfig,
        emulated::{self, EmulationConfig},
        grpc::{Consume, UniConfig, uni_routes},
        sockjs, uni, websocket,
    },
};

/// What all of them are made with.
pub(super) struct Making<'a> {
    pub(super) config: &'a Config,
    pub(super) own: &'a OwnConfig,
    pub(super) client: &'a ClientConfig,
    pub(super) front: &'a Front,
    pub(super) metrics: transport::Metrics,
}

impl Making<'_> {
    /// Longest time in which a client takes nothing.
    fn write_timeout(&self) -> Result<Duration, Error> {
        Ok(self.config.section("websocket.write_timeout")?)
    }
}

impl Built {
    /// Transports with a way back by requests.
    pub(super) fn emulated(&self, making: &Making<'_>, paths: &mut Paths) -> Result<(), Error> {
        let config = making.config;
        let http_stream: emulated::Config = config.section("http_stream")?;
        let sse: emulated::Config = config.section("sse")?;
        let back: EmulationConfig = config.section("emulation")?;
        if http_stream.enabled {
            let parts = self.emulated_parts(making, &http_stream, &back)?;
            let router = self.guarded(making, emulated::http_stream(parts));
            paths.exact("http_stream", &http_stream.handler_prefix, router)?;
        }
        if sse.enabled {
            let parts = self.emulated_parts(making, &sse, &back)?;
            let router = self.guarded(making, emulated::sse(parts));
            paths.exact("sse", &sse.handler_prefix, router)?;
        }
        if http_stream.enabled || sse.enabled {
            let (node, patience) = (self.node.clone(), making.client.stale_close_delay);
            let router = emulated::emulation(node, &back, patience, self.origins.clone());
            paths.exact("emulation", &back.handler_prefix, router)?;
        }
        Ok(())
    }

    fn emulated_parts(
        &self,
        making: &Making<'_>,
        config: &emulated::Config,
        back: &EmulationConfig,
    ) -> Result<emulated::Parts<crate::node::Node>, Error> {
        Ok(emulated::Parts {
            serve: self.node.clone(),
            body_limit: config.max_request_body_size,
            command_limit: config.max_request_body_size.max(back.max_request_body_size),
            patience: making.client.stale_close_delay,
            write_timeout: making.write_timeout()?,
            origins: self.origins.clone(),
            peers: self.peers.clone(),
            tasks: self.tasks.clone(),
        })
    }

    /// Transports over HTTP for clients that only listen.
    pub(super) fn unidirectional(
        &self,
        making: &Making<'_>,
        paths: &mut Paths,
    ) -> Result<(), Error> {
        let config = making.config;
        let socket: websocket::UniConfig = config.section("uni_websocket")?;
        if socket.enabled {
            let (common, prefix) = (socket.common(), &socket.handler_prefix);
            let router = self.websocket_endpoint(making, &common, Some(&socket));
            paths.exact("uni_websocket", prefix, making.front.around(router))?;
        }
        let sse: uni::Config = config.section("uni_sse")?;
        if sse.enabled {
            let router = self.guarded(making, uni::sse(self.uni_parts(making, &sse)?));
            paths.exact("uni_sse", &sse.handler_prefix, router)?;
        }
        let http_stream: uni::Config = config.section("uni_http_stream")?;
        if http_stream.enabled {
            let parts = self.uni_parts(making, &http_stream)?;
            let router = self.guarded(making, uni::http_stream(parts));
            paths.exact("uni_http_stream", &http_stream.handler_prefix, router)?;
        }
        Ok(())
    }

    fn uni_parts<'c>(
        &self,
        making: &Making<'_>,
        config: &'c uni::Config,
    ) -> Result<uni::Parts<'c, crate::node::Node>, Error> {
        Ok(uni::Parts {
            serve: self.node.clone(),
            config,
            patience: making.client.stale_close_delay,
            write_timeout: making.write_timeout()?,
            origins: self.origins.clone(),
            peers: self.peers.clone(),
            tasks: self.tasks.clone(),
        })
    }

    /// A WebSocket endpoint of either kind, with limits and credentials in front.
    pub(super) fn websocket_endpoint(
        &self,
        making: &Making<'_>,
        config: &websocket::Config,
        uni: Option<&websocket::UniConfig>,
    ) -> Router {
        let endpoint = websocket::Endpoint::new(websocket::Parts {
            serve: self.node.clone(),
            config,
            uni,
            client: making.client,
            origins: self.origins.clone(),
            peers: self.peers.clone(),
            tasks: self.tasks.clone(),
            metrics: making.metrics.clone(),
        });
        let layer = self.http_credentials(making.own);
        self.limits.guard(endpoint.into_router().layer(layer))
    }

    /// SockJS; a session that is there is neither counted nor asked for credentials again.
    pub(super) fn sockjs(
        &self,
        making: &Making<'_>,
        websocket: &websocket::Config,
        paths: &mut Paths,
    ) -> Result<(), Error> {
        let config: sockjs::Config = making.config.section("centripetal.sockjs")?;
        if !config.enabled {
            return Ok(());
        }
        let endpoint = sockjs::Endpoint::new(sockjs::Parts {
            serve: self.node.clone(),
            config: &config,
            websocket,
            client: making.client,
            origins: self.origins.clone(),
            peers: self.peers.clone(),
            tasks: self.tasks.clone(),
            closes: making.metrics.clone(),
            metrics: sockjs::Metrics::new(&self.registry)?,
        });
        let router = endpoint.into_router(|opening| {
            let layer = self.http_credentials(making.own);
            self.limits.guard(opening.layer(layer))
        });
        let router = making.front.around(router);
        Ok(paths.whole("sockjs", &config.handler_prefix, router)?)
    }

    /// An endpoint with limits, credentials and what the program puts around clients in front.
    fn guarded(&self, making: &Making<'_>, endpoint: Router) -> Router {
        let layer = self.http_credentials(making.own);
        let router = self.limits.guard(endpoint.layer(layer));
        making.front.around(router)
    }

    fn http_credentials(&self, own: &OwnConfig) -> CredentialsLayer {
        let options = Options {
            surface: Surface::Http,
            bearer: own.http.bearer && !self.policy.proxies().takes_authorization(),
            required: false,
        };
        CredentialsLayer::new(self.auth.clone(), options)
    }

    /// The stream of clients that only listen, on a port of its own.
    pub(super) fn uni_grpc_listener(
        &self,
        config: &Config,
        front: &Front,
    ) -> Result<Option<GrpcListener>, Error> {
        let section: UniConfig = config.section("uni_grpc")?;
        if !section.enabled {
            return Ok(None);
        }
        let consume = Consume::new(
            self.node.clone(),
            &section,
            config.section("websocket.write_timeout")?,
            self.peers.clone(),
            self.tasks.clone(),
        );
        let options = Options {
            surface: Surface::Grpc,
            bearer: !self.policy.proxies().takes_authorization(),
            required: false,
        };
        let layer = CredentialsLayer::new(self.auth.clone(), options);
        Ok(Some(GrpcListener {
            name: "unidirectional GRPC",
            host: section.address,
            port: section.port,
            required: true,
            router: front.around(uni_routes(layer.layer(consume))),
            entrance: self.entrances.of(Place::UniGrpc),
        }))
    }

    /// Counters that all WebSocket endpoints share.
    pub(super) fn transport_metrics(&self) -> Result<transport::Metrics, Error> {
        Ok(transport::Metrics::new(&self.registry, &self.namespace)?)
    }
}
