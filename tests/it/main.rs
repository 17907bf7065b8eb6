//! The server as a whole: one binary, a module per behaviour, always against the real executable.
#![expect(clippy::panic, reason = "helpers of tests fail their test")]

#[cfg(test)]
mod config;
#[cfg(test)]
mod connect;
mod golden;
#[cfg(test)]
mod harness;
mod sdk;
#[cfg(test)]
mod publish;
mod smoke;
#[cfg(test)]
mod subscribe;
mod support;
mod vendored;
