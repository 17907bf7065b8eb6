//! A small chat application that answers the gateway's questions, over HTTP and over gRPC on one port.
//!
//! The rules of the application are in `rules.rs`; `http.rs` and `grpc.rs` only translate. `backend.py` is the same
//! application in Python. Run it with `cargo run --example backend`, and the gateway with the configuration that the
//! README of this folder shows.

mod grpc;
mod http;
mod rules;

use std::{env, error::Error, io::Write as _, net::SocketAddr, sync::Arc};

use rules::Chat;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{service::Routes, transport::Server};

pub(crate) mod pb {
    //! Made by the build script from `proto/proxy.proto`; in a project of its own by `tonic-prost-build`.
    #![expect(
        unreachable_pub,
        clippy::allow_attributes,
        clippy::too_many_lines,
        clippy::allow_attributes_without_reason,
        clippy::use_self,
        reason = "generated code"
    )]
    #![allow(dead_code, reason = "what the chat does not need")]

    tonic::include_proto!("centrifugal.centrifugo.proxy");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:3000").parse()?;
    let listener = TcpListener::bind(address).await?;
    let mut out = std::io::stdout();
    writeln!(out, "listening on {}", listener.local_addr()?)?;
    out.flush()?;
    let chat = Arc::new(Chat::default());
    let routes = Routes::from(http::router(chat.clone())).add_service(grpc::service(chat));
    Server::builder()
        .accept_http1(true)
        .add_routes(routes)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
