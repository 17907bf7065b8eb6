//! Deltas: the worked examples, laws with random edits, and bytes that are none.

use proptest::prelude::*;

use super::*;

fn text(value: u64) -> String {
    let mut out = Vec::new();
    digits(&mut out, value);
    String::from_utf8(out).unwrap()
}

#[test]
fn integers_are_those_of_the_table() {
    for (value, expected) in [
        (0, "0"),
        (9, "9"),
        (10, "A"),
        (35, "Z"),
        (36, "_"),
        (37, "a"),
        (62, "z"),
        (63, "~"),
        (64, "10"),
        (4095, "~~"),
        (4096, "100"),
    ] {
        assert_eq!(text(value), expected);
        assert_eq!(width(usize::try_from(value).unwrap()), expected.len());
        assert_eq!(number(&mut expected.as_bytes()), Ok(value));
    }
}

#[test]
fn checksums_are_those_of_the_table() {
    for (target, sum, expected) in [
        ("", 0, "0"),
        ("a", 1_627_389_952, "1X0000"),
        ("abcd", 1_633_837_924, "1XObD_"),
        ("abcde", 3_328_336_740, "36ObD_"),
    ] {
        assert_eq!(checksum(target.as_bytes()), sum);
        assert_eq!(text(sum.into()), expected);
    }
}

const BASE: &str = r#"{"id":1,"name":"AAPL","price":100,"note":"unchanged text here"}"#;
const TARGET: &str = r#"{"id":1,"name":"AAPL","price":101,"note":"unchanged text here"}"#;

#[test]
fn deltas_are_those_of_the_worked_examples() {
    let fox = "The quick brown fox jumps over the lazy dog. ".repeat(2);
    let cat = fox.replace("dog", "cat");
    for (base, target, delta) in [
        (
            BASE,
            TARGET,
            "~\nW@0,V:1,\"note\":\"unchanged text here\"}2xVqgY;",
        ),
        (r#"{"a":1}"#, r#"{"a":2}"#, "7\n7:{\"a\":2}2qLDtY;"),
        (
            &format!("xxxxx{fox}"),
            &cat,
            "1Q\nd@5,3:catf@l,5:cat. 3_mL1d;",
        ),
    ] {
        let encoded = encode(base.as_bytes(), target.as_bytes());
        assert_eq!(String::from_utf8_lossy(&encoded), delta);
        let decoded = decode(base.as_bytes(), &encoded, 1000);
        assert_eq!(decoded.as_deref(), Ok(target.as_bytes()));
    }
    assert_eq!(checksum(TARGET.as_bytes()), 3_162_462_946);
    assert!(shorter(BASE.as_bytes(), TARGET.as_bytes()).is_some());
    assert!(shorter(br#"{"a":1}"#, br#"{"a":2}"#).is_none());
}

#[test]
fn what_is_no_delta_of_the_base_is_refused() {
    let base = b"0123456789abcdefghij";
    let refused = |delta: &str| {
        assert_eq!(decode(base, delta.as_bytes(), 100), Err(Unfit), "{delta:?}");
    };
    for delta in [
        "",
        "4",
        "4\n",
        "4x4@0,0;",
        "\n0;",
        "4\n4@0,",
        "4\n4@0;0;",
        // Out of the base, out of the insert, longer than told, shorter than told.
        "4\n4@I,0;",
        "4\n5:abcd",
        "4\n5@0,0;",
        "4\n3@0,0;",
        // A wrong checksum, an unknown operator.
        "4\n4@0,0;",
        "4\n4!0,0;",
        // Numbers that are too large.
        "~~~~~~~~~~~~~\n",
        "4\n~~~~~~~~~~~@0,",
        "4\n4@~~~~~~~~~~,",
        // Longer than allowed.
        "1a\n",
    ] {
        refused(delta);
    }
    let sum = text(checksum(b"0123").into());
    assert_eq!(
        decode(base, format!("4\n4@0,{sum};").as_bytes(), 4).as_deref(),
        Ok(&b"0123"[..])
    );
    refused(&format!("3\n4@0,{sum};"));
}

#[test]
fn a_length_that_nothing_stands_behind_takes_no_memory() {
    let counted = allocation_counter::measure(|| {
        let _unfit = decode(b"", b"~~~~~\n0:0;", usize::MAX);
    });
    assert!(counted.bytes_max < 100, "{}", counted.bytes_max);
}

/// Payloads of which the next ones are made.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        proptest::collection::vec(b'a'..b'd', 0..400),
        proptest::collection::vec("[a-z]{1,9}:[0-9]{1,4},", 0..40)
            .prop_map(|words| words.concat().into_bytes()),
    ]
}

/// The next payload: a part of it is repeated, cut out or replaced. Moves the seed.
fn edited(base: &[u8], seed: &mut u64) -> Vec<u8> {
    let mut below = |end: usize| {
        *seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(*seed >> 33).unwrap_or(0) % end
    };
    let mut target = base.to_vec();
    let from = below(target.len() + 1);
    let to = (from + below(40)).min(target.len());
    let part = target[from..to].to_vec();
    match below(4) {
        0 => target.extend(part),
        1 => drop(target.drain(from..to)),
        2 => {
            let at = below(target.len() + 1);
            target.splice(at..at, part);
        }
        _ => {
            let with: Vec<u8> = (0..below(20)).map(|_| b"abcd1234"[below(8)]).collect();
            target.splice(from..to, with);
        }
    }
    target.truncate(500);
    target
}

proptest! {
    // A hundred thousand edits.
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn a_delta_makes_the_target_of_the_base((mut base, mut seed) in (payload(), any::<u64>())) {
        for _ in 0..100 {
            let target = edited(&base, &mut seed);
            let delta = encode(&base, &target);
            let made = decode(&base, &delta, target.len());
            prop_assert_eq!(made.as_deref(), Ok(&target[..]));
            base = target;
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        (base, mut seed) in (payload(), any::<u64>()),
        at in any::<u16>(),
        byte in any::<u8>(),
    ) {
        let target = edited(&base, &mut seed);
        let mut delta = encode(&base, &target);
        let at = usize::from(at) % delta.len();
        delta[at] = byte;
        if let Ok(made) = decode(&base, &delta, 10_000) {
            prop_assert!(made.len() <= 10_000);
        }
        let _anything = decode(&base, &target, 10_000);
    }
}
