//! What engines put on the wire, in the forms of Centrifugo v6, so that both products may serve one fleet together.
//!
//! Pure: bytes to values of the model and back. Never sends, receives or decides anything.

pub mod control;
pub mod publication;
pub mod pushed;
pub(crate) mod survey;
