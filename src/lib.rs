//! Centripetal, a gRPC-first real-time gateway.

pub mod api;
pub mod auth;
pub mod cli;
pub mod client;
pub mod config;
mod dev;
pub mod engine;
pub mod hooks;
mod hub;
pub mod model;
pub mod node;
pub mod policy;
pub mod protocol;
pub mod server;
mod session;
pub mod telemetry;
pub mod transport;

mod pb {
    //! Generated Protobuf types; turned into `protocol`, `model` or `api` types by the first function that sees them.
    #![expect(
        unreachable_pub,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::struct_excessive_bools,
        clippy::too_many_lines,
        clippy::use_self,
        reason = "generated code"
    )]

    #[allow(
        dead_code,
        reason = "messages of the schema that only clients in other languages need"
    )]
    pub mod client {
        tonic::include_proto!("proto");
    }
}
