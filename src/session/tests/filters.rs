//! Tags filters as one session sees them (client-protocol.md 5.10).

use std::collections::BTreeMap;

use super::*;
use crate::model::{FilterNode, Withheld};

fn wish(node: FilterNode) -> SubscribeRequest {
    SubscribeRequest {
        channel: "ch".into(),
        tags_filter: Some(Box::new(node)),
        ..SubscribeRequest::default()
    }
}

fn only(value: &str) -> FilterNode {
    FilterNode {
        key: "s".into(),
        cmp: "eq".into(),
        val: value.into(),
        ..FilterNode::default()
    }
}

fn allowing() -> SubscribeOptions {
    SubscribeOptions {
        allow_tags_filter: true,
        ..recoverable()
    }
}

fn tagged(offset: u64, value: &str) -> Arc<Publication> {
    Arc::new(Publication {
        tags: Some(Arc::new([("s".to_owned(), value.to_owned())].into())),
        ..(*publication(offset)).clone()
    })
}

/// Subscribes with a filter on `x`; the client has seen offset 1, the stream ends as given.
fn subscribed(
    publications: Vec<Arc<Publication>>,
    top: u64,
) -> (Wire, SubscriptionKey, SubscribeResult) {
    let quiet = Config {
        ping_interval: None,
        ..config()
    };
    let mut wire = Wire::connected_with(quiet, Version::V2, identified());
    let request = SubscribeRequest {
        recover: true,
        offset: 1,
        epoch: "e".to_owned(),
        ..wish(only("x"))
    };
    let id = wire.send(Request::Subscribe(Box::new(request)));
    wire.answer(Outcome::Subscribe(Ok(Box::new(allowing()))));
    let key = wire.join_key();
    wire.answer(Outcome::Joined(Ok(Joined {
        publications,
        top: position(top, "e"),
        ..Joined::default()
    })));
    match wire.reply_to(id) {
        ReplyBody::Subscribe(result) => (wire, key, *result),
        other => panic!("not subscribed: {other:?}"),
    }
}

#[test]
fn a_filter_needs_permission_and_has_to_be_one() {
    let rows = [
        (recoverable(), only("x")),
        (allowing(), FilterNode::default()),
        (
            allowing(),
            FilterNode {
                cmp: "zz".into(),
                ..only("x")
            },
        ),
    ];
    for (options, node) in rows {
        let mut wire = Wire::connected(Version::V2);
        let id = wire.send(Request::Subscribe(Box::new(wish(node))));
        wire.answer(Outcome::Subscribe(Ok(Box::new(options))));
        assert_eq!(wire.error_of(id), 107);
    }
}

#[test]
fn the_hub_is_told_of_the_filter() {
    let mut wire = Wire::connected(Version::V2);
    wire.send(Request::Subscribe(Box::new(wish(only("x")))));
    wire.answer(Outcome::Subscribe(Ok(Box::new(allowing()))));
    let join = wire.calls.iter().find_map(|(_, call)| match call {
        Call::Join(join) => join.options.filter.clone(),
        _ => None,
    });
    let tags = |value: &str| BTreeMap::from([("s".to_owned(), value.to_owned())]);
    let filter = join.unwrap();
    assert!(filter.matches(Some(&tags("x"))) && !filter.matches(Some(&tags("y"))));
}

#[test]
fn what_was_missed_is_filtered_after_its_completeness_was_judged() {
    let missed = vec![tagged(2, "y"), tagged(3, "x"), tagged(4, "y")];
    let (_, _, result) = subscribed(missed, 4);
    let told: Vec<_> = result.publications.iter().map(|one| one.offset).collect();
    assert_eq!((result.recovered, told), (true, vec![3]));
    let (_, _, result) = subscribed(vec![tagged(2, "y"), tagged(4, "x")], 4);
    assert!(
        !result.recovered && result.publications.is_empty(),
        "3 is missing"
    );
}

#[test]
fn what_the_filter_kept_back_is_no_gap_and_what_is_missing_is() {
    let (mut wire, key, _) = subscribed(vec![tagged(2, "x")], 2);
    wire.deliver(Delivery {
        skipped: 3,
        ..delivery(key, 6, "e")
    });
    wire.deliver(delivery(key, 7, "e"));
    assert_eq!(wire.frames.len(), 2);
    wire.deliver(Delivery {
        skipped: 1,
        ..delivery(key, 10, "e")
    });
    assert_eq!(wire.frames.len(), 2, "8 is missing");
    assert!(
        wire.calls
            .iter()
            .any(|(_, call)| matches!(call, Call::Leave(_)))
    );
}

#[test]
fn held_publications_are_merged_with_what_was_kept_back_between_them() {
    let mut wire = Wire::connected(Version::V2);
    wire.send(Request::Subscribe(Box::new(wish(only("x")))));
    wire.answer(Outcome::Subscribe(Ok(Box::new(allowing()))));
    let key = wire.join_key();
    wire.deliver(Delivery {
        skipped: 2,
        ..delivery(key, 8, "e")
    });
    wire.answer(Outcome::Joined(Ok(Joined {
        top: position(6, "e"),
        ..Joined::default()
    })));
    assert_eq!(wire.close_code(), None);
    wire.deliver(delivery(key, 9, "e"));
    assert_eq!(
        wire.frames.len(),
        1,
        "8 came with the position of the reply"
    );
}

#[test]
fn a_position_check_counts_what_was_kept_back_and_finds_what_was_lost() {
    for (after, survives) in [(2, true), (4, false)] {
        let (mut wire, _, _) = subscribed(vec![tagged(2, "x")], 2);
        let withheld = || {
            Some(Withheld {
                after,
                last: position(9, "e"),
            })
        };
        for _ in 0..2 {
            while !wire
                .calls
                .iter()
                .any(|(_, call)| matches!(call, Call::Top(..)))
            {
                wire.pass(Duration::from_secs(1));
            }
            wire.answer(Outcome::Top(Some(position(9, "e")), withheld()));
        }
        let left = wire
            .calls
            .iter()
            .any(|(_, call)| matches!(call, Call::Leave(_)));
        assert_eq!(left, !survives);
    }
}
