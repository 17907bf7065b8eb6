//! What listens where: the path table of the HTTP listeners and the services of the gRPC listeners (server-api.md 1).

use std::sync::Arc;

use axum::{Router, http::request::Parts, middleware::from_fn_with_state};
use tonic::service::interceptor::InterceptedService;
use tower::Layer as _;

use super::{Built, OwnConfig, builder::Front, streams::Making};
use crate::{
    api::{self, HttpConfig, admin::AdminConfig},
    auth::{
        api_key::ApiKey,
        interceptor::{ApiKeyGuard, CredentialsLayer, Options, Surface},
    },
    config::Config,
    dev,
    server::{
        Error, GrpcListener, HttpListener, debug,
        endpoints::{self, Endpoint},
        http::Paths,
        limits::Limited,
        scrape, spans,
        tls::Place,
    },
    transport::{
        self,
        grpc::{self, Communicate, Health},
        websocket,
    },
};

impl Built {
    /// HMAC credentials are bearer values: without TLS everybody on the way can use them (tokens.md 9.6).
    pub(super) fn warn_of_plain_listeners(
        &self,
        config: &Config,
        own: &OwnConfig,
    ) -> Result<(), Error> {
        let upstream: bool = config.section("client.hmac_credentials.tls_terminated_upstream")?;
        let listeners = [
            (Place::Http, &config.http_server.address),
            (Place::Grpc, grpc_host(config, own)),
        ];
        let open = listeners.into_iter().any(|(place, host)| {
            let listens = place != Place::Grpc || own.grpc.enabled;
            listens && self.entrances.is_plain(place) && !is_loopback(host)
        });
        if self.auth.reads_hmac() && !upstream && open {
            tracing::warn!(
                key = "client.hmac_credentials.enabled",
                "HMAC credentials on a listener without TLS; set tls_terminated_upstream if a proxy in front has it"
            );
        }
        Ok(())
    }

    /// The external and the internal listener; one when both have the same address.
    pub(super) fn http_listeners(
        &self,
        config: &Config,
        own: &OwnConfig,
        client: &transport::ClientConfig,
        (health, front): (&Health, &Front),
    ) -> Result<Vec<HttpListener>, Error> {
        let (mut external, mut internal) = (Paths::default(), Paths::default());
        let making = Making {
            config,
            own,
            client,
            front,
            metrics: self.transport_metrics()?,
        };
        let websocket: websocket::Config = config.section("websocket")?;
        if !websocket.disabled {
            let router = self.websocket_endpoint(&making, &websocket, None);
            let prefix = &websocket.handler_prefix;
            external.exact("websocket", prefix, front.around(router))?;
        }
        self.sockjs(&making, &websocket, &mut external)?;
        self.emulated(&making, &mut external)?;
        self.unidirectional(&making, &mut external)?;
        let separate = config.http_server.internal() != config.http_server.external();
        self.api_handlers(config, (&mut external, &mut internal), separate)?;
        let internal_paths = if separate {
            &mut internal
        } else {
            &mut external
        };
        self.internal_handlers(config, own, internal_paths)?;
        let init: Endpoint = config.section("init")?;
        if init.enabled {
            let router = endpoints::init(&self.limits, self.origins.clone());
            external.exact("init", &init.handler_prefix, router)?;
        }
        for (path, page) in &front.pages {
            external.exact("page", path, page.clone())?;
        }
        if let Some(page) = &front.dev {
            external.exact("dev", "/", page.clone())?;
            // Nothing of a development server may answer to the name of a website.
            let guard = dev::Guard::new(&client.allowed_origins);
            let guard = from_fn_with_state(guard, dev::only_own_names);
            external.each(|router| router.layer(guard.clone()));
        }
        let shared = if own.grpc.shared {
            Some(front.around(self.grpc_router(config, own, health)?))
        } else {
            None
        };
        let mut listeners = vec![HttpListener {
            grpc: shared,
            h2c: config.http_server.h2c_external,
            ..self.listener(Place::Http, config.http_server.external(), external)
        }];
        if separate {
            let internal = self.listener(Place::Internal, config.http_server.internal(), internal);
            listeners.push(internal);
        }
        Ok(listeners)
    }

    /// A listener for these paths and nothing else.
    fn listener(&self, place: Place, (host, port): (&str, u16), paths: Paths) -> HttpListener {
        HttpListener {
            host: host.to_owned(),
            port,
            paths,
            grpc: None,
            h2c: false,
            entrance: self.entrances.of(place),
        }
    }

    /// The server API and the page of operators, which is moved outside by an option of its own.
    fn api_handlers(
        &self,
        config: &Config,
        (external, internal): (&mut Paths, &mut Paths),
        separate: bool,
    ) -> Result<(), Error> {
        let (api, admin): (HttpConfig, AdminConfig) =
            (config.section("http_api")?, config.section("admin")?);
        if !api.disabled {
            let paths = if api.external || !separate {
                &mut *external
            } else {
                &mut *internal
            };
            let router = api::http::router(self.api.clone(), &api);
            for path in api::http::paths(&api) {
                let router = match &self.tracing.api {
                    Some(tracer) => spans::http(router.clone(), &path, tracer),
                    None => router.clone(),
                };
                paths.exact("api", &path, router)?;
            }
        }
        if admin.enabled {
            let paths = if admin.external || !separate {
                external
            } else {
                internal
            };
            paths.tree("admin", &admin.handler_prefix, self.admin(&admin)?)?;
        }
        Ok(())
    }

