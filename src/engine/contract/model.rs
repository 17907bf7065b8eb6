//! Random sequences of publishes, removals and reads against a naive model of a stream (engines.md 1.5).

use proptest::prelude::{BoxedStrategy, Strategy as _, any, prop, prop_oneof};

use super::{Duration, Epoch, HistoryQuery, Subject, all, kept, numbered, since};
use crate::{engine::Error, model::StreamPosition};

/// One step of a sequence.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Publish, keeping so many.
    Publish(usize),
    /// Remove the history.
    Remove,
    /// Read since an offset, with the right epoch, an empty one or another one.
    Read {
        since: Option<(u64, Known)>,
        limit: Option<usize>,
        reverse: bool,
    },
}

/// What a reader says of the epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    Right,
    Nothing,
    Another,
}

/// Sequences in which every part of a small stream is met often.
pub(crate) fn steps() -> BoxedStrategy<Vec<Step>> {
    let known = prop_oneof![
        4 => proptest::prelude::Just(Known::Right),
        2 => proptest::prelude::Just(Known::Nothing),
        1 => proptest::prelude::Just(Known::Another),
    ];
    let offset = prop_oneof![8 => 0..24_u64, 1 => proptest::prelude::Just(u64::MAX)];
    let read = (
        prop::option::of((offset, known)),
        prop::option::of(0..12_usize),
        any::<bool>(),
    );
    let step = prop_oneof![
        6 => (1..8_usize).prop_map(Step::Publish),
        1 => proptest::prelude::Just(Step::Remove),
        6 => read.prop_map(|(since, limit, reverse)| Step::Read { since, limit, reverse }),
    ];
    prop::collection::vec(step, 1..40).boxed()
}

/// Carries out a sequence on a fresh channel and compares every answer.
pub(crate) async fn history_agrees_with_a_naive_model(subject: &mut Subject, steps: Vec<Step>) {
    let channel = subject.channel().await;
    let epoch = subject.top(&channel).await.epoch;
    let (mut top, mut model) = (0, Vec::new());
    for step in steps {
        match step {
            Step::Publish(size) => {
                top += 1;
                subject.publish(&channel, numbered(top), &kept(size)).await;
                subject.drain(1).await;
                model.push(top);
                while model.len() > size {
                    model.remove(0);
                }
            }
            Step::Remove => {
                let broker = &subject.engine.broker;
                let meta_ttl = Duration::from_secs(3600);
                broker.remove_history(&channel, meta_ttl).await.unwrap();
                model.clear();
            }
            Step::Read {
                since,
                limit,
                reverse,
            } => {
                let query = query(since, limit, reverse, &epoch);
                let answer = subject.engine.broker.history(&channel, &query).await;
                let answer = answer.map(|history| {
                    assert_eq!(
                        (history.position.offset, &history.position.epoch),
                        (top, &epoch)
                    );
                    history.publications.iter().map(|p| p.offset).collect()
                });
                compare(answer, expected(&model, since, limit, reverse), top);
            }
        }
    }
}

fn query(
    from: Option<(u64, Known)>,
    limit: Option<usize>,
    reverse: bool,
    epoch: &Epoch,
) -> HistoryQuery {
    let query = match from {
        None => HistoryQuery { reverse, ..all() },
        Some((offset, Known::Right)) => since(offset, epoch, reverse),
        Some((offset, Known::Nothing)) => since(offset, &Epoch::default(), reverse),
        Some((offset, Known::Another)) => since(offset, &Epoch::from("another"), reverse),
    };
    HistoryQuery { limit, ..query }
}

/// The table of engines.md 1.5, row by row, without any regard for speed.
fn expected(
    model: &[u64],
    since: Option<(u64, Known)>,
    limit: Option<usize>,
    reverse: bool,
) -> Result<Vec<u64>, Error> {
    let mut offsets = model.to_vec();
    if reverse {
        offsets.reverse();
    }
    if let Some((from, known)) = since {
        if reverse && from == 0 {
            return Err(Error::BadQuery);
        }
        if matches!(known, Known::Another) {
            return Err(Error::UnrecoverablePosition(StreamPosition::default()));
        }
        offsets.retain(|&offset| {
            if reverse {
                offset < from
            } else {
                offset > from
            }
        });
    }
    offsets.truncate(limit.unwrap_or(usize::MAX));
    Ok(offsets)
}

fn compare(answer: Result<Vec<u64>, Error>, expected: Result<Vec<u64>, Error>, top: u64) {
    match (answer, expected) {
        (Ok(answer), Ok(expected)) => assert_eq!(answer, expected),
        (Err(Error::BadQuery), Err(Error::BadQuery)) => {}
        (Err(Error::UnrecoverablePosition(position)), Err(Error::UnrecoverablePosition(_))) => {
            assert_eq!(position.offset, top);
        }
        (answer, expected) => panic!("{answer:?} instead of {expected:?}"),
    }
}
