//! Connections to Redis: opening them, commands on them, and finding the server that has to be asked.

mod cluster;
mod dial;
mod sentinel;
mod server;
mod shard;

pub(super) use dial::{Dialer, Wire};
pub(super) use server::{Road, Server};
pub(super) use shard::Shard;
