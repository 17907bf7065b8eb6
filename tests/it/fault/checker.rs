//! The judge: reads the logs of a run that is over and tells lost, doubled, reordered and declared apart.
//!
//! Knows only what publishers were told and what clients were sent; nothing of the server.

use std::collections::{BTreeMap, BTreeSet};

use super::journal::{Entry, Log};

/// What a run did to its publications, summed over clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Accepted, inside what a client was promised, and never sent to it.
    pub(crate) lost: u64,
    /// Sent to a client a second time.
    pub(crate) doubled: u64,
    /// Sent after a later one.
    pub(crate) reordered: u64,
    /// Sent, but never published, or at another place than the publisher was told.
    pub(crate) foreign: u64,
    /// Times a client asked to recover and was told that it cannot.
    pub(crate) declared: u64,
    /// Times a subscription was ended, so that the client recovers.
    pub(crate) told: u64,
    /// Times a connection was ended.
    pub(crate) closed: u64,
    /// Publications accepted.
    pub(crate) accepted: u64,
    /// Publishes that failed, as publishers were told.
    pub(crate) failed: u64,
}

impl Verdict {
    /// Nothing that must not happen has happened.
    pub(crate) const fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.reordered == 0 && self.foreign == 0
    }
}

/// What publishers know of one channel.
#[derive(Debug, Default)]
struct Published {
    sent: BTreeSet<u64>,
    /// Numbers by epoch and offset.
    accepted: BTreeMap<(String, u64), u64>,
}

/// One stretch in which a client was promised everything after a position.
#[derive(Debug)]
struct Stretch {
    epoch: String,
    /// Everything after this was promised.
    from: u64,
    /// Newest offset that was sent.
    newest: u64,
    /// Numbers that were sent.
    seen: BTreeSet<u64>,
}

/// Judges all logs of a run.
pub(crate) fn judge(logs: &[Log]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut channels: BTreeMap<&str, Published> = BTreeMap::new();
    for (_, entry) in logs.iter().flat_map(|(_, entries)| entries) {
        match entry {
            Entry::Sent { channel, id } => {
                channels.entry(channel).or_default().sent.insert(*id);
            }
            Entry::Accepted {
                channel,
                id,
                offset,
                epoch,
            } => {
                verdict.accepted += 1;
                let accepted = &mut channels.entry(channel).or_default().accepted;
                accepted.insert((epoch.clone(), *offset), *id);
            }
            Entry::Failed { .. } => verdict.failed += 1,
            Entry::Subscribed { .. }
            | Entry::Got { .. }
            | Entry::Told { .. }
            | Entry::Left { .. } => {}
        }
    }
    for (_, entries) in logs {
        judge_client(entries, &channels, &mut verdict);
    }
    verdict
}

fn judge_client(
    entries: &[(u64, Entry)],
    channels: &BTreeMap<&str, Published>,
    verdict: &mut Verdict,
) {
    let nothing = Published::default();
    let mut open: BTreeMap<&str, Stretch> = BTreeMap::new();
    for (_, entry) in entries {
        match entry {
            Entry::Told { code: 2500 } => verdict.told += 1,
            Entry::Told { .. } => verdict.closed += 1,
            Entry::Subscribed {
                channel,
                offset,
                epoch,
                asked,
                recovered,
            } => {
                if *asked && *recovered {
                    continue;
                }
                verdict.declared += u64::from(*asked);
                let stretch = Stretch {
                    epoch: epoch.clone(),
                    from: *offset,
                    newest: *offset,
                    seen: BTreeSet::new(),
                };
                if let Some(over) = open.insert(channel, stretch) {
                    let published = channels.get(channel.as_str()).unwrap_or(&nothing);
                    // What came after its newest publication was declared.
                    verdict.lost += over.missing(published, over.newest);
                }
            }
            Entry::Got {
                channel,
                id,
                offset,
            } => {
                let published = channels.get(channel.as_str()).unwrap_or(&nothing);
                match open.get_mut(channel.as_str()) {
                    Some(stretch) => stretch.got(*id, *offset, published, verdict),
                    None => verdict.foreign += 1,
                }
            }
            Entry::Left { channel } => {
                if let Some(over) = open.remove(channel.as_str()) {
                    let published = channels.get(channel.as_str()).unwrap_or(&nothing);
                    verdict.lost += over.missing(published, over.newest);
                }
            }
            Entry::Sent { .. } | Entry::Accepted { .. } | Entry::Failed { .. } => {}
        }
    }
    for (channel, stretch) in open {
        let published = channels.get(channel).unwrap_or(&nothing);
        verdict.lost += stretch.missing(published, u64::MAX);
    }
}

