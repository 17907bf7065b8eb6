//! The law: whatever a bus and a stream do, every subscriber sees a gapless sequence without duplicates, or is told; and is told
//! only of what history cannot give back.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// What happens next in the world around a sequence.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Publish,
    /// The bus loses it.
    PublishLost,
    /// The bus doubles it.
    PublishTwice,
    /// The bus delivers its newest message before the one before.
    Reorder,
    /// The bus delivers its oldest message.
    Deliver,
    /// The bus loses everything under way, and the connection is there again.
    Reconnect,
    /// The oldest open read is carried out by the stream.
    ReadHistory,
    /// The oldest read that was carried out is answered.
    Answer,
    /// A sweep begins.
    Ask,
    /// A sweep that began is answered.
    Sweep,
    /// Somebody subscribes: registered, stream read, told.
    Join,
    JoinReads,
    JoinEnds,
    /// Only the newest two publications are kept.
    Trim,
    NewEpoch,
    /// Another server takes over, without up to two of the newest publications; the epoch stays. What is published before the
    /// sweep that follows is beyond this law: it takes offsets that were given out already (engines.md 8.5, scenario 3).
    MoveBack,
}

#[derive(Clone, Debug)]
enum Subscriber {
    /// In the hub; what it held, and what it read.
    Joining(Vec<ChannelEvent>, Option<StreamPosition>),
    /// Has everything up to here.
    Live(StreamPosition),
    Told,
}

struct World {
    sequence: Sequence,
    steps: Vec<Step>,
    top: StreamPosition,
    epochs: u32,
    retained: Vec<u64>,
    bus: VecDeque<(u64, Epoch)>,
    reads: VecDeque<(Ticket, StreamPosition)>,
    answers: VecDeque<(Ticket, History)>,
    asked: Option<StreamPosition>,
    subscribers: Vec<Subscriber>,
}

impl World {
    fn new() -> Self {
        Self {
            sequence: Sequence::default(),
            steps: Vec::new(),
            top: position(0, "e0"),
            epochs: 0,
            retained: Vec::new(),
            bus: VecDeque::new(),
            reads: VecDeque::new(),
            answers: VecDeque::new(),
            asked: None,
            subscribers: Vec::new(),
        }
    }

    fn publish(&mut self, copies: usize) {
        self.top.offset += 1;
        self.retained.push(self.top.offset);
        let message = (self.top.offset, self.top.epoch.clone());
        self.bus.extend(std::iter::repeat_n(message, copies));
    }

    fn deliver(&mut self) {
        if let Some((offset, epoch)) = self.bus.pop_front() {
            self.sequence
                .publication(publication(offset), epoch, &mut self.steps);
        }
    }

    fn read_history(&mut self) {
        if let Some((ticket, since)) = self.reads.pop_front() {
            let same = since.epoch == self.top.epoch;
            let after = self.retained.iter().filter(|o| same && **o > since.offset);
            let found = history(after.take(READ).copied(), self.top.clone());
            self.answers.push_back((ticket, found));
        }
    }

    fn answer(&mut self) {
        if let Some((ticket, history)) = self.answers.pop_front() {
            self.sequence.answer(ticket, history, &mut self.steps);
        }
    }

    fn sweep(&mut self, now: bool) {
        if let Some(asked) = self.asked.take() {
            let top = Some(self.top.clone());
            self.sequence.swept(&asked, top, now, &mut self.steps);
        }
    }

    fn ask(&mut self) {
        self.asked = self.sequence.position().cloned();
    }

    fn join_reads(&mut self) {
        let top = self.top.clone();
        for subscriber in &mut self.subscribers {
            if let Subscriber::Joining(_, read @ None) = subscriber {
                *read = Some(top);
                return;
            }
        }
    }

    fn join_ends(&mut self) {
        let steps = &mut self.steps;
        for subscriber in &mut self.subscribers {
            if let Subscriber::Joining(held, read) = subscriber
                && let Some(top) = read.clone()
            {
                if !self.sequence.observed(&top, steps) {
                    *read = None;
                    return;
                }
                let held = std::mem::take(held);
                *subscriber = Subscriber::Live(top);
                for event in held {
                    subscriber.sees(&event);
                }
                return;
            }
        }
    }

    /// Carries out what the sequence said.
    fn settle(&mut self) {
        for step in std::mem::take(&mut self.steps) {
            match step {
                Step::Pass(event) => {
                    for subscriber in &mut self.subscribers {
                        subscriber.sees(&event);
                    }
                }
                Step::Read(ticket, since) => self.reads.push_back((ticket, since)),
                Step::Gap | Step::Repaired | Step::Declared(_) => {}
            }
        }
    }

