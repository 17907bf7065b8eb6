//! The way of a subscription from the request to the first live delivery (client-protocol.md 4.6, 4.8, 5.5).

use std::sync::Arc;

use super::{
    Call, Effects, Join, Joined, MAX_TTL, Pending, Session, settle,
    subscription::{End, Joining, Live, Purpose, Side, State as Sub, Subscription},
};
use crate::{
    model::{
        Channel, ClientError, Disconnect, Now, Rejection, StreamPosition, SubscribeOptions,
        SubscriptionKey, Version,
    },
    protocol::{
        Push, PushBody, ReplyBody, SubscribePush, SubscribeRequest, SubscribeResult, frame::Style,
    },
};

/// What a join starts with.
pub(super) struct Start {
    /// Granted options.
    pub(super) options: SubscribeOptions,
    /// Position to recover from, when it is not that of the request.
    pub(super) position: Option<StreamPosition>,
}

impl Session {
    pub(super) fn subscribe(&mut self, id: u32, request: Box<SubscribeRequest>, out: &mut Effects) {
        if let Err(why) = self.admit(&request) {
            return self.reject(id, why, out);
        }
        let question = request.clone();
        let key = self.reserve(
            request.channel.clone(),
            Side::Client,
            Purpose::Command(id),
            request,
        );
        self.call(Call::Subscribe(question), Pending::Subscribe(key), out);
    }

    /// The checks before anyone is asked, in the order of client-protocol.md 4.6.
    fn admit(&self, request: &SubscribeRequest) -> Result<(), Rejection> {
        if request.channel.is_empty() {
            return Err(Disconnect::BAD_REQUEST.into());
        }
        match request.kind {
            _ if self.version == Version::V1 => {}
            0..=3 => {}
            4 => return Err(ClientError::NOT_AVAILABLE.into()),
            _ => return Err(Disconnect::SERVER_ERROR.into()),
        }
        if self.version == Version::V2 && !request.delta.is_empty() && request.delta != "fossil" {
            return Err(Disconnect::BAD_REQUEST.into());
        }
        if request.channel.as_str().len() > self.config.channel_max_length {
            return Err(ClientError::BAD_REQUEST.into());
        }
        if self.table.find(&request.channel).is_some() {
            return Err(ClientError::ALREADY_SUBSCRIBED.into());
        }
        if self.table.len() >= self.config.channel_limit {
            return Err(ClientError::LIMIT_EXCEEDED.into());
        }
        Ok(())
    }

    /// Takes the place of a channel, so that a second subscribe finds it taken.
    pub(super) fn reserve(
        &mut self,
        channel: Channel,
        side: Side,
        purpose: Purpose,
        request: Box<SubscribeRequest>,
    ) -> SubscriptionKey {
        let joining = Joining::new(purpose, request);
        self.table.insert(Subscription {
            channel,
            generation: 0,
            side,
            state: Sub::Authorizing(Box::new(joining)),
            options: Box::default(),
            style: Style::default(),
            number: 0,
            info: Arc::clone(&self.info),
            announced: false,
            ends: Vec::new(),
            next: None,
        })
    }

    /// The hooks have answered.
    pub(super) fn authorized(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        result: Result<Box<SubscribeOptions>, Rejection>,
        out: &mut Effects,
    ) {
        let checked = result.and_then(|mut options| {
            options.expire_at = options.expire_at.map(|at| at.min(now.unix() + MAX_TTL));
            Self::ttl(now, options.expire_at, options.server_side_refresh)?;
            Ok(options)
        });
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        let Sub::Authorizing(joining) = &subscription.state else {
            return;
        };
        let wanted = joining.request.tags_filter.as_deref();
        let wanted = wanted.filter(|_| self.version == Version::V2);
        let checked = checked.and_then(|mut options| {
            options.filter = settle::filter(wanted, &options)?;
            Ok(options)
        });
        match checked {
            Ok(options) => self.start_join(
                key,
                Start {
                    options: *options,
                    position: None,
                },
                out,
            ),
            Err(why) => self.join_failed(now, key, why, out),
        }
    }

    /// Asks the engine. From here on deliveries are held.
    pub(super) fn start_join(&mut self, key: SubscriptionKey, start: Start, out: &mut Effects) {
        let (form, info) = (self.form(), self.info_with(&start.options.info));
        let limit = self.config.recovery_limit;
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        let Sub::Authorizing(mut joining) =
            std::mem::replace(&mut subscription.state, Sub::Leaving)
        else {
            return;
        };
        let request = &joining.request;
        let style = settle::style(request, joining.purpose, &start.options);
        joining.asked = settle::asked(request, start.position, &start.options);
        let since = joining.asked.clone();
        subscription.state = Sub::Joining(joining);
        *subscription.options = start.options;
        subscription.style = style;
        subscription.info = Arc::clone(&info);
        let channel = subscription.channel.clone();
        let options = (*subscription.options).clone();
        let join = Join {
            channel,
            key,
            form,
            style,
            options,
            info,
            since,
            limit,
        };
        self.call(Call::Join(Box::new(join)), Pending::Join(key), out);
    }

