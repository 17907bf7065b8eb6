//! Bytes to messages and back, for both generations of the client protocol and both encodings; pure.
//!
//! [`Decoder`] turns one transport frame into [`Command`]s and fixes the generation by the first of them
//! (client-protocol.md 1.2); [`frame::encode`] turns a [`Reply`] into finished bytes of a [`frame::WireForm`].
//! The other direction (for the Rust client) is [`encode_command`] and [`decode_replies`]. Payloads are slices of what came in:
//! checked once, never parsed into trees, never copied on the way in. Knows no sockets, clocks or channels' rules.
//!
//! Inside: `message` holds the values, `schema` describes each message once as fields, `json` and `protobuf` turn fields into bytes,
//! `v1` holds what only the older generation knows, `delta` makes and applies deltas, `decode` and `client` split frames,
//! `request` reads bodies that are one request.

mod client;
mod decode;
pub mod delta;
pub mod frame;
pub mod json;
pub mod message;
mod protobuf;
mod request;
mod schema;
mod v1;

#[cfg(test)]
mod tests;

pub use client::{Replies, decode_replies, decode_reply, encode_command, encode_commands};
pub use decode::{Commands, Decoder, Malformed};
pub use json::{is_json, is_json_object, unquote};
pub use message::{
    Command, ConnectRequest, ConnectResult, EmulationRequest, HistoryRequest, HistoryResult,
    PresenceResult, PresenceStatsResult, PublishRequest, Push, PushBody, RefreshResult, Reply,
    ReplyBody, Request, RpcRequest, SubRefreshRequest, SubRefreshResult, SubscribePush,
    SubscribeRequest, SubscribeResult,
};
pub use request::{decode_connect_request, decode_emulation_request, json_text};
