//! What every transport over plain HTTP needs: a [`crate::node::Link`] whose output is the body of a response, the reading of
//! bounded request bodies, and the rules about origins and methods.
//!
//! A session runs in a task of its own and hands batches to its body ([`super::outlet`]); a peer that does not read leaves one
//! batch there. Knows no path and no form of a request: those are the transports'.

mod body;
mod guard;
mod link;
mod request;

pub(super) use body::{StreamBody, head};
pub(super) use guard::{Rules, guard};
pub(super) use link::{Settings, StreamLink};
pub(super) use request::{Unreadable, empty, percent_decoded, query_value, read_body};

#[cfg(test)]
mod tests;
