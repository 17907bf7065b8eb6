//! The Rust client over gRPC and WebSocket.
