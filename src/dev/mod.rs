//! The demo page, embedded.
