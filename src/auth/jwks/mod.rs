//! Keys that an identity provider publishes, fetched when a token names one that is not known yet (tokens.md 6).
//!
//! Owns the cache and the fetches. Decides nothing about tokens. Everything it holds is bounded.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    Reason,
    token::key::{Jwk, Key},
};

/// A key lives this long after its last use.
const IDLE: Duration = Duration::from_hours(1);
/// Time limit of one request.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Requests in a row before giving up.
const ATTEMPTS: usize = 2;
/// A set is not fetched again before this time has passed, whatever tokens claim.
const INTERVAL: Duration = Duration::from_secs(3);
/// Largest key set, bytes.
const BODY_LIMIT: usize = 1 << 20;
/// Most keys kept of one address, and most addresses.
const KEY_LIMIT: usize = 512;
const ADDRESS_LIMIT: usize = 1024;

/// A published key, and the only algorithm it may be used with when the set names one.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) key: Key,
    pub(super) algorithm: Option<String>,
}

/// Published keys by address and name.
#[derive(Debug)]
pub(super) struct KeySets {
    client: reqwest::Client,
    max_age: Duration,
    sets: Mutex<HashMap<String, Arc<KeySet>>>,
}

#[derive(Debug, Default)]
struct KeySet {
    keys: Mutex<HashMap<String, Cached>>,
    /// When this set was fetched last, and whether that worked. Held while fetching, so that others wait for the
    /// outcome instead of asking, too.
    fetched: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

#[derive(Debug)]
struct Cached {
    published: Arc<Published>,
    fetched: Instant,
    used: Instant,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

impl KeySets {
    /// No key is fetched before it is asked for.
    pub(super) fn new(max_age: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self {
            client,
            // A key must at least outlive the pause between fetches, or nothing could ever be verified.
            max_age: max_age.max(INTERVAL),
            sets: Mutex::default(),
        })
    }

    /// The key of this name at this address, from the cache or fetched now.
    pub(super) async fn key(&self, address: &str, kid: &str) -> Result<Arc<Published>, Reason> {
        let set = self.set(address);
        if let Some(key) = set.cached(kid, self.max_age) {
            return Ok(key);
        }
        let mut fetched = set.fetched.lock().await;
        if let Some(key) = set.cached(kid, self.max_age) {
            return Ok(key);
        }
        match *fetched {
            Some((at, worked)) if at.elapsed() < INTERVAL => {
                return Err(if worked {
                    Reason::Key
                } else {
                    Reason::Unavailable
                });
            }
            _ => {}
        }
        let keys = self.fetch(address).await;
        let now = Instant::now();
        *fetched = Some((now, keys.is_some()));
        set.store(keys.ok_or(Reason::Unavailable)?, now);
        set.cached(kid, self.max_age).ok_or(Reason::Key)
    }

    fn set(&self, address: &str) -> Arc<KeySet> {
        let mut sets = self.sets.lock();
        if let Some(set) = sets.get(address) {
            return Arc::clone(set);
        }
        if sets.len() >= ADDRESS_LIMIT {
            sets.retain(|_, set| !set.keys.lock().is_empty());
        }
        if sets.len() >= ADDRESS_LIMIT {
            sets.clear();
        }
        let set = Arc::<KeySet>::default();
        sets.insert(address.to_owned(), Arc::clone(&set));
        set
    }

    async fn fetch(&self, address: &str) -> Option<Vec<(String, Published)>> {
        for _attempt in 0..ATTEMPTS {
            match self.request(address).await {
                Ok(Some(body)) => return parse(&body),
                Ok(None) => {
                    tracing::warn!("key set request was not answered with a key set");
                }
                Err(error) => {
                    tracing::warn!(error = %error.without_url(), "error fetching key set");
                }
            }
        }
        None
    }

