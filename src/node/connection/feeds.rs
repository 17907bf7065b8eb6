//! Subscriptions with a source of their own (proxy.md 14): read while the connection can write, and not a message more.
//!
//! Nothing is buffered here. While a batch is written nobody asks a source for more, so a slow client holds its source
//! up. A source that nobody listens to any more is dropped, which ends it.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use super::Connection;
use crate::{
    hooks::{Fed, Feed, Upstream},
    model::{Broadcast, Channel, ChannelEvent, Delivery, Epoch, Publication, SubscriptionKey},
    node::Shared,
    protocol::{Push, PushBody, Reply, ReplyBody, frame},
};

/// The sources of one connection, by subscription.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    open: Vec<(SubscriptionKey, Box<Feed>)>,
    /// Where the next look begins, so that a busy source does not silence the others.
    next: usize,
}

impl Feeds {
    pub(super) fn add(&mut self, key: SubscriptionKey, feed: Box<Feed>) {
        self.open.push((key, feed));
    }
}

impl Connection {
    /// Takes at most one publication out of the sources.
    pub(super) fn poll_feeds(&mut self, cx: &mut Context<'_>) -> bool {
        if self.leaving.is_some() || self.ending.is_some() {
            return false;
        }
        let Some(feeds) = &mut self.feeds else {
            return false;
        };
        let session = &mut self.session;
        feeds.open.retain(|(key, _)| session.fed(*key).is_some());
        let count = feeds.open.len();
        if count == 0 {
            self.feeds = None;
            return false;
        }
        for step in 0..count {
            let at = (feeds.next + step) % count;
            let (key, feed) = &mut feeds.open[at];
            let key = *key;
            if !session.is_live(key) {
                continue;
            }
            let Poll::Ready(next) = feed.publications.as_mut().poll_next(cx) else {
                continue;
            };
            feeds.next = at + 1;
            match next {
                Some(Ok(fed)) => self.feed_client(key, fed),
                ended => {
                    feeds.open.swap_remove(at);
                    session.feed_ended(key, ended.is_some(), &mut self.effects);
                }
            }
            return true;
        }
        false
    }

    /// Delivers as if it had come through the channel.
    fn feed_client(&mut self, key: SubscriptionKey, fed: Fed) {
        let Some(channel) = self.session.fed(key).cloned() else {
            return;
        };
        if !self.session.wants(key, fed.tags.as_deref()) {
            return self.shared.metrics.broker.unwanted.inc();
        }
        let now = Shared::now();
        let publication = Arc::new(Publication {
            data: fed.data,
            tags: fed.tags,
            time: now.unix_ms,
            ..Publication::default()
        });
        let push = Push {
            channel: channel.clone(),
            body: PushBody::Publication(Arc::clone(&publication)),
        };
        let reply = Reply {
            id: 0,
            body: ReplyBody::Push(push),
        };
        let event = ChannelEvent::Publication(publication, Epoch::default());
        let delivery = Delivery {
            key,
            broadcast: Arc::new(Broadcast {
                channel,
                event,
                watch: None,
            }),
            frame: frame::encode(self.session.form(), &reply).ok().into(),
            skipped: 0,
        };
        self.session.delivery(now, delivery, &mut self.effects);
    }

    /// Where publications of the client into this channel go, if its subscription has a source that takes them.
    pub(super) fn upstream(&mut self, channel: &Channel) -> Option<Arc<dyn Upstream>> {
        let feeds = self.feeds.as_ref()?;
        let session = &mut self.session;
        let mut open = feeds.open.iter();
        let (key, feed) = open.find(|(key, _)| session.fed(*key) == Some(channel))?;
        let live = session.is_live(*key);
        feed.upstream.clone().filter(|_| live)
    }
}
