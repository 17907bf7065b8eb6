//! Questions over HTTP (proxy.md 3): POST of a JSON object, kept-alive connections, HTTP/2 where the backend offers it.
//!
//! Redirects are failures: a question may carry cookies, which another address must not get.

use std::{io::Read as _, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT},
};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::{
    Error, Failure, ReadPem,
    config::{ProxyConfig, TransformConfig},
    json,
    tls::Tls,
};
use crate::{
    model::{ClientError, Disconnect, Rejection},
    proxy::answer::Answer,
};

/// Idle connections kept to one backend, and for how long.
const IDLE_CONNECTIONS: usize = 255;
const IDLE_TIME: Duration = Duration::from_secs(90);

/// One address.
#[derive(Debug)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    uri: Uri,
    authorization: Option<HeaderValue>,
    transforms: Vec<(u16, Rejection)>,
    limit: usize,
}

impl Http {
    pub(super) fn new(config: &ProxyConfig, limit: usize, read: ReadPem) -> Result<Self, Error> {
        let (uri, authorization) = address(&config.endpoint).ok_or(Error::Address)?;
        let tls = tls(config, read)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.timeout));
        let builder = HttpsConnectorBuilder::new()
            .with_tls_config(tls.config)
            .https_or_http();
        let builder = match tls.name {
            Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => builder,
        };
        let client = Client::builder(TokioExecutor::new())
            // Some backends look for names as browsers used to write them.
            .http1_title_case_headers(true)
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(builder.enable_all_versions().wrap_connector(tcp));
        Ok(Self {
            client,
            uri,
            authorization,
            transforms: transforms(&config.http.status_to_code_transforms),
            limit,
        })
    }

    /// Asks and reads the whole answer. Takes as long as the backend likes.
    pub(super) async fn ask<T: json::Fields>(
        &self,
        body: Vec<u8>,
        headers: HeaderMap,
    ) -> Result<Answer<T>, Failure> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers
            .entry(USER_AGENT)
            .or_insert(HeaderValue::from_static(concat!(
                "centripetal/",
                env!("CARGO_PKG_VERSION")
            )));
        if let Some(authorization) = &self.authorization {
            headers
                .entry(AUTHORIZATION)
                .or_insert_with(|| authorization.clone());
        }
        let response = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                Failure::Connect
            } else {
                Failure::Broken
            }
        })?;
        if response.status() != StatusCode::OK {
            return self.transformed(response.status().as_u16());
        }
        json::answer(&self.body(response).await?)
    }

    /// A status that stands for an answer.
    fn transformed<T>(&self, status: u16) -> Result<Answer<T>, Failure> {
        let rule = self.transforms.iter().find(|(known, _)| *known == status);
        match rule {
            Some((_, rejection)) => Ok(Answer::refused(rejection.clone())),
            None => Err(Failure::Status(status)),
        }
    }

    async fn body(&self, response: Response<Incoming>) -> Result<Bytes, Failure> {
        let encoding = response.headers().get(CONTENT_ENCODING);
        let zipped = encoding.is_some_and(|encoding| encoding == "gzip");
        let mut incoming = response.into_body();
        // The usual answer is one piece and is not copied.
        let (mut first, mut more) = (Bytes::new(), BytesMut::new());
        if incoming.size_hint().lower() > self.limit as u64 {
            return Err(Failure::TooLarge);
        }
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame.map_err(|_cut| Failure::Broken)?.into_data() else {
                continue;
            };
            if first.len() + more.len() + data.len() > self.limit {
                return Err(Failure::TooLarge);
            }
            if first.is_empty() {
                first = data;
            } else {
                more.extend_from_slice(&data);
            }
        }
        let body = if more.is_empty() {
            first
        } else {
            [&first[..], &more[..]].concat().into()
        };
        if zipped { self.unzip(&body) } else { Ok(body) }
    }

    fn unzip(&self, body: &[u8]) -> Result<Bytes, Failure> {
        let mut out = Vec::new();
        let read = GzDecoder::new(body)
            .take(self.limit as u64 + 1)
            .read_to_end(&mut out);
        match read {
            Ok(_) if out.len() > self.limit => Err(Failure::TooLarge),
            Ok(_) => Ok(out.into()),
            Err(_) => Err(Failure::Decode),
        }
    }
}

/// Checks what can be checked without connecting.
pub(super) fn check(config: &ProxyConfig, read: ReadPem) -> Result<(), Error> {
    address(&config.endpoint).ok_or(Error::Address)?;
    tls(config, read)?;
    Ok(())
}

fn tls(config: &ProxyConfig, read: ReadPem) -> Result<Tls, Error> {
    let secure = config.endpoint.starts_with("https://");
    Ok(Tls::new(&config.http.tls, secure, read)?)
}

/// The address without user and password, which become a header.
fn address(endpoint: &str) -> Option<(Uri, Option<HeaderValue>)> {
    let uri: Uri = endpoint.parse().ok()?;
    let authority = uri.authority()?.as_str();
    let Some((user, host)) = authority.rsplit_once('@') else {
        return (!uri.host()?.is_empty()).then_some((uri, None));
    };
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(host.parse().ok()?);
    let mut value: HeaderValue = format!("Basic {}", BASE64_STANDARD.encode(user))
        .parse()
        .ok()?;
    value.set_sensitive(true);
    Some((Uri::from_parts(parts).ok()?, Some(value)))
}

/// Statuses with what they stand for; the first rule of a status counts.
fn transforms(rules: &[TransformConfig]) -> Vec<(u16, Rejection)> {
    let all = rules.iter().map(|rule| {
        let (error, disconnect) = (&rule.to_error, &rule.to_disconnect);
        let rejection = if error.code > 0 {
            Rejection::Error(ClientError {
                code: error.code,
                message: error.message.clone().into(),
                temporary: error.temporary,
            })
        } else {
            Rejection::Disconnect(Disconnect {
                code: disconnect.code,
                reason: disconnect.reason.clone().into(),
            })
        };
        (rule.status_code, rejection)
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_of_an_address_become_a_header() {
        let (uri, authorization) = address("http://ann:pw@localhost:3000/x?y=1").unwrap();
        assert_eq!(uri.to_string(), "http://localhost:3000/x?y=1");
        assert_eq!(authorization.unwrap(), "Basic YW5uOnB3");
        assert!(address("http://localhost").unwrap().1.is_none());
        assert!(address("http://").is_none());
        assert!(address("/path").is_none());
    }
}
