//! Broadcast: every wire form in use is encoded once, on first need; then nothing but queue pushes.

use std::sync::Arc;

use bytes::Bytes;

use super::{Hub, Mail, mailbox::Refused};
use crate::{
    model::{Broadcast, ChannelEvent, Delivery, Version},
    protocol::{
        Push, PushBody, Reply, ReplyBody, frame,
        frame::{Framing, WireForm},
    },
};

/// What a broadcast did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fanout {
    /// Subscribers it was queued for.
    pub(crate) queued: usize,
    /// Subscribers closed because their queue was full.
    pub(crate) slow: usize,
}

impl Hub {
    /// Queues a channel event for all its subscribers on this node.
    pub(crate) fn broadcast(&self, broadcast: &Arc<Broadcast>) -> Fanout {
        let mut frames = Frames([const { None }; WireForm::COUNT]);
        let mut fanout = Fanout::default();
        let membership = matches!(
            broadcast.event,
            ChannelEvent::Join(_) | ChannelEvent::Leave(_)
        );
        let shard = self.shard(&broadcast.channel).read();
        let Some(subscribers) = shard.get(&broadcast.channel) else {
            return fanout;
        };
        for subscriber in subscribers.values() {
            if membership && !subscriber.join_leave {
                continue;
            }
            let delivery = Delivery {
                key: subscriber.key,
                broadcast: Arc::clone(broadcast),
                frame: frames.get(subscriber.form, broadcast),
            };
            match subscriber.mailbox.push(Mail::Delivery(delivery)) {
                Ok(()) => fanout.queued += 1,
                Err(Refused::Overflow) => fanout.slow += 1,
                Err(Refused::Closed) => {}
            }
        }
        fanout
    }
}

/// Finished frames by wire form; the inner `None` is a payload that cannot be written in that form.
struct Frames([Option<Option<Bytes>>; WireForm::COUNT]);

impl Frames {
    fn get(&mut self, form: WireForm, broadcast: &Broadcast) -> Option<Bytes> {
        if let Some(made) = &self.0[form.index()] {
            return made.clone();
        }
        let framing = form.framing;
        if form.version == Version::V1 || !matches!(framing, Framing::WebSocket | Framing::Stream) {
            let made = reply(broadcast).and_then(|reply| frame::encode(form, &reply).ok());
            return self.0[form.index()].insert(made).clone();
        }
        // These two are parts of the same bytes.
        let pair = reply(broadcast).and_then(|reply| frame::pair(form, &reply).ok());
        let (socket, stream) = pair.unzip();
        let wanted = if framing == Framing::Stream {
            stream.clone()
        } else {
            socket.clone()
        };
        self.0[form.framed(Framing::WebSocket).index()] = Some(socket);
        self.0[form.framed(Framing::Stream).index()] = Some(stream);
        wanted
    }
}

/// What subscribers are told of an event.
fn reply(broadcast: &Broadcast) -> Option<Reply> {
    let body = match &broadcast.event {
        ChannelEvent::Publication(publication, _epoch) => {
            PushBody::Publication(Arc::clone(publication))
        }
        ChannelEvent::Join(info) => PushBody::Join(Arc::clone(info)),
        ChannelEvent::Leave(info) => PushBody::Leave(Arc::clone(info)),
        // For sessions; what clients are told of it depends on their subscription.
        ChannelEvent::InsufficientState(_) => return None,
    };
    let push = Push {
        channel: broadcast.channel.clone(),
        body,
    };
    Some(Reply {
        id: 0,
        body: ReplyBody::Push(push),
    })
}
