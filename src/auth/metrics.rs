//! Why credentials were refused, counted (metrics.md 18).

use prometheus::{IntCounterVec, Opts, Registry};

/// Kind of a credential; a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// JSON Web Token, of a connection or a subscription.
    Jwt,
    /// HMAC credentials, safe form.
    H1,
    /// HMAC credentials, legacy form.
    Legacy,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Jwt, Self::H1, Self::Legacy];

    /// The label value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::H1 => "h1",
            Self::Legacy => "legacy",
        }
    }
}

/// Why a credential is refused; a metric label and the text of a log line, never more than that for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Not in the form of its kind.
    Malformed,
    /// A claim or field has a wrong type or content.
    Claims,
    /// The issuer is not the wanted one.
    Issuer,
    /// The audience is not the wanted one.
    Audience,
    /// The algorithm is unknown, off, or has no key.
    Algorithm,
    /// No key of this name.
    Key,
    /// The signature is wrong.
    Signature,
    /// A connection token with a channel, or a subscription token without.
    Channel,
    /// Too late, or too early.
    Expired,
    /// Expires further ahead than allowed.
    Lifetime,
    /// The keys could not be fetched.
    Unavailable,
    /// The empty user, which is not allowed.
    Anonymous,
    /// Fine, but for another channel, user or client.
    Mismatch,
    /// Given in more than one place.
    Places,
    /// Names a channel in an unknown namespace. Not a fault of the token, so it is not counted.
    UnknownChannel,
}

impl Reason {
    /// How many reasons there are; [`Reason::index`] is below it.
    pub const COUNT: usize = Self::ALL.len();

    const ALL: [Self; 15] = [
        Self::Malformed,
        Self::Claims,
        Self::Issuer,
        Self::Audience,
        Self::Algorithm,
        Self::Key,
        Self::Signature,
        Self::Channel,
        Self::Expired,
        Self::Lifetime,
        Self::Unavailable,
        Self::Anonymous,
        Self::Mismatch,
        Self::Places,
        Self::UnknownChannel,
    ];

    /// The label value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Channel => "channel",
            Self::Expired => "expired",
            Self::Lifetime => "lifetime",
            Self::Unavailable => "unavailable",
            Self::Anonymous => "anonymous",
            Self::Mismatch => "mismatch",
            Self::Places => "places",
            Self::UnknownChannel => "unknown_channel",
        }
    }

    /// A small number for tables by reason.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Counters of this module.
#[derive(Clone, Debug)]
pub struct Metrics {
    rejected: IntCounterVec,
}

impl Metrics {
    /// Registers the counters.
    ///
    /// # Errors
    /// When the registry has counters of these names already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let rejected = IntCounterVec::new(
            Opts::new(
                "centripetal_tokens_rejected_total",
                "Tokens and credentials that were refused.",
            ),
            &["kind", "reason"],
        )?;
        registry.register(Box::new(rejected.clone()))?;
        let metrics = Self { rejected };
        for kind in Kind::ALL {
            for reason in Reason::ALL {
                if reason != Reason::UnknownChannel {
                    metrics
                        .rejected
                        .with_label_values(&[kind.label(), reason.label()])
                        .reset();
                }
            }
        }
        Ok(metrics)
    }

    /// Counts one refusal.
    pub fn rejected(&self, kind: Kind, reason: Reason) {
        if reason != Reason::UnknownChannel {
            self.rejected
                .with_label_values(&[kind.label(), reason.label()])
                .inc();
        }
    }

    /// Refusals of one kind and reason so far.
    #[must_use]
    pub fn count(&self, kind: Kind, reason: Reason) -> u64 {
        self.rejected
            .with_label_values(&[kind.label(), reason.label()])
            .get()
    }
}
