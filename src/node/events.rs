//! Engine events in: publications to the hub, control commands to actions. The only caller of `Hub::broadcast`.

use std::sync::Arc;

use super::Shared;
use crate::{
    engine::{Event, EventReceiver},
    model::{Broadcast, ChannelEvent},
};

/// Moves the events of one pump until the node stops; what is queued then is still moved.
pub(super) async fn pump(shared: Arc<Shared>, mut events: EventReceiver) {
    while let Some(Some(event)) = shared.stop.run_until_cancelled(events.recv()).await {
        handle(&shared, event);
    }
    events.close();
    while let Some(event) = events.recv().await {
        handle(&shared, event);
    }
}

fn handle(shared: &Shared, event: Event) {
    match event {
        Event::Channel(channel, event) => fan_out(shared, &Arc::new(Broadcast { channel, event })),
        Event::Control(from, message) => shared.told(from, *message),
    }
}

fn fan_out(shared: &Shared, broadcast: &Arc<Broadcast>) {
    let kind = kind(&broadcast.event);
    shared
        .metrics
        .broker
        .received
        .with_label_values(&[kind, ""])
        .inc();
    let timer = shared.metrics.broker.broadcast_duration.start_timer();
    let fanout = shared.hub.broadcast(broadcast);
    if kind == "publication" {
        timer.observe_duration();
    } else {
        timer.stop_and_discard();
    }
    if fanout.unwanted > 0 {
        let unwanted = &shared.metrics.broker.unwanted;
        unwanted
            .with_label_values(&[""])
            .inc_by(fanout.unwanted as u64);
    }
    if fanout.lagging > 0 {
        let lagging = &shared.metrics.clients.lagging;
        lagging
            .with_label_values::<&str>(&[])
            .inc_by(fanout.lagging as u64);
    }
    if fanout.slow > 0 {
        shared.metrics.clients.slow.inc_by(fanout.slow as u64);
    }
    tracing::trace!(channel = %broadcast.channel, kind, queued = fanout.queued, slow = fanout.slow, "broadcast");
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
