//! What only the older generation has: method numbers and stream positions in two halves (client-protocol.md 1.8, 1.10).
//!
//! Facts about V1 that are neither bytes nor fields. Messages of V1 are described in `schema` beside those of V2.

use super::frame::PositionFormat;

/// Names of the methods, in the order of their numbers.
const METHODS: [&str; 12] = [
    "connect",
    "subscribe",
    "unsubscribe",
    "publish",
    "presence",
    "presence_stats",
    "history",
    "ping",
    "send",
    "rpc",
    "refresh",
    "sub_refresh",
];

/// Stands for every method nobody knows.
pub(super) const UNKNOWN_METHOD: u32 = u32::MAX;

/// Number of the method with this name, in whatever case; [`UNKNOWN_METHOD`] if there is none.
pub(super) fn method_number(name: &str) -> u32 {
    (0..)
        .zip(METHODS)
        .find(|(_, known)| known.eq_ignore_ascii_case(name))
        .map_or(UNKNOWN_METHOD, |(number, _)| number)
}

/// Low and high half of an offset, as `seq` and `gen`.
pub(super) const fn split(offset: u64) -> (u64, u64) {
    (offset & 0xffff_ffff, offset >> 32)
}

impl PositionFormat {
    /// `offset` is written.
    pub(super) const fn has_offset(self) -> bool {
        matches!(self, Self::Offset | Self::Both)
    }

    /// `seq` and `gen` are written.
    pub(super) const fn has_seq_gen(self) -> bool {
        matches!(self, Self::SeqGen | Self::Both)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_split_at_32_bits() {
        assert_eq!(split(5), (5, 0));
        assert_eq!(split(4_294_967_295), (4_294_967_295, 0));
        assert_eq!(split(4_294_967_296), (0, 1));
        assert_eq!(split(4_294_967_301), (5, 1));
        assert_eq!(split(30_064_771_081), (9, 7));
    }

    #[test]
    fn methods_are_found_by_name_in_any_case() {
        assert_eq!(method_number("CONNECT"), 0);
        assert_eq!(method_number("sub_Refresh"), 11);
        assert_eq!(method_number("destroy"), UNKNOWN_METHOD);
        assert_eq!(method_number(""), UNKNOWN_METHOD);
    }
}
