//! One channel's publications in order: a pure machine that finds gaps and closes them from history (engines.md 8.6 A, B).
//!
//! Owns the position up to which everything was passed on and what came too early. No clock, no lock, no queue: every input
//! appends [`Step`]s, which whoever drives it carries out in this order. What is passed on is gapless and without duplicates
//! within an epoch; where that is impossible, subscribers are told by [`ChannelEvent::InsufficientState`].

use std::{collections::BTreeMap, sync::Arc};

use super::{identity::Digests, reason::Reason};
use crate::{
    engine::History,
    model::{ChannelEvent, Epoch, Publication, StreamPosition},
};

/// Publications held behind a gap.
pub(super) const HELD: usize = 1024;
/// Bytes of their payloads.
pub(super) const HELD_BYTES: usize = 4 << 20;
/// Publications of one read.
pub(super) const READ: usize = 1000;

/// Names one read, so that the answer to one that no longer matters is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticket(pub(super) u64);

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Goes to the subscribers.
    Pass(ChannelEvent),
    /// History after this position is wanted, at most [`READ`] publications of it; the answer is owed to [`Sequence::answer`].
    Read(Ticket, StreamPosition),
    /// Something is missing (told once until it is repaired or declared).
    Gap,
    /// Nothing is missing any more.
    Repaired,
    /// Something is missing for good. The event that tells subscribers follows.
    Declared(Reason),
}

/// The order of one channel.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// Everything up to here was passed on; `None` while nothing is known of the stream.
    position: Option<StreamPosition>,
    /// First offset passed on since the position was learned or set anew.
    floor: u64,
    /// While the position comes from a read: newest offset up to it that arrived since. Those who subscribed without a position
    /// have not seen it; all others drop it.
    behind: Option<u64>,
    /// Of what was passed on last.
    digests: Digests,
    /// Epoch before the present one, of which late publications may still arrive.
    former: Epoch,
    /// What came too early, by offset.
    held: BTreeMap<u64, Arc<Publication>>,
    held_bytes: usize,
    /// Newest offset that came, held or not.
    seen: u64,
    /// Top of the stream that someone read while it was not passed on yet: it may be lost, or just be under way.
    suspect: u64,
    /// The read under way, and what was seen when it began.
    reading: Option<(Ticket, u64)>,
    tickets: u64,
    /// A gap was told and not yet closed.
    broken: bool,
}

impl Sequence {
    /// Up to where everything was passed on.
    pub(super) const fn position(&self) -> Option<&StreamPosition> {
        self.position.as_ref()
    }

    /// The position from which it went on when it was learned or set anew.
    pub(super) fn common(&self) -> Option<StreamPosition> {
        let position = self.position.as_ref()?;
        Some(StreamPosition {
            offset: self.floor.saturating_sub(1),
            epoch: position.epoch.clone(),
        })
    }

    /// Number of publications held.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Somebody read a top that has not been passed on.
    pub(super) fn is_suspect(&self) -> bool {
        self.position
            .as_ref()
            .is_some_and(|position| self.suspect > position.offset)
    }

    /// A publication arrived.
    pub(super) fn publication(
        &mut self,
        publication: Arc<Publication>,
        epoch: Epoch,
        out: &mut Vec<Step>,
    ) {
        let offset = publication.offset;
        if offset == 0 || epoch.is_empty() {
            out.push(Step::Pass(ChannelEvent::Publication(publication, epoch)));
            return;
        }
        let Some(position) = &self.position else {
            let before = StreamPosition {
                offset: offset - 1,
                epoch,
            };
            self.learn(before);
            self.pass(publication, out);
            return;
        };
        if position.epoch != epoch {
            if epoch == self.former {
                // Late, or an older master is back: history knows.
                return self.ask(out);
            }
            let before = StreamPosition {
                offset: offset - 1,
                epoch: epoch.clone(),
            };
            self.declare(Reason::NewEpoch, Some(before), out);
        }
        if offset < self.next() && self.digests.contradict(&publication) {
            let before = StreamPosition {
                offset: offset - 1,
                epoch: epoch.clone(),
            };
            self.declare(Reason::Forked, Some(before), out);
        }
        self.seen = self.seen.max(offset);
        let next = self.next();
        if offset < next {
            if self.behind.is_some_and(|behind| offset > behind) {
                self.behind = Some(offset);
                out.push(Step::Pass(ChannelEvent::Publication(publication, epoch)));
            }
        } else if offset == next {
            self.pass(publication, out);
            self.release(out);
            self.settle(out);
        } else {
            self.hold(publication);
            self.ask(out);
        }
    }

