//! A real server on free ports, programs in other languages, and the few things tests need to talk to them.

mod program;
mod server;

pub(crate) use program::{Program, Running, autobahn, sdk_go, sdk_javascript, sdk_python};
pub(crate) use server::{Server, free_ports, http_client};
