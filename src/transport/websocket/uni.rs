//! WebSocket for clients that only listen: its settings, and the connect request that may come with the handshake
//! (client-protocol.md 3.9). Everything else is that of other WebSockets.

use std::time::Duration;

use serde::Deserialize;

use super::{Config, link::Uni};
use crate::{
    model::Encoding,
    protocol::{ConnectRequest, Malformed, decode_connect_request},
    transport::stream::{percent_decoded, query_value},
};

/// Section `uni_websocket`, the options of which are those of `websocket` and a few more.
#[derive(Clone, Debug, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "configuration")]
pub struct UniConfig {
    /// Switched on.
    pub enabled: bool,
    /// Path.
    pub handler_prefix: String,
    /// permessage-deflate, for clients that offer it.
    pub compression: bool,
    /// Messages below this many bytes are sent as they are.
    pub compression_min_size: usize,
    /// Effort of compression, 1 to 9.
    pub compression_level: u32,
    /// Time limit of writing one frame.
    pub write_timeout: Duration,
    /// Largest connect request, bytes.
    pub message_size_limit: usize,
    /// Largest connect request once decompressed, bytes; 0 means ten times `message_size_limit`.
    pub decompressed_message_size_limit: usize,
    /// Send no close frame.
    pub disable_closing_handshake: bool,
    /// Send no disconnect push before closing.
    pub disable_disconnect_push: bool,
    /// Put several pushes into one message.
    pub join_push_messages: bool,
}

impl UniConfig {
    /// What such endpoints have in common with the others.
    #[must_use]
    pub fn common(&self) -> Config {
        Config {
            disabled: !self.enabled,
            handler_prefix: self.handler_prefix.clone(),
            compression: self.compression,
            compression_min_size: self.compression_min_size,
            compression_level: self.compression_level,
            write_timeout: self.write_timeout,
            message_size_limit: self.message_size_limit,
            decompressed_message_size_limit: self.decompressed_message_size_limit,
        }
    }
}

impl From<&UniConfig> for Uni {
    fn from(config: &UniConfig) -> Self {
        Self {
            joins: config.join_push_messages,
            leaves_silently: config.disable_disconnect_push,
            drops: config.disable_closing_handshake,
        }
    }
}

/// The connect request, where it comes with the handshake.
pub(super) type First = Option<Box<ConnectRequest>>;

/// Reads the connect request in the query. `null` is none: the first message is awaited.
pub(super) fn first_request(request: &http::request::Parts) -> Result<First, Malformed> {
    let value = query_value(request.uri.query(), "cf_connect");
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = percent_decoded(value).ok_or(Malformed)?;
    if text == "null" {
        return Ok(None);
    }
    let request = decode_connect_request(Encoding::Json, &text)?;
    Ok(Some(Box::new(request)))
}
