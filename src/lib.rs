//! Centripetal, a gRPC-first real-time gateway.
pub mod engine;
pub mod hooks;
pub mod model;
pub mod node;
pub mod protocol;
