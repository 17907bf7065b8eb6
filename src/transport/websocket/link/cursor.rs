//! Writing a batch with as few system calls as it takes, and remembering how far that got.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

/// Slices of one write.
pub(super) const SLICES: usize = 64;

/// Place in a batch up to which it is written.
#[derive(Default)]
pub(super) struct Cursor {
    /// Frames that are out.
    pub(super) frame: usize,
    offset: usize,
}

impl Cursor {
    /// Writes until `goal` frames are out.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        batch: &[Bytes],
        goal: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.advance(batch, 0);
        while self.frame < goal {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (slice, frame) in slices.iter_mut().zip(&batch[self.frame..]) {
                *slice = IoSlice::new(frame);
                count += 1;
            }
            slices[0] = IoSlice::new(&batch[self.frame][self.offset..]);
            let io = Pin::new(&mut *io);
            // One frame is the usual case, and `send` takes the kernel less time than `writev`.
            let written = ready!(match slices[..count] {
                [ref one] => io.poll_write(cx, one),
                ref several => io.poll_write_vectored(cx, several),
            })?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(batch, written);
        }
        Pin::new(io).poll_flush(cx)
    }

    /// Steps over written bytes, and over frames without any.
    fn advance(&mut self, batch: &[Bytes], written: usize) {
        self.offset += written;
        while let Some(frame) = batch.get(self.frame)
            && self.offset >= frame.len()
        {
            self.offset -= frame.len();
            self.frame += 1;
        }
    }
}
