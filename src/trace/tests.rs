use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter},
};
use parking_lot::Mutex;

use super::*;
use crate::{
    engine::{Event, PublishOptions, event_channel, memory::Memory},
    model::{Channel, ChannelEvent, Publication},
};

/// Keeps what has ended.
#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().extend(batch);
        Ok(())
    }
}

fn tracer(sampler: Sampler) -> (Tracer, Kept) {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder()
        .with_sampler(sampler)
        .with_simple_exporter(kept.clone())
        .build();
    (Tracer::from(provider.tracer(SCOPE)), kept)
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn headers(parent: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_static(parent));
    headers.insert("tracestate", HeaderValue::from_static("a=1,b=2"));
    headers
}

#[test]
fn a_context_comes_in_and_goes_out_with_its_state() {
    let (tracer, kept) = tracer(Sampler::AlwaysOn);
    let span = tracer.server("s", &from_headers(&headers(PARENT)));
    let mut out = headers("00-11111111111111111111111111111111-2222222222222222-00");
    into_headers(&span, &mut out);
    let context = span.context().unwrap();
    span.end();
    let ended = kept.0.lock();
    let id = ended[0].span_context.span_id();
    assert_eq!(context.span, id.to_bytes());
    assert_eq!(ended[0].parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(
        out["traceparent"],
        format!("00-0af7651916cd43dd8448eb211c80319c-{id}-01").as_str()
    );
    assert_eq!(out["tracestate"], "a=1,b=2");
}

#[test]
fn kept_headers_say_the_same() {
    let pairs = [("Traceparent".to_owned(), PARENT.to_owned())];
    let (tracer, kept) = tracer(Sampler::AlwaysOn);
    tracer.server("s", &from_pairs(&pairs)).end();
    assert_eq!(
        kept.0.lock()[0].parent_span_id.to_string(),
        "b7ad6b7169203331"
    );
    tracer.server("s", &from_pairs(&[])).end();
    assert_eq!(kept.0.lock()[1].parent_span_id, SpanId::INVALID);
}

#[tokio::test]
async fn what_runs_inside_is_a_part_and_nothing_else_is() {
    let (tracer, kept) = tracer(Sampler::AlwaysOn);
    assert!(tracer.part("alone", SpanKind::Client).is_none());
    let outer = tracer.server("outer", &Context::new());
    let inner = outer
        .inside(async { tracer.part("inner", SpanKind::Client) })
        .await;
    inner.unwrap().end();
    outer.end();
    assert!(tracer.part("after", SpanKind::Client).is_none());
    let ended = kept.0.lock();
    assert_eq!(ended.len(), 2);
    assert_eq!(ended[0].parent_span_id, ended[1].span_context.span_id());
}

#[tokio::test]
async fn a_publication_takes_its_span_along_when_the_trace_is_recorded() {
    for (sampler, recorded) in [(Sampler::AlwaysOn, true), (Sampler::AlwaysOff, false)] {
        let (tracer, kept) = tracer(sampler);
        let (sender, mut events) = event_channel(1, 8, std::time::Duration::from_secs(5));
        let engine = traced(Memory::new(sender).into_engine(), &tracer);
        let channel = Channel::from("news");
        let request = tracer.server("request", &Context::new());
        let options = PublishOptions::default();
        let publish = engine
            .broker
            .publish(&channel, Publication::default(), &options);
        request.inside(publish).await.unwrap();
        request.end();
        let Some(Event::Channel(_, ChannelEvent::Publication(publication, _))) =
            events[0].recv().await
        else {
            panic!("no publication");
        };
        let ended = kept.0.lock();
        assert_eq!(ended.len(), if recorded { 2 } else { 0 });
        let expected = ended.first().map(|publish| {
            assert_eq!(publish.name, "engine publish");
            publish.span_context.span_id().to_bytes()
        });
        assert_eq!(publication.trace.as_ref().map(|trace| trace.span), expected);
    }
}

#[tokio::test]
async fn a_failure_of_the_engine_is_the_failure_of_its_span() {
    let (tracer, kept) = tracer(Sampler::AlwaysOn);
    let (sender, _events) = event_channel(1, 8, std::time::Duration::from_secs(5));
    let engine = traced(Memory::new(sender).into_engine(), &tracer);
    engine.broker.close().await;
    let request = tracer.server("request", &Context::new());
    let channel = Channel::from("news");
    let refused = request.inside(engine.broker.subscribe(&channel)).await;
    assert!(refused.is_err());
    let ended = kept.0.lock();
    assert_eq!(ended[0].status, Status::error("engine is closed"));
}
