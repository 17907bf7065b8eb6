//! Clients that speak the wire by themselves, one API over all transports, and what behaviours need to look at a
//! server from outside. Nothing here uses the crate's own client or schema, so that two opinions meet on the wire.

mod client;
mod front;
mod grpc;
mod outside;
mod protobuf;
mod schema;
mod socket;
mod stream;
mod witness;

pub(crate) use client::{Client, Close, Transport};
pub(crate) use front::Front;
pub(crate) use outside::{Bystander, Metric, eventually, now, server};
pub(crate) use protobuf::{HEX, delimited, unhex, varint};
pub(crate) use socket::Offer;
pub(crate) use witness::{Calm, watched};

/// Turns behaviours, `async fn name(on: Transport)`, into one test for every transport. A behaviour that makes no sense where
/// commands come by requests says why, and is left out there.
macro_rules! on_every_transport {
    ($($behaviour:ident $(= $reason:literal)?),+ $(,)?) => {$(
        mod $behaviour {
            use crate::harness::Transport;

            crate::harness::on_every_transport!(@requests $behaviour $(= $reason)?);

            #[tokio::test]
            async fn grpc() {
                Box::pin(super::$behaviour(Transport::Grpc)).await;
            }

            #[tokio::test]
            async fn websocket_json() {
                Box::pin(super::$behaviour(Transport::Json)).await;
            }

            #[tokio::test]
            async fn websocket_protobuf() {
                Box::pin(super::$behaviour(Transport::Protobuf)).await;
            }
        }
    )+};
    (@requests $behaviour:ident = $reason:literal) => {};
    (@requests $behaviour:ident) => {
        #[tokio::test]
        #[ignore = "doubles the suite; `cargo test --test it -- --ignored` runs these"]
        async fn http_stream_json() {
            Box::pin(super::$behaviour(Transport::HttpStream)).await;
        }

        #[tokio::test]
        #[ignore = "doubles the suite; `cargo test --test it -- --ignored` runs these"]
        async fn http_stream_protobuf() {
            Box::pin(super::$behaviour(Transport::HttpStreamProtobuf)).await;
        }

        #[tokio::test]
        #[ignore = "doubles the suite; `cargo test --test it -- --ignored` runs these"]
        async fn sse() {
            Box::pin(super::$behaviour(Transport::Sse)).await;
        }
    };
}

pub(crate) use on_every_transport;
