//! The law of recovery: whatever is cut, dropped or restarted, every publication of a recoverable subscription is handed
//! on exactly once and in order, or the application is told that it was not.

use std::{collections::VecDeque, sync::Arc};

use proptest::prelude::*;

use super::*;

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody publishes.
    Publish,
    /// The next message of the server arrives.
    Deliver,
    /// The next message of the server is lost although the connection goes on.
    Drop,
    /// The connection breaks, with all that was on its way.
    Cut(u32),
    /// Time passes, so that the client comes back.
    Wait,
    /// The server forgets its streams: a new epoch.
    Restart,
    /// The server declares the position lost.
    Unsubscribe,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Publish),
        8 => Just(Step::Deliver),
        1 => Just(Step::Drop),
        1 => prop_oneof![Just(0), Just(3001), Just(3008), Just(3012)].prop_map(Step::Cut),
        3 => Just(Step::Wait),
        1 => Just(Step::Restart),
        1 => Just(Step::Unsubscribe),
    ];
    prop::collection::vec(step, 1..200)
}

/// A server with one channel, which keeps only the last few publications.
#[derive(Default)]
struct Server {
    epoch: u32,
    top: u64,
    connected: bool,
    subscribed: bool,
    wire: VecDeque<Reply>,
}

/// Publications kept.
const HISTORY: u64 = 8;

impl Server {
    fn epoch(&self) -> String {
        format!("epoch{}", self.epoch)
    }

    fn publication(&self, offset: u64) -> Arc<Publication> {
        Arc::new(Publication {
            offset,
            epoch: if offset == 1 {
                self.epoch().into()
            } else {
                "".into()
            },
            data: Bytes::from(format!("{} {offset}", self.epoch())),
            ..Publication::default()
        })
    }

    fn publish(&mut self) {
        self.top += 1;
        if self.subscribed {
            let publication = self.publication(self.top);
            self.push(PushBody::Publication(publication));
        }
    }

    fn push(&mut self, body: PushBody) {
        let channel = "news".into();
        let body = ReplyBody::Push(Push { channel, body });
        self.wire.push_back(Reply { id: 0, body });
    }

    fn cut(&mut self) {
        self.wire.clear();
        self.connected = false;
        self.subscribed = false;
    }

    fn command(&mut self, command: Command) {
        let id = command.id;
        let body = match command.request {
            Request::Connect(_) => {
                self.connected = true;
                ReplyBody::Connect(Box::default())
            }
            Request::Subscribe(request) => {
                self.subscribed = true;
                subscribed(self.recover(&request))
            }
            Request::Unsubscribe(_) => {
                self.subscribed = false;
                ReplyBody::Unsubscribe
            }
            other => panic!("unexpected {other:?}"),
        };
        self.wire.push_back(Reply { id, body });
    }

    /// client-protocol.md 5.5, stream mode.
    fn recover(&self, request: &SubscribeRequest) -> SubscribeResult {
        let fresh = recoverable(self.top, &self.epoch());
        let same = request.epoch.is_empty() || request.epoch == self.epoch();
        let kept = request.offset + HISTORY >= self.top && request.offset <= self.top;
        if !request.recover {
            return fresh;
        }
        if !(same && kept) {
            return SubscribeResult {
                was_recovering: true,
                ..fresh
            };
        }
        SubscribeResult {
            recovered: true,
            was_recovering: true,
            offset: request.offset,
            publications: (request.offset + 1..=self.top)
                .map(|n| self.publication(n))
                .collect(),
            ..fresh
        }
    }
}

/// What the application believes.
#[derive(Default)]
struct Application {
    /// Epoch and offset it is at; `None` before the first subscription.
    position: Option<(String, u64)>,
    handed_on: usize,
}

