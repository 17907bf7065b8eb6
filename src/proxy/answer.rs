//! What a backend answers, whichever way it came (proxy.md 6, 8 to 14).

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;

use crate::model::{ClientError, Disconnect, Rejection, SubscribeOptions};

/// The envelope: at most one part counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer<T> {
    /// Accepted.
    pub(crate) result: Option<T>,
    /// Refused with an error.
    pub(crate) error: Option<ClientError>,
    /// Refused with the end of the connection.
    pub(crate) disconnect: Option<Disconnect>,
}

impl<T> Answer<T> {
    /// The part that counts: disconnect, error, result (proxy.md 6).
    ///
    /// # Errors
    /// The refusal of the backend.
    pub(crate) fn verdict(self) -> Result<Option<T>, Rejection> {
        match (self.disconnect, self.error) {
            (Some(disconnect), _) => Err(disconnect.into()),
            (None, Some(error)) => Err(error.into()),
            (None, None) => Ok(self.result),
        }
    }

    /// Only a refusal.
    pub(super) fn refused(rejection: Rejection) -> Self {
        let (error, disconnect) = match rejection {
            Rejection::Error(error) => (Some(error), None),
            Rejection::Disconnect(disconnect) => (None, Some(disconnect)),
        };
        Self {
            result: None,
            error,
            disconnect,
        }
    }
}

/// Base64 that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the backend answered malformed base64")]
pub(crate) struct BadBase64;

/// A payload, as it is or in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Twin {
    /// As it is; `None` when the answer has none.
    pub(crate) raw: Option<Bytes>,
    /// In base64; empty for none.
    pub(crate) b64: String,
}

impl Twin {
    /// The payload; base64 goes first. Empty for none.
    ///
    /// # Errors
    /// The base64 is malformed.
    pub(crate) fn get(self) -> Result<Bytes, BadBase64> {
        if self.b64.is_empty() {
            Ok(self.raw.unwrap_or_default())
        } else {
            decode(&self.b64)
        }
    }

    /// The payload if there is one; base64 counts only when the other is absent (proxy.md 11).
    ///
    /// # Errors
    /// The base64 is malformed.
    pub(crate) fn raw_first(self) -> Result<Option<Bytes>, BadBase64> {
        match self.raw {
            Some(raw) => Ok(Some(raw)),
            None if self.b64.is_empty() => Ok(None),
            None => decode(&self.b64).map(Some),
        }
    }
}

fn decode(text: &str) -> Result<Bytes, BadBase64> {
    let lines = text.contains(['\r', '\n']);
    let decoded = if lines {
        BASE64_STANDARD.decode(text.replace(['\r', '\n'], ""))
    } else {
        BASE64_STANDARD.decode(text)
    };
    decoded.map(Bytes::from).map_err(|_not_base64| BadBase64)
}

/// Namespace options that an answer replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Override {
    /// `presence`.
    pub(crate) presence: Option<bool>,
    /// `join_leave`.
    pub(crate) join_leave: Option<bool>,
    /// `force_recovery`.
    pub(crate) force_recovery: Option<bool>,
    /// `force_positioning`.
    pub(crate) force_positioning: Option<bool>,
    /// `force_push_join_leave`.
    pub(crate) force_push_join_leave: Option<bool>,
}

impl Override {
    /// Puts them on the options of a namespace.
    pub(crate) const fn apply(&self, options: &mut SubscribeOptions) {
        const fn put(place: &mut bool, value: Option<bool>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        put(&mut options.presence, self.presence);
        put(&mut options.join_leave, self.join_leave);
        put(&mut options.recoverable, self.force_recovery);
        put(&mut options.positioned, self.force_positioning);
        put(&mut options.push_join_leave, self.force_push_join_leave);
    }
}

/// Of a connect question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectResult {
    /// User; empty for anonymous.
    pub(crate) user: String,
    /// Expiration in Unix seconds; 0 never.
    pub(crate) expire_at: i64,
    /// Connection info.
    pub(crate) info: Twin,
    /// Custom data of the reply.
    pub(crate) data: Twin,
    /// Server-side subscriptions with the options of their namespaces.
    pub(crate) channels: Vec<String>,
    /// Server-side subscriptions with options of their own.
    pub(crate) subs: BTreeMap<String, Granted>,
    /// Connection meta, when given.
    pub(crate) meta: Option<Bytes>,
}

/// Of a subscribe question, and what a connect answer says of one subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Granted {
    /// Expiration in Unix seconds; 0 never.
    pub(crate) expire_at: i64,
    /// Channel info.
    pub(crate) info: Twin,
    /// Custom data of the reply.
    pub(crate) data: Twin,
    /// Other options than those of the namespace.
    pub(crate) overrides: Override,
    /// Of a connect question: the newest publication without being asked for; needs recovery in cache mode.
    pub(crate) cache_recover: bool,
}

/// Of a refresh question, and of one about a subscription, which knows no meta.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RefreshResult {
    /// It ends.
    pub(crate) expired: bool,
    /// New expiration in Unix seconds.
    pub(crate) expire_at: i64,
    /// Replaces the info.
    pub(crate) info: Twin,
    /// Replaces the connection meta, when given.
    pub(crate) meta: Option<Bytes>,
}

/// Of a refresh question about a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SubRefreshResult(pub(crate) RefreshResult);

/// Of a publish question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PublishResult {
    /// Replaces the payload.
    pub(crate) data: Twin,
    /// Do not keep it in history.
    pub(crate) skip_history: bool,
    /// Tags.
    pub(crate) tags: BTreeMap<String, String>,
    /// Idempotency key; empty for none.
    pub(crate) idempotency_key: String,
    /// Send deltas to those who negotiated them.
    pub(crate) delta: bool,
    /// Version; 0 for none.
    pub(crate) version: u64,
    /// Epoch the version counts in.
    pub(crate) version_epoch: String,
}

/// Of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RpcResult {
    /// The answer.
    pub(crate) data: Twin,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twin(raw: Option<&'static str>, b64: &str) -> Twin {
        Twin {
            raw: raw.map(Bytes::from),
            b64: b64.to_owned(),
        }
    }

    #[test]
    fn base64_goes_first_except_for_publications() {
        assert_eq!(twin(Some("a"), "Yg==").get().unwrap(), "b");
        assert_eq!(twin(Some("a"), "Yg==").raw_first().unwrap().unwrap(), "a");
        assert_eq!(twin(None, "Yg\n==").raw_first().unwrap().unwrap(), "b");
        assert_eq!(twin(None, "").raw_first(), Ok(None));
        assert_eq!(twin(None, "%%%").get(), Err(BadBase64));
        assert_eq!(twin(None, "%%%").raw_first(), Err(BadBase64));
        assert!(twin(Some("a"), "%%%").raw_first().is_ok());
    }

    #[test]
    fn a_disconnect_goes_before_an_error_before_a_result() {
        let mut answer = Answer {
            result: Some(()),
            error: Some(ClientError::PERMISSION_DENIED),
            disconnect: Some(Disconnect::EXPIRED),
        };
        assert_eq!(answer.clone().verdict(), Err(Disconnect::EXPIRED.into()));
        answer.disconnect = None;
        let denied = ClientError::PERMISSION_DENIED;
        assert_eq!(answer.clone().verdict(), Err(denied.into()));
        answer.error = None;
        assert_eq!(answer.verdict(), Ok(Some(())));
    }
}
