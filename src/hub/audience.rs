//! The subscribers of one channel, grouped by the tags filter they share (client-protocol.md 5.10).
//!
//! Equal filters are one group with one verdict: a publication nobody in a group wants costs that group one evaluation, whatever
//! its size. So that positions stay right, a group remembers the run of publications it was not given; the next delivery, or
//! the next check of a position, says how many those were.

use std::{collections::HashMap, hash::RandomState, sync::Arc};

use indexmap::IndexMap;
use parking_lot::Mutex;

use super::Subscriber;
use crate::model::{
    ChannelEvent, Epoch, Filter, Publication, StreamPosition, SubscriptionKey, Withheld,
};

/// Connection and subscription.
pub(super) type Place = (u64, SubscriptionKey);

/// Subscribers that get the same publications.
pub(super) type Members = IndexMap<Place, Subscriber, RandomState>;

/// The subscribers of one channel.
#[derive(Debug, Default)]
pub(super) struct Audience {
    /// Those without a filter.
    everything: Members,
    /// Those with one; few channels have any.
    filtered: Option<Box<Filtered>>,
    /// Stands for the channel's name in compact pushes; 0 until somebody wants one.
    pub(super) number: u32,
}

#[derive(Debug, Default)]
struct Filtered {
    groups: IndexMap<Arc<Filter>, Group, RandomState>,
    filters: HashMap<Place, Arc<Filter>>,
}

#[derive(Debug, Default)]
struct Group {
    members: Members,
    run: Mutex<Run>,
}

/// The newest publications of a stream that a group has seen without being given them.
#[derive(Debug, Default)]
struct Run {
    epoch: Epoch,
    /// Everything after this offset, up to `last`, was seen and not given.
    since: u64,
    /// Newest publication seen; 0 for none.
    last: u64,
}

impl Run {
    /// Sees a publication of a stream; returns how many right before it were not given.
    fn see(&mut self, publication: &Publication, epoch: &Epoch, given: bool) -> u64 {
        let before = publication.offset - 1;
        if self.last != before || self.epoch != *epoch {
            // Something is missing in between, or nothing was seen so far: nothing is known of what came before.
            self.epoch = epoch.clone();
            self.since = before;
        }
        self.last = publication.offset;
        let skipped = before - self.since;
        if given {
            self.since = publication.offset;
        }
        skipped
    }
}

impl Audience {
    /// Adds a subscriber; true unless it was there.
    pub(super) fn insert(&mut self, subscriber: Subscriber) -> bool {
        let place = (subscriber.mailbox.serial(), subscriber.key);
        let Some(filter) = &subscriber.filter else {
            return self.everything.insert(place, subscriber).is_none();
        };
        let filtered = self.filtered.get_or_insert_default();
        // One copy of the filter for all of the group.
        let filter = match filtered.groups.get_key_value(filter) {
            Some((shared, _)) => Arc::clone(shared),
            None => Arc::clone(filter),
        };
        filtered.filters.insert(place, Arc::clone(&filter));
        let subscriber = Subscriber {
            filter: Some(Arc::clone(&filter)),
            ..subscriber
        };
        let group = filtered.groups.entry(filter).or_default();
        group.members.insert(place, subscriber).is_none()
    }

    /// Removes a subscriber; false when it was not there.
    pub(super) fn remove(&mut self, place: &Place) -> bool {
        let Some(filtered) = &mut self.filtered else {
            return remove(&mut self.everything, place);
        };
        let Some(filter) = filtered.filters.remove(place) else {
            return remove(&mut self.everything, place);
        };
        if let Some(group) = filtered.groups.get_mut(&filter) {
            remove(&mut group.members, place);
            if group.members.is_empty() {
                filtered.groups.swap_remove(&filter);
            }
        }
        if filtered.groups.is_empty() {
            self.filtered = None;
        }
        true
    }

    /// True when nobody is there.
    pub(super) fn is_empty(&self) -> bool {
        // A group without members is removed with its last one.
        self.everything.is_empty() && self.filtered.is_none()
    }

    /// Number of subscribers.
    pub(super) fn len(&self) -> usize {
        let filtered = self.filtered.as_ref().map_or(0, |f| f.filters.len());
        self.everything.len() + filtered
    }

    /// Calls `each` with the members who are to get an event, and how many publications right before it they were not given.
    /// Returns how many subscribers did not want it.
    pub(super) fn each_wanting(
        &self,
        event: &ChannelEvent,
        mut each: impl FnMut(&Members, u64),
    ) -> usize {
        each(&self.everything, 0);
        let Some(filtered) = &self.filtered else {
            return 0;
        };
        let ChannelEvent::Publication(publication, epoch) = event else {
            // Everything but publications is for everybody.
            filtered
                .groups
                .values()
                .for_each(|group| each(&group.members, 0));
            return 0;
        };
        let mut unwanted = 0;
        for (filter, group) in &filtered.groups {
            let wanted = filter.matches(publication.tags.as_deref());
            let skipped = if publication.offset > 0 {
                group.run.lock().see(publication, epoch, wanted)
            } else {
                0
            };
            if wanted {
                each(&group.members, skipped);
            } else {
                unwanted += group.members.len();
            }
        }
        unwanted
    }

    /// What the group of a subscriber was not given last.
    pub(super) fn withheld(&self, place: &Place) -> Option<Withheld> {
        let filtered = self.filtered.as_ref()?;
        let run = filtered
            .groups
            .get(filtered.filters.get(place)?)?
            .run
            .lock();
        Some(Withheld {
            after: run.since,
            last: StreamPosition {
                offset: run.last,
                epoch: run.epoch.clone(),
            },
        })
    }
}

fn remove(members: &mut Members, place: &Place) -> bool {
    let removed = members.swap_remove(place).is_some();
    // A burst of subscribers must not keep its memory when it is gone.
    if members.capacity() > 64 && members.len() * 4 < members.capacity() {
        members.shrink_to(members.len() * 2);
    }
    removed
}
