//! The deadlines of one connection: stale, ping, pong, expiration, periodic checks (client-protocol.md 4.2).

use std::time::{Duration, Instant};

use super::{
    Call, Effect, Effects, Pending, Session,
    subscription::{End, Side, State as Sub},
};
use crate::{
    model::{ClientError, Disconnect, Now, Unsubscribe, Version},
    protocol::{Reply, ReplyBody},
};

/// Limits and intervals of every session of a node (config.md 8.9).
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Version text of connect replies.
    pub(crate) version: String,
    /// Application pings; `None` for none.
    pub(crate) ping_interval: Option<Duration>,
    /// Wait for the pong; `None` when none is expected.
    pub(crate) pong_timeout: Option<Duration>,
    /// Time limit of the connect command.
    pub(crate) stale_close_delay: Duration,
    /// Grace after the expiration of a connection.
    pub(crate) expired_close_delay: Duration,
    /// Grace after the expiration of a subscription.
    pub(crate) expired_sub_close_delay: Duration,
    /// Period of presence renewal and of the checks of subscriptions.
    pub(crate) presence_update_interval: Duration,
    /// A position is compared with its stream after so long without traffic; zero for never.
    pub(crate) position_check_delay: Duration,
    /// Largest lag of a delivery to a positioned subscriber; zero for any.
    pub(crate) position_max_time_lag: Duration,
    /// Subscriptions per connection.
    pub(crate) channel_limit: usize,
    /// Longest channel name, bytes.
    pub(crate) channel_max_length: usize,
    /// Bytes held for one joining subscription.
    pub(crate) queue_max_size: usize,
    /// Commands of one connection at the same time.
    pub(crate) concurrency: u32,
    /// Most publications of a history reply.
    pub(crate) history_limit: usize,
    /// Most publications recovered.
    pub(crate) recovery_limit: usize,
    /// Server time in the connect reply.
    pub(crate) include_server_time: bool,
    /// Longest wait of an unsubscribe for the subscribe of the same channel.
    pub(crate) unsubscribe_wait: Duration,
    /// What an error of the connect is to who cannot be told of errors.
    pub(crate) unidirectional: Unidirectional,
}

/// Disconnects in place of errors, for connections that only listen (client-protocol.md 3.9).
#[derive(Clone, Debug, Default)]
pub(crate) struct Unidirectional(pub(crate) Vec<(u32, Disconnect)>);

impl Unidirectional {
    /// A configured rule, or else the standard one.
    pub(crate) fn of(&self, error: &ClientError) -> Disconnect {
        let rule = self.0.iter().find(|(code, _)| *code == error.code);
        if let Some((_, disconnect)) = rule {
            return disconnect.clone();
        }
        match error.code {
            109 | 110 => Disconnect::EXPIRED,
            111 => Disconnect::TOO_MANY_REQUESTS,
            103 => Disconnect::PERMISSION_DENIED,
            _ => Disconnect::SERVER_ERROR,
        }
    }
}

/// When what is due.
#[derive(Debug, Default)]
pub(super) struct Timers {
    pub(super) stale: Option<Instant>,
    pub(super) ping: Option<Instant>,
    pub(super) pong: Option<Instant>,
    pub(super) expire: Option<Instant>,
    pub(super) check: Option<Instant>,
    /// Someone waits for the end of a subscription that is still joining.
    pub(super) leave: Option<Instant>,
    /// A batch of pushes has waited long enough.
    pub(super) batch: Option<Instant>,
}

impl Timers {
    pub(super) fn new(config: &Config, now: Now) -> Self {
        Self {
            stale: Some(now.instant + config.stale_close_delay),
            ..Self::default()
        }
    }

