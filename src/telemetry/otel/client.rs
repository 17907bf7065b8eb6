//! How exporters reach the collector: an HTTP client that works from the library's own threads, and TLS as the variables say.

use std::{future::poll_fn, pin::pin, time::Duration};

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::{Error, Variables};

/// Longest time of a request unless a variable says another.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read; a collector answers next to nothing.
const ANSWER: usize = 1024 * 1024;

const AUTHORITY: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
];
const CHAIN: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
];
const KEY: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
];
const PATIENCE: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
];

/// Posts on the runtime of the server, whoever asks.
#[derive(Debug)]
pub(super) struct Post {
    client: reqwest::Client,
    runtime: Handle,
}

impl Post {
    pub(super) fn new(variables: &Variables) -> Result<Self, Error> {
        let milliseconds = variables
            .first(&PATIENCE)
            .and_then(|text| text.parse().ok());
        let mut builder = reqwest::Client::builder()
            .timeout(milliseconds.map_or(TIMEOUT, Duration::from_millis))
            .redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = file(variables, AUTHORITY)? {
            builder = builder.add_root_certificate(reqwest::Certificate::from_pem(&pem)?);
        }
        if let Some((mut chain, key)) = identity(variables)? {
            chain.extend_from_slice(b"\n");
            chain.extend_from_slice(&key);
            builder = builder.identity(reqwest::Identity::from_pem(&chain)?);
        }
        Ok(Self {
            client: builder.build()?,
            runtime: Handle::current(),
        })
    }

    async fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let mut response = self.client.execute(request).await?;
        let mut answer = Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            *headers = response.headers().clone();
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > ANSWER {
                return Err(format!("answer of more than {ANSWER} bytes").into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(answer.body(body.into())?)
    }
}

#[async_trait::async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut post = pin!(self.post(request));
        // The exporter's thread has no runtime of its own, but sockets and timers need one.
        poll_fn(|cx| {
            let _entered = self.runtime.enter();
            post.as_mut().poll(cx)
        })
        .await
    }
}

/// TLS of the exporter over gRPC; `None` leaves it to the scheme of the endpoint.
pub(super) fn grpc_tls(variables: &Variables) -> Result<Option<ClientTlsConfig>, Error> {
    let authority = file(variables, AUTHORITY)?;
    let identity = identity(variables)?;
    if authority.is_none() && identity.is_none() {
        return Ok(None);
    }
    let mut tls = native();
    if let Some(pem) = authority {
        tls = tls.ca_certificate(Certificate::from_pem(pem));
    }
    if let Some((chain, key)) = identity {
        tls = tls.identity(Identity::from_pem(chain, key));
    }
    Ok(Some(tls))
}

/// TLS with the authorities of the system.
pub(super) fn native() -> ClientTlsConfig {
    ClientTlsConfig::new().with_native_roots()
}

/// A certificate chain and its key, both PEM.
type Pair = (Vec<u8>, Vec<u8>);

fn identity(variables: &Variables) -> Result<Option<Pair>, Error> {
    Ok(file(variables, CHAIN)?.zip(file(variables, KEY)?))
}

/// The file that the first of the variables names.
fn file(variables: &Variables, names: [&'static str; 2]) -> Result<Option<Vec<u8>>, Error> {
    let named = names
        .into_iter()
        .find_map(|name| Some((name, variables.get(name)?)));
    let Some((variable, path)) = named else {
        return Ok(None);
    };
    std::fs::read(path)
        .map(Some)
        .map_err(|why| Error::File { variable, why })
}
