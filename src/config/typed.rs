//! The sections that belong to the process as a whole and to no other module.

use std::time::Duration;

use serde::Deserialize;

/// Listeners for clients and operators (config.md 8.1).
#[derive(Clone, Debug, Deserialize)]
pub struct HttpServer {
    /// Host of the external listener; empty for all interfaces.
    pub address: String,
    /// Port of the external listener.
    pub port: u16,
    /// Host of the internal listener; empty for `address`.
    pub internal_address: String,
    /// Port of the internal listener as text; empty for `port`.
    pub internal_port: String,
    /// TLS.
    pub tls: Tls,
    /// Certificates that come by themselves, in place of those of `tls`.
    pub tls_autocert: Autocert,
    /// TLS on the external listener only.
    pub tls_external: bool,
    /// TLS of a separate internal listener.
    pub internal_tls: Tls,
    /// HTTP/2 without TLS on the external listener.
    pub h2c_external: bool,
}

impl HttpServer {
    /// Host and port of the external listener.
    #[must_use]
    pub fn external(&self) -> (&str, u16) {
        (&self.address, self.port)
    }

    /// Host and port of the internal listener; equal to the external one unless something else is configured.
    #[must_use]
    pub fn internal(&self) -> (&str, u16) {
        let address = if self.internal_address.is_empty() {
            &self.address
        } else {
            &self.internal_address
        };
        // A text that is no port was refused by the rules.
        (address, self.internal_port.parse().unwrap_or(self.port))
    }
}

/// Certificates by ACME.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Autocert {
    /// Switched on.
    pub enabled: bool,
}

/// TLS settings of one listener or one outgoing connection (config.md 7.1).
#[derive(Clone, Deserialize)]
pub struct Tls {
    /// Switched on.
    pub enabled: bool,
    /// Certificate chain; see [`super::read_pem`].
    pub cert_pem: String,
    /// Private key.
    pub key_pem: String,
    /// Authority of the server.
    pub server_ca_pem: String,
    /// Authority of clients.
    pub client_ca_pem: String,
    /// Do not verify the server.
    pub insecure_skip_verify: bool,
    /// Name to verify and send.
    pub server_name: String,
}

impl std::fmt::Debug for Tls {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("enabled", &self.enabled)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// Which engine (config.md 8.3).
#[derive(Clone, Debug, Deserialize)]
pub struct EngineChoice {
    /// `memory` or `redis`.
    pub r#type: String,
}

/// Health endpoint (config.md 8.29).
#[derive(Clone, Debug, Deserialize)]
pub struct Health {
    /// Switched on.
    pub enabled: bool,
    /// Path.
    pub handler_prefix: String,
}

/// What this node is called (config.md 8.34).
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Name; empty for host name and port.
    pub name: String,
    /// Time between metric snapshots in `info`.
    pub info_metrics_aggregate_interval: Duration,
}

/// Orderly end (config.md 8.35).
#[derive(Clone, Debug, Deserialize)]
pub struct Shutdown {
    /// Longest time for it.
    pub timeout: Duration,
}