    /// The page of operators.
    fn admin(&self, config: &AdminConfig) -> Result<Router, Error> {
        let peers = self.peers.clone();
        let address = move |parts: &Parts| peers.address(&parts.headers, &parts.extensions);
        let router = api::admin::router(self.api.clone(), config, Arc::new(address))?;
        Ok(router)
    }

    /// Handlers for operators.
    fn internal_handlers(
        &self,
        config: &Config,
        own: &OwnConfig,
        paths: &mut Paths,
    ) -> Result<(), Error> {
        let prometheus: Endpoint = config.section("prometheus")?;
        if prometheus.enabled {
            let router = scrape::router(self.registry.clone());
            paths.exact("prometheus", &prometheus.handler_prefix, router)?;
        }
        let debug: Endpoint = config.section("debug")?;
        if debug.enabled {
            let prefix = &debug.handler_prefix;
            paths.tree("debug", prefix, debug::router(prefix))?;
        }
        if config.health.enabled {
            paths.exact("health", &config.health.handler_prefix, endpoints::health())?;
        }
        if own.readiness.enabled {
            let router = endpoints::readiness(self.node.clone(), self.stopping.clone());
            paths.exact("readiness", &own.readiness.handler_prefix, router)?;
        }
        Ok(())
    }

    /// The canonical stream's listener and that of the server API.
    pub(super) fn grpc_listeners(
        &self,
        config: &Config,
        own: &OwnConfig,
        (health, front): (&Health, &Front),
    ) -> Result<Vec<GrpcListener>, Error> {
        let mut listeners = Vec::new();
        if own.grpc.enabled {
            listeners.push(GrpcListener {
                name: "GRPC client service",
                host: grpc_host(config, own).clone(),
                port: own.grpc.port,
                // A port nobody asked for must not stop a server that is dropped in place of another.
                required: config.is_given("centripetal.grpc.port"),
                router: front.around(self.grpc_router(config, own, health)?),
                entrance: self.entrances.of(Place::Grpc),
            });
        }
        let api: api::grpc::GrpcConfig = config.section("grpc_api")?;
        if api.enabled {
            let open = api.key.is_empty() && !is_loopback(&api.address);
            if open {
                tracing::warn!("INSECURE gRPC API without key on an address that others reach");
            }
            listeners.push(GrpcListener {
                name: "GRPC API service",
                host: api.address.clone(),
                port: api.port,
                required: true,
                router: self.api_router(&api)?,
                entrance: self.entrances.of(Place::GrpcApi),
            });
        }
        listeners.extend(self.uni_grpc_listener(config, front)?);
        Ok(listeners)
    }

    /// The server API over gRPC; reflection wants the same key.
    fn api_router(&self, config: &api::grpc::GrpcConfig) -> Result<Router, Error> {
        let service = api::grpc::service(self.api.clone(), config);
        let mut routes = tonic::service::Routes::new(service);
        if config.reflection {
            let guard = ApiKeyGuard::new(ApiKey::new(&config.key));
            routes = routes.add_service(InterceptedService::new(grpc::reflection()?, guard));
        }
        let router = routes.into_axum_router().reset_fallback();
        Ok(match &self.tracing.api {
            Some(tracer) => spans::grpc(router, tracer),
            None => router,
        })
    }

    /// Everything that is served beside the canonical stream, and the stream itself.
    fn grpc_router(
        &self,
        config: &Config,
        own: &OwnConfig,
        health: &Health,
    ) -> Result<Router, Error> {
        let websocket: websocket::Config = config.section("websocket")?;
        let communicate = Communicate::new(
            self.node.clone(),
            &own.grpc,
            websocket.write_timeout,
            self.peers.clone(),
            self.tasks.clone(),
        );
        let layer = CredentialsLayer::new(
            self.auth.clone(),
            Options {
                surface: Surface::Grpc,
                bearer: !self.policy.proxies().takes_authorization(),
                required: own.grpc.require_credentials,
            },
        );
        let mut more = None;
        if own.grpc.api {
            let api: api::grpc::GrpcConfig = config.section("grpc_api")?;
            if api.key.is_empty() {
                return Err(Error::ApiWithoutKey);
            }
            more = Some(self.api_router(&api::grpc::GrpcConfig {
                reflection: false,
                ..api
            })?);
        }
        Ok(grpc::routes(grpc::Routes {
            communicate: Limited::new(layer.layer(communicate), self.limits.clone()),
            health: health.clone(),
            reflection: own.grpc.reflection,
            more,
        })?)
    }
}

/// Where the canonical stream listens: beside HTTP unless told otherwise.
fn grpc_host<'a>(config: &'a Config, own: &'a OwnConfig) -> &'a String {
    if config.is_given("centripetal.grpc.address") {
        &own.grpc.address
    } else {
        &config.http_server.address
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}
