//! Positions of one subscription, and deltas that become payloads.

use super::*;

fn publication(offset: u64, epoch: &str) -> Publication {
    Publication {
        offset,
        epoch: epoch.into(),
        ..Publication::default()
    }
}

fn at(offset: u64, epoch: &str) -> Stream {
    Stream::since(StreamPosition {
        offset,
        epoch: epoch.into(),
    })
}

#[test]
fn next_is_new_older_is_duplicate_later_is_gap() {
    let mut stream = at(4, "e");
    assert_eq!(stream.accept(&publication(5, "")), Verdict::New);
    assert_eq!(stream.accept(&publication(5, "")), Verdict::Duplicate);
    assert_eq!(stream.accept(&publication(7, "")), Verdict::Gap);
    assert_eq!(stream.accept(&publication(6, "")), Verdict::New);
    assert_eq!(stream.recovery().map(|p| p.offset), Some(6));
}

#[test]
fn first_publication_names_the_epoch_of_an_unknown_stream() {
    let mut stream = at(0, "");
    assert_eq!(stream.accept(&publication(1, "fresh")), Verdict::New);
    assert_eq!(stream.recovery().unwrap().epoch, "fresh".into());
    assert_eq!(stream.accept(&publication(1, "other")), Verdict::Gap);
}

#[test]
fn publications_outside_history_do_not_move_the_position() {
    let mut stream = at(4, "e");
    assert_eq!(stream.accept(&publication(0, "")), Verdict::New);
    assert_eq!(stream.recovery().map(|p| p.offset), Some(4));
}

#[test]
fn untracked_streams_hand_on_everything() {
    let mut stream = Stream::default();
    for offset in [9, 9, 2] {
        assert_eq!(stream.accept(&publication(offset, "")), Verdict::New);
    }
    assert_eq!(stream.recovery(), None);
}

#[test]
fn recovered_answer_leaves_out_what_was_seen() {
    let mut stream = at(4, "e");
    let (told, publications) = stream
        .begin(
            SubscribeResult {
                recoverable: true,
                recovered: true,
                was_recovering: true,
                epoch: "e".to_owned(),
                offset: 4,
                publications: vec![
                    Arc::new(publication(4, "")),
                    Arc::new(publication(5, "")),
                    Arc::new(publication(6, "")),
                ],
                ..SubscribeResult::default()
            },
            false,
        )
        .unwrap();
    assert_eq!(
        publications.iter().map(|p| p.offset).collect::<Vec<_>>(),
        [5, 6]
    );
    assert_eq!((told.missed, told.recovered), (2, true));
    assert_eq!(stream.recovery().map(|p| p.offset), Some(6));
}

#[test]
fn unrecovered_answer_hands_on_what_the_server_adds() {
    let mut stream = at(4, "old");
    let (told, publications) = stream
        .begin(
            SubscribeResult {
                recoverable: true,
                was_recovering: true,
                epoch: "new".to_owned(),
                offset: 2,
                publications: vec![Arc::new(publication(2, ""))],
                ..SubscribeResult::default()
            },
            false,
        )
        .unwrap();
    assert_eq!((told.recovered, publications.len()), (false, 1));
    assert_eq!(stream.accept(&publication(3, "")), Verdict::New);
}

fn sent(offset: u64, data: &'static str, delta: bool) -> Arc<Publication> {
    Arc::new(Publication {
        data: Bytes::from_static(data.as_bytes()),
        delta,
        ..publication(offset, "")
    })
}

#[test]
fn deltas_become_what_was_published() {
    const BASE: &str = r#"{"id":1,"name":"AAPL","price":100,"note":"unchanged text here"}"#;
    let quoted = r#""{\"id\":1,\"name\":\"AAPL\",\"price\":100,\"note\":\"unchanged text here\"}""#;
    let patch = r#""~\nW@0,V:1,\"note\":\"unchanged text here\"}2xVqgY;""#;
    let mut stream = Stream::default();
    let granted = || SubscribeResult {
        positioned: true,
        recoverable: true,
        delta: true,
        ..SubscribeResult::default()
    };
    let (_, none) = stream.begin(granted(), true).unwrap();
    assert!(none.is_empty());
    let take = |stream: &mut Stream, offset, data, delta| {
        let publication = sent(offset, data, delta);
        assert_eq!(stream.accept(&publication), Verdict::New);
        stream.read(publication).map(|read| read.data.clone())
    };
    assert_eq!(take(&mut stream, 1, quoted, false).unwrap(), BASE);
    let next = BASE.replace("100", "101");
    assert_eq!(take(&mut stream, 2, patch, true).unwrap(), next);
    // One that does not fit counts as not received, and is recovered from there.
    assert_eq!(take(&mut stream, 3, r#""4\n4:abcd0;""#, true), Err(Unfit));
    assert_eq!(stream.recovery().map(|position| position.offset), Some(2));
    // The payload before is kept through a reconnect without anything missed.
    let again = SubscribeResult {
        recovered: true,
        offset: 2,
        ..granted()
    };
    stream.begin(again, true).unwrap();
    assert_eq!(stream.deltas.as_ref().unwrap().base, next);
}
