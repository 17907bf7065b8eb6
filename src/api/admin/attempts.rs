//! How often a password may be guessed: ten times a minute from one address, and no more addresses than a table holds.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Wrong passwords of one address within [`WINDOW`].
const ALLOWED: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered. When more guess at once, nobody new may until a window is over.
const ADDRESSES: usize = 4096;

/// Wrong passwords by address.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    wrong: Mutex<HashMap<Option<IpAddr>, Wrong>>,
}

#[derive(Clone, Copy, Debug)]
struct Wrong {
    since: Instant,
    count: u32,
}

impl Attempts {
    /// How long this address has to wait, if it has to.
    pub(super) fn refused(&self, address: Option<IpAddr>, now: Instant) -> Option<Duration> {
        let mut wrong = self.wrong.lock();
        let left = |entry: &Wrong| WINDOW.checked_sub(now.saturating_duration_since(entry.since));
        let known = wrong.get(&network(address)).copied();
        match known.and_then(|entry| Some((entry.count, left(&entry)?))) {
            Some((count, left)) if count >= ALLOWED => Some(left),
            Some(_) => None,
            None => {
                if wrong.len() >= ADDRESSES {
                    wrong.retain(|_, entry| left(entry).is_some());
                }
                (wrong.len() >= ADDRESSES).then_some(WINDOW)
            }
        }
    }

    /// Counts a wrong password.
    pub(super) fn failed(&self, address: Option<IpAddr>, now: Instant) {
        let mut wrong = self.wrong.lock();
        let entry = wrong.entry(network(address)).or_insert(Wrong {
            since: now,
            count: 0,
        });
        if now.saturating_duration_since(entry.since) > WINDOW {
            *entry = Wrong {
                since: now,
                count: 0,
            };
        }
        entry.count += 1;
    }

    /// Forgets an address that knew the password.
    pub(super) fn passed(&self, address: Option<IpAddr>) {
        self.wrong.lock().remove(&network(address));
    }
}

/// What one guesser has: an IPv4 address, or a /64 of IPv6.
fn network(address: Option<IpAddr>) -> Option<IpAddr> {
    Some(match address?.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn now() -> Instant {
        Instant::now()
    }

    fn address(number: u32) -> Option<IpAddr> {
        Some(Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn the_eleventh_guess_of_a_minute_waits_and_others_do_not() {
        let (attempts, now) = (Attempts::default(), now());
        for _ in 0..ALLOWED {
            assert_eq!(attempts.refused(address(1), now), None);
            attempts.failed(address(1), now);
        }
        let later = now + Duration::from_secs(20);
        assert_eq!(
            attempts.refused(address(1), later),
            Some(Duration::from_secs(40))
        );
        assert_eq!(attempts.refused(address(2), later), None);
        let over = now + WINDOW + Duration::from_millis(1);
        assert_eq!(attempts.refused(address(1), over), None);
        attempts.failed(address(1), over);
        assert_eq!(attempts.refused(address(1), over), None);
    }

    #[test]
    fn the_right_password_wipes_the_slate() {
        let (attempts, now) = (Attempts::default(), now());
        for _ in 0..ALLOWED {
            attempts.failed(address(1), now);
        }
        attempts.passed(address(1));
        assert_eq!(attempts.refused(address(1), now), None);
    }

    #[test]
    fn one_subscriber_of_ipv6_is_one_guesser() {
        let (attempts, now) = (Attempts::default(), now());
        for host in 1..=ALLOWED {
            attempts.failed(format!("2001:db8::{host:x}").parse().ok(), now);
        }
        assert!(
            attempts
                .refused("2001:db8::ffff".parse().ok(), now)
                .is_some()
        );
        assert!(
            attempts
                .refused("2001:db8:0:1::1".parse().ok(), now)
                .is_none()
        );
    }

    #[test]
    fn a_crowd_of_addresses_does_not_grow_the_table() {
        let (attempts, now) = (Attempts::default(), now());
        for number in 0..20_000 {
            if attempts.refused(address(number), now).is_none() {
                attempts.failed(address(number), now);
            }
        }
        assert_eq!(attempts.wrong.lock().len(), ADDRESSES);
        let over = now + WINDOW + Duration::from_millis(1);
        assert_eq!(attempts.refused(address(30_000), over), None);
        assert!(attempts.wrong.lock().is_empty());
    }
}
