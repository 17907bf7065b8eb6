//! The subscriptions of one connection: a table of slots, each with a generation number, and the states of a subscription.
//!
//! authorizing → joining (holding what arrives) → live (with a position) → leaving. A late delivery or completion names
//! its slot and generation, so it can never touch a newer subscription of the same channel.

use std::{collections::HashMap, sync::Arc, time::Instant};

use super::{batch::Held, behind::Behind, effects::Joined};
use crate::{
    model::{
        Channel, ClientInfo, Delivery, StreamPosition, SubscribeCommand, SubscribeOptions,
        SubscriptionKey, Unsubscribe,
    },
    protocol::{SubscribeRequest, frame::Style},
};

/// Who asked for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// A subscribe command.
    Client,
    /// A token, the server API, a personal channel.
    Server,
}

/// Who is to be told when a join is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The subscribe command with this id.
    Command(u32),
    /// The connect command, together with all other subscriptions it brings.
    Connect,
    /// Nobody asked: a subscribe push.
    Push,
}

/// Who is to be told when a leave is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The unsubscribe command with this id.
    Command(u32),
    /// Nobody asked: an unsubscribe push.
    Push(Unsubscribe),
    /// The subscription never came to be.
    Silent,
}

/// Between reservation and the first live delivery.
#[derive(Debug)]
pub(super) struct Joining {
    /// Who is to be told.
    pub(super) purpose: Purpose,
    /// The request, whose position is recovered from.
    pub(super) request: Box<SubscribeRequest>,
    /// Position to recover from, once recovery is granted.
    pub(super) asked: Option<StreamPosition>,
    /// What the engine found, when it has answered.
    pub(super) joined: Option<Joined>,
    /// What arrived meanwhile.
    pub(super) held: Vec<Delivery>,
    /// Bytes of it.
    pub(super) held_bytes: usize,
    /// The mailbox has dropped what came after `held`.
    pub(super) fell_behind: bool,
    /// See [`Live::has_base`], once it is settled.
    pub(super) has_base: bool,
}

impl Joining {
    /// Nothing has happened yet.
    pub(super) const fn new(purpose: Purpose, request: Box<SubscribeRequest>) -> Self {
        Self {
            purpose,
            request,
            asked: None,
            joined: None,
            held: Vec::new(),
            held_bytes: 0,
            fell_behind: false,
            has_base: false,
        }
    }
}

/// Receiving.
#[derive(Debug)]
pub(super) struct Live {
    /// Newest publication delivered; `None` when the subscription is not positioned.
    pub(super) position: Option<StreamPosition>,
    /// When the position was last known to be right.
    pub(super) checked: Instant,
    /// The client has the payload at the position: a delta can build upon it.
    pub(super) has_base: bool,
    /// A top that was ahead of the position at the last check.
    pub(super) suspect: Option<u64>,
    /// Pushes that wait for each other.
    pub(super) held: Option<Box<Held>>,
    /// The client read too slowly and is brought up to date.
    pub(super) behind: Option<Box<Behind>>,
}

/// State of a subscription.
#[derive(Debug)]
pub(super) enum State {
    /// The hooks are asked.
    Authorizing(Box<Joining>),
    /// The engine is asked.
    Joining(Box<Joining>),
    /// Receiving.
    Live(Live),
    /// Being undone; everything that still arrives is dropped.
    Leaving,
}

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    /// Channel.
    pub(super) channel: Channel,
    /// Its generation within the connection.
    pub(super) generation: u32,
    /// Who asked for it.
    pub(super) side: Side,
    /// Where it stands.
    pub(super) state: State,
    /// Granted options; those of an authorizing subscription are empty.
    pub(super) options: Box<SubscribeOptions>,
    /// What was negotiated about pushes.
    pub(super) style: Style,
    /// Stands for the channel's name in pushes; 0 for none.
    pub(super) number: u32,
    /// This client as others in the channel see it.
    pub(super) info: Arc<ClientInfo>,
    /// Others were told of the join, so they must be told of the leave.
    pub(super) announced: bool,
    /// Who waits for the end of it.
    pub(super) ends: Vec<End>,
    /// A server-side subscribe that came while this one was not live.
    pub(super) next: Option<Box<SubscribeCommand>>,
}