impl Application {
    fn hear(&mut self, event: &SubscriptionEvent) -> Result<(), TestCaseError> {
        match event {
            SubscriptionEvent::Subscribed(told) => {
                let at = told.position.clone().expect("the server tracks positions");
                let at = (at.epoch.as_str().to_owned(), at.offset);
                if told.recovered {
                    prop_assert_eq!(
                        self.position.as_ref(),
                        Some(&at),
                        "recovered from elsewhere"
                    );
                }
                self.position = Some(at);
            }
            SubscriptionEvent::Publication(publication) => {
                self.handed_on += 1;
                let (epoch, offset) = self.position.as_mut().expect("subscribed before");
                *offset += 1;
                let expected = format!("{epoch} {offset}");
                prop_assert_eq!(&publication.data, &Bytes::from(expected));
            }
            SubscriptionEvent::Subscribing { .. } => {}
            other => prop_assert!(false, "unexpected {:?}", other),
        }
        Ok(())
    }
}

struct World {
    bench: Bench,
    server: Server,
    application: Application,
}

impl World {
    fn new() -> Self {
        let mut bench = Bench::new();
        bench.machine.connect(bench.now, &mut bench.effects);
        bench.subscribe("news", SubscribeOptions::new().recover());
        Self {
            bench,
            server: Server::default(),
            application: Application::default(),
        }
    }

    /// Carries out what the machine wants, as the driver does.
    fn settle(&mut self) -> Result<(), TestCaseError> {
        loop {
            let effects = self.bench.look();
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                match effect {
                    Effect::Open => self.bench.open(),
                    Effect::Close(_) => self.server.cut(),
                    Effect::Send(command) => self.server.command(command),
                    Effect::EmitTo(_, event) => self.application.hear(&event)?,
                    Effect::Emit(_) => {}
                    other => prop_assert!(false, "unexpected {:?}", other),
                }
            }
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Publish => self.server.publish(),
            Step::Deliver => {
                if let Some(reply) = self.server.wire.pop_front() {
                    self.bench.reply(reply.id, reply.body);
                }
            }
            // Losing an answer is a time-out, which is a cut; losing a push is what has to be noticed.
            Step::Drop => {
                let is_push = |reply: &Reply| matches!(&reply.body, ReplyBody::Push(push) if matches!(push.body, PushBody::Publication(_)));
                if self.server.wire.front().is_some_and(is_push) {
                    self.server.wire.pop_front();
                }
            }
            Step::Cut(code) => {
                if self.server.connected {
                    self.server.cut();
                    self.bench.lose(*code);
                }
            }
            Step::Wait => {
                // Answers arrive before anybody's patience ends.
                if self.server.wire.is_empty() {
                    self.bench.pass(SECOND);
                }
            }
            Step::Restart => {
                self.server.epoch += 1;
                self.server.top = 0;
                if self.server.connected {
                    self.server.cut();
                    self.bench.lose(0);
                }
            }
            Step::Unsubscribe => {
                if self.server.subscribed {
                    self.server.subscribed = false;
                    self.server
                        .push(PushBody::Unsubscribe(Unsubscribe::INSUFFICIENT_STATE));
                }
            }
        }
        self.settle()
    }

    /// Lets everything arrive and shows a lost tail by one more publication.
    fn quiesce(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..2 {
            self.step(&Step::Publish)?;
            for _ in 0..400 {
                self.step(&Step::Deliver)?;
                self.step(&Step::Wait)?;
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn exactly_once_in_order_or_told(steps in steps()) {
        let mut world = World::new();
        world.settle()?;
        for step in &steps {
            world.step(step)?;
        }
        world.quiesce()?;
        let end = (world.server.epoch(), world.server.top);
        prop_assert_eq!(world.application.position, Some(end));
    }

    #[test]
    fn without_restarts_and_with_enough_history_nothing_is_missing(cuts in prop::collection::vec(0..6u8, 1..150)) {
        let mut world = World::new();
        world.settle()?;
        world.step(&Step::Deliver)?;
        world.step(&Step::Deliver)?;
        for cut in cuts {
            let step = match cut {
                0 => Step::Cut(0),
                1 if world.server.top + 1 < world.application.position.as_ref().map_or(0, |p| p.1) + HISTORY => Step::Publish,
                2 => Step::Drop,
                3 => Step::Wait,
                _ => Step::Deliver,
            };
            world.step(&step)?;
        }
        world.quiesce()?;
        prop_assert_eq!(world.application.handed_on as u64, world.server.top);
    }
}
