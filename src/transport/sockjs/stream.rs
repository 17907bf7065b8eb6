//! A streamed answer: what its receiver takes, wrapped, until enough was sent or the session ends.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Frame;

use super::{
    framing::Wrapping,
    session::receiver::{Receiver, Taken},
};

/// Bytes of frames after which an answer ends. The session goes on with the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseLimit(usize);

impl ResponseLimit {
    /// So many that browsers can free what they keep of an answer.
    pub(super) const LONG: Self = Self(128 * 1024);
    /// One frame.
    pub(super) const ONE: Self = Self(1);
}

/// The body of a streamed answer.
#[derive(Debug)]
pub(super) struct Stream {
    prelude: Option<Bytes>,
    /// `None` when nothing more comes.
    receiver: Option<Receiver>,
    wrapping: Wrapping,
    limit: ResponseLimit,
    sent: usize,
}

impl Stream {
    pub(super) fn new(receiver: Receiver, wrapping: Wrapping, limit: ResponseLimit) -> Self {
        Self {
            prelude: wrapping.prelude(),
            receiver: Some(receiver),
            wrapping,
            limit,
            sent: 0,
        }
    }

    /// The last thing was said.
    fn leave(&mut self) {
        if let Some(mut receiver) = self.receiver.take() {
            receiver.leave();
        }
    }
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(prelude) = self.prelude.take() {
            return Poll::Ready(Some(Ok(Frame::data(prelude))));
        }
        let Some(receiver) = &mut self.receiver else {
            return Poll::Ready(None);
        };
        let (frame, last) = match ready!(receiver.poll_take(cx)) {
            Taken::Frame(frame) => (frame, false),
            Taken::Last(frame) => (frame, true),
            Taken::Nothing => {
                self.leave();
                return Poll::Ready(None);
            }
        };
        let wrapped = self.wrapping.wrap(&frame);
        self.sent += wrapped.len();
        if last || self.sent >= self.limit.0 {
            self.leave();
        }
        Poll::Ready(Some(Ok(Frame::data(wrapped))))
    }
}
