//! Centripetal is a real-time gateway: publish from your backend, receive on gRPC streams and WebSockets.
//!
//! Most people run the binary (`centripetal dev`, `centripetal`), see the README. This library is for programs that want
//! the gateway, a part of it, or its Rust client inside themselves.
//!
//! # A gateway in your program
//!
//! ```no_run
//! use centripetal::{config::Config, model::Channel, node::Publish, server::{Gateway, Stop}};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::from_value(serde_json::json!({"client": {"insecure": true}}))?;
//! config.refuse_missing()?;
//! let gateway = Gateway::build(&config).await?;
//! let node = gateway.node().clone();
//! node.publish(&Channel::from("news"), Publish { data: r#"{"text":"hello"}"#.into(), ..Publish::default() }).await?;
//! gateway.run(&Stop::default()).await;
//! # Ok(())
//! # }
//! ```
//!
//! The repository's `examples/embed.rs` is this as a program. `examples/own_hooks.rs` goes one layer down: a [`node::Node`]
//! with [`hooks::Hooks`] of its own, and the WebSocket [`transport::websocket::Endpoint`] on a router that has other routes.
//!
//! # A client in your program
//!
//! ```no_run
//! use centripetal::client::{Client, SubscribeOptions, SubscriptionEvent};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, _events) = Client::builder("grpc://127.0.0.1:8001").token("…").build()?;
//! client.connect().await?;
//! let mut news = client.subscribe("news", SubscribeOptions::new()).await?;
//! while let Some(event) = news.next().await {
//!     if let SubscriptionEvent::Publication(publication) = event {
//!         assert!(!publication.data.is_empty());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # The layers, in reading order
//!
//! | Layer | What it is | Begin with |
//! |---|---|---|
//! | [`model`] | the vocabulary everything else speaks | [`model::Publication`], [`model::Disconnect`] |
//! | [`protocol`] | bytes to messages and back, pure | [`protocol::Command`], [`protocol::Reply`] |
//! | `session` (private) | one connection as a state machine, pure | |
//! | `hub` (private) | who on this node listens to what | |
//! | [`engine`] | where publications are ordered and kept | [`engine::Broker`], [`engine::memory::Memory`] |
//! | [`hooks`] | the questions a node asks its owner | [`hooks::Hooks`] |
//! | [`node`] | where these meet | [`node::Node`], [`node::Link`] |
//! | [`auth`], [`policy`] | the standard answers: tokens, namespaces, permissions | [`policy::Policy`] |
//! | [`proxy`] | whom the standard answers ask: your backend, over HTTP and gRPC | [`proxy::Proxies`] |
//! | [`transport`] | gRPC and WebSocket as adapters | [`transport::grpc::Communicate`], [`transport::websocket::Endpoint`] |
//! | [`api`] | the server API as an adapter | [`api::Api`] |
//! | [`trace`] | spans and their W3C context | [`trace::Tracer`] |
//! | [`config`], [`telemetry`] | options; logs, exporters of OpenTelemetry | [`config::Config`] |
//! | [`server`] | all of it wired, start to drain | [`server::Gateway`] |
//! | [`client`] | the Rust client; needs only `protocol` and `model` | [`client::Client`] |
//! | [`cli`] | what a person types | |
//!
//! `ARCHITECTURE.md` in the repository has the way of a publication, the invariants and the bounds.
//! The interface may change with every 0.x version.

pub mod api;
pub mod auth;
pub mod cli;
pub mod client;
pub mod config;
mod dev;
pub mod engine;
mod exposition;
pub mod hooks;
mod hub;
pub mod model;
pub mod node;
pub mod policy;
pub mod protocol;
pub mod proxy;
pub mod server;
mod session;
mod summary;
pub mod telemetry;
pub mod trace;
pub mod transport;

mod pb {
    //! Generated Protobuf types; turned into `protocol`, `model` or `api` types by the first function that sees them.
    #![expect(
        unreachable_pub,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::struct_excessive_bools,
        clippy::too_many_lines,
        clippy::use_self,
        reason = "generated code"
    )]

    #[allow(
        dead_code,
        reason = "messages of the schema that only clients in other languages need"
    )]
    pub mod client {
        tonic::include_proto!("proto");
    }

    #[allow(
        dead_code,
        reason = "calls that this edition never makes, and the server side, which applications have"
    )]
    pub mod proxy {
        tonic::include_proto!("centrifugal.centrifugo.proxy");
    }

    pub mod control {
        tonic::include_proto!("control");
    }

    pub mod stream {
        tonic::include_proto!("stream");
    }
}

/// The Rust code of the README, compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;

/// The code of `docs/embed.md`, compiled likewise.
#[cfg(doctest)]
#[doc = include_str!("../docs/embed.md")]
#[derive(Debug)]
pub struct Embedding;
