//! The server as a whole: one binary, a module per behaviour, always against the real executable.
#![expect(clippy::panic, reason = "helpers of tests fail their test")]
#![expect(
    clippy::cognitive_complexity,
    reason = "every assertion counts as a branch"
)]

#[cfg(test)]
mod addresses;
#[cfg(test)]
mod admin;
#[cfg(test)]
mod auth;
mod autobahn;
mod bench;
#[cfg(test)]
mod browser;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod compression;
#[cfg(test)]
mod config;
#[cfg(test)]
mod connect;
#[cfg(test)]
mod delta;
mod embed;
#[cfg(test)]
mod emulation;
#[cfg(test)]
mod fault;
#[cfg(test)]
mod filter;
mod golden;
#[cfg(test)]
mod grpc_conformance;
#[cfg(test)]
mod haproxy;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod http2;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod matrix;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod nginx;
#[cfg(test)]
mod origins;
#[cfg(test)]
mod presence;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod publish;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod redis;
mod sdk;
#[cfg(test)]
mod server_api;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod slow;
mod smoke;
mod sockjs;
#[cfg(test)]
mod subscribe;
mod support;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod uni;
mod vendored;
#[cfg(test)]
mod wire;
