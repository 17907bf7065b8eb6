//! What the sequence does with one input after another.

use super::*;

/// A sequence with everything it said.
#[derive(Default)]
struct Told {
    sequence: Sequence,
    steps: Vec<Step>,
}

impl Told {
    /// One that begins at a position somebody read.
    fn at(offset: u64) -> Self {
        let mut told = Self::default();
        assert!(told.observed(&position(offset, "e")));
        told
    }

    fn comes(&mut self, offset: u64) {
        self.comes_of(offset, "e");
    }

    fn comes_of(&mut self, offset: u64, epoch: &str) {
        self.sequence
            .publication(publication(offset), Epoch::from(epoch), &mut self.steps);
    }

    fn observed(&mut self, top: &StreamPosition) -> bool {
        self.sequence.observed(top, &mut self.steps)
    }

    fn swept(&mut self, asked: u64, top: Option<StreamPosition>, now: bool) {
        self.sequence
            .swept(&position(asked, "e"), top, now, &mut self.steps);
    }

    /// The read that is open.
    fn asked(&mut self) -> (Ticket, StreamPosition) {
        let reads = self.steps.iter().filter_map(|step| match step {
            Step::Read(ticket, since) => Some((*ticket, since.clone())),
            _ => None,
        });
        let mut reads: Vec<_> = reads.collect();
        self.steps.retain(|step| !matches!(step, Step::Read(..)));
        assert_eq!(reads.len(), 1, "one read at a time");
        reads.remove(0)
    }

    fn answer(&mut self, ticket: Ticket, history: History) {
        self.sequence.answer(ticket, history, &mut self.steps);
    }

    /// What was said since the last time: offsets, and the rest by name.
    fn said(&mut self) -> Vec<String> {
        let said = std::mem::take(&mut self.steps)
            .into_iter()
            .map(|step| match step {
                Step::Pass(ChannelEvent::Publication(publication, _)) => {
                    publication.offset.to_string()
                }
                Step::Pass(ChannelEvent::InsufficientState(sound)) => match sound {
                    Some(sound) => format!("lost before {}:{}", sound.epoch, sound.offset),
                    None => "lost".to_owned(),
                },
                Step::Pass(other) => panic!("unexpected {other:?}"),
                Step::Read(_, since) => format!("read {}:{}", since.epoch, since.offset),
                Step::Gap => "gap".to_owned(),
                Step::Repaired => "repaired".to_owned(),
                Step::Declared(reason) => reason.name().to_owned(),
            });
        said.collect()
    }
}

#[test]
fn what_is_in_order_passes_straight_through() {
    let mut told = Told::at(5);
    for offset in [6, 7, 8] {
        told.comes(offset);
    }
    assert_eq!(told.said(), ["6", "7", "8"]);
}

#[test]
fn the_first_publication_is_a_base_as_good_as_a_read() {
    let mut told = Told::default();
    told.comes(5);
    told.comes(6);
    told.comes(8);
    assert_eq!(told.said(), ["5", "6", "gap", "read e:6"]);
}

#[test]
fn publications_without_a_stream_pass_at_any_time() {
    let mut told = Told::at(5);
    told.comes(7);
    told.comes_of(0, "");
    assert_eq!(told.said(), ["gap", "read e:5", "0"]);
}

#[test]
fn a_gap_is_read_once_and_closed_without_duplicates() {
    let mut told = Told::at(5);
    for offset in [7, 8, 7, 10] {
        told.comes(offset);
    }
    let (ticket, since) = told.asked();
    assert_eq!(since, position(5, "e"));
    assert_eq!(told.said(), ["gap"]);
    told.answer(ticket, history(6..=10, position(10, "e")));
    assert_eq!(told.said(), ["6", "7", "8", "9", "10", "repaired"]);
    told.comes(9);
    told.comes(11);
    assert_eq!(told.said(), ["11"]);
}

