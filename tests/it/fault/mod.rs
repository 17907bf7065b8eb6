//! The fault bench: real nodes on a real Redis, a proxy on every link between them, and a judge who reads what publishers and
//! clients have written down.
//!
//! `tests/fault/run.sh` runs it for longer and with real durations.

mod bench;
mod checker;
mod journal;
mod large;
mod proxy;
mod resp;
mod runs;
mod table;
