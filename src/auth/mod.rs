//! Who is asking: verifies connection and subscription tokens, HMAC credentials and API keys.
//!
//! Turns credentials into identities, counts refusals by reason, and never says more to a client than that.
//! Knows no namespace (callers hand in a lookup), no connection and no transport; [`interceptor`] alone knows tonic.
//! Whether an identity may do something is decided by [`crate::policy`].

pub mod api_key;
pub mod config;
pub mod credentials;
pub mod interceptor;
mod jwks;
pub mod legacy;
mod metrics;
mod pace;
pub mod pattern;
mod places;
mod token;
mod verifiers;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use parking_lot::RwLock;

use self::verifiers::Verifiers;
use crate::model::{Channel, ChannelOptions, ClientError, Disconnect, Now};

pub use config::Config;
pub use jwks::EndpointError;
pub use metrics::{Kind, Metrics, Reason};
pub use pace::Pace;
pub use pattern::PatternError;
pub use places::{HEADER, HeaderValues, LEGACY_HEADERS, Presented};
pub use token::{ConnectionToken, SubscriptionToken, key::KeyError};

/// Options of a channel, as [`crate::hooks::Hooks::channel`] gives them.
pub type Lookup<'a> =
    dyn Fn(&Channel) -> Result<Arc<ChannelOptions>, ClientError> + Send + Sync + 'a;