    fn next(&self) -> Option<Instant> {
        [
            self.stale,
            self.ping,
            self.pong,
            self.expire,
            self.check,
            self.leave,
            self.batch,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// Takes a deadline that has passed.
fn due(deadline: &mut Option<Instant>, now: Now) -> bool {
    deadline.take_if(|at| *at <= now.instant).is_some()
}

impl Session {
    /// When [`Session::expired`] is to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.is_closed() {
            None
        } else {
            self.timers.next()
        }
    }

    /// Time has passed: does everything that is due.
    pub(crate) fn expired(&mut self, now: Now, out: &mut Effects) {
        if self.is_closed() {
            return;
        }
        if due(&mut self.timers.batch, now) {
            self.flush_due(now, out);
        }
        if due(&mut self.timers.stale, now) && !self.is_connected() {
            return self.close(Disconnect::STALE, out);
        }
        if due(&mut self.timers.pong, now) {
            return self.close(Disconnect::NO_PONG, out);
        }
        if due(&mut self.timers.expire, now) {
            if !self.expiry.server_side {
                return self.close(Disconnect::EXPIRED, out);
            }
            self.call(Call::Renew, Pending::Renew, out);
        }
        if due(&mut self.timers.leave, now) {
            return self.close(Disconnect::SERVER_ERROR, out);
        }
        if let Some(at) = self.timers.ping.filter(|at| *at <= now.instant) {
            self.ping(at, now, out);
        }
        if due(&mut self.timers.check, now) {
            self.timers.check = Some(now.instant + self.config.presence_update_interval);
            self.check_subscriptions(now, out);
        }
    }

    /// Starts what runs while connected. The first ping comes somewhere in the second half of its interval, so that
    /// clients that connected together do not answer together.
    pub(super) fn start_timers(&mut self, now: Now) {
        self.timers.stale = None;
        let fraction = f64::from(self.birth.seed) / f64::from(u32::MAX);
        if let Some(interval) = self.ping_interval() {
            self.timers.ping = Some(now.instant + interval.mul_f64(0.5 + fraction / 2.0));
        }
        let interval = self.config.presence_update_interval;
        self.timers.check = Some(now.instant + interval.mul_f64(0.5 + fraction / 2.0));
        self.schedule_expiry(now);
    }

    /// Application pings are V2 only, and not where the transport pings by itself.
    pub(super) fn ping_interval(&self) -> Option<Duration> {
        let by_session = self.version == Version::V2 && !self.birth.native_ping;
        self.config.ping_interval.filter(|_| by_session)
    }

    /// Who only listens cannot answer.
    pub(super) fn pong_timeout(&self) -> Option<Duration> {
        self.config
            .pong_timeout
            .filter(|_| !self.is_unidirectional())
    }

    pub(super) fn schedule_expiry(&mut self, now: Now) {
        self.timers.expire = self.expiry.at.map(|at| {
            let left =
                u64::try_from(at.saturating_mul(1000).saturating_sub(now.unix_ms)).unwrap_or(0);
            // Who is refreshed by the server needs no time for it.
            let grace = if self.expiry.server_side {
                Duration::ZERO
            } else {
                self.config.expired_close_delay
            };
            now.instant + Duration::from_millis(left) + grace
        });
    }

    fn ping(&mut self, at: Instant, now: Now, out: &mut Effects) {
        let Some(interval) = self.ping_interval() else {
            self.timers.ping = None;
            return;
        };
        // A fixed rate: a late wake-up must not push the next ping back, SDKs count the silence.
        let next = at + interval;
        self.timers.ping = Some(if next > now.instant {
            next
        } else {
            now.instant + interval
        });
        self.timers.pong = self.pong_timeout().map(|timeout| now.instant + timeout);
        out.push(Effect::Reply(Reply {
            id: 0,
            body: ReplyBody::Ping,
        }));
    }

    /// How long a peer may be silent until it is known to be gone: a ping comes, and then its pong is late.
    pub(crate) fn patience(&self) -> Duration {
        const WITHOUT_PINGS: Duration = Duration::from_secs(60);
        let pong = self.pong_timeout().unwrap_or_default();
        self.ping_interval()
            .map_or(WITHOUT_PINGS, |interval| interval + pong)
    }

    /// The peer took nothing for so long and may do so, which leaves it no time to answer a ping either.
    pub(crate) fn stalled(&mut self, time: Duration) {
        if let Some(pong) = &mut self.timers.pong {
            *pong += time;
        }
    }

    /// A pong arrived; exactly one per ping is allowed.
    pub(super) fn pong(&mut self, out: &mut Effects) {
        if self.timers.pong.take().is_none() {
            self.close(Disconnect::BAD_REQUEST, out);
        }
    }

    /// Renews presence, ends expired subscriptions, compares positions.
    fn check_subscriptions(&mut self, now: Now, out: &mut Effects) {
        if !self.is_connected() {
            return;
        }
        let mut renew = Vec::new();
        for key in self.table.keys() {
            if self.is_closed() {
                return;
            }
            self.check_expiry(now, key, out);
            let Some(subscription) = self.table.get_mut(key) else {
                continue;
            };
            let Sub::Live(live) = &subscription.state else {
                continue;
            };
            if subscription.options.presence {
                renew.push((
                    subscription.channel.clone(),
                    std::sync::Arc::clone(&subscription.info),
                ));
            }
            let delay = self.config.position_check_delay;
            if live.position.is_some()
                && live.behind.is_none()
                && !delay.is_zero()
                && now.instant.duration_since(live.checked) >= delay
            {
                let channel = subscription.channel.clone();
                self.call(Call::Top(channel, key), Pending::Top(key), out);
            }
        }
        if !renew.is_empty() {
            self.call(Call::RenewPresence(renew), Pending::Nothing, out);
        }
    }

    fn check_expiry(&mut self, now: Now, key: crate::model::SubscriptionKey, out: &mut Effects) {
        let grace =
            i64::try_from(self.config.expired_sub_close_delay.as_secs()).unwrap_or(i64::MAX);
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        let over = subscription
            .options
            .expire_at
            .is_some_and(|at| at.saturating_add(grace) <= now.unix());
        if !over || !matches!(subscription.state, Sub::Live(_)) {
            return;
        }
        if !subscription.options.server_side_refresh {
            return self.subscription_expired(key, out);
        }
        let channel = subscription.channel.clone();
        let asked = |(_, pending): &(_, Pending)| matches!(pending, Pending::SubRenew(other) if *other == key);
        if !self.pending.iter().any(asked) {
            self.call(Call::SubRenew(channel), Pending::SubRenew(key), out);
        }
    }

    /// A subscription has not been refreshed in time.
    pub(super) fn subscription_expired(
        &mut self,
        key: crate::model::SubscriptionKey,
        out: &mut Effects,
    ) {
        let Some(subscription) = self.table.get_mut(key) else {
            return;
        };
        if subscription.side == Side::Client && self.version == Version::V2 {
            self.leave(key, End::Push(Unsubscribe::EXPIRED), out);
        } else {
            self.close(Disconnect::SUBSCRIPTION_EXPIRED, out);
        }
    }
}