    fn happens(&mut self, what: Happens) {
        match what {
            Happens::Publish => self.publish(1),
            Happens::PublishLost => self.publish(0),
            Happens::PublishTwice => self.publish(2),
            Happens::Reorder => {
                if let Some(newest) = self.bus.pop_back() {
                    self.bus.push_front(newest);
                }
                self.deliver();
            }
            Happens::Deliver => self.deliver(),
            Happens::Reconnect => {
                self.bus.clear();
                self.ask();
                self.sweep(true);
            }
            Happens::ReadHistory => self.read_history(),
            Happens::Answer => self.answer(),
            Happens::Ask => self.ask(),
            Happens::Sweep => self.sweep(false),
            Happens::Join => self.subscribers.push(Subscriber::Joining(Vec::new(), None)),
            Happens::JoinReads => self.join_reads(),
            Happens::JoinEnds => self.join_ends(),
            Happens::Trim => {
                let old = self.retained.len().saturating_sub(2);
                self.retained.drain(..old);
            }
            Happens::NewEpoch => {
                self.epochs += 1;
                self.top = position(0, &format!("e{}", self.epochs));
                self.retained.clear();
            }
            Happens::MoveBack => {
                self.top.offset = self.top.offset.saturating_sub(2);
                let top = self.top.offset;
                self.retained.retain(|offset| *offset <= top);
                return self.happens(Happens::Reconnect);
            }
        }
        self.settle();
    }

    /// Everything under way arrives, and the sweep has its turns.
    fn rest(&mut self) {
        for _ in 0..4 {
            for _ in 0..self.subscribers.len() {
                self.happens(Happens::JoinReads);
                self.happens(Happens::JoinEnds);
            }
            while !self.bus.is_empty() {
                self.happens(Happens::Deliver);
            }
            self.happens(Happens::Reconnect);
            while !self.reads.is_empty() || !self.answers.is_empty() {
                self.happens(Happens::ReadHistory);
                self.happens(Happens::Answer);
            }
        }
    }
}

impl Subscriber {
    /// The rule of a session.
    fn sees(&mut self, event: &ChannelEvent) {
        match self {
            Self::Joining(held, _) => held.push(event.clone()),
            Self::Live(at) => match event {
                ChannelEvent::Publication(publication, epoch) => {
                    if *epoch != at.epoch || publication.offset > at.offset + 1 {
                        *self = Self::Told;
                    } else if publication.offset == at.offset + 1 {
                        at.offset += 1;
                    }
                }
                ChannelEvent::InsufficientState(sound) => {
                    let untouched = sound
                        .as_ref()
                        .is_some_and(|s| s.epoch == at.epoch && at.offset >= s.offset);
                    if !untouched {
                        *self = Self::Told;
                    }
                }
                other => panic!("unexpected {other:?}"),
            },
            Self::Told => {}
        }
    }
}

/// What a bus does.
fn bus() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => Just(Happens::Publish),
        3 => Just(Happens::PublishLost),
        1 => Just(Happens::PublishTwice),
        1 => Just(Happens::Reorder),
        8 => Just(Happens::Deliver),
        1 => Just(Happens::Reconnect),
        4 => Just(Happens::ReadHistory),
        4 => Just(Happens::Answer),
        1 => Just(Happens::Ask),
        1 => Just(Happens::Sweep),
        2 => Just(Happens::Join),
        3 => Just(Happens::JoinReads),
        3 => Just(Happens::JoinEnds),
    ]
}

/// What a stream does besides.
fn stream() -> impl Strategy<Value = Happens> {
    prop_oneof![
        Just(Happens::Trim),
        Just(Happens::NewEpoch),
        Just(Happens::MoveBack)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_told_and_everything_arrives_while_the_stream_is_whole(
        happens in prop::collection::vec(bus(), 0..150)
    ) {
        let mut world = World::new();
        for what in happens {
            world.happens(what);
            prop_assert!(!world.subscribers.iter().any(|s| matches!(s, Subscriber::Told)));
        }
        world.rest();
        for subscriber in &world.subscribers {
            prop_assert!(
                matches!(subscriber, Subscriber::Live(at) if *at == world.top),
                "{:?}, but the top is {:?}", subscriber, world.top
            );
        }
    }

    #[test]
    fn everybody_has_everything_or_is_told_whatever_happens(
        happens in prop::collection::vec(prop_oneof![12 => bus().boxed(), 1 => stream().boxed()], 0..150)
    ) {
        let mut world = World::new();
        for what in happens {
            world.happens(what);
        }
        world.rest();
        for subscriber in &world.subscribers {
            prop_assert!(
                matches!(subscriber, Subscriber::Told)
                    || matches!(subscriber, Subscriber::Live(at) if *at == world.top),
                "{:?}, but the top is {:?}", subscriber, world.top
            );
        }
    }
}