/// Why verifiers cannot be built. Every one of these stops the start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key in PEM is broken.
    #[error("{section}.{option} cannot be used")]
    Key {
        /// Section of the configuration.
        section: &'static str,
        /// Option in it.
        option: &'static str,
        /// What is wrong.
        source: KeyError,
    },
    /// A pattern is broken.
    #[error("{section}.{option} pattern cannot be used")]
    Pattern {
        /// Section of the configuration.
        section: &'static str,
        /// Option in it.
        option: &'static str,
        /// What is wrong.
        source: PatternError,
    },
    /// Both a value and a pattern for it.
    #[error("{section}.{option} and {section}.{option}_regex exclude each other")]
    Ambiguous {
        /// Section of the configuration.
        section: &'static str,
        /// Option in it.
        option: &'static str,
    },
    /// The address of a key set is broken or unsafe.
    #[error("{section}.jwks_public_endpoint cannot be used")]
    Endpoint {
        /// Section of the configuration.
        section: &'static str,
        /// What is wrong.
        source: EndpointError,
    },
    /// The name of a claim has other characters than letters and underscore.
    #[error("{section}.user_id_claim may have letters and underscore only")]
    UserIdClaim {
        /// Section of the configuration.
        section: &'static str,
    },
    /// HMAC credentials are on without a secret, or with a short one.
    #[error("{0} is missing or has less than 16 bytes")]
    Secret(&'static str),
    /// A secret is used for two things.
    #[error("{0} must differ from {1}")]
    SharedSecret(&'static str, &'static str),
    /// A value is out of its range.
    #[error("client.hmac_credentials.{0} is out of range")]
    Range(&'static str),
    /// The HTTP client cannot be built.
    #[error("key sets cannot be fetched")]
    Fetcher(#[source] reqwest::Error),
    /// The registry has counters of these names already.
    #[error("counters cannot be registered")]
    Metrics(#[from] prometheus::Error),
}

/// Why one credential is refused. Says nothing about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {}: {}", kind.label(), reason.label())]
pub struct Refusal {
    /// What was refused.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
}

impl Refusal {
    /// How a connection ends that must not go on with it.
    #[must_use]
    pub const fn disconnect(self) -> Disconnect {
        match self.reason {
            Reason::Expired => Disconnect::EXPIRED,
            Reason::Places => Disconnect::BAD_REQUEST,
            Reason::Anonymous => Disconnect::PERMISSION_DENIED,
            _ => Disconnect::INVALID_TOKEN,
        }
    }
}

/// Verifies credentials. Cloning is a reference count; the settings are replaced whole.
#[derive(Clone, Debug)]
pub struct Authenticator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    verifiers: RwLock<Arc<Verifiers>>,
    metrics: Metrics,
    pace: Pace<{ Reason::COUNT }>,
    reminders: Pace<1>,
}

/// HMAC credentials outside of `token`, and connect data without them.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// What was found.
    pub presented: Option<Presented>,
    /// The data for everybody else.
    pub data: Bytes,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found")
            .field("presented", &self.presented)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Checks settings without using them.
    ///
    /// # Errors
    /// As [`Authenticator::new`].
    pub fn check(&self) -> Result<(), Error> {
        Verifiers::new(self).map(|_unused| ())
    }
}

impl Authenticator {
    /// Builds the verifiers and registers the counters.
    ///
    /// # Errors
    /// [`Error`] for anything in `config` that could not verify as meant.
    pub fn new(config: &Config, registry: &prometheus::Registry) -> Result<Self, Error> {
        let verifiers = Verifiers::new(config)?;
        verifiers.announce();
        Ok(Self {
            shared: Arc::new(Shared {
                verifiers: RwLock::new(Arc::new(verifiers)),
                metrics: Metrics::new(registry)?,
                pace: Pace::default(),
                reminders: Pace::default(),
            }),
        })
    }

    /// Takes other settings for everything that is verified from now on.
    ///
    /// # Errors
    /// As [`Authenticator::new`]; the old settings stay.
    pub fn reload(&self, config: &Config) -> Result<(), Error> {
        let verifiers = Verifiers::new(config)?;
        verifiers.announce();
        *self.shared.verifiers.write() = Arc::new(verifiers);
        Ok(())
    }

    /// Verifies the `token` of a connect: a JWT, or HMAC credentials while these are on.
    ///
    /// # Errors
    /// Why it is refused; already counted.
    pub async fn connection(
        &self,
        token: &str,
        now: &Now,
        lookup: &Lookup<'_>,
    ) -> Result<ConnectionToken, Refusal> {
        let verifiers = self.verifiers();
        let kind = verifiers.kind(token);
        let verified = self.token(&verifiers, token, now, lookup).await;
        self.counted(kind, verified.and_then(|token| verifiers.admit(token)))
    }

    /// Verifies a connection JWT where nothing else may be carried.
    ///
    /// # Errors
    /// Why it is refused; already counted.
    pub async fn jwt(
        &self,
        token: &str,
        now: &Now,
        lookup: &Lookup<'_>,
    ) -> Result<ConnectionToken, Refusal> {
        let verifiers = self.verifiers();
        let verified = verifiers.connection.connection(token, now, lookup).await;
        self.counted(Kind::Jwt, verified.and_then(|token| verifiers.admit(token)))
    }

    /// Verifies the token of a refresh. The user has to be compared by the caller.
    ///
    /// # Errors
    /// Why it is refused; already counted.
    pub async fn refresh(
        &self,
        token: &str,
        now: &Now,
        lookup: &Lookup<'_>,
    ) -> Result<ConnectionToken, Refusal> {
        let verifiers = self.verifiers();
        let verified = self.token(&verifiers, token, now, lookup).await;
        self.counted(verifiers.kind(token), verified)
    }

    /// Verifies a subscription token. Channel, user and client have to be compared by the caller.
    ///
    /// # Errors
    /// Why it is refused; already counted.
    pub async fn subscription(
        &self,
        token: &str,
        now: &Now,
        lookup: &Lookup<'_>,
    ) -> Result<SubscriptionToken, Refusal> {
        let verifiers = self.verifiers();
        let verified = verifiers
            .subscription
            .as_ref()
            .unwrap_or(&verifiers.connection);
        self.counted(Kind::Jwt, verified.subscription(token, now, lookup).await)
    }

    /// Verifies HMAC credentials found outside of `token`.
    ///
    /// # Errors
    /// Why they are refused; already counted.
    pub fn presented(&self, presented: &Presented, now: &Now) -> Result<ConnectionToken, Refusal> {
        let verifiers = self.verifiers();
        let verified = self.hmac(&verifiers, presented, now);
        self.counted(
            presented.kind(),
            verified.and_then(|token| verifiers.admit(token)),
        )
    }

    /// Looks for HMAC credentials in emulated headers and connect data; finds nothing while they are off.
    ///
    /// # Errors
    /// When more than one place is filled; already counted.
    pub fn find(&self, headers: &BTreeMap<String, String>, data: &Bytes) -> Result<Found, Refusal> {
        let verifiers = self.verifiers();
        let Some(hmac) = &verifiers.hmac else {
            return Ok(Found {
                presented: None,
                data: data.clone(),
            });
        };
        let legacy = hmac.legacy.is_some();
        let found = || {
            let in_headers = places::in_headers(|name| places::emulated(headers, name), legacy)?;
            let (in_data, data) = places::in_data(data, &hmac.data_field, legacy)?;
            if in_headers.is_some() && in_data.is_some() {
                return Err(Reason::Places);
            }
            Ok(Found {
                presented: in_headers.or(in_data),
                data,
            })
        };
        self.counted(Kind::H1, found())
    }

    /// Looks for HMAC credentials in the headers or metadata of a request; finds nothing while they are off.
    ///
    /// # Errors
    /// When more than one place is filled; already counted.
    pub fn find_in_request<'a>(
        &self,
        values: impl Fn(&'static str) -> HeaderValues<'a>,
    ) -> Result<Option<Presented>, Refusal> {
        let verifiers = self.verifiers();
        let Some(hmac) = &verifiers.hmac else {
            return Ok(None);
        };
        self.counted(Kind::H1, places::in_headers(values, hmac.legacy.is_some()))
    }

    /// Counts a refusal that was found out by comparing.
    #[must_use]
    pub fn refuse(&self, kind: Kind, reason: Reason) -> Refusal {
        self.shared.metrics.rejected(kind, reason);
        Refusal { kind, reason }
    }

    /// True when a line about this reason may be written to the log now.
    #[must_use]
    pub fn may_log(&self, reason: Reason, now: &Now) -> bool {
        self.shared.pace.permits(reason.index(), now)
    }

    /// HMAC credentials are on, so that places which may carry them are read.
    #[must_use]
    pub fn reads_hmac(&self) -> bool {
        self.verifiers().hmac.is_some()
    }

    /// Kind of credential in a `token`.
    #[must_use]
    pub fn kind(&self, token: &str) -> Kind {
        self.verifiers().kind(token)
    }

    /// Refusals by kind and reason.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    fn verifiers(&self) -> Arc<Verifiers> {
        Arc::clone(&self.shared.verifiers.read())
    }

    async fn token(
        &self,
        verifiers: &Verifiers,
        token: &str,
        now: &Now,
        lookup: &Lookup<'_>,
    ) -> Result<ConnectionToken, Reason> {
        match verifiers.kind(token) {
            Kind::Jwt => verifiers.connection.connection(token, now, lookup).await,
            Kind::H1 | Kind::Legacy => self.hmac(verifiers, &Presented::compact(token), now),
        }
    }

    fn hmac(
        &self,
        verifiers: &Verifiers,
        presented: &Presented,
        now: &Now,
    ) -> Result<ConnectionToken, Reason> {
        if presented.kind() == Kind::Legacy {
            self.remind(verifiers, now);
        }
        verifiers.hmac(presented, now)
    }

    /// Reminds once a day, as long as somebody uses what is to end some day.
    fn remind(&self, verifiers: &Verifiers, now: &Now) {
        const DAY: i64 = 24 * 60 * 60 * 1000;
        if self.shared.reminders.permits_every(0, now, DAY) {
            verifiers.remind();
        }
    }

    fn counted<T>(&self, kind: Kind, verified: Result<T, Reason>) -> Result<T, Refusal> {
        verified.map_err(|reason| self.refuse(kind, reason))
    }
}

#[cfg(test)]
pub(crate) mod tests;
