//! What a person types.

pub mod dev;
pub mod health;
pub mod pubsub;
