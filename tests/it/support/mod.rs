//! A real server on free ports, programs in other languages, and the few things tests need to talk to them.

mod nginx;
mod program;
mod server;

pub(crate) use nginx::{Nginx, Replacement, examine, make_certificates, repository};
pub(crate) use program::{
    Program, Running, centripetal, needed, sdk_go, sdk_javascript, sdk_python,
};
pub(crate) use server::{Folder, Server, free_ports, http_client};
