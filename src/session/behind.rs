//! A subscription that fell behind, because its client read too slowly, is brought up to date from history (`slow_policy: recover`).
//!
//! The mailbox drops what comes for it and says so once. From there the session reads on page by page, each when the one before
//! was written, and the mailbox goes on dropping. Once at the top it takes deliveries again, they are held, and one more read closes
//! the gap between: the rule of a join. What history does not have any more ends the subscription with 2500.

use std::sync::Arc;

use super::{
    Call, Effects, Joined, Pending, Session,
    recovery::{Step, follows},
    subscription::State as Sub,
};
use crate::model::{
    Broadcast, ChannelEvent, Delivery, Frame, Now, Publication, StreamPosition, SubscriptionKey,
};

/// Publications of one page: few, since they and their frames are the memory a slow client costs.
const PAGE: usize = 16;

/// Being brought up to date.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// What was delivered since the mailbox takes deliveries again.
    held: Vec<Delivery>,
    /// Bytes of it.
    held_bytes: usize,
    /// The mailbox takes deliveries again.
    resumed: bool,
    /// It has fallen behind once more since then.
    again: bool,
    /// More was delivered than is held: the rest is read from history, too.
    dropped: bool,
}

/// Bytes that are held, and a flat amount for each delivery.
const HELD: usize = 64 * 1024;

impl Behind {
    /// Keeps a delivery until history has been read up to it.
    pub(super) fn hold(&mut self, delivery: Delivery) {
        self.held_bytes += delivery.frame.size() + std::mem::size_of::<Delivery>();
        self.dropped |= self.held_bytes > HELD;
        if !self.dropped {
            self.held.push(delivery);
        }
    }
}

impl Session {
    /// The mailbox has dropped everything after what it delivered so far.
    pub(crate) fn fell_behind(&mut self, key: SubscriptionKey, out: &mut Effects) {
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        match &mut subscription.state {
            Sub::Live(live) if live.position.is_none() => self.insufficient_state(key, out),
            Sub::Live(live) => match &mut live.behind {
                Some(behind) => behind.again = true,
                None => {
                    live.behind = Some(Box::default());
                    self.read_on(key, out);
                }
            },
            Sub::Joining(joining) => joining.fell_behind = true,
            Sub::Authorizing(_) | Sub::Leaving => {}
        }
    }

    /// Reads on while deliveries are held.
    fn resume(&mut self, key: SubscriptionKey, out: &mut Effects) {
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        if let Sub::Live(live) = &mut subscription.state {
            live.behind = Some(Box::new(Behind {
                resumed: true,
                ..Behind::default()
            }));
            self.read_on(key, out);
        }
    }

    fn read_on(&mut self, key: SubscriptionKey, out: &mut Effects) {
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        let Sub::Live(live) = &subscription.state else {
            return;
        };
        let (Some(position), Some(behind)) = (&live.position, &live.behind) else {
            return;
        };
        let call = Call::ReadOn {
            channel: subscription.channel.clone(),
            key,
            since: position.clone(),
            limit: PAGE,
            resume: behind.resumed,
        };
        self.call(call, Pending::ReadOn(key), out);
    }

    /// A page of history was read.
    pub(super) fn caught_up(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        page: Option<Joined>,
        out: &mut Effects,
    ) {
        let Some(Joined {
            publications, top, ..
        }) = page
        else {
            return self.insufficient_state(key, out);
        };
        let progress = !publications.is_empty();
        for publication in publications {
            if !self.catch_up_by(now, (key, &top), publication, out) {
                return self.insufficient_state(key, out);
            }
        }
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        let Sub::Live(live) = &mut subscription.state else {
            return;
        };
        let (Some(position), Some(behind)) = (&live.position, &mut live.behind) else {
            return;
        };
        let same = position.epoch == top.epoch || position.epoch.is_empty();
        if !same || position.offset < top.offset && !progress {
            return self.insufficient_state(key, out);
        }
        if position.offset < top.offset {
            return self.read_on(key, out);
        }
        if !behind.resumed {
            behind.resumed = true;
            return self.read_on(key, out);
        }
        live.checked = now.instant;
        let Some(behind) = live.behind.take() else {
            return;
        };
        let (again, dropped) = (behind.again, behind.dropped);
        for delivery in behind.held {
            self.delivery(now, delivery, out);
        }
        if again {
            self.fell_behind(key, out);
        } else if dropped {
            self.resume(key, out);
        }
    }

    /// Writes one publication of history; false when it does not follow.
    fn catch_up_by(
        &mut self,
        now: Now,
        (key, top): (SubscriptionKey, &StreamPosition),
        publication: Arc<Publication>,
        out: &mut Effects,
    ) -> bool {
        let Some(subscription) = self.table.get_mut(key) else {
            return true;
        };
        let filter = subscription.options.filter.as_deref();
        let wanted = filter.is_none_or(|filter| filter.matches(publication.tags.as_deref()));
        let channel = subscription.channel.clone();
        let Sub::Live(live) = &mut subscription.state else {
            return true;
        };
        let Some(position) = &mut live.position else {
            return true;
        };
        match follows(position, (&publication, 0), &top.epoch) {
            Ok(Step::Known) => return true,
            Ok(Step::Next) => {}
            Err(_gap) => return false,
        }
        position.offset = publication.offset;
        if position.epoch.is_empty() {
            position.epoch = top.epoch.clone();
        }
        let event = ChannelEvent::Publication(publication, top.epoch.clone());
        // A delta for somebody without the payload before: the complete publication, in the form of this subscription.
        live.has_base = false;
        let frame = if wanted {
            Frame::Delta(bytes::Bytes::new(), Arc::default())
        } else {
            Frame::Withheld
        };
        let delivery = Delivery {
            key,
            broadcast: Arc::new(Broadcast {
                channel,
                event,
                watch: None,
            }),
            frame,
            skipped: 0,
        };
        self.write(now, delivery, out);
        true
    }
}
