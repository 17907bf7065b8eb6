//! A real server on free ports, programs in other languages, and the few things tests need to talk to them.

mod program;
mod server;
mod tls;

pub(crate) use program::{Program, Running, h2spec, sdk_go, sdk_javascript, sdk_python};
pub(crate) use server::{Server, free_ports, http_client};
pub(crate) use tls::{Certificates, TlsSocket};
