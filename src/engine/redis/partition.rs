//! Partitions of sharded PUB/SUB: which one a channel is in, and which tag leads it to a slot (engines.md 3.3, appendix B). Pure.

use std::sync::Arc;

use super::hash;
use crate::model::Channel;

/// Tags that spread partitions evenly over clusters of any size, a line a table.
const TABLES: &str = include_str!("tags.txt");

/// Most partitions; each is a connection of every node.
pub(super) const MOST: usize = 1024;

/// A number of partitions and their tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partitions {
    tags: Arc<[String]>,
}

impl Partitions {
    /// `None` when there is no such number of partitions, or no table of precomputed tags for it.
    pub(super) fn new(count: usize, precomputed: bool) -> Option<Self> {
        if !(1..=MOST).contains(&count) {
            return None;
        }
        let tags = if precomputed {
            table(count)?.split(' ').map(str::to_owned).collect()
        } else {
            (0..count).map(|number| number.to_string()).collect()
        };
        Some(Self { tags })
    }

    pub(super) fn count(&self) -> usize {
        self.tags.len()
    }

    /// The partition of a channel.
    pub(super) fn of(&self, channel: &Channel) -> usize {
        hash::jump(channel.as_str(), self.count())
    }

    /// What stands in braces for a partition.
    pub(super) fn tag(&self, partition: usize) -> &str {
        self.tags.get(partition).map_or("", String::as_str)
    }
}

fn table(count: usize) -> Option<&'static str> {
    TABLES
        .lines()
        .find(|table| table.split(' ').count() == count)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// engines.md appendix B: the digests, and how a tag is found.
    #[test]
    fn tags_are_those_of_the_tables() {
        let rows = [
            (
                16,
                "baf01ddfe5d24b344704e6fa55c64bee0117411c85bc2aad437e8c9b32d25ad5",
            ),
            (
                32,
                "787441080ce93705acf38d6fc7b0729e0853464c2cdac7c30b42043871def791",
            ),
            (
                64,
                "2e76268f8f8f49ed2aec9f793c10227ddf752fee33f0ea16dd7d2196231f5edc",
            ),
            (
                128,
                "3035c3f3d8a77b1b8fbabb4974cfc4e2191230a4ff507d91ad48446aeb2264ae",
            ),
        ];
        for (count, digest) in rows {
            let partitions = Partitions::new(count, true).unwrap();
            let tags: Vec<_> = (0..count).map(|number| partitions.tag(number)).collect();
            let sum: String = Sha256::digest(tags.join("\n"))
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(sum, digest, "{count}");
            let slots: Vec<_> = tags.iter().map(|tag| hash::slot(tag)).collect();
            assert!(slots.is_sorted(), "{count}");
        }
    }

    #[test]
    fn a_cluster_of_any_size_gets_an_equal_share_of_a_table() {
        let partitions = Partitions::new(64, true).unwrap();
        for servers in 1..=12_usize {
            let mut shares = vec![0_usize; servers];
            for number in 0..64 {
                let slot = usize::from(hash::slot(partitions.tag(number)));
                shares[slot * servers / 16_384] += 1;
            }
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(most - least <= 1, "{servers}: {shares:?}");
        }
    }

    #[test]
    fn numbers_without_a_table_have_no_precomputed_tags() {
        assert!(Partitions::new(17, true).is_none());
        assert!(Partitions::new(17, false).is_some());
        assert!(Partitions::new(0, false).is_none());
        assert!(Partitions::new(MOST + 1, false).is_none());
        assert_eq!(Partitions::new(17, false).unwrap().tag(16), "16");
    }
}