    /// The engine has answered.
    pub(super) fn joined(
        &mut self,
        now: Now,
        key: SubscriptionKey,
        result: Result<Joined, Rejection>,
        out: &mut Effects,
    ) {
        let joined = match result {
            Ok(joined) => joined,
            Err(why) => return self.join_failed(now, key, why, out),
        };
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        let Sub::Joining(joining) = &mut subscription.state else {
            return;
        };
        joining.joined = Some(joined);
        let purpose = joining.purpose;
        if purpose == Purpose::Connect {
            return self.connect_join_ended(now, None, out);
        }
        match self.settle(now, key) {
            Ok(Some((channel, result))) => {
                self.tell_joined(purpose, channel, result, out);
                self.commit(now, key, out);
                self.end_if_wanted(key, out);
            }
            Ok(None) => {}
            Err(why) => {
                self.undo(key, out);
                self.tell_failed(purpose, why, out);
            }
        }
    }

    fn tell_joined(
        &mut self,
        purpose: Purpose,
        channel: Channel,
        result: SubscribeResult,
        out: &mut Effects,
    ) {
        match purpose {
            Purpose::Command(id) => self.reply(id, ReplyBody::Subscribe(Box::new(result)), out),
            Purpose::Push => {
                let body = PushBody::Subscribe(SubscribePush {
                    recoverable: result.recoverable,
                    position: StreamPosition {
                        offset: result.offset,
                        epoch: result.epoch.into(),
                    },
                    positioned: result.positioned,
                    data: result.data,
                });
                self.push(Push { channel, body }, out);
            }
            Purpose::Connect => {}
        }
    }

    fn tell_failed(&mut self, purpose: Purpose, why: Rejection, out: &mut Effects) {
        match (purpose, why) {
            (Purpose::Command(id), why) => self.reject(id, why, out),
            (_, Rejection::Disconnect(why)) => self.close(why, out),
            (_, Rejection::Error(_)) => self.close(Disconnect::SERVER_ERROR, out),
        }
    }

    /// A subscription that never came to be: the call behind it has undone what it did.
    fn join_failed(&mut self, now: Now, key: SubscriptionKey, why: Rejection, out: &mut Effects) {
        let Some(subscription) = self.table.remove(key) else {
            return;
        };
        let purpose = match &subscription.state {
            Sub::Authorizing(joining) | Sub::Joining(joining) => joining.purpose,
            Sub::Live(_) | Sub::Leaving => return,
        };
        if purpose == Purpose::Connect {
            return self.connect_join_ended(now, Some(why), out);
        }
        self.tell_failed(purpose, why, out);
        self.tell_ended(subscription, out);
    }

    /// The client was told: the subscription goes live, what was held flows, the join is announced.
    pub(super) fn commit(&mut self, now: Now, key: SubscriptionKey, out: &mut Effects) {
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        let Sub::Joining(joining) = std::mem::replace(&mut subscription.state, Sub::Leaving) else {
            return;
        };
        let position = joining.joined.map(|joined| joined.top);
        subscription.state = Sub::Live(Live {
            position,
            checked: now.instant,
            has_base: joining.has_base,
            suspect: None,
            held: None,
            behind: None,
        });
        subscription.announced = subscription.options.join_leave;
        let announce = subscription
            .announced
            .then(|| (subscription.channel.clone(), Arc::clone(&subscription.info)));
        for delivery in joining.held {
            self.delivery(now, delivery, out);
        }
        if joining.fell_behind {
            self.fell_behind(key, out);
        }
        if let Some((channel, info)) = announce {
            self.call(Call::AnnounceJoin(channel, info), Pending::Nothing, out);
        }
    }

    /// Ends a subscription whose end was asked for while it was joining.
    fn end_if_wanted(&mut self, key: SubscriptionKey, out: &mut Effects) {
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        if matches!(subscription.state, Sub::Leaving) {
            // What was held has ended it already; those who wait are told when that is done.
            return self.stop_waiting();
        }
        if let Some(end) = subscription.ends.pop() {
            self.leave(key, end, out);
            return self.stop_waiting();
        }
        if let Some(next) = subscription.next.take() {
            self.subscribe_server_side(*next, out);
        }
    }

    /// Leaves a subscription that the client never heard of.
    pub(super) fn undo(&mut self, key: SubscriptionKey, out: &mut Effects) {
        self.leave(key, End::Silent, out);
    }
}
