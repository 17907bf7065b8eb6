//! Which headers and metadata of a client reach the backend (proxy.md 5).
//!
//! Nothing is passed on unless it is listed. Emulated headers are the client's words: they never pass as real ones.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Error, config::ProxyConfig};
use crate::model::Peer;

/// Names that belong to the connection with the backend and are never passed on.
const FRAMING: [&str; 11] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "accept-encoding",
    "expect",
];

/// Names that gRPC keeps for itself.
const GRPC: [&str; 2] = ["content-type", "user-agent"];

/// The rules of one proxy.
#[derive(Debug)]
pub(super) struct Forwarding {
    constant: HeaderMap,
    real: Vec<HeaderName>,
    metadata: Vec<HeaderName>,
    emulated: Vec<HeaderName>,
    grpc: bool,
}

impl Forwarding {
    /// Rules as configured. `excluded` are names whose values are credentials of the gateway's own.
    pub(super) fn new(config: &ProxyConfig, grpc: bool, excluded: &[&str]) -> Result<Self, Error> {
        let usable = |name: &HeaderName| {
            let name = name.as_str();
            let reserved = grpc && (GRPC.contains(&name) || name.starts_with("grpc-"));
            !FRAMING.contains(&name) && !reserved
        };
        let names = |listed: &[String]| {
            let names = listed.iter().map(|name| parse(name));
            let names: Result<BTreeSet<_>, _> = names.map(|name| name.map(ByName)).collect();
            let names = names?.into_iter().map(|name| name.0);
            let names = names.filter(usable);
            let names = names.filter(|name| !excluded.contains(&name.as_str()));
            Ok::<Vec<_>, Error>(names.collect())
        };
        let mut constant = if grpc {
            let credentials = (
                &config.grpc.credentials_key,
                config.grpc.credentials_value.expose(),
            );
            let mut constant = pairs(&config.grpc.static_metadata)?;
            if !credentials.0.is_empty() {
                let value = HeaderValue::from_str(credentials.1);
                let value = value.map_err(|_bytes| Error::Value(credentials.0.clone()))?;
                constant.append(parse(credentials.0)?, value);
            }
            constant
        } else {
            pairs(&config.http.static_headers)?
        };
        for name in FRAMING.iter().chain(if grpc { &GRPC[..] } else { &[] }) {
            constant.remove(*name);
        }
        Ok(Self {
            constant,
            real: names(&config.http_headers)?,
            metadata: names(&config.grpc_metadata)?,
            emulated: names(&config.emulated_headers)?,
            grpc,
        })
    }

    /// Everything that goes along with a question about this connection. Each step replaces what came before.
    pub(super) fn headers(&self, peer: &Peer, emulated: &[(String, String)]) -> HeaderMap {
        let mut headers = self.constant.clone();
        for (name, value) in emulated {
            if let (Some(name), Some(value)) = (listed(&self.emulated, name), self.value(value)) {
                headers.insert(name.clone(), value);
            }
        }
        let mut last = None;
        for (name, value) in peer.headers.iter() {
            let Some(name) = listed(self.source(peer), name) else {
                continue;
            };
            let Some(value) = self.value(value) else {
                continue;
            };
            if last == Some(name) {
                headers.append(name.clone(), value);
            } else {
                headers.insert(name.clone(), value);
                last = Some(name);
            }
        }
        headers
    }

    /// The list for what this connection brought: metadata over gRPC, headers otherwise.
    fn source(&self, peer: &Peer) -> &[HeaderName] {
        if peer.transport.ends_with("grpc") {
            &self.metadata
        } else {
            &self.real
        }
    }

    /// A value that can be sent. gRPC carries ASCII only.
    fn value(&self, text: &str) -> Option<HeaderValue> {
        let fits = !self.grpc || text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        fits.then(|| HeaderValue::from_str(text).ok()).flatten()
    }

    /// Names that must be kept of requests.
    pub(super) fn kept(&self) -> impl Iterator<Item = &HeaderName> {
        self.real.iter().chain(&self.metadata)
    }

    /// Emulated names that must be kept.
    pub(super) fn kept_emulated(&self) -> impl Iterator<Item = &HeaderName> {
        self.emulated.iter()
    }

    /// This header or metadata key is passed on.
    pub(super) fn forwards(&self, name: &str) -> bool {
        self.kept().any(|listed| listed == name)
    }
}

/// Orders names, which the library does not.
#[derive(PartialEq, Eq)]
struct ByName(HeaderName);

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn listed<'a>(names: &'a [HeaderName], given: &str) -> Option<&'a HeaderName> {
    names
        .iter()
        .find(|name| name.as_str().eq_ignore_ascii_case(given))
}

fn parse(name: &str) -> Result<HeaderName, Error> {
    name.parse()
        .map_err(|_no_name| Error::Name(name.to_owned()))
}

fn pairs(constant: &BTreeMap<String, String>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in constant {
        let value = HeaderValue::from_str(value).map_err(|_bytes| Error::Value(name.clone()))?;
        headers.insert(parse(name)?, value);
    }
    Ok(headers)
}
