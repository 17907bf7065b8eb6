//! The body of a streamed response, and the head that keeps everybody on the way from holding it back.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use futures_util::Stream as _;
use http::{
    HeaderName, HeaderValue, Version,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, PRAGMA},
};
use http_body::Frame;

use crate::transport::{
    Unending,
    outlet::{LastWord, Messages},
};

/// Messages up to this size that are ready together become one piece of the body.
const SMALL: usize = 4 * 1024;
/// Size of such a piece, about.
const PIECE: usize = 16 * 1024;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transport) enum End {
    /// Everything was said.
    Done,
    /// The session was lost, so the body must not look complete.
    Abandoned,
}

impl LastWord for End {
    fn said() -> Self {
        Self::Done
    }

    fn abandoned() -> Self {
        Self::Abandoned
    }
}

/// The session behind a body was lost.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("session ended without a word")]
pub(in crate::transport) struct Lost;

/// A body that carries what a session says, while it says it.
#[derive(Debug)]
pub(in crate::transport) struct StreamBody {
    prelude: Option<&'static [u8]>,
    messages: Messages<End>,
}

impl StreamBody {
    /// A body that begins with `prelude`, at once, unless that is empty.
    pub(in crate::transport) fn new(prelude: &'static [u8], messages: Messages<End>) -> Self {
        Self {
            prelude: Some(prelude).filter(|prelude| !prelude.is_empty()),
            messages,
        }
    }

    /// Puts small messages that are there already behind a small one.
    fn piece(&mut self, first: Bytes) -> Bytes {
        if first.len() > SMALL {
            return first;
        }
        let Some(second) = self.messages.take_small(SMALL) else {
            return first;
        };
        let mut piece = BytesMut::with_capacity((first.len() + second.len()) * 2);
        piece.extend_from_slice(&first);
        piece.extend_from_slice(&second);
        while piece.len() < PIECE
            && let Some(next) = self.messages.take_small(SMALL)
        {
            piece.extend_from_slice(&next);
        }
        piece.freeze()
    }
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = Lost;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Lost>>> {
        if let Some(prelude) = self.prelude.take() {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(prelude)))));
        }
        Poll::Ready(match ready!(Pin::new(&mut self.messages).poll_next(cx)) {
            Some(Ok(first)) => Some(Ok(Frame::data(self.piece(first)))),
            Some(Err(End::Abandoned)) => Some(Err(Lost)),
            Some(Err(End::Done)) | None => None,
        })
    }
}

/// The answer that a stream is. Nothing of it may be kept or held back: neither by caches nor by nginx, which is told so by a
/// header of its own.
pub(in crate::transport) fn head(
    body: StreamBody,
    version: Version,
    kind: &'static str,
) -> Response {
    const FIXED: [(HeaderName, &str); 4] = [
        (
            CACHE_CONTROL,
            "private, no-cache, no-store, must-revalidate, max-age=0",
        ),
        (PRAGMA, "no-cache"),
        (HeaderName::from_static("expire"), "0"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let mut response = Response::new(Body::new(body));
    response.extensions_mut().insert(Unending);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if version == Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    response
}
