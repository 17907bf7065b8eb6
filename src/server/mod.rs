//! Wiring: build, run, drain.
