//! Pings of the transport itself: for V1 connections, and for V2 ones that asked for them (client-protocol.md 3.2).
//!
//! Says when to ping and when the peer is gone; writes nothing.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Period of pings of V1 connections.
const V1_INTERVAL: Duration = Duration::from_secs(25);
/// Longest silence of a V1 connection: 25 s and a third of it.
const V1_SILENCE: Duration = Duration::from_millis(33_333);

/// What the time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Send a ping.
    Ping,
    /// The peer was silent for too long.
    Gone,
}

/// What proves that a peer is alive.
#[derive(Clone, Copy, Debug)]
enum Proof {
    /// Anything read within this time.
    Reading(Duration),
    /// A pong within this time after each ping.
    Pong(Duration),
}

/// One timer for pings and their answers.
#[derive(Debug)]
pub(super) struct Keepalive {
    interval: Duration,
    proof: Proof,
    next_ping: Instant,
    deadline: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

impl Keepalive {
    /// Pings as V1 connections get them.
    pub(super) fn v1() -> Self {
        let silence = Some(Instant::now() + V1_SILENCE);
        Self::new(V1_INTERVAL, Proof::Reading(V1_SILENCE), silence)
    }

    /// Pings of a V2 connection that wants none of the application.
    pub(super) fn v2(interval: Duration, pong_timeout: Duration) -> Self {
        Self::new(interval, Proof::Pong(pong_timeout), None)
    }

    fn new(interval: Duration, proof: Proof, deadline: Option<Instant>) -> Self {
        let next_ping = Instant::now() + interval;
        Self {
            interval,
            proof,
            next_ping,
            deadline,
            sleep: Box::pin(sleep_until(next_ping)),
        }
    }

    /// Something was read.
    pub(super) fn read(&mut self) {
        if let Proof::Reading(silence) = self.proof {
            self.deadline = Some(Instant::now() + silence);
        }
    }

    /// A pong was read.
    pub(super) const fn pong(&mut self) {
        if let Proof::Pong(_) = self.proof {
            self.deadline = None;
        }
    }

    /// Waits until something is due. The timer is moved only when it fires, not with every frame.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Due> {
        loop {
            let due = self
                .deadline
                .map_or(self.next_ping, |at| at.min(self.next_ping));
            if due < self.sleep.deadline() || self.sleep.is_elapsed() {
                self.sleep.as_mut().reset(due);
            }
            ready!(self.sleep.as_mut().poll(cx));
            let now = Instant::now();
            if self.deadline.is_some_and(|deadline| deadline <= now) {
                return Poll::Ready(Due::Gone);
            }
            if self.next_ping <= now {
                self.next_ping = now + self.interval;
                if let Proof::Pong(timeout) = self.proof {
                    self.deadline.get_or_insert(now + timeout);
                }
                return Poll::Ready(Due::Ping);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn due(keepalive: &mut Keepalive) -> (Due, Duration) {
        let start = Instant::now();
        let due = poll_fn(|cx| keepalive.poll(cx)).await;
        (due, start.elapsed())
    }

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The timer wheel counts whole milliseconds.
    fn close_to(got: (Due, Duration), due: Due, after: Duration) {
        assert_eq!(got.0, due);
        assert!(
            got.1 >= after && got.1 <= after + millis(2),
            "{:?} {after:?}",
            got.1
        );
    }

    #[tokio::test(start_paused = true)]
    async fn v1_pings_and_gives_up_after_silence() {
        let mut keepalive = Keepalive::v1();
        close_to(due(&mut keepalive).await, Due::Ping, millis(25_000));
        keepalive.read();
        close_to(due(&mut keepalive).await, Due::Ping, millis(25_000));
        close_to(due(&mut keepalive).await, Due::Gone, millis(8333));
    }

    #[tokio::test(start_paused = true)]
    async fn v2_wants_a_pong_for_each_ping() {
        let mut keepalive = Keepalive::v2(millis(1000), millis(500));
        close_to(due(&mut keepalive).await, Due::Ping, millis(1000));
        keepalive.pong();
        close_to(due(&mut keepalive).await, Due::Ping, millis(1000));
        keepalive.read();
        close_to(due(&mut keepalive).await, Due::Gone, millis(500));
    }
}
