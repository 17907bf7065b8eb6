//! What an application is told.

use std::sync::Arc;

use bytes::Bytes;

use super::Error;
use crate::model::{Channel, ClientId, ClientInfo, Publication, StreamPosition};

/// Something that happened to the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The client connects, for the first time or again. Codes below 3000 are its own:
    /// 0 connect called, 1 transport closed, 2 no ping, 3 subscribe timeout, 4 unsubscribe error.
    Connecting {
        /// Why.
        code: u32,
        /// Human text.
        reason: String,
    },
    /// The server accepted the connection.
    Connected {
        /// Connection identifier.
        client: ClientId,
        /// Server version.
        version: String,
        /// Data the server gave.
        data: Bytes,
    },
    /// The connection ended and the client does not try again by itself. Codes below 3000 are its own or, for a refused
    /// connect command, the error's: 0 disconnect called, 1 unauthorized (no token), 2 bad protocol, 3 message too large.
    Disconnected {
        /// Why.
        code: u32,
        /// Human text.
        reason: String,
    },
    /// A direct message of the server.
    Message(Bytes),
    /// Something happened in a server-side subscription.
    Channel {
        /// The channel.
        channel: Channel,
        /// What happened.
        event: SubscriptionEvent,
    },
    /// An attempt failed; the client goes on by itself.
    Error(Error),
}

/// Something that happened in a subscription.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubscriptionEvent {
    /// The subscription was interrupted; the client restores it by itself as soon as it is connected. After a final
    /// [`Event::Disconnected`] that takes another [`connect`](super::Client::connect).
    Subscribing {
        /// Why: a code of the connection, or an unsubscribe code from 2500 on.
        code: u32,
        /// Human text.
        reason: String,
    },
    /// The subscription is established, for the first time or again.
    Subscribed(Subscribed),
    /// A publication.
    Publication(Arc<Publication>),
    /// A client joined the channel.
    Join(Arc<ClientInfo>),
    /// A client left the channel.
    Leave(Arc<ClientInfo>),
    /// The subscription ended; nothing follows. 0 means that this side asked.
    Unsubscribed {
        /// Why.
        code: u32,
        /// Human text.
        reason: String,
    },
    /// An attempt to subscribe or to renew the subscription failed; the client goes on by itself.
    Error(Error),
}

/// How a subscription was established.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribed {
    /// Nothing was lost since the position the client knew.
    pub recovered: bool,
    /// The client asked for what it missed. With `recovered` false the application must reload its state.
    pub was_recovering: bool,
    /// Number of publications that follow at once.
    pub missed: usize,
    /// Position before those publications; `None` when the server does not track it.
    pub position: Option<StreamPosition>,
    /// Data the server gave.
    pub data: Bytes,
}
