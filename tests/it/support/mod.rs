//! A real server on free ports, programs in other languages, and the few things tests need to talk to them.

#[cfg(test)]
mod dev;
#[cfg(test)]
mod haproxy;
#[cfg(test)]
mod nginx;
mod ports;
mod program;
#[cfg(test)]
#[expect(dead_code, reason = "the library's tests use all of it")]
mod redis;
mod server;
mod tls;

#[cfg(test)]
pub(crate) use dev::Dev;
#[cfg(test)]
pub(crate) use haproxy::HaProxy;
#[cfg(test)]
pub(crate) use nginx::{Nginx, examine, repository};
pub(crate) use ports::{free_ports, free_range};
pub(crate) use program::{
    Program, Running, autobahn, backend_python, backend_rust, browser, centripetal, h2spec, needed,
    sdk_go, sdk_javascript, sdk_python,
};
#[cfg(test)]
pub(crate) use redis::RedisServer;
pub(crate) use server::{Folder, Server, http_client};
pub(crate) use tls::{Certificates, TlsSocket};
