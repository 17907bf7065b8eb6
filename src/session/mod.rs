//! One connection as a state machine; pure, no clock, no randomness, no tokio.
