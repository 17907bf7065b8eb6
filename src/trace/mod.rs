//! Spans of requests, commands, questions and publications, and the W3C context that ties them together (metrics.md 16.2).
//!
//! A [`Tracer`] is handed to whoever makes spans, and nobody else has one: without it nothing is looked up, and a publication
//! carries a context only when its trace is recorded. Never exports: that is `telemetry`. Which span is the present one
//! is known to the task that runs inside of it ([`Span::inside`]).

mod engine;
mod propagation;

use std::borrow::Cow;

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{
        FutureExt as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
        TraceId, TraceState, Tracer as _, WithContext,
    },
};
use opentelemetry_sdk::trace::SdkTracer;

use crate::model::TraceContext;

pub use engine::traced;
pub use propagation::{FIELDS, from_headers, from_pairs, into_headers};

/// Name of the scope that all spans belong to.
pub const SCOPE: &str = "centripetal";

/// Makes spans. Cloning is two reference counts.
#[derive(Clone, Debug)]
pub struct Tracer(SdkTracer);

impl From<SdkTracer> for Tracer {
    fn from(tracer: SdkTracer) -> Self {
        Self(tracer)
    }
}

/// A span that runs, or the decision that there is none. It ends when it is told to, at the latest when it is dropped.
#[derive(Clone, Debug)]
pub struct Span(Context);

impl Tracer {
    /// A span for something that was asked of this server, by whoever the context tells of.
    #[must_use]
    pub fn server(&self, name: impl Into<Cow<'static, str>>, parent: &Context) -> Span {
        self.start(name, SpanKind::Server, parent)
    }

    /// A span for something that this server asks of another, within the present span.
    #[must_use]
    pub fn client(&self, name: impl Into<Cow<'static, str>>) -> Span {
        self.start(name, SpanKind::Client, &Context::current())
    }

    /// The same when it is part of a recorded trace, else nothing: what happens at all times begins no trace.
    #[must_use]
    pub fn part(&self, name: &'static str, kind: SpanKind) -> Option<Span> {
        let present = Context::current();
        let recorded = present.span().span_context().is_sampled();
        recorded.then(|| self.start(name, kind, &present))
    }

    /// A span for what follows from a publication of a recorded trace.
    #[must_use]
    pub fn consumer(&self, name: &'static str, publisher: &TraceContext) -> Span {
        let publisher = SpanContext::new(
            TraceId::from_bytes(publisher.trace),
            SpanId::from_bytes(publisher.span),
            TraceFlags::SAMPLED,
            true,
            TraceState::NONE,
        );
        let parent = Context::new().with_remote_span_context(publisher);
        self.start(name, SpanKind::Consumer, &parent)
    }

    /// The span this task is inside of.
    #[must_use]
    pub fn present(&self) -> Span {
        Span(Context::current())
    }

    fn start(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind, parent: &Context) -> Span {
        let builder = self.0.span_builder(name).with_kind(kind);
        let span = self.0.build_with_context(builder, parent);
        Span(parent.with_span(span))
    }
}

impl Span {
    /// True when what is written into it is kept.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.0.span().is_recording()
    }

    /// Writes an attribute; the last value of a name stays.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        self.0.span().set_attribute(KeyValue::new(name, value));
    }

    /// Says that it failed.
    pub fn fail(&self, why: impl Into<Cow<'static, str>>) {
        self.0.span().set_status(Status::error(why));
    }

    /// Ends it.
    pub fn end(&self) {
        self.0.span().end();
    }

    /// A future that runs inside: spans made there are its children.
    pub fn inside<F: Future>(&self, future: F) -> WithContext<F> {
        future.with_context(self.0.clone())
    }

    /// What a publication takes along; `None` when the trace is not recorded.
    #[must_use]
    pub fn context(&self) -> Option<Box<TraceContext>> {
        let span = self.0.span();
        let context = span.span_context();
        context.is_sampled().then(|| {
            Box::new(TraceContext {
                trace: context.trace_id().to_bytes(),
                span: context.span_id().to_bytes(),
            })
        })
    }
}

/// Who makes which spans inside of a node; `None` makes none.
#[derive(Clone, Debug, Default)]
pub struct Spans {
    /// Commands of clients.
    pub commands: Option<Tracer>,
    /// Publications on their way to subscribers.
    pub broadcasts: Option<Tracer>,
}

#[cfg(test)]
mod tests;
