//! The rows of client-protocol.md 5.10, and filters against a model that is written in the plainest way.

use proptest::prelude::*;

use super::*;

fn leaf(key: &str, cmp: &str, val: &str, vals: &[&str]) -> FilterNode {
    FilterNode {
        key: key.into(),
        cmp: cmp.into(),
        val: val.into(),
        vals: vals.iter().map(|&val| val.to_owned()).collect(),
        ..FilterNode::default()
    }
}

fn group(op: &str, nodes: Vec<FilterNode>) -> FilterNode {
    FilterNode {
        op: op.into(),
        nodes,
        ..FilterNode::default()
    }
}

fn tags(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn holds(node: &FilterNode, entries: &[(&str, &str)]) -> bool {
    Filter::compile(node).unwrap().matches(Some(&tags(entries)))
}

#[test]
fn every_comparison_does_what_its_row_says() {
    let there = &[("k", "abc")][..];
    let rows: &[(FilterNode, bool, bool)] = &[
        // With the tag k = abc, and without any.
        (leaf("k", "eq", "abc", &[]), true, false),
        (leaf("k", "eq", "abx", &[]), false, false),
        (leaf("k", "neq", "abc", &[]), false, true),
        (leaf("k", "neq", "x", &[]), true, true),
        (leaf("k", "in", "", &["x", "abc"]), true, false),
        (leaf("k", "in", "", &["x", ""]), false, true),
        (leaf("k", "nin", "", &["x", "abc"]), false, true),
        (leaf("k", "nin", "", &["x", ""]), true, false),
        (leaf("k", "ex", "", &[]), true, false),
        (leaf("k", "nex", "", &[]), false, true),
        (leaf("k", "sw", "ab", &[]), true, false),
        (leaf("k", "sw", "bc", &[]), false, false),
        (leaf("k", "ew", "bc", &[]), true, false),
        (leaf("k", "ew", "ab", &[]), false, false),
        (leaf("k", "ct", "b", &[]), true, false),
        (leaf("k", "ct", "d", &[]), false, false),
        (leaf("k", "gt", "1", &[]), false, false),
        (leaf("k", "lte", "abc", &[]), false, false),
    ];
    for (node, with, without) in rows {
        assert_eq!(holds(node, there), *with, "{node:?}");
        assert_eq!(holds(node, &[]), *without, "{node:?} without tags");
        let compiled = Filter::compile(node).unwrap();
        assert_eq!(
            compiled.matches(None),
            *without,
            "{node:?} with none at all"
        );
    }
}

#[test]
fn numbers_compare_as_decimals_of_any_length() {
    let rows = [
        ("9", "lt", "10", true),
        ("-9", "gt", "-10", true),
        ("99.50", "gte", "99.5", true),
        ("99.5", "lte", "99.50", true),
        ("-0", "gte", "0.0", true),
        ("+1", "gte", "1", true),
        ("0.10", "lt", "0.2", true),
        ("0.3", "gt", "0.25", true),
        (
            "10000000000000000000000000000000000001",
            "gt",
            "10000000000000000000000000000000000000",
            true,
        ),
        ("0.00000000000000000000000000000000000001", "gt", "0", true),
        ("007", "lte", "7", true),
        ("1e3", "gt", "1", false),
        (" 1", "lt", "2", false),
        ("1.", "lt", "2", false),
        (".5", "lt", "2", false),
        ("-", "lt", "2", false),
        ("", "lt", "2", false),
        ("1", "lt", "x", false),
        ("٣", "gt", "1", false),
    ];
    for (value, cmp, operand, expected) in rows {
        let node = leaf("p", cmp, operand, &[]);
        assert_eq!(
            holds(&node, &[("p", value)]),
            expected,
            "{value} {cmp} {operand}"
        );
    }
}

#[test]
fn what_is_no_filter_is_refused() {
    let ok = || leaf("k", "ex", "", &[]);
    let rows = [
        (FilterNode::default(), InvalidFilter::Comparison),
        (leaf("k", "", "x", &[]), InvalidFilter::Comparison),
        (leaf("k", "zz", "x", &[]), InvalidFilter::Comparison),
        (leaf("", "eq", "x", &[]), InvalidFilter::Key),
        (leaf("", "in", "", &["x"]), InvalidFilter::Key),
        (leaf("k", "eq", "", &[]), InvalidFilter::Operand),
        (leaf("k", "eq", "x", &["y"]), InvalidFilter::Operand),
        (leaf("k", "in", "", &[]), InvalidFilter::Operand),
        (leaf("k", "nin", "x", &["y"]), InvalidFilter::Operand),
        (leaf("k", "ex", "x", &[]), InvalidFilter::Operand),
        (leaf("k", "nex", "", &["x"]), InvalidFilter::Operand),
        (group("xor", vec![ok()]), InvalidFilter::Operation),
        (group("and", vec![]), InvalidFilter::Nodes),
        (group("or", vec![]), InvalidFilter::Nodes),
        (group("not", vec![]), InvalidFilter::Nodes),
        (group("not", vec![ok(), ok()]), InvalidFilter::Nodes),
        (
            group("and", vec![ok(), FilterNode::default()]),
            InvalidFilter::Comparison,
        ),
    ];
    for (node, expected) in rows {
        assert_eq!(Filter::compile(&node), Err(expected), "{node:?}");
    }
    assert!(
        Filter::compile(&leaf("", "ex", "", &[])).is_ok(),
        "presence of the empty key"
    );
    let ignored = FilterNode {
        nodes: vec![FilterNode::default()],
        ..ok()
    };
    assert!(
        Filter::compile(&ignored).is_ok(),
        "a comparison has no nodes, they are ignored"
    );
}

#[test]
fn depth_and_size_have_an_end() {
    let deep = |depth: usize| {
        (1..depth).fold(leaf("k", "ex", "", &[]), |node, _| group("not", vec![node]))
    };
    assert!(Filter::compile(&deep(32)).is_ok());
    assert_eq!(Filter::compile(&deep(33)), Err(InvalidFilter::TooLarge));
    let wide = |nodes: usize| group("or", vec![leaf("k", "ex", "", &[]); nodes - 1]);
    assert!(Filter::compile(&wide(64)).is_ok());
    assert_eq!(Filter::compile(&wide(65)), Err(InvalidFilter::TooLarge));
}

#[test]
fn equal_filters_are_equal_values() {
    let compile = |node: &FilterNode| Filter::compile(node).unwrap();
    assert_eq!(
        compile(&leaf("k", "in", "", &["a", "b", "a"])),
        compile(&leaf("k", "in", "", &["b", "a"]))
    );
    assert_eq!(
        compile(&leaf("k", "lt", "1.50", &[])),
        compile(&leaf("k", "lt", "01.5", &[]))
    );
    assert_ne!(
        compile(&leaf("k", "lt", "1.5", &[])),
        compile(&leaf("k", "lte", "1.5", &[]))
    );
}

#[test]
fn evaluation_allocates_nothing() {
    let filter = Filter::compile(&group(
        "and",
        vec![
            leaf("t", "in", "", &["A", "B"]),
            group("not", vec![leaf("p", "gt", "100.25", &[])]),
            leaf("n", "ct", "ell", &[]),
        ],
    ))
    .unwrap();
    let tags = tags(&[("t", "A"), ("p", "99.5"), ("n", "hello")]);
    let allocations = allocation_counter::measure(|| assert!(filter.matches(Some(&tags))));
    assert_eq!(allocations.count_total, 0);
}

/// The table of client-protocol.md 5.10, word by word.
fn model(node: &FilterNode, tags: &BTreeMap<String, String>) -> bool {
    let tag = tags.get(&node.key);
    let text = tag.cloned().unwrap_or_default();
    let number = |text: &str| text.parse::<i64>().ok();
    let relation = |holds: fn(&i64, &i64) -> bool| {
        tag.and_then(|tag| number(tag))
            .zip(number(&node.val))
            .is_some_and(|(left, right)| holds(&left, &right))
    };
    match (&*node.op, &*node.cmp) {
        ("and", _) => node.nodes.iter().all(|child| model(child, tags)),
        ("or", _) => node.nodes.iter().any(|child| model(child, tags)),
        ("not", _) => !model(&node.nodes[0], tags),
        (_, "eq") => tag == Some(&node.val),
        (_, "neq") => tag != Some(&node.val),
        (_, "in") => node.vals.contains(&text),
        (_, "nin") => !node.vals.contains(&text),
        (_, "ex") => tag.is_some(),
        (_, "nex") => tag.is_none(),
        (_, "sw") => tag.is_some_and(|tag| tag.starts_with(&node.val)),
        (_, "ew") => tag.is_some_and(|tag| tag.ends_with(&node.val)),
        (_, "ct") => tag.is_some_and(|tag| tag.contains(&node.val)),
        (_, "lt") => relation(|left, right| left < right),
        (_, "lte") => relation(|left, right| left <= right),
        (_, "gt") => relation(|left, right| left > right),
        _ => relation(|left, right| left >= right),
    }
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{1,3}", "-?[0-9]{1,3}"]
}

fn any_filter() -> impl Strategy<Value = FilterNode> {
    let cmp = prop::sample::select(vec![
        "eq", "neq", "in", "nin", "ex", "nex", "sw", "ew", "ct", "lt", "lte", "gt", "gte",
    ]);
    let leaf = ("[kl]", cmp, value(), prop::collection::vec(value(), 1..3)).prop_map(
        |(key, cmp, val, vals)| {
            let (val, vals) = match cmp {
                "in" | "nin" => (String::new(), vals),
                "ex" | "nex" => (String::new(), Vec::new()),
                _ => (val, Vec::new()),
            };
            FilterNode {
                key,
                cmp: cmp.to_owned(),
                val,
                vals,
                ..FilterNode::default()
            }
        },
    );
    leaf.prop_recursive(4, 20, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|nodes| group("and", nodes)),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|nodes| group("or", nodes)),
            inner.prop_map(|node| group("not", vec![node])),
        ]
    })
}

proptest! {
    #[test]
    fn a_compiled_filter_says_what_the_model_says(
        node in any_filter(),
        tags in prop::collection::btree_map("[kl]".prop_map(|key| key), value(), 0..3),
    ) {
        let compiled = Filter::compile(&node).unwrap();
        prop_assert_eq!(compiled.matches(Some(&tags)), model(&node, &tags));
    }
}