impl Stretch {
    fn got(&mut self, id: u64, offset: u64, published: &Published, verdict: &mut Verdict) {
        let place = (self.epoch.clone(), offset);
        let elsewhere = published
            .accepted
            .get(&place)
            .is_some_and(|there| *there != id);
        if !published.sent.contains(&id) || elsewhere {
            verdict.foreign += 1;
        }
        if !self.seen.insert(id) {
            verdict.doubled += 1;
        } else if offset <= self.newest {
            verdict.reordered += 1;
        }
        self.newest = self.newest.max(offset);
    }

    /// Accepted publications up to `until` that were promised and never came.
    fn missing(&self, published: &Published, until: u64) -> u64 {
        if self.from >= until {
            return 0;
        }
        let first = (self.epoch.clone(), self.from + 1);
        let promised = published
            .accepted
            .range(first..=(self.epoch.clone(), until));
        let missing = promised.filter(|(_, id)| !self.seen.contains(id));
        missing.count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(id: u64) -> Entry {
        let channel = "ch".to_owned();
        Entry::Sent { channel, id }
    }

    fn accepted(id: u64, offset: u64, epoch: &str) -> Entry {
        Entry::Accepted {
            channel: "ch".into(),
            id,
            offset,
            epoch: epoch.into(),
        }
    }

    fn got(id: u64, offset: u64) -> Entry {
        Entry::Got {
            channel: "ch".into(),
            id,
            offset,
        }
    }

    fn subscribed(offset: u64, epoch: &str, answers: (bool, bool)) -> Entry {
        Entry::Subscribed {
            channel: "ch".into(),
            offset,
            epoch: epoch.into(),
            asked: answers.0,
            recovered: answers.1,
        }
    }

    fn log(name: &str, entries: Vec<Entry>) -> Log {
        (name.into(), (0..).zip(entries).collect())
    }

    /// Ten publications with numbers 100 larger than their offsets; a client that came after the second and was told once.
    fn good() -> Vec<Log> {
        let publisher = (1..=10).flat_map(|n| [sent(100 + n), accepted(100 + n, n, "e")]);
        let mut client = vec![subscribed(2, "e", (false, false))];
        client.extend((3..=5).map(|n| got(100 + n, n)));
        client.push(Entry::Told { code: 2500 });
        client.push(subscribed(5, "e", (true, true)));
        client.extend((6..=10).map(|n| got(100 + n, n)));
        vec![log("publisher", publisher.collect()), log("client", client)]
    }

    fn judged(client: impl FnOnce(&mut Vec<(u64, Entry)>)) -> Verdict {
        let mut logs = good();
        client(&mut logs[1].1);
        judge(&logs)
    }

    fn is_got(entry: &(u64, Entry)) -> bool {
        matches!(entry.1, Entry::Got { .. })
    }

    /// Places of publications in the client's log.
    fn places() -> Vec<usize> {
        let logs = good();
        let client = &logs[1].1;
        (0..client.len())
            .filter(|at| is_got(&client[*at]))
            .collect()
    }

    const GOOD: Verdict = Verdict {
        lost: 0,
        doubled: 0,
        reordered: 0,
        foreign: 0,
        declared: 0,
        told: 1,
        closed: 0,
        accepted: 10,
        failed: 0,
    };

    #[test]
    fn a_good_run_is_good() {
        assert_eq!(judged(|_| {}), GOOD);
        assert!(GOOD.is_clean());
    }

    #[test]
    fn each_missing_publication_is_found_lost() {
        for at in places() {
            let verdict = judged(|client| drop(client.remove(at)));
            assert_eq!(verdict, Verdict { lost: 1, ..GOOD }, "{at}");
        }
    }

    #[test]
    fn a_missing_end_is_found_lost() {
        let verdict = judged(|client| client.truncate(client.len() - 3));
        assert_eq!(verdict, Verdict { lost: 3, ..GOOD });
    }

    #[test]
    fn each_doubled_publication_is_found_wherever_it_comes_again() {
        for at in places() {
            for again in at + 1..=good()[1].1.len() {
                let verdict = judged(|client| client.insert(again, client[at].clone()));
                assert_eq!(verdict, Verdict { doubled: 1, ..GOOD }, "{at} at {again}");
            }
        }
    }

    #[test]
    fn each_exchange_is_found_reordered() {
        let places = places();
        for pair in places.windows(2) {
            let verdict = judged(|client| client.swap(pair[0], pair[1]));
            assert_eq!(
                verdict,
                Verdict {
                    reordered: 1,
                    ..GOOD
                },
                "{pair:?}"
            );
        }
    }

    #[test]
    fn what_nobody_published_and_what_stands_elsewhere_is_foreign() {
        for at in places() {
            let verdict = judged(|client| {
                if let Entry::Got { id, .. } = &mut client[at].1 {
                    *id += 1000;
                }
            });
            let expected = Verdict {
                foreign: 1,
                lost: 1,
                ..GOOD
            };
            assert_eq!(verdict, expected, "{at}");
        }
    }

    #[test]
    fn a_declared_loss_is_no_loss() {
        let verdict = judged(|client| {
            // 6 and 7 were never sent, and the client was told when it came back.
            client[5].1 = subscribed(7, "e", (true, false));
            client.retain(|entry| !matches!(entry.1, Entry::Got { offset: 6 | 7, .. }));
        });
        assert_eq!(
            verdict,
            Verdict {
                declared: 1,
                ..GOOD
            }
        );
        // Without being told it would be one.
        let verdict = judged(|client| {
            client.retain(|entry| !matches!(entry.1, Entry::Got { offset: 6 | 7, .. }));
        });
        assert_eq!(verdict, Verdict { lost: 2, ..GOOD });
    }

    #[test]
    fn a_loss_before_a_declaration_is_still_a_loss() {
        let verdict = judged(|client| {
            client[5].1 = subscribed(7, "e", (true, false));
            client.retain(|entry| {
                !matches!(
                    entry.1,
                    Entry::Got {
                        offset: 4 | 6 | 7,
                        ..
                    }
                )
            });
        });
        let expected = Verdict {
            lost: 1,
            declared: 1,
            ..GOOD
        };
        assert_eq!(verdict, expected);
    }

    #[test]
    fn a_new_epoch_has_its_own_offsets() {
        let mut logs = good();
        logs[0].1.push((0, sent(201)));
        logs[0].1.push((0, accepted(201, 1, "f")));
        logs[1].1.push((0, subscribed(0, "f", (true, false))));
        let lost = judge(&logs);
        assert_eq!((lost.lost, lost.declared), (1, 1));
        logs[1].1.push((0, got(201, 1)));
        assert!(judge(&logs).is_clean());
    }

    #[test]
    fn who_has_left_is_owed_nothing_more() {
        let left = |at: usize| {
            judged(|client| {
                client.truncate(at);
                let channel = "ch".to_owned();
                client.push((0, Entry::Left { channel }));
            })
        };
        assert_eq!(left(8), GOOD);
        let mut logs = good();
        logs[1].1.remove(2);
        let channel = "ch".to_owned();
        logs[1].1.push((0, Entry::Left { channel }));
        assert_eq!(judge(&logs), Verdict { lost: 1, ..GOOD });
    }

    #[test]
    fn a_publish_that_failed_may_arrive_or_not() {
        let mut logs = good();
        logs[0].1.push((0, sent(111)));
        let channel = "ch".to_owned();
        logs[0].1.push((0, Entry::Failed { channel, id: 111 }));
        let expected = Verdict { failed: 1, ..GOOD };
        assert_eq!(judge(&logs), expected);
        logs[1].1.push((0, got(111, 11)));
        assert_eq!(judge(&logs), expected);
    }
}
