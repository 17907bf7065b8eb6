//! Broadcast: what a class of subscribers is sent is made once, on first need; then nothing but queue pushes.
//!
//! A class is what subscribers have in common: wire form x style (deltas, number instead of name). Whose tags filter
//! does not want a publication is not looked at; whoever is not to get a
//! publication is sent [`Frame::Withheld`], which costs no class.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Hub, Subscriber,
    mailbox::{Queued, Refused},
};
use crate::{
    model::{Broadcast, ChannelEvent, Delivery, Encoding, Frame, Publication, Version},
    protocol::{
        PushBody, delta,
        frame::{self, Delta, Look, Style, WireForm},
    },
};

/// What a broadcast did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fanout {
    /// Subscribers it was queued for.
    pub(crate) queued: usize,
    /// Subscribers closed because their queue was full.
    pub(crate) slow: usize,
    /// Subscribers who read too slowly and get less for it, or get it later.
    pub(crate) lagging: usize,
    /// Subscribers whose tags filter did not want it.
    pub(crate) unwanted: usize,
    /// Frames that were made for them.
    pub(crate) frames: usize,
}

impl Hub {
    /// Queues a channel event for all its subscribers on this node.
    pub(crate) fn broadcast(&self, broadcast: &Arc<Broadcast>) -> Fanout {
        let mut fanout = Fanout::default();
        let membership = matches!(
            broadcast.event,
            ChannelEvent::Join(_) | ChannelEvent::Leave(_)
        );
        let shard = self.shard(&broadcast.channel).read();
        let Some(subscribers) = shard.get(&broadcast.channel) else {
            return fanout;
        };
        let mut classes = Classes::new(broadcast, subscribers.number);
        let unwanted = subscribers.each_wanting(&broadcast.event, |members, skipped| {
            for subscriber in members.values() {
                if membership && !subscriber.join_leave {
                    continue;
                }
                let delivery = Delivery {
                    key: subscriber.key,
                    broadcast: Arc::clone(broadcast),
                    frame: classes.frame_for(subscriber),
                    skipped,
                };
                match subscriber.mailbox.deliver(delivery, subscriber.slow) {
                    Ok(Queued::Whole) => fanout.queued += 1,
                    Ok(Queued::Less) => fanout.lagging += 1,
                    Err(Refused::Overflow) => fanout.slow += 1,
                    Err(Refused::Closed) => {}
                }
            }
        });
        fanout.unwanted = unwanted;
        fanout.frames = classes.made;
        fanout
    }
}

/// Classes: every wire form in the plain style, and those of V2 in the other styles, which are V2's.
const CLASSES: usize = WireForm::COUNT + (Style::COUNT - 1) * WireForm::V2_COUNT;

/// One broadcast, class by class.
struct Classes<'a> {
    broadcast: &'a Broadcast,
    /// Stands for the channel's name.
    number: u32,
    /// The delta, once somebody has wanted it; inside `None` when there is none that would be shorter.
    patch: Option<Option<Publication>>,
    frames: [Option<Frame>; CLASSES],
    made: usize,
}

impl<'a> Classes<'a> {
    const fn new(broadcast: &'a Broadcast, number: u32) -> Self {
        Self {
            broadcast,
            number,
            patch: None,
            frames: [const { None }; CLASSES],
            made: 0,
        }
    }

    /// What this subscriber is sent.
    fn frame_for(&mut self, subscriber: &Subscriber) -> Frame {
        let body = match &self.broadcast.event {
            ChannelEvent::Publication(publication, _epoch) => {
                return self.publication(subscriber.form, subscriber.style, publication);
            }
            ChannelEvent::Join(info) => PushBody::Join(Arc::clone(info)),
            ChannelEvent::Leave(info) => PushBody::Leave(Arc::clone(info)),
            // For sessions; what clients are told of it depends on their subscription.
            ChannelEvent::InsufficientState(_) => return Frame::Withheld,
        };
        let style = Style {
            delta: Delta::Off,
            ..subscriber.style
        };
        let look = style.look(self.number);
        let (form, channel) = (subscriber.form, &self.broadcast.channel);
        self.shared(form, style, || {
            frame::push_as(form, look, channel, &body).ok().into()
        })
    }

    fn publication(&mut self, form: WireForm, style: Style, publication: &Publication) -> Frame {
        let look = style.look(self.number);
        if style.delta == Delta::Patches && publication.previous.is_some() {
            return self.delta(form, style, publication);
        }
        // Without a delta all who were granted deltas get the same; Protobuf has it as those who were not.
        let delta = match (style.delta, form.encoding) {
            (Delta::Off, _) | (_, Encoding::Protobuf) => Delta::Off,
            (Delta::Complete | Delta::Patches, Encoding::Json) => Delta::Complete,
        };
        let channel = &self.broadcast.channel;
        self.shared(form, Style { delta, ..style }, || {
            frame::publication_as(form, look, channel, publication)
                .ok()
                .into()
        })
    }

    /// The delta, or the complete publication where there is none that this form could carry.
    fn delta(&mut self, form: WireForm, style: Style, publication: &Publication) -> Frame {
        let at = class(form, style);
        if let Some(made) = &self.frames[at] {
            return made.clone();
        }
        let patch = self.patch.get_or_insert_with(|| patch_of(publication));
        let written = patch.as_ref().and_then(|patch| {
            let look = style.look(self.number);
            written(form, look, self.broadcast, (publication, patch))
        });
        let frame = match written {
            Some(bytes) => {
                self.made += 1;
                Frame::Delta(bytes, Arc::default())
            }
            None => {
                let complete = Style {
                    delta: Delta::Complete,
                    ..style
                };
                self.publication(form, complete, publication)
            }
        };
        self.frames[at] = Some(frame.clone());
        frame
    }

    fn shared(&mut self, form: WireForm, style: Style, make: impl FnOnce() -> Frame) -> Frame {
        let made = &mut self.made;
        self.frames[class(form, style)]
            .get_or_insert_with(|| {
                *made += 1;
                make()
            })
            .clone()
    }
}

/// The publication with a delta in place of its payload, when that is shorter.
fn patch_of(publication: &Publication) -> Option<Publication> {
    let data = delta::shorter(publication.previous.as_ref()?, &publication.data)?;
    Some(Publication {
        data: data.into(),
        delta: true,
        ..publication.clone()
    })
}

/// The delta in bytes, unless the payload or the delta cannot be written in this form: then what is true of the complete
/// publication decides.
fn written(
    form: WireForm,
    look: Look,
    broadcast: &Broadcast,
    (publication, patch): (&Publication, &Publication),
) -> Option<Bytes> {
    let readable =
        form.encoding == Encoding::Protobuf || crate::protocol::is_json(&publication.data);
    readable.then(|| frame::publication_as(form, look, &broadcast.channel, patch).ok())?
}

/// Place of a class in the table.
const fn class(form: WireForm, style: Style) -> usize {
    match (style.index(), form.version) {
        // V1 knows no styles.
        (0, _) | (_, Version::V1) => form.index(),
        (style, Version::V2) => {
            // V2 has one format of positions, so its forms fill a third of their places.
            WireForm::COUNT + (style - 1) * WireForm::V2_COUNT + form.v2_index()
        }
    }
}
