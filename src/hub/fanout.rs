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
        frame::{self, Delta, Framing, Style, WireForm},
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
        self.spread(broadcast, false)
    }

    /// The same for one that was read from history, and many others with it: nobody is to be closed for that who can read it there
    /// as well.
    pub(crate) fn broadcast_late(&self, broadcast: &Arc<Broadcast>) -> Fanout {
        self.spread(broadcast, true)
    }

    fn spread(&self, broadcast: &Arc<Broadcast>, late: bool) -> Fanout {
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
                let late = late && subscriber.positioned;
                match subscriber.mailbox.deliver(delivery, subscriber.slow, late) {
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
    /// Number of every class's frame, from 1; 0 before somebody needs it.
    places: [u8; CLASSES],
    frames: Vec<Frame>,
    made: usize,
}

const _: () = assert!(CLASSES < u8::MAX as usize);

impl<'a> Classes<'a> {
    const fn new(broadcast: &'a Broadcast, number: u32) -> Self {
        Self {
            broadcast,
            number,
            patch: None,
            places: [0; CLASSES],
            frames: Vec::new(),
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
        let at = class(subscriber.form, style);
        if let Some(made) = self.made(at) {
            return made;
        }
        let look = style.look(self.number);
        let made = frame::push_as(subscriber.form, look, &self.broadcast.channel, &body);
        self.made += 1;
        self.keep(at, made.ok().into())
    }

    fn publication(&mut self, form: WireForm, style: Style, publication: &Publication) -> Frame {
        if style.delta == Delta::Patches && publication.previous.is_some() {
            return self.delta(form, style, publication);
        }
        // Without a delta all who were granted deltas get the same; Protobuf has it as those who were not.
        let delta = match (style.delta, form.encoding) {
            (Delta::Off, _) | (_, Encoding::Protobuf) => Delta::Off,
            (Delta::Complete | Delta::Patches, Encoding::Json) => Delta::Complete,
        };
        let style = Style { delta, ..style };
        match self.made(class(form, style)) {
            Some(made) => made,
            None => self.write(form, style, publication, Frame::from),
        }
    }

    /// The delta, or the complete publication where there is none that this form could carry.
    fn delta(&mut self, form: WireForm, style: Style, publication: &Publication) -> Frame {
        let at = class(form, style);
        if let Some(made) = self.made(at) {
            return made;
        }
        let patch = self.patch.get_or_insert_with(|| patch_of(publication));
        // What is true of the complete publication decides where payload or delta cannot be written in this form.
        let readable =
            form.encoding == Encoding::Protobuf || crate::protocol::is_json(&publication.data);
        if let Some(patch) = patch.clone().filter(|_| readable) {
            let delta = |bytes| Frame::Delta(bytes, Arc::default());
            let made = self.write(form, style, &patch, |bytes| {
                bytes.map_or(Frame::Inappropriate, delta)
            });
            if !matches!(made, Frame::Inappropriate) {
                return made;
            }
        }
        let complete = Style {
            delta: Delta::Complete,
            ..style
        };
        let made = self.publication(form, complete, publication);
        self.keep(at, made)
    }

    /// Writes a publication for a class, and for the one that shares the bytes.
    fn write(
        &mut self,
        form: WireForm,
        style: Style,
        publication: &Publication,
        finish: impl Fn(Option<Bytes>) -> Frame,
    ) -> Frame {
        self.made += 1;
        let (channel, look) = (&self.broadcast.channel, style.look(self.number));
        let twin = match form.framing {
            Framing::WebSocket => Framing::Stream,
            Framing::Stream => Framing::WebSocket,
            _ => {
                let made = frame::publication_as(form, look, channel, publication);
                return self.keep(class(form, style), finish(made.ok()));
            }
        };
        let pair = frame::publication_pair(form, look, channel, publication);
        let (socket, stream) = pair.ok().unzip();
        let (wanted, other) = if form.framing == Framing::Stream {
            (stream, socket)
        } else {
            (socket, stream)
        };
        self.keep(class(form.framed(twin), style), finish(other));
        self.keep(class(form, style), finish(wanted))
    }

    fn made(&self, at: usize) -> Option<Frame> {
        let place = usize::from(self.places[at]).checked_sub(1)?;
        self.frames.get(place).cloned()
    }

    fn keep(&mut self, at: usize, frame: Frame) -> Frame {
        self.frames.push(frame.clone());
        // No class is kept twice but one whose delta could not be written, and there are far fewer than 255.
        self.places[at] = u8::try_from(self.frames.len()).unwrap_or_default();
        frame
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

/// Place of a class in the table.
const fn class(form: WireForm, style: Style) -> usize {
    match (style.index(), form.version) {
        // V1 knows no styles.
        (0, _) | (_, Version::V1) => form.index(),
        (style, Version::V2) => {
            WireForm::COUNT + (style - 1) * WireForm::V2_COUNT + form.v2_index()
        }
    }
}
