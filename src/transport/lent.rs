//! A stream that hyper reads and writes, and that its owner can take back while hyper is still at it.
//!
//! hyper keeps 16 KiB for every HTTP/1 connection as long as it has one. A response that never ends needs nothing of that once
//! its request was read, no more than a WebSocket does.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One stream, with as many holders as there are clones, until one of them takes it. The others then find it unconnected.
#[derive(Debug)]
pub struct Lent<S>(Arc<Mutex<Option<S>>>);

impl<S> Clone for Lent<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Lent<S> {
    /// Lends a stream.
    pub fn new(stream: S) -> Self {
        Self(Arc::new(Mutex::new(Some(stream))))
    }

    /// The stream, unless somebody has it already.
    #[must_use]
    pub fn take(&self) -> Option<S> {
        self.0.lock().take()
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut S) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &mut *self.0.lock() {
            Some(stream) => use_it(stream),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| Pin::new(stream).poll_read(cx, read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        let stream = self.0.lock();
        stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| Pin::new(stream).poll_shutdown(cx))
    }
}
