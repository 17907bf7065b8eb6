//! What a subscription adds to the wire form of its connection: deltas (client-protocol.md 5.8) and numbers for names (5.12).

/// How one subscription wants its publications, as negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Style {
    /// Deltas.
    pub delta: Delta,
    /// Pushes carry a number instead of the channel's name.
    pub compact: bool,
}

/// What a subscription negotiated about deltas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Delta {
    /// Nothing.
    #[default]
    Off,
    /// Granted, but without a position there is nothing to build upon: JSON payloads are strings, and complete.
    Complete,
    /// Deltas where there are any.
    Patches,
}

impl Style {
    /// How many different styles there are; [`Style::index`] is below it.
    pub const COUNT: usize = 3 * 2;

    /// A small number for tables by style; 0 for the plain one.
    #[must_use]
    pub const fn index(self) -> usize {
        self.delta as usize * 2 + self.compact as usize
    }

    /// What it makes of pushes of a channel with this number.
    #[must_use]
    pub fn look(self, number: u32) -> Look {
        Look {
            number: if self.compact { number } else { 0 },
            delta: self.delta != Delta::Off,
        }
    }
}

/// What makes a push of one subscription differ from that of another with the same wire form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Look {
    /// Stands for the channel's name; 0 for the name itself.
    pub number: u32,
    /// Deltas were granted: JSON carries payloads as strings, and fewer fields beside them.
    pub delta: bool,
}
