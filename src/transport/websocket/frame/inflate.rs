//! Decompression of one message (RFC 7692 7.2.2), bounded while it runs. Nothing outlives a call: no context is taken over.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use super::{MESSAGE_TOO_BIG, protocol_error};
use crate::model::Disconnect;

/// What the sender has left out, and an empty last block, so that only whole data ends.
const END: &[u8] = &[0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// First room for a message; more is asked for as it grows.
const ROOM: usize = 1024;

/// The message behind a compressed payload. Never holds more than a byte above the limit.
///
/// # Errors
/// 1009 for a message above the limit, 1002 for data that nothing was compressed to.
pub(super) fn inflate(payload: &[u8], limit: usize) -> Result<Bytes, Disconnect> {
    const BROKEN: Disconnect = protocol_error("bad compressed data");
    let mut stream = Decompress::new(false);
    let mut out = Vec::new();
    for mut rest in [payload, END] {
        loop {
            if out.len() == out.capacity() {
                // One byte above the limit shows that the message is.
                let left = limit.saturating_add(1).saturating_sub(out.len());
                out.reserve_exact(left.min(out.len().max(ROOM)));
            }
            let before = stream.total_in();
            let status = stream.decompress_vec(rest, &mut out, FlushDecompress::None);
            let status = status.ok().ok_or(BROKEN)?;
            if out.len() > limit {
                return Err(MESSAGE_TOO_BIG);
            }
            // A sender may mark its last block as such; what follows then is padding.
            if status == Status::StreamEnd {
                return Ok(out.into());
            }
            let taken = usize::try_from(stream.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            if out.len() < out.capacity() {
                break;
            }
        }
        if !rest.is_empty() {
            return Err(BROKEN);
        }
    }
    Err(BROKEN)
}