#[test]
fn what_was_only_late_closes_the_gap_and_the_answer_changes_nothing() {
    let mut told = Told::at(5);
    told.comes(7);
    let (ticket, _) = told.asked();
    told.comes(6);
    assert_eq!(told.said(), ["gap", "6", "7"]);
    told.answer(ticket, history([6, 7], position(7, "e")));
    assert_eq!(told.said(), ["repaired"]);
}

#[test]
fn an_answer_older_than_what_came_meanwhile_is_followed_by_another_read() {
    let mut told = Told::at(5);
    told.comes(7);
    let (ticket, _) = told.asked();
    told.comes(10);
    told.answer(ticket, history([6, 7], position(7, "e")));
    assert_eq!(told.said(), ["gap", "6", "7", "read e:7"]);
}

#[test]
fn a_long_gap_is_read_in_pieces() {
    let mut told = Told::at(0);
    told.comes(1500);
    let (ticket, _) = told.asked();
    told.said();
    told.answer(ticket, history(1..=READ as u64, position(1500, "e")));
    let (ticket, since) = told.asked();
    assert_eq!((since.offset, told.said().len()), (READ as u64, READ));
    told.answer(ticket, history(1001..=1500, position(1500, "e")));
    assert_eq!(told.said().last().unwrap(), "repaired");
}

#[test]
fn what_cannot_be_held_is_read_again() {
    let mut told = Told::at(0);
    let last = HELD as u64 + 100;
    for offset in 2..=last {
        told.comes(offset);
    }
    assert_eq!(told.sequence.held(), HELD);
    let (ticket, _) = told.asked();
    told.said();
    told.answer(ticket, history([1], position(last, "e")));
    // History did not give what it has: the sequence does not trust it any further than that.
    assert_eq!(told.sequence.position().unwrap().offset, last);
    assert!(told.said().contains(&"trimmed".to_owned()));
    assert_eq!(told.sequence.held(), 0);
}

#[test]
fn bytes_held_are_bounded_too() {
    let mut told = Told::at(0);
    for offset in 2..=9 {
        let large = Arc::new(Publication {
            offset,
            data: Bytes::from(vec![0; HELD_BYTES / 4]),
            ..Publication::default()
        });
        told.sequence
            .publication(large, Epoch::from("e"), &mut told.steps);
    }
    assert_eq!(told.sequence.held(), 4);
    let (ticket, _) = told.asked();
    told.answer(ticket, history(1..=9, position(9, "e")));
    assert_eq!(told.said().last().unwrap(), "repaired");
}

#[test]
fn a_new_epoch_is_told_at_once_and_goes_on() {
    let mut told = Told::at(5);
    told.comes_of(3, "f");
    told.comes_of(4, "f");
    assert_eq!(told.said(), ["new_epoch", "lost before f:2", "3", "4"]);
}

#[test]
fn a_late_publication_of_the_former_epoch_is_not_another_new_one() {
    let mut told = Told::at(5);
    told.comes_of(1, "f");
    told.said();
    told.comes(6);
    let (ticket, _) = told.asked();
    told.answer(ticket, history([], position(1, "f")));
    assert_eq!(told.said(), ["gap", "repaired"]);
    told.comes(7);
    let (ticket, _) = told.asked();
    told.said();
    // An older master is back after all.
    told.answer(ticket, history([], position(7, "e")));
    assert_eq!(told.said(), ["new_epoch", "lost before e:7"]);
}

#[test]
fn a_gap_that_history_does_not_hold_is_told_and_the_rest_still_passes() {
    let mut told = Told::at(5);
    told.comes(30);
    let (ticket, _) = told.asked();
    told.answer(ticket, history(20..=30, position(30, "e")));
    let said = told.said();
    assert_eq!(said[..3], ["gap", "trimmed", "lost before e:19"]);
    assert_eq!(said[3..].len(), 11);

    let mut told = Told::at(5);
    told.comes(7);
    let (ticket, _) = told.asked();
    told.answer(ticket, history([], position(7, "e")));
    assert_eq!(told.said(), ["gap", "trimmed", "lost before e:7"]);
}

