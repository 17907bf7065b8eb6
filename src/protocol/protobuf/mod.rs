//! Protobuf of the protocol: reading and writing messages, and their length prefix (client-protocol.md 2.2).
//!
//! Knows the wire format, not the messages: those are in `schema`. The types generated from `proto/client.proto` serve the tests
//! as an independent opinion; they refuse text that is not UTF-8, which the protocol does not.

mod read;
mod write;

#[cfg(test)]
mod tests;

pub(super) use read::{Reader, varint};
pub(super) use write::{encode, varint_length, write_varint};

/// Wire type of numbers.
const VARINT: u8 = 0;
/// Wire type of eight bytes.
const FIXED64: u8 = 1;
/// Wire type of everything with a length.
const LENGTH: u8 = 2;
/// Wire type of the beginning of a group, which nothing here uses.
const GROUP: u8 = 3;
/// Wire type of the end of a group.
const END_GROUP: u8 = 4;
/// Wire type of four bytes.
const FIXED32: u8 = 5;
