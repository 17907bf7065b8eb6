//! Behaviour seen from outside, a module per topic.

#[cfg(test)]
mod config;
