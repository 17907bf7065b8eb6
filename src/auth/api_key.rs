//! Keys of server API callers (server-api.md 2): compared in constant time, never shown.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::model::Secret;

/// A configured key. Only its digest is kept, so that comparing does not even tell the length.
#[derive(Clone)]
pub struct ApiKey([u8; 32]);

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey")
    }
}

impl ApiKey {
    /// `None` without a key: the gRPC server API then accepts everybody, the HTTP one nobody.
    #[must_use]
    pub fn new(key: &Secret) -> Option<Self> {
        (!key.is_empty()).then(|| Self(digest(key.expose())))
    }

    /// True when `given` is the key.
    #[must_use]
    pub fn matches(&self, given: &str) -> bool {
        self.0.ct_eq(&digest(given)).into()
    }

    /// True when an `authorization` value is exactly the word, one space and the key (server-api.md 2.2).
    #[must_use]
    pub fn matches_metadata(&self, authorization: &str) -> bool {
        authorization
            .strip_prefix("apikey ")
            .is_some_and(|given| self.matches(given))
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_itself_matches() {
        let key = ApiKey::new(&Secret::from("k3y")).unwrap();
        assert!(key.matches("k3y"));
        for other in ["", "k3", "k3y ", "K3Y", "k3yk3y"] {
            assert!(!key.matches(other), "{other:?}");
        }
        assert!(ApiKey::new(&Secret::default()).is_none());
        assert_eq!(format!("{key:?}"), "ApiKey");
    }

    #[test]
    fn metadata_has_one_exact_form() {
        let key = ApiKey::new(&Secret::from("k3y")).unwrap();
        assert!(key.matches_metadata("apikey k3y"));
        for other in [
            "k3y",
            "APIKEY k3y",
            "apikey  k3y",
            "apikey k3y ",
            "apikey K3Y",
            "apikey",
        ] {
            assert!(!key.matches_metadata(other), "{other:?}");
        }
    }
}
