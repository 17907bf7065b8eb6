//! How commands and replies travel: one connector per address, giving a sending and a receiving half.
//!
//! Knows addresses, sockets and TLS; knows nothing of what a command means or when to connect.

use std::{collections::VecDeque, future::Future};

use super::{BuildError, machine::Loss};
use crate::protocol::{Command, Reply};

mod address;
mod grpc;
#[cfg(test)]
pub(super) mod tests;
mod tls;
mod websocket;

pub(crate) use address::{Address, Scheme};
pub(crate) use grpc::Opaque;
pub(super) use tls::Authorities;

/// Opens transports.
pub(super) trait Connector: Send + Sync + 'static {
    type Sending: Sending;
    type Receiving: Receiving;

    /// Opens a transport; given up by dropping the future.
    fn open(&self) -> impl Future<Output = Opened<Self>> + Send + 'static;
}

/// Both halves, or why there are none.
pub(super) type Opened<C> =
    Result<(<C as Connector>::Sending, <C as Connector>::Receiving), super::Error>;

/// The half that writes.
pub(super) trait Sending: Send + 'static {
    /// Writes commands in order, taking each from the queue when it is certain to leave. Cancel safe.
    ///
    /// # Errors
    /// When the transport is broken.
    fn send(
        &mut self,
        queue: &mut VecDeque<Command>,
    ) -> impl Future<Output = Result<(), Loss>> + Send;

    /// True when the transport has taken all bytes of what was sent.
    fn is_flushed(&self) -> bool {
        true
    }

    /// Says good-bye; the receiving half then comes to its end.
    fn finish(self) -> impl Future<Output = ()> + Send;
}

/// The half that reads.
pub(super) trait Receiving: Send + 'static {
    /// The next replies, at least one. Cancel safe.
    ///
    /// # Errors
    /// When the transport ended, with the server's code if it gave one.
    fn receive(&mut self) -> impl Future<Output = Result<Vec<Reply>, Loss>> + Send;
}

/// Opens transports over the network.
#[derive(Clone, Debug)]
pub(super) enum Network {
    Grpc(Box<grpc::Grpc>),
    WebSocket(Box<websocket::WebSocket>),
}

impl Network {
    /// Prepares everything that can be prepared before a connection.
    pub(super) fn new(
        address: Address,
        authorities: Option<&Authorities>,
        message_size_limit: usize,
    ) -> Result<Self, BuildError> {
        Ok(match address.scheme {
            Scheme::Grpc => {
                let grpc = grpc::Grpc::new(&address, authorities, message_size_limit)?;
                Self::Grpc(Box::new(grpc))
            }
            Scheme::WebSocket => {
                let websocket =
                    websocket::WebSocket::new(address, authorities, message_size_limit)?;
                Self::WebSocket(Box::new(websocket))
            }
        })
    }

    async fn opened(self) -> Opened<Self> {
        match self {
            Self::Grpc(grpc) => {
                let (sending, receiving) = grpc.open().await?;
                Ok((
                    NetworkSending::Grpc(sending),
                    NetworkReceiving::Grpc(receiving),
                ))
            }
            Self::WebSocket(websocket) => {
                let (sending, receiving) = websocket.open().await?;
                Ok((
                    NetworkSending::WebSocket(Box::new(sending)),
                    NetworkReceiving::WebSocket(Box::new(receiving)),
                ))
            }
        }
    }
}

/// The sending half of either transport.
#[derive(Debug)]
pub(super) enum NetworkSending {
    Grpc(grpc::GrpcSending),
    WebSocket(Box<websocket::WebSocketSending>),
}

/// The receiving half of either transport.
#[derive(Debug)]
pub(super) enum NetworkReceiving {
    Grpc(grpc::GrpcReceiving),
    WebSocket(Box<websocket::WebSocketReceiving>),
}

impl Connector for Network {
    type Sending = NetworkSending;
    type Receiving = NetworkReceiving;

    fn open(&self) -> impl Future<Output = Opened<Self>> + Send + 'static {
        self.clone().opened()
    }
}

impl Sending for NetworkSending {
    async fn send(&mut self, queue: &mut VecDeque<Command>) -> Result<(), Loss> {
        match self {
            Self::Grpc(half) => half.send(queue).await,
            Self::WebSocket(half) => half.send(queue).await,
        }
    }

    fn is_flushed(&self) -> bool {
        match self {
            Self::Grpc(half) => half.is_flushed(),
            Self::WebSocket(half) => half.is_flushed(),
        }
    }

    async fn finish(self) {
        match self {
            Self::Grpc(half) => half.finish().await,
            Self::WebSocket(half) => half.finish().await,
        }
    }
}

impl Receiving for NetworkReceiving {
    async fn receive(&mut self) -> Result<Vec<Reply>, Loss> {
        match self {
            Self::Grpc(half) => half.receive().await,
            Self::WebSocket(half) => half.receive().await,
        }
    }
}
