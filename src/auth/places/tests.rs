//! Where credentials are found, and where nothing is touched.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const COMPACT: &str =
    "h1.NDI.1900000000..6eeacd57b49a39c8b2f49ba8dbcf2453046e66989426e1e7a083ce5d83f982ef";
const SIGN: &str = "6eeacd57b49a39c8b2f49ba8dbcf2453046e66989426e1e7a083ce5d83f982ef";

fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn in_emulated(pairs: &[(&str, &str)], legacy: bool) -> Result<Option<Presented>, Reason> {
    let headers = headers(pairs);
    in_headers(|name| emulated(&headers, name), legacy)
}

fn data(json: &str) -> Bytes {
    Bytes::copy_from_slice(json.as_bytes())
}

#[test]
fn emulated_headers_are_found_in_any_case() {
    let found = in_emulated(&[("Centripetal-CREDENTIALS", COMPACT)], false);
    assert_eq!(found, Ok(Some(Presented::compact(COMPACT))));
    assert_eq!(in_emulated(&[("x", COMPACT)], true), Ok(None));
    let broken = in_emulated(&[("centripetal-credentials", "")], false);
    assert_eq!(broken, Ok(Some(Presented::Broken(Kind::H1))));
    let twice = [
        ("Centripetal-Credentials", COMPACT),
        ("centripetal-credentials", COMPACT),
    ];
    assert_eq!(in_emulated(&twice, false), Err(Reason::Places));
}

#[test]
fn legacy_headers_count_only_while_the_form_is_on() {
    let all = LEGACY_HEADERS.map(|name| (name, "1"));
    assert_eq!(in_emulated(&all, false), Ok(None));
    let one = ["1"; 4].map(str::to_owned);
    let expected = Presented::Legacy(legacy::Signed::new(one));
    assert_eq!(in_emulated(&all, true), Ok(Some(expected)));
    let mut both = all.to_vec();
    both.push((HEADER, COMPACT));
    assert_eq!(in_emulated(&both, true), Err(Reason::Places));
    let twice = [
        ("centripetal-legacy-user", "1"),
        ("Centripetal-Legacy-User", "1"),
    ];
    assert_eq!(in_emulated(&twice, true), Err(Reason::Places));
}

#[test]
fn a_value_that_is_not_text_is_broken() {
    let values = |name| if name == HEADER { vec![None] } else { vec![] };
    assert_eq!(
        in_headers(values, true),
        Ok(Some(Presented::Broken(Kind::H1)))
    );
    let values = |name| {
        if name == LEGACY_HEADERS[2] {
            vec![None]
        } else {
            vec![]
        }
    };
    assert_eq!(
        in_headers(values, true),
        Ok(Some(Presented::Broken(Kind::Legacy)))
    );
}

#[test]
fn the_member_is_taken_out_of_the_data() {
    let given = format!(
        "{{ \"a\" : [1, 2],\"hmac\":{{\"user\":\"42\",\"exp\":1900000000,\"sign\":\"{SIGN}\"}},\"b\\n\":1.50 }}"
    );
    let (found, rest) = in_data(&data(&given), "hmac", false).unwrap();
    assert_eq!(found, Some(Presented::compact(COMPACT)));
    assert_eq!(rest, "{\"a\":[1, 2],\"b\\n\":1.50}");
    let (found, rest) = in_data(&data("{\"hmac\":5}"), "hmac", false).unwrap();
    assert_eq!(found, Some(Presented::Broken(Kind::H1)));
    assert_eq!(rest, "{}");
}

#[test]
fn other_data_passes_untouched() {
    for other in [
        "",
        "5",
        "[1]",
        "{",
        "not json",
        "{\"hmc\": 1 }",
        "{ \"x\":{\"hmac\":{}} }",
    ] {
        let given = data(other);
        assert_eq!(
            in_data(&given, "hmac", true),
            Ok((None, given.clone())),
            "{other}"
        );
    }
    let spread = data("{\"user\":\"a\",\"token\":\"b\"}");
    assert_eq!(in_data(&spread, "hmac", false), Ok((None, spread.clone())));
    let user_alone = data("{\"user\":\"a\"}");
    assert_eq!(
        in_data(&user_alone, "hmac", true),
        Ok((None, user_alone.clone()))
    );
}

#[test]
fn the_legacy_form_is_read_from_both_places_in_data() {
    let fields = ["42", "1900000000", "", "ff"];
    let expected = Presented::Legacy(legacy::Signed::new(fields.map(str::to_owned)));
    let spread = json!({"user": "42", "timestamp": "1900000000", "token": "ff", "x": 1});
    let (found, rest) = in_data(&data(&spread.to_string()), "hmac", true).unwrap();
    assert_eq!(found, Some(expected.clone()));
    assert_eq!(rest, "{\"x\":1}");
    let nested = json!({"hmac": {"v": 0, "user": "42", "timestamp": "1900000000", "info": "", "token": "ff"}});
    let (found, rest) = in_data(&data(&nested.to_string()), "hmac", true).unwrap();
    let Some(Presented::Legacy(found)) = found else {
        panic!("not found as legacy");
    };
    assert_eq!(Presented::Legacy(found), expected);
    assert_eq!(rest, "{}");
    let off = in_data(&data(&nested.to_string()), "hmac", false)
        .unwrap()
        .0;
    assert_eq!(off, Some(Presented::Broken(Kind::H1)));
    let number = json!({"user": 42, "token": "ff"});
    let found = in_data(&data(&number.to_string()), "hmac", true).unwrap().0;
    assert_eq!(found, Some(Presented::Broken(Kind::Legacy)));
}

#[test]
fn two_places_in_data_are_one_too_many() {
    for twice in [
        "{\"hmac\":1,\"hmac\":1}",
        "{\"hmac\":1,\"user\":\"a\",\"token\":\"b\"}",
        "{\"user\":\"a\",\"token\":\"b\",\"token\":\"c\"}",
    ] {
        assert_eq!(
            in_data(&data(twice), "hmac", true),
            Err(Reason::Places),
            "{twice}"
        );
    }
}

proptest! {
    #[test]
    fn looking_never_panics_and_keeps_the_rest(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let given = Bytes::from(bytes);
        let (found, rest) = in_data(&given, "hmac", true).unwrap();
        prop_assert!(found.is_some() || rest == given);
    }

    #[test]
    fn members_survive_in_order(names in prop::collection::vec("[a-g\"\\\\é]{1,3}", 0..6)) {
        let member = |name: &String| format!("{}:[ 1 ]", json!(name));
        let members: Vec<String> = names.iter().map(member).collect();
        let given = format!("{{\"hmac\":0{}{}}}", if names.is_empty() { "" } else { "," }, members.join(","));
        let (_, rest) = in_data(&data(&given), "hmac", false).unwrap();
        prop_assert_eq!(rest, format!("{{{}}}", members.join(",")));
    }
}
