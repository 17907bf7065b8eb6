//! What the machine wants done, as values.

use super::super::{Error, Event, SubscriptionEvent, TokenRequest};
use crate::{
    model::Channel,
    protocol::{Command, ReplyBody},
};

/// Names one subscription of this client, also across a quick unsubscribe and subscribe of the same channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SubscriptionId(pub(super) u64);

/// Names one call of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// Names one request for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(super) u64);

/// How a transport is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// At once; nothing more can be expected of it.
    Abrupt,
    /// After everything that waits to be written.
    Polite,
}

/// Something for the driver to do, in order.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Open a transport; answer with `opened` or `open_failed`.
    Open,
    /// Close the transport or give up opening one; nothing may be reported of it afterwards.
    Close(Closing),
    /// Write a command.
    Send(Command),
    /// Ask the token source; answer with `token`.
    FetchToken(Ticket, TokenRequest),
    /// Tell the application something about the connection.
    Emit(Event),
    /// Tell the application something about a subscription. Nothing follows `Unsubscribed`.
    EmitTo(SubscriptionId, SubscriptionEvent),
    /// Finish a call.
    Complete(CallId, Result<ReplyBody, Error>),
}

/// A subscription with its channel, so that it can be found and told from a newer one.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) channel: Channel,
    pub(super) id: SubscriptionId,
}
