//! Tokens: asked for in time, put where they are needed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    super::{Error, Event, SubscriptionEvent, TokenRequest, token::TokenError},
    Backoff, Closing, Effect, Machine, Phase, Purpose, Ticket,
    effect::Key,
    local,
    subscriptions::why,
};
use crate::{
    model::Secret,
    protocol::{Request, SubRefreshRequest},
};

/// Tokens are renewed this long before they end, or after nine tenths of their life if that is later.
const MARGIN: Duration = Duration::from_secs(10);

/// Longest life believed, as the official SDKs cap it.
const LONGEST: Duration = Duration::from_millis(2_147_483_647);

/// Between attempts to renew.
const RETRY: Backoff = Backoff {
    min: Duration::from_secs(5),
    max: Duration::from_secs(10),
};

/// Where a token goes.
#[derive(Clone, Debug)]
pub(super) enum TokenFor {
    Connect,
    Refresh,
    Subscribe(Key),
    SubRefresh(Key),
}

/// Requests for tokens that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    last: u64,
    open: BTreeMap<Ticket, TokenFor>,
}

impl Machine {
    /// The token source answered.
    pub(crate) fn token(
        &mut self,
        now: Instant,
        ticket: Ticket,
        token: Result<String, TokenError>,
        out: &mut Vec<Effect>,
    ) {
        let Some(purpose) = self.tickets.open.remove(&ticket) else {
            return;
        };
        // An empty text is the official SDKs' way to say that there will be none.
        let token = token.and_then(|text| match text.as_str() {
            "" => Err(TokenError::Unauthorized),
            _ => Ok(Secret::from(text)),
        });
        match purpose {
            TokenFor::Connect => self.connect_token(now, ticket, token, out),
            TokenFor::Refresh => self.refresh_token(now, token, out),
            TokenFor::Subscribe(key) => self.subscribe_token(now, &key, token, out),
            TokenFor::SubRefresh(key) => self.sub_refresh_token(now, &key, token, out),
        }
    }

    pub(super) fn fetch_token(&mut self, purpose: TokenFor, out: &mut Vec<Effect>) -> Ticket {
        self.tickets.last += 1;
        let ticket = Ticket(self.tickets.last);
        let request = match &purpose {
            TokenFor::Connect | TokenFor::Refresh => TokenRequest::Connection,
            TokenFor::Subscribe(key) | TokenFor::SubRefresh(key) => {
                TokenRequest::Subscription(key.channel.clone())
            }
        };
        self.tickets.open.insert(ticket, purpose);
        out.push(Effect::FetchToken(ticket, request));
        ticket
    }

    /// When to renew something that ends in `ttl` seconds; never without a token source.
    pub(super) fn refresh_time(&self, now: Instant, ttl: Option<u32>) -> Option<Instant> {
        let life = Duration::from_secs(ttl?.into()).min(LONGEST);
        let margin = MARGIN.min(life / 10);
        self.introduction
            .token_source
            .then(|| now + (life - margin))
    }

    pub(super) fn refresh_retry(&mut self, now: Instant) -> Instant {
        now + RETRY.delay(0, (self.random)())
    }

    fn connect_token(
        &mut self,
        now: Instant,
        ticket: Ticket,
        token: Result<Secret, TokenError>,
        out: &mut Vec<Effect>,
    ) {
        if !matches!(self.phase, Phase::FetchingToken(asked) if asked == ticket) {
            return;
        }
        match token {
            Ok(token) => {
                self.introduction.token = Some(token);
                self.renew_token = false;
                self.phase = Phase::Opening(now + self.timing.open);
                out.push(Effect::Open);
            }
            Err(TokenError::Unauthorized) => self.end(local::UNAUTHORIZED, "unauthorized", out),
            Err(error) => {
                out.push(Effect::Emit(Event::Error(Error::Token(error))));
                self.back_off(now);
            }
        }
    }

    fn refresh_token(
        &mut self,
        now: Instant,
        token: Result<Secret, TokenError>,
        out: &mut Vec<Effect>,
    ) {
        match token {
            Ok(token) => {
                let text = token.expose().to_owned();
                self.introduction.token = Some(token);
                if matches!(self.phase, Phase::Connected(_)) {
                    let deadline = now + self.timing.answer;
                    let request = Request::Refresh(text);
                    let command = self.calls.issue(deadline, Purpose::Refresh, request);
                    out.push(Effect::Send(command));
                }
            }
            Err(TokenError::Unauthorized) => {
                if matches!(self.phase, Phase::Connected(_)) {
                    out.push(Effect::Close(Closing::Abrupt));
                    self.end(local::UNAUTHORIZED, "unauthorized", out);
                }
            }
            Err(error) => self.refresh_failed(now, Error::Token(error), out),
        }
    }

    /// The connection could not be renewed for now.
    pub(super) fn refresh_failed(&mut self, now: Instant, error: Error, out: &mut Vec<Effect>) {
        let retry = self.refresh_retry(now);
        if let Phase::Connected(session) = &mut self.phase {
            session.refresh_at = Some(retry);
            out.push(Effect::Emit(Event::Error(error)));
        }
    }

    fn subscribe_token(
        &mut self,
        now: Instant,
        key: &Key,
        token: Result<Secret, TokenError>,
        out: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.entry(key) else {
            return;
        };
        match token {
            Ok(token) => {
                entry.token_arrived(token);
                self.advance(now, &key.channel, out);
            }
            Err(TokenError::Unauthorized) => {
                self.finish(key, &why(local::UNAUTHORIZED, "unauthorized"), out);
            }
            Err(error) => self.subscribe_failed(now, key, Error::Token(error), out),
        }
    }

    fn sub_refresh_token(
        &mut self,
        now: Instant,
        key: &Key,
        token: Result<Secret, TokenError>,
        out: &mut Vec<Effect>,
    ) {
        let deadline = now + self.timing.answer;
        let Some(entry) = self.entry(key) else {
            return;
        };
        match token {
            Ok(token) => {
                let request = Request::SubRefresh(SubRefreshRequest {
                    channel: key.channel.clone(),
                    token: token.expose().to_owned(),
                    kind: 0,
                });
                let subscribed = entry.renewed(token);
                if subscribed {
                    let purpose = Purpose::SubRefresh(key.clone());
                    out.push(Effect::Send(self.calls.issue(deadline, purpose, request)));
                }
            }
            Err(TokenError::Unauthorized) => {
                self.leave(now, key, &why(local::UNAUTHORIZED, "unauthorized"), out);
            }
            Err(error) => self.sub_refresh_failed(now, key, Error::Token(error), out),
        }
    }

    /// The subscription could not be renewed for now.
    pub(super) fn sub_refresh_failed(
        &mut self,
        now: Instant,
        key: &Key,
        error: Error,
        out: &mut Vec<Effect>,
    ) {
        let retry = self.refresh_retry(now);
        if let Some(entry) = self.entry(key)
            && entry.refresh_again(retry)
        {
            out.push(Effect::EmitTo(key.id, SubscriptionEvent::Error(error)));
        }
    }
}