#[test]
fn a_stream_that_ends_earlier_than_it_did_is_told_to_everyone() {
    let mut told = Told::at(5);
    told.comes(7);
    let (ticket, _) = told.asked();
    told.answer(ticket, history([], position(4, "e")));
    assert_eq!(told.said(), ["gap", "moved_back", "lost"]);
    told.comes(5);
    assert_eq!(told.said(), ["5"]);
}

#[test]
fn an_offset_that_is_given_out_again_is_told_to_everyone() {
    let mut told = Told::at(5);
    told.comes(6);
    told.comes(7);
    told.comes(6);
    assert_eq!(told.said(), ["6", "7"], "the same once more");
    let other = Publication {
        data: "another".into(),
        ..(*publication(6)).clone()
    };
    let other = Arc::new(other);
    told.sequence
        .publication(other, Epoch::from("e"), &mut told.steps);
    assert_eq!(told.said(), ["forked", "lost", "6"]);
    assert_eq!(told.sequence.common(), Some(position(5, "e")));
    told.comes(7);
    assert_eq!(told.said(), ["7"]);
}

#[test]
fn a_sweep_finds_losses_in_silence() {
    let mut told = Told::at(5);
    told.swept(5, Some(position(7, "e")), false);
    assert_eq!(told.said(), Vec::<String>::new(), "it may be under way");
    told.sequence.confirm(&mut told.steps);
    let (ticket, _) = told.asked();
    told.answer(ticket, history([6, 7], position(7, "e")));
    assert_eq!(told.said(), ["gap", "6", "7", "repaired"]);

    told.swept(7, Some(position(8, "e")), true);
    assert_eq!(told.said(), ["gap", "read e:7"], "nothing is under way");
}

#[test]
fn a_sweep_forgives_what_arrives_in_time() {
    let mut told = Told::at(5);
    told.swept(5, Some(position(6, "e")), false);
    told.comes(6);
    told.sequence.confirm(&mut told.steps);
    assert_eq!(told.said(), ["6"]);
}

#[test]
fn a_sweep_finds_a_lost_tail_a_new_epoch_and_the_end_of_a_stream() {
    for (top, said) in [
        (Some(position(4, "e")), ["moved_back", "lost"]),
        (Some(position(2, "f")), ["new_epoch", "lost before f:2"]),
        (None, ["vanished", "lost"]),
    ] {
        let mut told = Told::at(5);
        told.swept(5, top, false);
        assert_eq!(told.said(), said);
    }
}

#[test]
fn a_sweep_that_began_before_the_newest_publications_is_no_loss() {
    let mut told = Told::at(5);
    told.comes(6);
    told.swept(5, Some(position(5, "e")), true);
    assert_eq!(told.said(), ["6"]);
    told.comes_of(1, "f");
    told.said();
    told.swept(6, None, true);
    assert_eq!(told.said(), Vec::<String>::new());
}

#[test]
fn a_top_older_than_the_first_publication_that_passed_is_read_again() {
    let mut told = Told::default();
    told.comes(5);
    assert!(!told.observed(&position(3, "e")), "4 was lost");
    assert!(told.observed(&position(4, "e")));
    assert!(told.observed(&position(5, "e")));
}

#[test]
fn who_subscribed_without_a_position_gets_what_was_under_way_when_another_read_the_top() {
    let mut told = Told::at(7);
    for offset in [6, 6, 7, 8, 7] {
        told.comes(offset);
    }
    assert_eq!(told.said(), ["6", "7", "8"]);
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_changes_nothing() {
    let mut told = Told::at(5);
    told.comes(7);
    let (ticket, _) = told.asked();
    told.comes_of(1, "f");
    told.said();
    told.answer(ticket, history([], position(4, "e")));
    assert_eq!(told.said(), Vec::<String>::new());
}

#[test]
fn the_last_offset_there_is_does_not_overflow() {
    let mut told = Told::at(5);
    told.comes(u64::MAX);
    let (ticket, _) = told.asked();
    told.answer(ticket, history([], position(u64::MAX, "e")));
    told.comes(u64::MAX);
    assert_eq!(told.sequence.position().unwrap().offset, u64::MAX);
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
}