    /// A subscriber reads the stream and found this top. False when that is older than what was passed on since the channel is
    /// listened to, so that something may be missing in between: it has to be read again.
    pub(super) fn observed(&mut self, top: &StreamPosition, out: &mut Vec<Step>) -> bool {
        if top.epoch.is_empty() {
            return true;
        }
        let Some(position) = &self.position else {
            self.learn(top.clone());
            return true;
        };
        if position.epoch != top.epoch {
            if top.epoch == self.former {
                self.ask(out);
                return false;
            }
            self.declare(Reason::NewEpoch, Some(top.clone()), out);
            return true;
        }
        self.suspect = self.suspect.max(top.offset);
        top.offset.saturating_add(1) >= self.floor
    }

    /// The sweep found this top (`None`: no stream) some time after the position was `asked`. With `now`, what is not passed on
    /// is read at once, otherwise [`Sequence::confirm`] decides.
    pub(super) fn swept(
        &mut self,
        asked: &StreamPosition,
        top: Option<StreamPosition>,
        now: bool,
        out: &mut Vec<Step>,
    ) {
        if self.position.as_ref().map(|p| &p.epoch) != Some(&asked.epoch) {
            return;
        }
        match top {
            None => self.declare(Reason::Vanished, None, out),
            Some(top) if top.epoch != asked.epoch => {
                self.declare(Reason::NewEpoch, Some(top), out);
            }
            Some(top) if top.offset < asked.offset => {
                self.declare(Reason::MovedBack, Some(top), out);
            }
            Some(top) => {
                self.suspect = self.suspect.max(top.offset);
                if now {
                    self.confirm(out);
                }
            }
        }
    }

    /// What was under way when a top was read has had its time.
    pub(super) fn confirm(&mut self, out: &mut Vec<Step>) {
        if self.is_suspect() {
            self.ask(out);
        }
    }

    /// History answered.
    pub(super) fn answer(&mut self, ticket: Ticket, history: History, out: &mut Vec<Step>) {
        let Some((_, promised)) = self.reading.take_if(|(open, _)| *open == ticket) else {
            return;
        };
        let top = history.position;
        let known = self.position.as_ref();
        if known.map(|position| &position.epoch) != Some(&top.epoch) {
            self.declare(Reason::NewEpoch, Some(top), out);
            return self.settle(out);
        }
        if top.offset < promised {
            self.declare(Reason::MovedBack, Some(top), out);
            return self.settle(out);
        }
        self.suspect = self.suspect.max(top.offset);
        let whole = history.publications.len() < READ;
        for publication in history.publications {
            if publication.offset > self.next() {
                let before = StreamPosition {
                    offset: publication.offset - 1,
                    epoch: top.epoch.clone(),
                };
                self.declare(Reason::Trimmed, Some(before), out);
            }
            if publication.offset == self.next() {
                self.pass(publication, out);
            }
        }
        self.release(out);
        if whole && self.next() <= top.offset {
            self.declare(Reason::Trimmed, Some(top), out);
        }
        self.settle(out);
    }

    /// Offset of the publication to pass on next.
    fn next(&self) -> u64 {
        self.position
            .as_ref()
            .map_or(0, |position| position.offset)
            .saturating_add(1)
    }

