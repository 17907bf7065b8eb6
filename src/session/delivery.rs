//! Live delivery: the position rule of client-protocol.md 5.5, in the only place that knows a position.

use super::{
    Effect, Effects, Session, Whole,
    batch::Pushed,
    recovery::{Gap, Step, follows},
    subscription::State as Sub,
};
use crate::model::{
    ChannelEvent, Delivery, Disconnect, Epoch, Frame, Now, Publication, StreamPosition,
    SubscriptionKey, Withheld,
};

impl Session {
    /// A channel event for one of this connection's subscriptions.
    pub(crate) fn delivery(&mut self, now: Now, delivery: Delivery, out: &mut Effects) {
        if self.is_closed() {
            return;
        }
        let Some(subscription) = self.table.get_mut(delivery.key) else {
            return;
        };
        match &mut subscription.state {
            Sub::Joining(joining) => {
                joining.held_bytes += delivery.frame.size();
                joining.held.push(delivery);
                if joining.held_bytes > self.config.queue_max_size {
                    self.close(Disconnect::SLOW, out);
                }
            }
            Sub::Live(live) => match &mut live.behind {
                Some(behind) => behind.hold(delivery),
                None => self.deliver(now, delivery, out),
            },
            Sub::Authorizing(_) | Sub::Leaving => {}
        }
    }

    fn deliver(&mut self, now: Now, delivery: Delivery, out: &mut Effects) {
        let verdict = match &delivery.broadcast.event {
            ChannelEvent::Publication(publication, epoch) => {
                self.judge(now, &delivery, publication, epoch)
            }
            // One's own leave, of a subscription that was left a moment ago.
            ChannelEvent::Leave(info) if info.client == self.birth.client => Ok(Step::Known),
            ChannelEvent::Join(_) | ChannelEvent::Leave(_) => Ok(Step::Next),
            ChannelEvent::InsufficientState(sound) => self.judge_loss(delivery.key, sound.as_ref()),
        };
        match verdict {
            Ok(Step::Known) => {}
            Ok(Step::Next) => self.write(now, delivery, out),
            Err(Gap) => self.insufficient_state(delivery.key, out),
        }
    }

    /// Writes what the client can read: a delta needs the payload before it.
    pub(super) fn write(&mut self, now: Now, delivery: Delivery, out: &mut Effects) {
        let Some(subscription) = self.table.get_mut(delivery.key) else {
            return;
        };
        let look = subscription.style.look(subscription.number);
        let Sub::Live(live) = &mut subscription.state else {
            return;
        };
        let mut frame = delivery.frame;
        let had_base = live.has_base;
        let (mut is_publication, mut whole) = (false, 0);
        if let ChannelEvent::Publication(publication, _) = &delivery.broadcast.event {
            (is_publication, whole) = (true, publication.data.len());
            if publication.except.as_ref() == Some(&self.birth.client) {
                frame = Frame::Withheld;
            }
            // What stands outside the stream replaces the payload that the next one builds upon.
            live.has_base = publication.offset > 0 && !matches!(frame, Frame::Withheld);
        }
        let (effect, size) = match frame {
            Frame::Delta(_, complete) if !had_base => {
                let whole_one = Whole {
                    broadcast: delivery.broadcast,
                    complete,
                    look,
                };
                (Effect::Complete(whole_one), whole)
            }
            Frame::Finished(bytes) | Frame::Delta(bytes, _) => {
                let size = bytes.len();
                (Effect::Frame(bytes), size)
            }
            Frame::Withheld => return,
            Frame::Inappropriate => return self.close(Disconnect::INAPPROPRIATE_PROTOCOL, out),
        };
        let pushed = Pushed {
            effect,
            size,
            is_publication,
        };
        self.emit(now, delivery.key, pushed, out);
    }

    /// The engine has lost publications: who has a position is told, unless it is past what was lost.
    fn judge_loss(
        &mut self,
        key: SubscriptionKey,
        sound: Option<&StreamPosition>,
    ) -> Result<Step, Gap> {
        let position = self.table.get_mut(key).and_then(|s| match &s.state {
            Sub::Live(live) => live.position.as_ref(),
            Sub::Authorizing(_) | Sub::Joining(_) | Sub::Leaving => None,
        });
        let untouched = position.is_none_or(|position| {
            sound.is_some_and(|sound| {
                position.epoch == sound.epoch && position.offset >= sound.offset
            })
        });
        if untouched { Ok(Step::Known) } else { Err(Gap) }
    }

    /// Moves the position, or finds that a publication is old or comes too early.
    fn judge(
        &mut self,
        now: Now,
        delivery: &Delivery,
        publication: &Publication,
        epoch: &Epoch,
    ) -> Result<Step, Gap> {
        let lag = self.config.position_max_time_lag;
        let Some(subscription) = self.table.get_mut(delivery.key) else {
            return Ok(Step::Known);
        };
        let Sub::Live(live) = &mut subscription.state else {
            return Ok(Step::Known);
        };
        // Published past history, or a subscriber that wants no guarantee: everything is new.
        let Some(position) = live.position.as_mut().filter(|_| publication.offset > 0) else {
            return Ok(Step::Next);
        };
        let late = now.unix_ms.saturating_sub(publication.time);
        if !lag.is_zero() && u128::try_from(late).is_ok_and(|late| late > lag.as_millis()) {
            return Err(Gap);
        }
        let step = follows(position, (publication, delivery.skipped), epoch)?;
        if step == Step::Next {
            position.offset = publication.offset;
            if position.epoch.is_empty() {
                position.epoch = epoch.clone();
            }
            live.checked = now.instant;
            live.suspect = None;
        }
        Ok(step)
    }

    /// The top of the stream was read. A subscriber may be behind for the moment a publication is under way; it has lost
    /// something only when it is still behind the top of the check before.
    pub(super) fn position_checked(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        (top, withheld): (Option<StreamPosition>, Option<Withheld>),
        out: &mut Effects,
    ) {
        let Some(top) = top else { return };
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        let Sub::Live(live) = &mut subscription.state else {
            return;
        };
        if live.behind.is_some() {
            return;
        }
        let Some(position) = &mut live.position else {
            return;
        };
        if let Some(Withheld { after, last }) = withheld
            && position.epoch == last.epoch
            && (after..last.offset).contains(&position.offset)
        {
            position.offset = last.offset;
        }
        let other_epoch = !position.epoch.is_empty() && position.epoch != top.epoch;
        let lost = live
            .suspect
            .is_some_and(|suspect| position.offset < suspect);
        if other_epoch || lost || position.offset > top.offset {
            return self.insufficient_state(key, out);
        }
        if position.offset == top.offset {
            live.checked = now.instant;
            live.suspect = None;
        } else {
            live.suspect = Some(top.offset);
        }
    }
}
