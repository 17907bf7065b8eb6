//! What a person types.

pub mod health;
pub mod pubsub;