    fn learn(&mut self, position: StreamPosition) {
        self.floor = position.offset.saturating_add(1);
        self.digests.forget();
        self.behind = Some(0);
        self.seen = position.offset;
        self.suspect = 0;
        self.position = Some(position);
    }

    fn pass(&mut self, publication: Arc<Publication>, out: &mut Vec<Step>) {
        if let Some(position) = &mut self.position {
            position.offset = publication.offset;
            self.digests.remember(&publication);
            self.behind = None;
            self.seen = self.seen.max(publication.offset);
            let event = ChannelEvent::Publication(publication, position.epoch.clone());
            out.push(Step::Pass(event));
        }
    }

    /// Keeps a publication that came too early; what is too much is read again later.
    fn hold(&mut self, publication: Arc<Publication>) {
        let size = size(&publication);
        if self.held.len() >= HELD || self.held_bytes + size > HELD_BYTES {
            return;
        }
        if self.held.insert(publication.offset, publication).is_none() {
            self.held_bytes += size;
        }
    }

    /// Passes on what is held, as far as it continues the sequence, and forgets what is before it.
    fn release(&mut self, out: &mut Vec<Step>) {
        while let Some(first) = self.held.first_entry() {
            let passed = self.position.as_ref().map_or(0, |p| p.offset);
            if *first.key() > passed.saturating_add(1) {
                return;
            }
            let publication = first.remove();
            self.held_bytes -= size(&publication);
            if publication.offset > passed {
                self.pass(publication, out);
            }
        }
    }

    /// Asks for what is missing, once.
    fn ask(&mut self, out: &mut Vec<Step>) {
        let Some(position) = &self.position else {
            return;
        };
        if !std::mem::replace(&mut self.broken, true) {
            out.push(Step::Gap);
        }
        if self.reading.is_none() {
            self.tickets += 1;
            let ticket = Ticket(self.tickets);
            self.reading = Some((ticket, self.seen.max(self.suspect)));
            out.push(Step::Read(ticket, position.clone()));
        }
    }

    /// Goes on asking while something is missing, and tells when nothing is any more.
    fn settle(&mut self, out: &mut Vec<Step>) {
        let top = self.position.as_ref().map_or(0, |p| p.offset);
        if top < self.seen.max(self.suspect) {
            self.ask(out);
        } else if self.reading.is_none() && std::mem::take(&mut self.broken) {
            out.push(Step::Repaired);
        }
    }

    /// Gives up what is missing and goes on from `base`; subscribers are told.
    fn declare(&mut self, reason: Reason, base: Option<StreamPosition>, out: &mut Vec<Step>) {
        // A read of what was before does not matter any more.
        self.reading = None;
        self.broken = false;
        let old = self.position.take();
        let same = old.as_ref().map(|p| &p.epoch) == base.as_ref().map(|p| &p.epoch);
        if !same {
            self.former = old.map(|p| p.epoch).unwrap_or_default();
        }
        if same && reason == Reason::Trimmed {
            let (seen, suspect) = (self.seen, self.suspect);
            base.iter().for_each(|base| self.learn(base.clone()));
            (self.seen, self.suspect) = (seen.max(self.seen), suspect);
        } else {
            self.held.clear();
            self.held_bytes = 0;
            match &base {
                Some(base) => self.learn(base.clone()),
                None => (self.seen, self.suspect) = (0, 0),
            }
        }
        out.push(Step::Declared(reason));
        // After a loss at the end of the stream the same offsets are given out again, so no position in it can be trusted.
        let sound = base.filter(|_| !reason.is_fork());
        out.push(Step::Pass(ChannelEvent::InsufficientState(sound)));
        self.release(out);
    }
}

/// Bytes a held publication counts for.
fn size(publication: &Publication) -> usize {
    publication.data.len() + publication.previous.as_ref().map_or(0, bytes::Bytes::len)
}
