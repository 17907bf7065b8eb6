//! A node with rules of its own: no configuration file, no listener but yours, no namespaces.
//!
//! The program answers every question about its clients ([`Hooks`]), and mounts the WebSocket endpoint on a router that
//! has other routes. Run it with `cargo run --example own_hooks`, then:
//!
//! ```text
//! cargo run -- sub room:1 --url ws://127.0.0.1:3000 --token ann
//! cargo run -- pub room:1 '"hi"' --url ws://127.0.0.1:3000 --token bob
//! curl http://127.0.0.1:3000/announce
//! ```

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{Router, extract::State, routing::get};
use bytes::Bytes;
use centripetal::{
    config::Config,
    engine::{self, memory::Memory},
    hooks::{
        Client, ConnectAnswer, ConnectQuestion, Hooks, PublishAnswer, Read, RefreshAnswer,
        SubRefreshAnswer, SubscribeAnswer, SubscribeQuestion,
    },
    model::{
        Channel, ChannelOptions, ClientError, Disconnect, Rejection, SubscribeOptions, UserId,
    },
    node::{Node, Parts, Publish},
    transport::{Metrics, Origins, RemoteAddress, Tasks, websocket},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use prometheus::Registry;
use tokio::{net::TcpListener, task::JoinSet};
use tower::ServiceBuilder;

/// Who may do what: a token is simply a name, and everybody who has one may use the channels `room:…`.
struct Rooms(Arc<ChannelOptions>);

impl Rooms {
    fn new() -> Self {
        Self(Arc::new(ChannelOptions {
            history_size: 100,
            history_ttl: Duration::from_secs(600),
            ..ChannelOptions::default()
        }))
    }
}

#[async_trait]
impl Hooks for Rooms {
    fn channel(&self, channel: &Channel) -> Result<Arc<ChannelOptions>, ClientError> {
        if channel.as_str().starts_with("room:") {
            Ok(Arc::clone(&self.0))
        } else {
            Err(ClientError::UNKNOWN_CHANNEL)
        }
    }

    async fn connect(
        &self,
        _client: &Client,
        question: ConnectQuestion,
    ) -> Result<ConnectAnswer, Rejection> {
        if question.token.is_empty() {
            return Err(Disconnect::INVALID_TOKEN.into());
        }
        Ok(ConnectAnswer {
            user: UserId::from(question.token),
            ..ConnectAnswer::default()
        })
    }

    async fn subscribe(
        &self,
        _client: &Client,
        question: SubscribeQuestion,
    ) -> Result<SubscribeAnswer, Rejection> {
        self.channel(&question.channel)?;
        let options = SubscribeOptions {
            positioned: true,
            recoverable: true,
            ..SubscribeOptions::default()
        };
        Ok(options.into())
    }

    async fn publish(
        &self,
        _client: &Client,
        channel: &Channel,
        _subscribed: bool,
        data: Bytes,
    ) -> Result<PublishAnswer, Rejection> {
        self.channel(channel)?;
        Ok(data.into())
    }

    async fn read(
        &self,
        _client: &Client,
        _channel: &Channel,
        subscribed: bool,
        _what: Read,
    ) -> Result<(), Rejection> {
        if subscribed {
            Ok(())
        } else {
            Err(ClientError::PERMISSION_DENIED.into())
        }
    }

    async fn rpc(&self, client: &Client, method: &str, _data: Bytes) -> Result<Bytes, Rejection> {
        match method {
            "whoami" => Ok(format!("{:?}", client.user.as_str()).into()),
            _ => Err(ClientError::METHOD_NOT_FOUND.into()),
        }
    }

    async fn message(&self, _client: &Client, _data: Bytes) -> Result<(), Rejection> {
        Err(Disconnect::NOT_AVAILABLE.into())
    }

    async fn refresh(&self, _client: &Client, _token: &str) -> Result<RefreshAnswer, Rejection> {
        Ok(RefreshAnswer::default())
    }

    async fn sub_refresh(
        &self,
        _client: &Client,
        channel: &Channel,
        _token: &str,
    ) -> Result<SubRefreshAnswer, Rejection> {
        Ok(SubRefreshAnswer {
            channel: channel.clone(),
            ..SubRefreshAnswer::default()
        })
    }
}

/// A route of the program itself that publishes.
async fn announce(State(node): State<Node>) -> Result<&'static str, String> {
    let publish = Publish {
        data: Bytes::from_static(br#""dinner is ready""#),
        ..Publish::default()
    };
    let published = node.publish(&Channel::from("room:1"), publish).await;
    published
        .map(|_position| "announced\n")
        .map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Only for its defaults: limits and intervals of connections.
    let config = Config::from_value(serde_json::json!({}))?;
    let registry = Registry::new();
    let (sender, events) = engine::event_channel(2, 1024, Duration::from_secs(5));
    let node = Node::start(Parts {
        id: uuid::Uuid::new_v4().to_string().into(),
        config: config.section("")?,
        hooks: Arc::new(Rooms::new()),
        engine: Memory::new(sender).into_engine(),
        events,
        registry: registry.clone(),
    })?;

    let sessions = Tasks::default();
    let endpoint = websocket::Endpoint::new(websocket::Parts {
        serve: node.clone(),
        config: &config.section("websocket")?,
        uni: None,
        client: &config.section("client")?,
        origins: Arc::new(Origins::new(&["http://localhost:3000".to_owned()])?),
        peers: Arc::default(),
        tasks: sessions.clone(),
        metrics: Metrics::new(&registry, "centrifugo")?,
    });
    let router = Router::new()
        .route("/announce", get(announce))
        .with_state(node.clone())
        .nest_service("/connection/websocket", endpoint.into_router());

    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        failed = serve(&listener, &router) => failed?,
    }
    // Everybody is told to connect elsewhere; then the engine ends.
    node.drain().await;
    sessions.finished().await;
    node.close().await;
    Ok(())
}

/// Serves a router the usual way of hyper, upgrades included.
async fn serve(listener: &TcpListener, router: &Router) -> std::io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        let (socket, remote): (_, SocketAddr) = listener.accept().await?;
        let service = ServiceBuilder::new()
            .map_request(move |mut request: http::Request<hyper::body::Incoming>| {
                // What the node knows of the peer's address.
                request.extensions_mut().insert(RemoteAddress(remote));
                request
            })
            .service(router.clone());
        connections.spawn(async move {
            // A peer that goes away in the middle of a request is its own business.
            drop(
                auto::Builder::new(TokioExecutor::new())
                    .serve_connection_with_upgrades(
                        TokioIo::new(socket),
                        TowerToHyperService::new(service),
                    )
                    .await,
            );
        });
        while connections.try_join_next().is_some() {}
    }
}
