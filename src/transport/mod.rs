//! Bytes in, bytes out: adapters of the [`crate::node::Link`] trait.