    /// `None` when the status is not 200 or the body is too large.
    async fn request(&self, address: &str) -> Result<Option<Vec<u8>>, reqwest::Error> {
        let mut response = self.client.get(address).send().await?;
        if response.status() != http::StatusCode::OK {
            return Ok(None);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }
}

impl KeySet {
    fn cached(&self, kid: &str, max_age: Duration) -> Option<Arc<Published>> {
        let now = Instant::now();
        let mut keys = self.keys.lock();
        let cached = keys.get_mut(kid)?;
        if now.duration_since(cached.used) > IDLE || now.duration_since(cached.fetched) > max_age {
            keys.remove(kid);
            return None;
        }
        cached.used = now;
        Some(Arc::clone(&cached.published))
    }

    fn store(&self, published: Vec<(String, Published)>, now: Instant) {
        let mut keys = self.keys.lock();
        if keys.len() + published.len() > KEY_LIMIT {
            keys.clear();
        }
        for (kid, published) in published.into_iter().take(KEY_LIMIT) {
            keys.insert(
                kid,
                Cached {
                    published: Arc::new(published),
                    fetched: now,
                    used: now,
                },
            );
        }
    }
}

/// The usable keys of a set; a key that cannot be used is left out, a set that is none is `None`.
fn parse(body: &[u8]) -> Option<Vec<(String, Published)>> {
    let document: Document<'_> = serde_json::from_slice(body).ok()?;
    let usable = |raw: &RawValue| {
        let jwk: Jwk = serde_json::from_str(raw.get()).ok()?;
        if !jwk.is_for_signatures() {
            return None;
        }
        let key = jwk.key()?;
        Some((
            jwk.kid?,
            Published {
                key,
                algorithm: jwk.alg,
            },
        ))
    };
    Some(document.keys.into_iter().filter_map(usable).collect())
}

/// Address of a key set: words, and names of groups between them (`{{name}}`).
#[derive(Debug)]
pub(super) struct Endpoint {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(String),
}

/// Why an address cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Another scheme, or not an address at all.
    #[error("not an http:// or https:// address")]
    Scheme,
    /// A placeholder that does not end.
    #[error("placeholder without end")]
    Placeholder,
    /// An address whose path has dot segments, doubled slashes or a trailing slash never verifies anything.
    #[error("path of the address is not in its clean form")]
    Path,
    /// A placeholder that foreign tokens could fill with anything.
    #[error("patterns that fill placeholders must be lists of words")]
    Unsafe,
}

impl Endpoint {
    /// Takes an address apart.
    pub(super) fn parse(address: &str) -> Result<Self, EndpointError> {
        if !address.starts_with("http://") && !address.starts_with("https://") {
            return Err(EndpointError::Scheme);
        }
        let mut parts = Vec::new();
        let mut rest = address;
        while let Some((text, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(EndpointError::Placeholder)?;
            parts.push(Part::Text(text.to_owned()));
            parts.push(Part::Group(name.to_owned()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        let endpoint = Self { parts };
        if endpoint.placeholders().next().is_none() {
            reqwest::Url::parse(address).map_err(|_opaque| EndpointError::Scheme)?;
            if !is_clean(address) {
                return Err(EndpointError::Path);
            }
        }
        Ok(endpoint)
    }

    /// Names of the groups that fill this address.
    pub(super) fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Group(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The address for these groups; `None` when its path is not in its clean form.
    pub(super) fn resolve(&self, groups: &BTreeMap<String, String>) -> Option<String> {
        let mut address = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => address.push_str(text),
                Part::Group(name) => {
                    address.push_str(groups.get(name).map_or("", String::as_str));
                }
            }
        }
        is_clean(&address).then_some(address)
    }
}

/// Looks at the text as given, before any parser tidies it up; escapes count as what they stand for.
fn is_clean(address: &str) -> bool {
    let after_scheme = address.split_once("://").map_or(address, |(_, rest)| rest);
    let path = after_scheme
        .find(['/', '?', '#'])
        .map_or("", |at| &after_scheme[at..]);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = path
        .replace("%2e", ".")
        .replace("%2E", ".")
        .replace("%2f", "/")
        .replace("%2F", "/");
    match path.strip_prefix('/') {
        None | Some("") => true,
        Some(segments) => segments
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | "..")),
    }
}

#[cfg(test)]
mod tests;
