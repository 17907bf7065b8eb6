//! Options of the proxies (config.md 7.4), read out of the places where they stand.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::model::Secret;

/// Everything about proxies, read from the root.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    client: ClientSection,
    channel: ChannelSection,
    rpc: RpcSection,
    proxies: Vec<NamedConfig>,
    centripetal: OwnSection,
}

#[derive(Clone, Debug, Deserialize)]
struct ClientSection {
    proxy: ClientProxies,
}

#[derive(Clone, Debug, Deserialize)]
struct ClientProxies {
    connect: SwitchedConfig,
    refresh: SwitchedConfig,
}

#[derive(Clone, Debug, Deserialize)]
struct SwitchedConfig {
    enabled: bool,
    #[serde(flatten)]
    proxy: ProxyConfig,
}

#[derive(Clone, Debug, Deserialize)]
struct ChannelSection {
    proxy: ChannelProxies,
    without_namespace: ChannelUse,
    namespaces: Vec<ChannelUse>,
}

#[derive(Clone, Debug, Deserialize)]
struct ChannelProxies {
    subscribe: ProxyConfig,
    publish: ProxyConfig,
    sub_refresh: ProxyConfig,
    subscribe_stream: ProxyConfig,
}

/// Which proxies a namespace asks.
#[derive(Clone, Debug, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each a key of config.md 7.6"
)]
struct ChannelUse {
    subscribe_proxy_enabled: bool,
    subscribe_proxy_name: String,
    publish_proxy_enabled: bool,
    publish_proxy_name: String,
    sub_refresh_proxy_enabled: bool,
    sub_refresh_proxy_name: String,
    subscribe_stream_proxy_enabled: bool,
    subscribe_stream_proxy_name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct RpcSection {
    proxy: ProxyConfig,
    without_namespace: RpcUse,
    namespaces: Vec<RpcUse>,
}

#[derive(Clone, Debug, Deserialize)]
struct RpcUse {
    proxy_enabled: bool,
    proxy_name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct OwnSection {
    proxy: LimitsConfig,
}

/// An entry of `proxies`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct NamedConfig {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) proxy: ProxyConfig,
}

/// Table Proxy (config.md 7.4).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ProxyConfig {
    pub(super) endpoint: String,
    pub(super) timeout: Duration,
    pub(super) http_headers: Vec<String>,
    pub(super) grpc_metadata: Vec<String>,
    pub(super) emulated_headers: Vec<String>,
    pub(super) binary_encoding: bool,
    pub(super) include_connection_meta: bool,
    pub(super) http: HttpConfig,
    pub(super) grpc: GrpcConfig,
}

/// Options of HTTP endpoints.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct HttpConfig {
    pub(super) tls: TlsConfig,
    pub(super) static_headers: BTreeMap<String, String>,
    pub(super) status_to_code_transforms: Vec<TransformConfig>,
}

/// Options of gRPC endpoints.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct GrpcConfig {
    pub(super) tls: TlsConfig,
    pub(super) credentials_key: String,
    pub(super) credentials_value: Secret,
    pub(super) compression: bool,
    pub(super) static_metadata: BTreeMap<String, String>,
}

/// Table TLS (config.md 7.1), as a client.
#[derive(Clone, Deserialize)]
pub(super) struct TlsConfig {
    pub(super) enabled: bool,
    pub(super) cert_pem: String,
    pub(super) key_pem: String,
    pub(super) server_ca_pem: String,
    pub(super) insecure_skip_verify: bool,
    pub(super) server_name: String,
}

impl std::fmt::Debug for TlsConfig {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConfig")
            .field("enabled", &self.enabled)
            .finish_non_exhaustive()
    }
}

/// A status that stands for an error or a disconnect (proxy.md 7.1).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct TransformConfig {
    pub(super) status_code: u16,
    pub(super) to_error: ToErrorConfig,
    pub(super) to_disconnect: ToDisconnectConfig,
}

/// The error a status stands for.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ToErrorConfig {
    pub(super) code: u32,
    pub(super) message: String,
    pub(super) temporary: bool,
}

/// The disconnect a status stands for.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ToDisconnectConfig {
    pub(super) code: u32,
    pub(super) reason: String,
}

/// Bounds of every proxy (`centripetal.proxy.*`).
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct LimitsConfig {
    pub(super) concurrency: usize,
    pub(super) max_waiting: usize,
    pub(super) wait_timeout: Duration,
    pub(super) max_response_size: usize,
}

/// The section of a default proxy, or the entry of a named one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// For errors.
    pub(super) key: &'a str,
    /// For metrics and references.
    pub(super) name: &'a str,
    pub(super) proxy: &'a ProxyConfig,
}

/// The name that stands for the section of a question.
pub(super) const DEFAULT: &str = "default";

impl Config {
    /// Bounds of every proxy.
    pub(super) const fn limits(&self) -> LimitsConfig {
        self.centripetal.proxy
    }

    /// The connect proxy, when it is on.
    pub(super) fn connect(&self) -> Option<Place<'_>> {
        switched("client.proxy.connect", &self.client.proxy.connect)
    }

    /// The refresh proxy, when it is on.
    pub(super) fn refresh(&self) -> Option<Place<'_>> {
        switched("client.proxy.refresh", &self.client.proxy.refresh)
    }

    /// Default proxies of channels and RPC, with whether something uses them now, in the order of [`super::Kind::SHARED`].
    pub(super) fn defaults(&self) -> [(Place<'_>, bool); 5] {
        let channel = &self.channel.proxy;
        let uses = |asked: fn(&ChannelUse) -> (bool, &str)| {
            let all = self.channel.namespaces.iter();
            let mut all = all.chain([&self.channel.without_namespace]).map(asked);
            all.any(|(enabled, name)| enabled && name == DEFAULT)
        };
        let rpcs = self.rpc.namespaces.iter();
        let rpc = rpcs
            .chain([&self.rpc.without_namespace])
            .any(|rpc| rpc.proxy_enabled && rpc.proxy_name == DEFAULT);
        [
            (
                default("channel.proxy.subscribe", &channel.subscribe),
                uses(|ns| (ns.subscribe_proxy_enabled, &ns.subscribe_proxy_name)),
            ),
            (
                default("channel.proxy.publish", &channel.publish),
                uses(|ns| (ns.publish_proxy_enabled, &ns.publish_proxy_name)),
            ),
            (
                default("channel.proxy.sub_refresh", &channel.sub_refresh),
                uses(|ns| (ns.sub_refresh_proxy_enabled, &ns.sub_refresh_proxy_name)),
            ),
            (
                default("channel.proxy.subscribe_stream", &channel.subscribe_stream),
                uses(|ns| {
                    let name = &ns.subscribe_stream_proxy_name;
                    (ns.subscribe_stream_proxy_enabled, name)
                }),
            ),
            (default("rpc.proxy", &self.rpc.proxy), rpc),
        ]
    }

    /// Named proxies.
    pub(super) fn named(&self) -> impl Iterator<Item = Place<'_>> {
        self.proxies.iter().map(|entry| Place {
            key: &entry.name,
            name: &entry.name,
            proxy: &entry.proxy,
        })
    }
}

fn switched<'a>(key: &'a str, config: &'a SwitchedConfig) -> Option<Place<'a>> {
    config.enabled.then(|| default(key, &config.proxy))
}

const fn default<'a>(key: &'a str, proxy: &'a ProxyConfig) -> Place<'a> {
    Place {
        key,
        name: DEFAULT,
        proxy,
    }
}
