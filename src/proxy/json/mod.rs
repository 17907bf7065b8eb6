//! The JSON mapping of questions and answers (proxy.md 3, 6). Knows no connection and no backend.

mod read;
mod write;

pub(crate) use read::{Fields, answer};
pub(super) use write::question;
