//! What a request tells of its peer: address, kept headers, user header, credentials.
//!
//! Collects; never judges. Which headers are kept and whose `X-Forwarded-For` counts is configuration.

use std::{
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};

use super::RemoteAddress;
use crate::model::{Certified, Credentials, Encoding, Peer, Refused, UserId, Version};

const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Most connections keep no headers; they share this.
static NONE: LazyLock<Arc<[(String, String)]>> = LazyLock::new(|| Arc::from([]));

/// A network that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed network {0:?}")]
pub struct InvalidNetwork(String);

/// Networks whose `X-Forwarded-*` headers count (`centripetal.trusted_proxies`).
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<(IpAddr, u32)>);

impl TrustedProxies {
    /// Reads networks such as `10.0.0.0/8`, `::1/128`, or plain addresses.
    ///
    /// # Errors
    /// When one is malformed.
    pub fn new(networks: &[String]) -> Result<Self, InvalidNetwork> {
        let networks = networks.iter().map(|text| {
            let malformed = || InvalidNetwork(text.clone());
            let (address, bits) = match text.split_once('/') {
                Some((address, bits)) => (address, Some(bits)),
                None => (text.as_str(), None),
            };
            let address: IpAddr = address.parse().ok().ok_or_else(malformed)?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = match bits {
                Some(bits) => bits.parse().ok().filter(|bits| *bits <= most),
                None => Some(most),
            };
            Ok((address, bits.ok_or_else(malformed)?))
        });
        networks.collect::<Result<_, _>>().map(Self)
    }

    /// True for an address in one of the networks; IPv4 in its own form.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0
            .iter()
            .any(|(network, bits)| match (network, address) {
                (IpAddr::V4(network), IpAddr::V4(address)) => {
                    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                    network.to_bits() & mask == address.to_bits() & mask
                }
                (IpAddr::V6(network), IpAddr::V6(address)) => {
                    let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                    network.to_bits() & mask == address.to_bits() & mask
                }
                _ => false,
            })
    }

    /// The nearest address that is not a trusted proxy, read from the right end of `X-Forwarded-For`.
    fn resolve(&self, remote: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut address = remote;
        let hops = headers.get_all(FORWARDED).iter().rev();
        let hops = hops.filter_map(|value| value.to_str().ok());
        for hop in hops.flat_map(|value| value.rsplit(',')) {
            if !self.contains(address) {
                break;
            }
            let Ok(next) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            address = next.to_canonical();
        }
        address
    }
}

/// How a [`Peer`] is made from a request.
#[derive(Clone, Debug, Default)]
pub struct PeerRules {
    /// Whose forwarded addresses count.
    pub trusted: TrustedProxies,
    /// Header with the user identifier (`client.user_id_http_header`); HTTP transports only.
    pub user_header: Option<HeaderName>,
    /// Headers and metadata that some proxy forwards; the others are not kept.
    pub kept: Vec<HeaderName>,
}

impl PeerRules {
    /// Where a request came from; `None` when no listener said.
    #[must_use]
    pub fn address(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
        let remote = extensions.get::<RemoteAddress>()?.ip();
        Some(self.trusted.resolve(remote, headers))
    }

    /// The peer of an HTTP request.
    pub(super) fn http(
        &self,
        transport: &'static str,
        dialect: (Encoding, Option<Version>),
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Peer {
        let user = self.user_header.as_ref().and_then(|name| headers.get(name));
        let user = user.map(text).filter(|user| !user.is_empty());
        Peer {
            user_header: user.map(UserId::from),
            ..self.any(transport, dialect, headers, extensions)
        }
    }

    /// The peer of any request; the user header is not looked at.
    pub(super) fn any(
        &self,
        transport: &'static str,
        (encoding, version): (Encoding, Option<Version>),
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Peer {
        Peer {
            transport,
            encoding,
            version,
            address: self.address(headers, extensions),
            credentials: extensions.get::<Credentials>().cloned(),
            refused: extensions.get::<Refused>().map(|refused| refused.0.clone()),
            certified: extensions.get::<Certified>().map(|name| name.0.clone()),
            user_header: None,
            headers: self.keep(headers),
        }
    }

    fn keep(&self, headers: &HeaderMap) -> Arc<[(String, String)]> {
        let kept: Vec<_> = self
            .kept
            .iter()
            .flat_map(|name| {
                let values = headers.get_all(name).iter();
                values.map(|value| (name.as_str().to_owned(), text(value)))
            })
            .collect();
        if kept.is_empty() {
            NONE.clone()
        } else {
            kept.into()
        }
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(networks: &[&str]) -> Result<TrustedProxies, InvalidNetwork> {
        TrustedProxies::new(&networks.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
    }

    fn forwarded(values: &[&'static str]) -> HeaderMap {
        values
            .iter()
            .map(|value| (FORWARDED, HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn forwarded_addresses_count_from_trusted_networks_only() {
        let proxies = trusted(&["10.0.0.0/8", "::1"]).unwrap();
        let headers = forwarded(&["1.1.1.1, 2.2.2.2", "10.9.9.9"]);
        let from = |remote: &str| {
            proxies
                .resolve(remote.parse().unwrap(), &headers)
                .to_string()
        };
        assert_eq!(from("10.1.2.3"), "2.2.2.2");
        assert_eq!(from("::1"), "2.2.2.2");
        assert_eq!(from("11.1.2.3"), "11.1.2.3");
        assert_eq!(from("::2"), "::2");
        assert_eq!(
            proxies
                .resolve("10.1.2.3".parse().unwrap(), &forwarded(&["unknown"]))
                .to_string(),
            "10.1.2.3"
        );
        let all = trusted(&["0.0.0.0/0"]).unwrap();
        assert_eq!(
            all.resolve("9.9.9.9".parse().unwrap(), &headers)
                .to_string(),
            "1.1.1.1"
        );
    }

    #[test]
    fn malformed_networks_are_refused() {
        for network in ["10.0.0.0/33", "x", "::/129", "10.0.0.0/", ""] {
            assert_eq!(
                trusted(&[network]).unwrap_err(),
                InvalidNetwork(network.to_owned())
            );
        }
    }

    #[test]
    fn only_asked_for_headers_are_kept() {
        let rules = PeerRules {
            user_header: Some(HeaderName::from_static("x-user")),
            kept: vec![HeaderName::from_static("cookie")],
            ..PeerRules::default()
        };
        let mut headers = HeaderMap::new();
        headers.insert("cookie", HeaderValue::from_static("a=b"));
        headers.insert("authorization", HeaderValue::from_static("secret"));
        headers.insert("x-user", HeaderValue::from_static("42"));
        let mut extensions = Extensions::new();
        extensions.insert(RemoteAddress("[::ffff:1.2.3.4]:5".parse().unwrap()));
        let peer = rules.http("websocket", (Encoding::Json, None), &headers, &extensions);
        assert_eq!(&*peer.headers, [("cookie".to_owned(), "a=b".to_owned())]);
        assert_eq!(peer.user_header.unwrap().as_str(), "42");
        assert_eq!(peer.address.unwrap().to_string(), "1.2.3.4");
        let peer = rules.any("grpc", (Encoding::Protobuf, None), &headers, &extensions);
        assert_eq!(peer.user_header, None);
    }
}
