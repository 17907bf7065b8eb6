//! Binds sockets and accepts connections, whatever comes: an accept loop that ends only when it is told to.
//!
//! Knows nothing of what is spoken on a connection.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, lookup_host},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::transport::Tasks;

/// Connections the kernel may keep until they are accepted.
const BACKLOG: u32 = 4096;
/// Pauses after a failed accept, from this to that.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// A listener cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// Host and port as configured.
    pub address: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Opens a listener; an empty host means all interfaces, of both generations of IP where the system has them. A peer of it that
/// takes none of what was sent to it for `unread` loses its connection, where the system can do that.
///
/// # Errors
/// When the name has no address or the port is taken.
pub(super) async fn bind(
    host: &str,
    port: u16,
    unread: Duration,
) -> Result<TcpListener, BindError> {
    let failed = |source| BindError {
        address: format!("{host}:{port}"),
        source,
    };
    let addresses: Vec<SocketAddr> = if host.is_empty() {
        vec![([0_u16; 8], port).into(), ([0_u8; 4], port).into()]
    } else {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        lookup_host((host, port)).await.map_err(failed)?.collect()
    };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match listen(address, unread) {
            Ok(listener) => return Ok(listener),
            // A taken port is no reason to open half of what was asked for.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(failed(error)),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn listen(address: SocketAddr, unread: Duration) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    // Inherited by connections. HTTP libraries wait for ever for a peer that acknowledges but never reads.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(unread))?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts until stopped, and starts a task for each connection. Running out of descriptors or memory makes it wait, not end.
pub(super) async fn accept<F, C>(
    listener: TcpListener,
    stop: CancellationToken,
    tasks: Tasks,
    serve: F,
) where
    F: Fn(TcpStream, SocketAddr) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    let mut pause = PAUSE.0;
    let mut warned: Option<Instant> = None;
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((socket, remote)) => {
                pause = PAUSE.0;
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::trace!(%error, "connection was gone before it was served");
                    continue;
                }
                tasks.spawn(serve(socket, remote));
            }
            // The peer gave up before we came.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if warned.is_none_or(|at| at.elapsed() >= PAUSE.1) {
                    warned = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept connections");
                }
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const UNREAD: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn connections_are_served_until_stopped() {
        let listener = bind("127.0.0.1", 0, UNREAD).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, tasks) = (CancellationToken::new(), Tasks::default());
        let running = tasks.clone();
        let looping = accept(
            listener,
            stop.clone(),
            running,
            |mut socket, remote| async move {
                assert!(socket.nodelay().unwrap());
                socket
                    .write_all(remote.to_string().as_bytes())
                    .await
                    .unwrap();
            },
        );
        let peer = async {
            for _ in 0..3 {
                let mut socket = TcpStream::connect(address).await.unwrap();
                let mut heard = String::new();
                socket.read_to_string(&mut heard).await.unwrap();
                assert_eq!(heard, socket.local_addr().unwrap().to_string());
            }
            stop.cancel();
        };
        tokio::join!(looping, peer);
        tasks.finished().await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    async fn a_peer_that_reads_nothing_loses_its_connection() {
        let listener = bind("127.0.0.1", 0, UNREAD).await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        let lost = socket.write_all(&vec![0; 64 << 20]).await.unwrap_err();
        assert_eq!(lost.kind(), io::ErrorKind::TimedOut);
        drop(peer);
    }

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let listener = bind("127.0.0.1", 0, UNREAD).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = bind("127.0.0.1", port, UNREAD).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot listen on 127.0.0.1:{port}")
        );
        assert!(bind("", port, UNREAD).await.is_err());
        assert!(bind("no.such.host.invalid", 0, UNREAD).await.is_err());
    }

    #[tokio::test]
    async fn an_empty_host_is_every_interface() {
        let listener = bind("", 0, UNREAD).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    }
}
