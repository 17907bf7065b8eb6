//! Where a gateway is, read from a URL.

use http::{Uri, uri::PathAndQuery};

use super::super::BuildError;
use crate::model::Encoding;

/// Which transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Grpc,
    WebSocket,
}

/// An address that can be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) scheme: Scheme,
    pub(crate) tls: bool,
    /// Name or number, IPv6 in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: PathAndQuery,
    pub(crate) encoding: Encoding,
}

impl Address {
    /// Reads a URL; defaults of port and path are those of [`crate::client::Client::builder`].
    pub(crate) fn parse(url: &str, encoding: Encoding) -> Result<Self, BuildError> {
        let uri: Uri = url.parse().map_err(BuildError::Url)?;
        let (scheme, tls, default_port) = match uri.scheme_str() {
            Some("grpc") => (Scheme::Grpc, false, 8001),
            Some("grpcs") => (Scheme::Grpc, true, 443),
            Some("ws") => (Scheme::WebSocket, false, 80),
            Some("wss") => (Scheme::WebSocket, true, 443),
            _ => return Err(BuildError::Scheme),
        };
        if scheme == Scheme::Grpc && encoding == Encoding::Json {
            return Err(BuildError::Encoding);
        }
        let authority = uri.authority().ok_or(BuildError::Scheme)?;
        let host = authority.host();
        let port = match authority.as_str().rsplit_once(host) {
            Some((_, "")) => default_port,
            Some((_, given)) => given.trim_start_matches(':').parse().unwrap_or(0),
            None => 0,
        };
        if host.is_empty() || port == 0 {
            return Err(BuildError::Scheme);
        }
        Ok(Self {
            scheme,
            tls,
            host: host.to_owned(),
            port,
            path: path(scheme, &uri),
            encoding,
        })
    }

    /// The host as sockets and certificates want it.
    pub(crate) fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Scheme, host and port as HTTP writes them.
    pub(crate) fn origin(&self) -> String {
        let scheme = match (self.scheme, self.tls) {
            (Scheme::Grpc, false) => "http",
            (Scheme::Grpc, true) => "https",
            (Scheme::WebSocket, false) => "ws",
            (Scheme::WebSocket, true) => "wss",
        };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

/// The gRPC path is fixed; a WebSocket address without a path means the usual endpoint.
fn path(scheme: Scheme, uri: &Uri) -> PathAndQuery {
    let given = uri.path_and_query().filter(|given| *given != "/");
    match (scheme, given) {
        (Scheme::WebSocket, Some(given)) => given.clone(),
        (Scheme::WebSocket, None) => PathAndQuery::from_static("/connection/websocket"),
        (Scheme::Grpc, _) => PathAndQuery::from_static("/proto.Centrifuge/Communicate"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, BuildError> {
        Address::parse(url, Encoding::Protobuf)
    }

    #[test]
    fn ports_and_paths_have_defaults() {
        for (url, origin, path) in [
            ("grpc://h", "http://h:8001", "/proto.Centrifuge/Communicate"),
            (
                "grpcs://h",
                "https://h:443",
                "/proto.Centrifuge/Communicate",
            ),
            (
                "grpc://[::1]:9",
                "http://[::1]:9",
                "/proto.Centrifuge/Communicate",
            ),
            ("ws://h", "ws://h:80", "/connection/websocket"),
            ("ws://h:8000/", "ws://h:8000", "/connection/websocket"),
            ("wss://h/other?x=1", "wss://h:443", "/other?x=1"),
        ] {
            let address = parse(url).unwrap();
            assert_eq!(address.origin(), origin, "{url}");
            assert_eq!(address.path, path, "{url}");
        }
        assert_eq!(parse("ws://[::1]:1").unwrap().bare_host(), "::1");
    }

    #[test]
    fn other_addresses_are_refused() {
        assert!(matches!(parse("http://h:1"), Err(BuildError::Scheme)));
        assert!(matches!(parse("localhost:8001"), Err(BuildError::Scheme)));
        assert!(matches!(parse("/x"), Err(BuildError::Scheme)));
        assert!(matches!(parse("grpc://"), Err(BuildError::Url(_))));
        assert!(matches!(parse("grpc://h:99999"), Err(BuildError::Scheme)));
        assert!(matches!(
            parse("grpc://h:x"),
            Err(BuildError::Url(_) | BuildError::Scheme)
        ));
        let json = Address::parse("grpc://h", Encoding::Json);
        assert!(matches!(json, Err(BuildError::Encoding)));
    }
}
