//! The law of recovery: under any interleaving of publishing, joining, leaving, joining again, slow reads of history and a bus that
//! loses messages, a subscriber sees a gapless sequence without duplicates, or is told.

use proptest::prelude::*;

use super::*;

/// What happens next in the world around a session.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Someone publishes; the message reaches the node.
    Publish,
    /// Someone publishes; the bus loses the message on its way.
    PublishLost,
    /// The stream is lost; a new one begins.
    NewEpoch,
    /// The oldest message on the bus is delivered.
    Deliver,
    /// The client subscribes, or unsubscribes when it is subscribed.
    Command,
    /// The oldest running call advances by one of its stages.
    Advance,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Publish),
        1 => Just(Step::PublishLost),
        1 => Just(Step::NewEpoch),
        6 => Just(Step::Deliver),
        3 => Just(Step::Command),
        6 => Just(Step::Advance),
    ];
    prop::collection::vec(step, 0..120)
}

/// What the application behind the client believes.
#[derive(Debug, Default)]
struct Belief {
    position: Option<StreamPosition>,
    subscribed: bool,
    /// Publications that were seen since the last time the client was told of a loss.
    seen: Vec<u64>,
}

struct World {
    wire: Wire,
    top: StreamPosition,
    epochs: u32,
    /// Retained publications of the present epoch.
    retained: Vec<u64>,
    /// Subscriptions in the hub.
    hub: Vec<SubscriptionKey>,
    bus: std::collections::VecDeque<Delivery>,
    /// History that a join has read and not yet given back.
    read: Option<Joined>,
    belief: Belief,
}

impl World {
    fn new() -> Self {
        let mut wire = Wire::connected_with(
            Config {
                queue_max_size: usize::MAX,
                ..config()
            },
            Version::V2,
            identified(),
        );
        wire.replies.clear();
        Self {
            wire,
            top: position(0, "e0"),
            epochs: 0,
            retained: Vec::new(),
            hub: Vec::new(),
            bus: std::collections::VecDeque::new(),
            read: None,
            belief: Belief::default(),
        }
    }

    fn publish(&mut self, lost: bool) {
        self.top.offset += 1;
        self.retained.push(self.top.offset);
        if self.retained.len() > 8 {
            self.retained.remove(0);
        }
        if !lost {
            let epoch = self.top.epoch.as_str().to_owned();
            self.bus.extend(
                self.hub
                    .iter()
                    .map(|key| delivery(*key, self.top.offset, &epoch)),
            );
        }
    }

    fn command(&mut self) {
        if !self.wire.session.ready() {
            return;
        }
        if self.belief.subscribed {
            self.wire.send(Request::Unsubscribe("ch".into()));
            self.belief.subscribed = false;
        } else {
            let request = self.belief.position.as_ref().map_or_else(
                || subscribe("ch"),
                |known| recover("ch", known.offset, known.epoch.as_str()),
            );
            self.wire.send(request);
        }
    }

    /// A join goes through hub, history, completion; everything else completes at once.
    fn advance(&mut self) {
        let Some((_, call)) = self.wire.calls.first() else {
            return;
        };
        match call {
            Call::Subscribe(_) => self
                .wire
                .answer(Outcome::Subscribe(Ok(Box::new(recoverable())))),
            Call::Leave(leave) => {
                let key = leave.key;
                self.hub.retain(|other| *other != key);
                self.wire.answer(Outcome::Done);
            }
            Call::Join(join) if !self.hub.contains(&join.key) => self.hub.push(join.key),
            Call::Join(join) if self.read.is_none() => {
                let same = join
                    .since
                    .as_ref()
                    .filter(|s| s.epoch.is_empty() || s.epoch == self.top.epoch);
                let after = same.map_or(u64::MAX, |since| since.offset);
                let publications = self.retained.iter().filter(|offset| **offset > after);
                let publications = publications.map(|offset| publication(*offset)).collect();
                self.read = Some(Joined {
                    publications,
                    top: self.top.clone(),
                    ..Joined::default()
                });
            }
            Call::Join(_) => {
                let joined = self.read.take().expect("history was read");
                self.wire.answer(Outcome::Joined(Ok(joined)));
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Reads what the client was sent, in the order it was sent.
    fn observe(&mut self) -> Result<(), TestCaseError> {
        for reply in std::mem::take(&mut self.wire.replies) {
            match reply.body {
                ReplyBody::Subscribe(result) => self.subscribed(&result)?,
                ReplyBody::Push(Push {
                    body: PushBody::Unsubscribe(why),
                    ..
                }) => {
                    prop_assert_eq!(why.code, 2500);
                    self.belief.subscribed = false;
                }
                ReplyBody::Unsubscribe => self.belief.subscribed = false,
                other => prop_assert!(false, "unexpected {:?}", other),
            }
        }
        for frame in std::mem::take(&mut self.wire.frames) {
            let offset: u64 = String::from_utf8_lossy(&frame)
                .parse()
                .expect("frames are offsets");
            self.saw(offset)?;
        }
        Ok(())
    }

    fn subscribed(&mut self, result: &SubscribeResult) -> Result<(), TestCaseError> {
        self.belief.subscribed = true;
        let asked = self.belief.position.clone();
        self.belief.position = Some(position(result.offset, &result.epoch));
        if result.recovered {
            let asked = asked.expect("only a known position is recovered");
            prop_assert_eq!(asked.offset, result.offset);
            for publication in &result.publications {
                self.saw(publication.offset)?;
            }
        } else {
            prop_assert!(result.publications.is_empty());
            self.belief.seen.clear();
        }
        Ok(())
    }

    fn saw(&mut self, offset: u64) -> Result<(), TestCaseError> {
        let known = self.belief.position.as_mut().expect("subscribed");
        prop_assert_eq!(
            offset,
            known.offset + 1,
            "gap or duplicate after {:?}",
            self.belief.seen
        );
        known.offset = offset;
        self.belief.seen.push(offset);
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish => self.publish(false),
            Step::PublishLost => self.publish(true),
            Step::NewEpoch => {
                self.epochs += 1;
                self.top = position(0, &format!("e{}", self.epochs));
                self.retained.clear();
            }
            Step::Deliver => {
                if let Some(delivery) = self.bus.pop_front() {
                    self.wire.deliver(delivery);
                }
            }
            Step::Command => self.command(),
            Step::Advance => self.advance(),
        }
        self.observe()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_subscriber_sees_everything_once_in_order_or_is_told(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step)?;
            if let Some(why) = &world.wire.closed {
                prop_assert_eq!(why.code, 3010);
                return Ok(());
            }
        }
        // In the end everything under way arrives, and one more publication shows whether something was lost.
        for step in [Step::Advance; 8].into_iter().chain([Step::Publish]).chain([Step::Deliver; 130]) {
            world.step(step)?;
            if world.wire.closed.is_some() {
                return Ok(());
            }
        }
        if world.belief.subscribed && world.wire.calls.is_empty() {
            prop_assert_eq!(world.belief.position.as_ref(), Some(&world.top));
        }
    }
}
