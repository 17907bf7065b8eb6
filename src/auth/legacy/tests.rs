//! The legacy form: vectors, and the rules that give every signed text one reading.

use proptest::prelude::*;

use super::*;
use crate::auth::{credentials::hex, tests::now};

const PLAIN: &str = "93c121e7aa437a1e01e3c512c6f0ce3c821a839025dca4408f85616de4aaee70";
const DATED: &str = "29dac4c69b0c15956d889651fe9905f1db2839f397e4705232eca91440810038";
const NAMED: &str = "af087841c3465e085a6e7eaa58cb88c8e683a8d3979a652b56c8ca72568df73f";

fn config() -> CredentialsConfig {
    let mut config = CredentialsConfig {
        enabled: true,
        max_ttl: Duration::from_hours(24 * 365 * 20),
        ..CredentialsConfig::default()
    };
    config.legacy.enabled = true;
    config.legacy.secret_key = "secret".into();
    config
}

fn signed(fields: [&str; 4]) -> Signed {
    Signed::new(fields.map(str::to_owned))
}

fn fresh(user: &str, timestamp: &str, info: &str) -> Signed {
    let token = sign(
        &"secret".into(),
        &[user.as_bytes(), timestamp.as_bytes(), info.as_bytes()],
    );
    signed([user, timestamp, info, &hex(&token)])
}

fn verify(
    config: &CredentialsConfig,
    signed: &Signed,
    now: &Now,
) -> Result<ConnectionToken, Reason> {
    Verifier::new(config).verify(signed, now)
}

#[test]
fn the_vectors_of_the_specification_verify() {
    let now = now();
    let dated = verify(&config(), &signed(["42", "1900000000", "", DATED]), &now).unwrap();
    assert_eq!(
        (dated.user.as_str(), dated.expire_at),
        ("42", Some(1_900_000_000))
    );
    let named = signed(["42", "1900000000", "{\"name\":\"Ann\"}", NAMED]);
    assert_eq!(
        verify(&config(), &named, &now).unwrap().info,
        "{\"name\":\"Ann\"}"
    );
    let upper = signed(["42", "1900000000", "", &DATED.to_uppercase()]);
    assert!(verify(&config(), &upper, &now).is_ok(), "either case");
    let shifted = signed(["4", "2190000000", "0", DATED]);
    assert_eq!(
        verify(&config(), &shifted, &now).unwrap_err(),
        Reason::Malformed
    );
}

#[test]
fn without_a_timestamp_only_where_it_is_allowed() {
    let now = now();
    let plain = signed(["42", "", "", PLAIN]);
    assert_eq!(
        verify(&config(), &plain, &now).unwrap_err(),
        Reason::Malformed
    );
    let mut config = config();
    config.legacy.allow_without_timestamp = true;
    config.legacy.lifetime = Duration::from_mins(10);
    let token = verify(&config, &plain, &now).unwrap();
    assert_eq!(token.expire_at, Some(now.unix() + 600));
    // The same signed text, read as a user without a timestamp.
    let shifted = signed(["421900000000", "", "", DATED]);
    assert_eq!(
        verify(&config, &shifted, &now).unwrap_err(),
        Reason::Malformed
    );
    assert!(verify(&config, &fresh("42", "", "{}"), &now).is_err());
}

#[test]
fn fields_are_restricted() {
    let now = now();
    let reason = |user: &str, timestamp: &str, info: &str| {
        verify(&config(), &fresh(user, timestamp, info), &now).err()
    };
    assert_eq!(reason("aZ9_.@:+-", "1900000000", "{}"), None);
    assert_eq!(reason(&"u".repeat(128), "1900000000", ""), None);
    for (user, timestamp, info) in [
        ("", "1900000000", ""),
        (&*"u".repeat(129), "1900000000", ""),
        ("a b", "1900000000", ""),
        ("a{", "1900000000", ""),
        ("é", "1900000000", ""),
        ("42", "190000000", ""),
        ("42", "19000000000", ""),
        ("42", "0900000000", ""),
        ("42", "190000000x", ""),
        ("42", "1900000000", "[]"),
        ("42", "1900000000", " {}"),
        ("42", "1900000000", "{"),
    ] {
        assert_eq!(
            reason(user, timestamp, info),
            Some(Reason::Malformed),
            "{user} {timestamp} {info}"
        );
    }
    for token in [
        "",
        &DATED[1..],
        &format!("{DATED}0"),
        &format!("{}g", &DATED[1..]),
    ] {
        let broken = signed(["42", "1900000000", "", token]);
        assert_eq!(
            verify(&config(), &broken, &now).unwrap_err(),
            Reason::Malformed,
            "{token}"
        );
    }
    let forged = signed(["43", "1900000000", "", DATED]);
    assert_eq!(
        verify(&config(), &forged, &now).unwrap_err(),
        Reason::Signature
    );
}

#[test]
fn the_timestamp_means_what_is_configured() {
    let mut now = now();
    now.unix_ms = 1_800_000_000_000;
    let mut config = config();
    config.max_ttl = Duration::from_secs(100);
    config.legacy.lifetime = Duration::from_secs(300);
    let check = |config: &CredentialsConfig, timestamp: &str| {
        let verified = verify(config, &fresh("42", timestamp, ""), &now);
        verified.map(|token| token.expire_at)
    };
    assert_eq!(check(&config, "1800000000"), Err(Reason::Expired));
    assert_eq!(check(&config, "1800000100"), Ok(Some(1_800_000_100)));
    assert_eq!(check(&config, "1800000101"), Err(Reason::Lifetime));
    config.legacy.timestamp_meaning = TimestampMeaning::Issued;
    assert_eq!(check(&config, "1800000060"), Ok(Some(1_800_000_360)));
    assert_eq!(check(&config, "1800000061"), Err(Reason::Lifetime));
    assert_eq!(check(&config, "1799999701"), Ok(Some(1_800_000_001)));
    assert_eq!(check(&config, "1799999700"), Err(Reason::Expired));
}

#[test]
fn the_form_ends_some_day() {
    let now = now();
    let mut config = config();
    config.legacy.disable_after = now.unix() - 1;
    let dated = signed(["42", "1900000000", "", DATED]);
    assert_eq!(verify(&config, &dated, &now).unwrap_err(), Reason::Lifetime);
    config.legacy.disable_after = now.unix() + 60;
    assert!(verify(&config, &dated, &now).is_ok());
}

proptest! {
    #[test]
    fn a_signed_text_has_one_reading(
        user in "[A-Za-z0-9_.@:+-]{1,16}",
        timestamp in "1[89][0-9]{8}",
        info in "|\\{\\}|\\{\"a\":[0-9]{1,12}\\}",
        cut in any::<(prop::sample::Index, prop::sample::Index)>(),
        allow in any::<bool>(),
    ) {
        let mut config = config();
        config.legacy.allow_without_timestamp = allow;
        let good = fresh(&user, &timestamp, &info);
        let text = format!("{user}{timestamp}{info}");
        let (first, second) = (cut.0.index(text.len() + 1), cut.1.index(text.len() + 1));
        let (first, second) = (first.min(second), first.max(second));
        prop_assume!((first, second) != (user.len(), user.len() + 10));
        let other = signed([&text[..first], &text[first..second], &text[second..], &good.token]);
        let reading = Verifier::new(&config).check_form(&other);
        prop_assert!(reading.is_err(), "{:?}", (&text[..first], &text[first..second], &text[second..]));
    }
}
