//! Clients that speak the wire by themselves, one API over all transports, and what behaviours need to look at a
//! server from outside. Nothing here uses the crate's own client or schema, so that two opinions meet on the wire.

mod client;
mod front;
mod grpc;
mod listener;
mod outside;
mod protobuf;
mod schema;
mod socket;
mod sockjs;
mod stream;
mod witness;

pub(crate) use client::{Client, Close, Transport};
pub(crate) use front::Front;
pub(crate) use outside::{Bystander, Metric, eventually, now, server};
pub(crate) use protobuf::{HEX, delimited, unhex, varint};
pub(crate) use socket::Offer;
pub(crate) use witness::{Calm, watched};

/// Turns behaviours, `async fn name(on: Transport)`, into one test for every transport with commands. A behaviour that makes no
/// sense where commands come by requests says why, and is left out there; `+ sockjs` or `+ streams` when it makes
/// sense on SockJS, or on HTTP stream and SSE, all the same.
macro_rules! on_every_transport {
    ($($behaviour:ident $(= $reason:literal $(+ $but:ident)?)?),+ $(,)?) => {$(
        mod $behaviour {
            use crate::harness::Transport;

            crate::harness::on_every_transport!(@requests $behaviour $(= $reason $(+ $but)?)?);

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
    (@requests $behaviour:ident = $reason:literal + sockjs) => {
        #[tokio::test]
        #[ignore = "doubles the suite; `cargo test --test it -- --ignored` runs these"]
        async fn sockjs() {
            Box::pin(super::$behaviour(Transport::SockJs)).await;
        }
    };
    (@requests $behaviour:ident) => {
        crate::harness::on_every_transport!(@requests $behaviour = "" + sockjs);
        crate::harness::on_every_transport!(@requests $behaviour = "" + streams);
    };
    (@requests $behaviour:ident = $reason:literal + streams) => {
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

/// Turns behaviours that say nothing after the connect into one test for every transport of clients that only listen.
macro_rules! on_every_listener {
    ($($behaviour:ident),+ $(,)?) => {
        mod listeners {$(
            mod $behaviour {
                use crate::harness::Transport;

                #[tokio::test]
                async fn uni_websocket() {
                    Box::pin(super::super::$behaviour(Transport::UniWebSocket)).await;
                }

                #[tokio::test]
                async fn uni_sse() {
                    Box::pin(super::super::$behaviour(Transport::UniSse)).await;
                }

                #[tokio::test]
                async fn uni_http_stream() {
                    Box::pin(super::super::$behaviour(Transport::UniHttpStream)).await;
                }

                #[tokio::test]
                async fn uni_grpc() {
                    Box::pin(super::super::$behaviour(Transport::UniGrpc)).await;
                }
            }
        )+}
    };
}

pub(crate) use {on_every_listener, on_every_transport};
