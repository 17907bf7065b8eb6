//! Reasons of close frames.

use crate::{
    model::{Disconnect, Version},
    protocol::json,
};

/// Longest reason that fits a WebSocket close frame.
const MAX_REASON: usize = 123;

/// The reason of a close frame: plain text in V2, a JSON object in V1; cut so that the frame can carry it (client-protocol.md 1.11).
#[must_use]
pub fn close_reason(version: Version, disconnect: &Disconnect) -> String {
    match version {
        Version::V1 => v1_close_reason(disconnect),
        Version::V2 => {
            let reason = &*disconnect.reason;
            reason[..reason.floor_char_boundary(MAX_REASON)].to_owned()
        }
    }
}

fn v1_close_reason(disconnect: &Disconnect) -> String {
    let tail = if disconnect.reconnect() {
        ",\"reconnect\":true}"
    } else {
        ",\"reconnect\":false}"
    };
    let mut reason = &disconnect.reason[..disconnect.reason.floor_char_boundary(MAX_REASON)];
    loop {
        let mut object = b"{\"reason\":".to_vec();
        json::string(&mut object, reason);
        object.extend_from_slice(tail.as_bytes());
        let Some(excess) = object
            .len()
            .checked_sub(MAX_REASON)
            .filter(|excess| *excess > 0)
        else {
            return String::from_utf8(object).unwrap_or_default();
        };
        // A character takes at most six bytes more than it has: cutting this much is never too much.
        let cut = excess.div_ceil(6).max(1);
        reason = &reason[..reason.floor_char_boundary(reason.len().saturating_sub(cut))];
    }
}
