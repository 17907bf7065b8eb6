//! One client-side subscription: what was asked for, how far it is, where it is in its stream.

use std::time::Instant;

use super::{
    super::options::{SubscribeOptions, SubscriptionToken},
    Stream, SubscriptionId,
};
use crate::{
    model::{Channel, Secret},
    protocol::{Request, SubscribeRequest},
};

/// Where a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Wants a connection.
    Idle,
    /// Backs off.
    Waiting(Instant),
    FetchingToken,
    /// The subscribe command is written.
    Sent,
    /// Live; the subscription is to be renewed then.
    Live(Option<Instant>),
}

/// One subscription.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: SubscriptionId,
    options: SubscribeOptions,
    pub(super) progress: Progress,
    pub(super) failures: u32,
    pub(super) renew_token: bool,
    pub(super) stream: Stream,
}

impl Entry {
    /// A subscription that was not asked for yet.
    pub(super) fn new(id: SubscriptionId, mut options: SubscribeOptions) -> Self {
        let since = options.since.take();
        Self {
            id,
            options,
            progress: Progress::Idle,
            failures: 0,
            renew_token: false,
            stream: since.map(Stream::since).unwrap_or_default(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.progress {
            Progress::Waiting(at) => Some(at),
            Progress::Live(refresh) => refresh,
            Progress::Idle | Progress::FetchingToken | Progress::Sent => None,
        }
    }

    /// The token to subscribe with is there.
    pub(super) fn token_arrived(&mut self, token: Secret) {
        self.options.token = SubscriptionToken::Known(token);
        self.renew_token = false;
        if self.progress == Progress::FetchingToken {
            self.progress = Progress::Idle;
        }
    }

    /// A newer token is there; true when the server is to be told.
    pub(super) fn renewed(&mut self, token: Secret) -> bool {
        self.options.token = SubscriptionToken::Known(token);
        matches!(self.progress, Progress::Live(_))
    }

    /// Renew then; false when there is nothing to renew any more.
    pub(super) fn refresh_again(&mut self, at: Instant) -> bool {
        let live = matches!(self.progress, Progress::Live(_));
        if live {
            self.progress = Progress::Live(Some(at));
        }
        live
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.progress, Progress::Live(_))
    }

    pub(super) fn wants_token(&self) -> bool {
        self.renew_token || self.options.token == SubscriptionToken::FromSource
    }

    pub(super) fn request(&self, channel: &Channel) -> Request {
        let from = self.stream.recovery();
        let position = from.cloned().unwrap_or_default();
        let token = match &self.options.token {
            SubscriptionToken::Known(token) => token.expose().to_owned(),
            SubscriptionToken::None | SubscriptionToken::FromSource => String::new(),
        };
        Request::Subscribe(Box::new(SubscribeRequest {
            channel: channel.clone(),
            token,
            recover: from.is_some(),
            epoch: position.epoch.as_str().to_owned(),
            offset: position.offset,
            data: self.options.data.clone(),
            positioned: self.options.positioned,
            recoverable: self.options.recover,
            join_leave: self.options.join_leave,
            delta: if self.options.deltas { "fossil" } else { "" }.to_owned(),
            ..SubscribeRequest::default()
        }))
    }
}
