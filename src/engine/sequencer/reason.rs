//! Why subscribers of a channel are told that something was lost.

/// Why the continuity of a channel could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The stream began anew.
    NewEpoch,
    /// There is no stream any more.
    Vanished,
    /// The same stream ends earlier than it did: its newest part was lost.
    MovedBack,
    /// History does not hold what is missing.
    Trimmed,
    /// Offsets that were passed on were given out again.
    Forked,
}

impl Reason {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [
        Self::NewEpoch,
        Self::Vanished,
        Self::MovedBack,
        Self::Trimmed,
        Self::Forked,
    ];

    /// What was passed on last is not in the stream any more.
    pub(super) const fn is_fork(self) -> bool {
        matches!(self, Self::MovedBack | Self::Forked)
    }

    /// As a metric label and in the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NewEpoch => "new_epoch",
            Self::Vanished => "vanished",
            Self::MovedBack => "moved_back",
            Self::Trimmed => "trimmed",
            Self::Forked => "forked",
        }
    }
}
