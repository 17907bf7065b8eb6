//! Engine events in: publications to the hub, control commands to actions. The only caller of `Hub::broadcast`.

use std::sync::Arc;

use super::{Shared, sampler::Sampler};
use crate::{
    engine::{Event, EventReceiver},
    model::{Broadcast, Channel, ChannelEvent},
    trace::Span,
};

/// Moves the events of one pump until the node stops; what is queued then is still moved.
pub(super) async fn pump(shared: Arc<Shared>, mut events: EventReceiver) {
    let mut sampler = Sampler::default();
    while let Some(Some(event)) = shared.stop.run_until_cancelled(events.recv()).await {
        handle(&shared, &mut sampler, event);
    }
    events.close();
    while let Some(event) = events.recv().await {
        handle(&shared, &mut sampler, event);
    }
}

fn handle(shared: &Shared, sampler: &mut Sampler, event: Event) {
    match event {
        Event::Channel(channel, event) => fan_out(shared, sampler, channel, (event, false)),
        Event::Late(channel, event) => fan_out(shared, sampler, channel, (event, true)),
        Event::Control(from, message) => shared.told(from, *message),
    }
}

fn fan_out(
    shared: &Shared,
    sampler: &mut Sampler,
    channel: Channel,
    (event, late): (ChannelEvent, bool),
) {
    let kind = kind(&event);
    let metrics = &shared.metrics;
    metrics.broker.received(&event);
    let watch = match &event {
        ChannelEvent::Publication(publication, _) => {
            let under_way = metrics.broker.arrived(publication, Shared::now());
            under_way.and_then(|under_way| sampler.watch(shared, &channel, under_way))
        }
        _ => None,
    };
    let broadcast = Arc::new(Broadcast {
        channel,
        event,
        watch,
    });
    let span = span(shared, &broadcast);
    let timer = metrics.broker.broadcast_duration.start_timer();
    let fanout = if late {
        shared.hub.broadcast_late(&broadcast)
    } else {
        shared.hub.broadcast(&broadcast)
    };
    if kind == "publication" {
        timer.observe_duration();
    } else {
        timer.stop_and_discard();
    }
    if let Some(span) = span {
        let queued = i64::try_from(fanout.queued).unwrap_or(i64::MAX);
        span.set("centripetal.subscribers", queued);
        span.end();
    }
    if fanout.unwanted > 0 {
        metrics.broker.unwanted.inc_by(fanout.unwanted as u64);
    }
    if fanout.lagging > 0 {
        metrics.clients.lagging.inc_by(fanout.lagging as u64);
    }
    if fanout.slow > 0 {
        metrics.clients.slow.inc_by(fanout.slow as u64);
    }
    tracing::trace!(channel = %broadcast.channel, kind, queued = fanout.queued, slow = fanout.slow, "broadcast");
}

/// The span of a publication that came with the context of a recorded trace.
fn span(shared: &Shared, broadcast: &Broadcast) -> Option<Span> {
    let tracer = shared.spans.broadcasts.as_ref()?;
    let ChannelEvent::Publication(publication, _) = &broadcast.event else {
        return None;
    };
    let span = tracer.consumer("broadcast", publication.trace.as_deref()?);
    span.set("centrifugo.channel", broadcast.channel.as_str().to_owned());
    Some(span)
}

/// Label of an event (metrics.md 3).
pub(super) const fn kind(event: &ChannelEvent) -> &'static str {
    match event {
        ChannelEvent::Publication(..) => "publication",
        ChannelEvent::Join(_) => "join",
        ChannelEvent::Leave(_) => "leave",
        ChannelEvent::InsufficientState(_) => "insufficient_state",
    }
}