/// Subscriptions by slot, with an index by name once there are many.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Option<Subscription>>,
    index: Option<HashMap<Channel, u32>>,
    free: Vec<u32>,
    generation: u32,
}

/// Up to so many subscriptions are searched one by one: cheaper than a map, and no memory of their own.
const LINEAR: usize = 16;

impl Table {
    /// Number of subscriptions in any state.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Puts a subscription into a slot; its generation is given here.
    pub(super) fn insert(&mut self, mut subscription: Subscription) -> SubscriptionKey {
        self.generation = self.generation.wrapping_add(1);
        subscription.generation = self.generation;
        let channel = subscription.channel.clone();
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(subscription);
            slot
        } else {
            if self.slots.len() < 4 {
                self.slots.reserve_exact(1);
            }
            self.slots.push(Some(subscription));
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        };
        match &mut self.index {
            Some(index) => {
                index.insert(channel, slot);
            }
            None if self.slots.len() > LINEAR => {
                let slots = (0..).zip(&self.slots);
                self.index = Some(
                    slots
                        .filter_map(|(n, s)| s.as_ref().map(|s| (s.channel.clone(), n)))
                        .collect(),
                );
            }
            None => {}
        }
        SubscriptionKey {
            slot,
            generation: self.generation,
        }
    }

    /// Gives the subscription in this slot a new generation: what belongs to the old one does not reach it any more.
    pub(super) fn renew(&mut self, key: SubscriptionKey) -> SubscriptionKey {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        if let Some(subscription) = self.get_mut(key) {
            subscription.generation = generation;
        }
        SubscriptionKey {
            slot: key.slot,
            generation,
        }
    }

    /// The subscription of this key, if it is still that generation.
    pub(super) fn get_mut(&mut self, key: SubscriptionKey) -> Option<&mut Subscription> {
        self.slots
            .get_mut(key.slot as usize)?
            .as_mut()
            .filter(|s| s.generation == key.generation)
    }

    /// Takes a subscription out.
    pub(super) fn remove(&mut self, key: SubscriptionKey) -> Option<Subscription> {
        self.get_mut(key)?;
        let subscription = self.slots[key.slot as usize].take()?;
        if let Some(index) = &mut self.index {
            index.remove(&subscription.channel);
        }
        self.free.push(key.slot);
        if self.len() == 0 {
            let generation = self.generation;
            *self = Self {
                generation,
                ..Self::default()
            };
        }
        Some(subscription)
    }

    /// The key of a channel's subscription.
    pub(super) fn find(&self, channel: &Channel) -> Option<SubscriptionKey> {
        let slot = match &self.index {
            Some(index) => *index.get(channel)?,
            None => {
                let at = self
                    .slots
                    .iter()
                    .position(|s| s.as_ref().is_some_and(|s| s.channel == *channel))?;
                u32::try_from(at).ok()?
            }
        };
        let generation = self.slots.get(slot as usize)?.as_ref()?.generation;
        Some(SubscriptionKey { slot, generation })
    }

    /// All subscriptions with their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SubscriptionKey, &Subscription)> {
        (0..).zip(&self.slots).filter_map(|(slot, s)| {
            s.as_ref().map(|s| {
                (
                    SubscriptionKey {
                        slot,
                        generation: s.generation,
                    },
                    s,
                )
            })
        })
    }

    /// The keys of all subscriptions, so that each can be changed in turn.
    pub(super) fn keys(&self) -> Vec<SubscriptionKey> {
        self.iter().map(|(key, _)| key).collect()
    }
}
