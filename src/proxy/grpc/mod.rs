//! Questions over gRPC (proxy.md 4). The only place that names the generated messages of `proto/proxy.proto`.
//!
//! Connections are made when they are needed, and several when one carries many calls: servers limit the calls of one
//! connection. Nothing is retried.

mod message;
mod stream;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, Uri, uri::PathAndQuery};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tonic::{
    Code, Request, Status,
    client::Grpc as Client,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tower::ServiceExt as _;

use super::{
    Error, Failure, ReadPem,
    answer::Answer,
    config::{LimitsConfig, ProxyConfig},
    question::{Carriage, Question},
    tls::Tls,
};

/// Calls of one connection before another is used.
const CALLS: usize = 100;

/// Most connections to one backend.
const CONNECTIONS: usize = 64;

/// One question type of the service.
pub(crate) trait Unary: Sized {
    /// What is sent.
    type Request: prost::Message + Default + Send + Sync + 'static;
    /// What comes back.
    type Response: prost::Message + Default + Into<Answer<Self>> + Send + Sync + 'static;
    /// Path of the method.
    const PATH: &'static str;
    /// The question in this form.
    fn request(question: &Question<'_>, carriage: Carriage) -> Self::Request;
}

/// One address.
#[derive(Debug)]
pub(super) struct Grpc {
    /// There is at least one.
    first: Connection,
    more: Vec<Connection>,
    compression: bool,
    limit: usize,
}

#[derive(Debug)]
struct Connection {
    channel: Channel,
    calls: Arc<AtomicUsize>,
}

/// One call on a connection; over when dropped.
#[derive(Debug)]
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Grpc {
    pub(super) fn new(
        config: &ProxyConfig,
        limits: &LimitsConfig,
        read: ReadPem,
    ) -> Result<Self, Error> {
        let secure = config.grpc.tls.enabled;
        let host = address(&config.endpoint).ok_or(Error::Address)?;
        let origin: Uri = format!("{}://{host}", if secure { "https" } else { "http" })
            .parse()
            .map_err(|_no_uri| Error::Address)?;
        let tls = tls(config, read)?;
        let endpoint = Endpoint::from_shared(format!("http://{host}"))
            .map_err(|_no_uri| Error::Address)?
            .origin(origin.clone())
            .connect_timeout(config.timeout)
            .http2_adaptive_window(false);
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let builder = HttpsConnectorBuilder::new()
            .with_tls_config(tls.config)
            .https_or_http();
        let builder = match tls.name {
            Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => builder,
        };
        let connector = builder.enable_http2().wrap_connector(tcp);
        let connection = || {
            let origin = origin.clone();
            // TLS is the connector's, so the scheme is put back here.
            let connector = connector.clone().map_request(move |_: Uri| origin.clone());
            Connection {
                channel: endpoint.connect_with_connector_lazy(connector),
                calls: Arc::default(),
            }
        };
        let count = limits.concurrency.div_ceil(CALLS).clamp(1, CONNECTIONS);
        Ok(Self {
            first: connection(),
            more: (1..count).map(|_| connection()).collect(),
            compression: config.grpc.compression,
            limit: limits.max_response_size,
        })
    }

    /// The first connection with room, else the one with the fewest calls.
    fn connection(&self) -> (Client<Channel>, Running) {
        let load = |connection: &Connection| connection.calls.load(Ordering::Relaxed);
        let mut chosen = &self.first;
        for connection in &self.more {
            if load(chosen) < CALLS {
                break;
            }
            if load(connection) < load(chosen) {
                chosen = connection;
            }
        }
        chosen.calls.fetch_add(1, Ordering::Relaxed);
        let mut client = Client::new(chosen.channel.clone())
            .max_decoding_message_size(self.limit)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip);
        if self.compression {
            client = client.send_compressed(CompressionEncoding::Gzip);
        }
        (client, Running(Arc::clone(&chosen.calls)))
    }

    /// Asks. `timeout` is what the backend is told.
    pub(super) async fn ask<T: Unary>(
        &self,
        message: T::Request,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<Answer<T>, Failure> {
        let (mut client, _running) = self.connection();
        client.ready().await.map_err(|_down| Failure::Connect)?;
        let mut request = with_metadata(message, headers);
        request.set_timeout(timeout);
        let codec = ProstCodec::<T::Request, T::Response>::default();
        let path = PathAndQuery::from_static(T::PATH);
        let response = client.unary(request, path, codec).await;
        let response = response.map_err(|status| failure(&status))?;
        Ok(response.into_inner().into())
    }
}

/// Checks what can be checked without connecting.
pub(super) fn check(config: &ProxyConfig, read: ReadPem) -> Result<(), Error> {
    address(&config.endpoint).ok_or(Error::Address)?;
    tls(config, read)?;
    Ok(())
}

fn tls(config: &ProxyConfig, read: ReadPem) -> Result<Tls, Error> {
    let tls = &config.grpc.tls;
    Ok(Tls::new(tls, tls.enabled, read)?)
}

fn with_metadata<T>(message: T, headers: HeaderMap) -> Request<T> {
    let metadata = MetadataMap::from_headers(headers);
    Request::from_parts(metadata, http::Extensions::new(), message)
}

/// What a status is, as far as reasons are told apart.
fn failure(status: &Status) -> Failure {
    let local = std::error::Error::source(status).is_some();
    match status.code() {
        Code::Unavailable if local => Failure::Connect,
        Code::DeadlineExceeded | Code::Cancelled if local => Failure::Timeout,
        Code::OutOfRange => Failure::TooLarge,
        Code::Internal | Code::Unknown if local => Failure::Decode,
        code => Failure::Grpc(code as i32),
    }
}

/// Host and port of an endpoint.
fn address(endpoint: &str) -> Option<&str> {
    let host = ["grpc://", "dns:///", "passthrough:///"]
        .iter()
        .find_map(|prefix| endpoint.strip_prefix(prefix))
        .unwrap_or(endpoint);
    let authority: http::uri::Authority = host.parse().ok()?;
    let fits = authority.port_u16().is_some() && !host.contains('@');
    fits.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_host_and_port_behind_known_schemes() {
        assert_eq!(address("grpc://backend:1"), Some("backend:1"));
        assert_eq!(address("127.0.0.1:1"), Some("127.0.0.1:1"));
        assert_eq!(address("dns:///backend:1"), Some("backend:1"));
        assert_eq!(address("[::1]:1"), Some("[::1]:1"));
        for wrong in [
            "",
            "backend",
            "grpc://",
            "ftp://backend:1",
            "a@b:1",
            "a:1/x",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
    }
}
