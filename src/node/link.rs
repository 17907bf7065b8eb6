//! What a node needs of a transport: frames in, batches out, a close that the peer understands.
//!
//! Lives here and not in `transport` because the node drives links and must not know a single transport.

use std::{future::Future, time::Duration};

use bytes::Bytes;

use crate::{
    model::{ClientError, Direction, Disconnect, Version},
    protocol::{
        ConnectRequest,
        frame::{Framing, Kind},
    },
};

/// How a transport differs from others in ways the connection has to respect.
#[derive(Clone, Copy, Debug)]
pub struct LinkTraits {
    /// What surrounds every message.
    pub framing: Framing,
    /// Largest frame the peer may send, bytes; the decoder refuses single commands above it.
    pub message_size_limit: usize,
    /// The close itself carries code and reason (WebSocket); otherwise V2 gets a disconnect push first.
    pub close_carries_reason: bool,
    /// After a refused connect further input is discarded (WebSocket) instead of answered with 3501.
    pub discards_after_refusal: bool,
    /// The transport pings by itself, so the session must not (`cf_ws_frame_ping_pong`).
    pub native_ping: bool,
    /// Which way messages go. An emulated connection gets frames from elsewhere as well; one that only listens gets its connect
    /// request, as a frame or read already, and nothing else.
    pub direction: Direction,
}

/// Something from the peer.
#[derive(Debug)]
pub enum Inbound {
    /// One transport frame with one or more commands. Which kind it is plays no part in what it says; transports that know
    /// no kinds call theirs binary.
    Frame(Bytes, Kind),
    /// The connect request of a connection that only listens.
    Connect(Box<ConnectRequest>),
    /// The transport has bytes of its own to write (a native pong): call [`Link::send`], with an empty batch if need be.
    Flush,
}

/// Why and how a connection ends.
#[derive(Clone, Debug)]
pub struct Close {
    /// Code and reason. 3000 is never written. 1002 and 1009 are WebSocket's own.
    pub disconnect: Disconnect,
    /// Generation of the connection, which decides the form of the reason; V2's when undecided.
    pub version: Version,
    /// The cause was a frame that could not be decoded (gRPC answers INVALID_ARGUMENT).
    pub undecodable: bool,
    /// The error that the connect of a connection which only listens has failed with.
    pub error: Option<ClientError>,
}

/// One peer. Owned by the connection's task, which never receives and sends at the same time.
pub trait Link: Send + 'static {
    /// What is particular about this transport.
    fn traits(&self) -> LinkTraits;

    /// The first command was decoded: from now on the generation is known (V1 gets native pings on WebSocket).
    fn decided(&mut self, _version: Version) {}

    /// A peer that takes nothing may do so for this long from now on, instead of the write time limit: its subscriptions do not
    /// end the connection when it reads too slowly (`slow_policy`). For links without such a limit there is nothing to do.
    fn be_patient(&mut self, _longest: Duration) {}

    /// Waits for the next frame. Cancel safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// The reason to close with: 3000 when the peer went away, 1009 for a message above the limit, 1002 for broken framing.
    fn recv(&mut self) -> impl Future<Output = Result<Inbound, Disconnect>> + Send;

    /// Writes finished frames in order, in as few system calls as possible, and empties the batch.
    /// Not cancel safe: bytes may have left. Returns when the transport has taken all of them, within its write time limit.
    ///
    /// # Errors
    /// 3009 when writing failed or took too long; the link is unusable then.
    fn send(
        &mut self,
        batch: &mut Vec<Bytes>,
    ) -> impl Future<Output = Result<(), Disconnect>> + Send;

    /// Ends the connection in the form of the transport. Everything owed was sent before.
    fn close(self, close: Close) -> impl Future<Output = ()> + Send;
}
