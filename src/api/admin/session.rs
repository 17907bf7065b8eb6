//! Sessions of operators: tokens that only this server's secret makes, and that end by themselves.
//!
//! Nothing is kept: a token is the Unix second of its end and an HMAC over it. The password is part of what is signed, so a
//! new password ends all sessions as a new secret does.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::model::{Now, Secret};

/// How long a session is good, seconds (server-api.md 13: at most 30 days).
const LIFE: i64 = 30 * 24 * 60 * 60;
/// Keeps what is signed here apart from what the same secret may sign elsewhere.
const PURPOSE: &[u8] = b"centripetal admin session\0";

/// Opens sessions and knows them again.
#[derive(Debug)]
pub(super) struct Sessions {
    secret: Secret,
    password: Secret,
}

impl Sessions {
    pub(super) fn new(secret: &Secret, password: &Secret) -> Self {
        Self {
            secret: secret.clone(),
            password: password.clone(),
        }
    }

    /// Whether there is a secret to sign with.
    pub(super) fn possible(&self) -> bool {
        !self.secret.is_empty()
    }

    /// A new token.
    pub(super) fn open(&self, now: Now) -> Option<String> {
        let end = (now.unix() + LIFE).to_be_bytes();
        let mark = self.mac(&end)?.finalize().into_bytes();
        Some(BASE64_URL_SAFE_NO_PAD.encode([&end[..], &mark[..]].concat()))
    }

    /// Whether a token is ours and not over. Compared in constant time.
    pub(super) fn holds(&self, token: &str, now: Now) -> bool {
        let Ok(bytes) = BASE64_URL_SAFE_NO_PAD.decode(token) else {
            return false;
        };
        let Some((end, mark)) = bytes.split_first_chunk::<8>() else {
            return false;
        };
        let signed = self
            .mac(end)
            .is_some_and(|mac| mac.verify_slice(mark).is_ok());
        signed && now.unix() < i64::from_be_bytes(*end)
    }

    fn mac(&self, end: &[u8]) -> Option<Hmac<Sha256>> {
        let secret = Some(&self.secret).filter(|secret| !secret.is_empty())?;
        let mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
        let parts = [PURPOSE, end, self.password.expose().as_bytes()];
        Some(
            parts
                .into_iter()
                .fold(mac, |mac, part| mac.chain_update(part)),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn now() -> Now {
        Now::at(Instant::now())
    }

    fn sessions(secret: &str, password: &str) -> Sessions {
        Sessions::new(&secret.into(), &password.into())
    }

    #[test]
    fn a_session_holds_until_its_end() {
        let (sessions, now) = (sessions("s", "pw"), now());
        let token = sessions.open(now).unwrap();
        assert!(sessions.holds(&token, now));
        assert!(sessions.holds(&token, now.later(Duration::from_secs(LIFE as u64 - 1))));
        assert!(!sessions.holds(&token, now.later(Duration::from_secs(LIFE as u64))));
    }

    #[test]
    fn another_secret_or_password_ends_it() {
        let now = now();
        let token = sessions("s", "pw").open(now).unwrap();
        assert!(!sessions("t", "pw").holds(&token, now));
        assert!(!sessions("s", "new").holds(&token, now));
        assert!(!sessions("", "pw").holds(&token, now));
        assert_eq!(sessions("", "pw").open(now), None);
    }

    #[test]
    fn a_changed_token_is_nobodys() {
        let (sessions, now) = (sessions("s", "pw"), now());
        let token = sessions.open(now).unwrap();
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&token).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            let changed = BASE64_URL_SAFE_NO_PAD.encode(&bytes);
            assert!(!sessions.holds(&changed, now), "byte {at}");
            bytes[at] ^= 1;
        }
        for odd in [
            "",
            "a",
            "AAAAAAAAAAA",
            "%",
            &token[..20],
            &format!("{token}AAAA"),
        ] {
            assert!(!sessions.holds(odd, now), "{odd}");
        }
    }
}
