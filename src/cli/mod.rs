//! What a person types.

pub mod credentials;
pub mod token;
