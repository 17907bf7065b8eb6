//! HTTP/2 on both listeners that speak it: conformance as `h2spec` sees it, and what a peer can do against the rules, or
//! within them, to cost the server more than itself (gateway.md 1, 8).

mod abuse;
mod conformance;
pub(crate) mod peer;
