//! The safe form: vectors, refusals, and the law that no altered credential verifies.

use proptest::prelude::*;

use super::*;
use crate::auth::tests::now;

const EXP: i64 = 1_900_000_000;

/// User, info, message in hexadecimal, signature, compact form (tokens.md 14.2).
const VECTORS: [(&str, &str, &str, &str, &str); 4] = [
    (
        "42",
        "",
        "0000001a63656e747269706574616c2f63726564656e7469616c732f68310000000234320000000a3139303030303030303000000000",
        "6eeacd57b49a39c8b2f49ba8dbcf2453046e66989426e1e7a083ce5d83f982ef",
        "h1.NDI.1900000000..6eeacd57b49a39c8b2f49ba8dbcf2453046e66989426e1e7a083ce5d83f982ef",
    ),
    (
        "42",
        "{\"name\":\"Ann\"}",
        "0000001a63656e747269706574616c2f63726564656e7469616c732f68310000000234320000000a313930303030303030300000000e\
         7b226e616d65223a22416e6e227d",
        "0ed0a98a80795fd9e70bec80604a7fb9508a3fe8f03d2a06566723a645bee205",
        "h1.NDI.1900000000.eyJuYW1lIjoiQW5uIn0.0ed0a98a80795fd9e70bec80604a7fb9508a3fe8f03d2a06566723a645bee205",
    ),
    (
        "",
        "",
        "0000001a63656e747269706574616c2f63726564656e7469616c732f6831000000000000000a3139303030303030303000000000",
        "32121ec484fc5be9caf5df7f1e27a158a67e98961ab525389889dc1e36391a06",
        "h1..1900000000..32121ec484fc5be9caf5df7f1e27a158a67e98961ab525389889dc1e36391a06",
    ),
    (
        "zoë",
        "{\"r\":1}",
        "0000001a63656e747269706574616c2f63726564656e7469616c732f6831000000047a6fc3ab0000000a313930303030303030300000\
         00077b2272223a317d",
        "945713dea6f70d79a7c518cefa9dd2f339c066bc565abb6e3671580c4e6a3be5",
        "h1.em_Dqw.1900000000.eyJyIjoxfQ.945713dea6f70d79a7c518cefa9dd2f339c066bc565abb6e3671580c4e6a3be5",
    ),
];

fn secret() -> Secret {
    Secret::from("secret")
}

/// Accepts the vectors for some years to come.
fn config() -> CredentialsConfig {
    CredentialsConfig {
        enabled: true,
        secret_key: secret(),
        max_ttl: Duration::from_hours(24 * 365 * 20),
        ..CredentialsConfig::default()
    }
}

fn verify(text: &str, now: &Now) -> Result<ConnectionToken, Reason> {
    Signed::parse(text).and_then(|signed| Verifier::new(&config()).verify(&signed, now))
}

#[test]
fn the_primitive_is_hmac_sha256() {
    assert_eq!(
        hex(&sign(&secret(), &[b"42"])),
        "93c121e7aa437a1e01e3c512c6f0ce3c821a839025dca4408f85616de4aaee70"
    );
}

#[test]
fn the_vectors_of_the_specification_verify() {
    for (user, info, message, signed, compact) in VECTORS {
        let message: Vec<u8> = (0..message.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&message[at..at + 2], 16).unwrap())
            .collect();
        assert_eq!(hex(&sign(&secret(), &[&message])), signed);
        assert_eq!(
            hex(&signature(&secret(), user, "1900000000", info.as_bytes())),
            signed
        );
        assert_eq!(
            issue(&secret(), user, EXP, info.as_bytes()).unwrap(),
            compact
        );
        let token = verify(compact, &now()).unwrap();
        assert_eq!(token.user.as_str(), user);
        assert_eq!(token.info, info);
        assert_eq!(token.expire_at, Some(EXP));
        assert!(token.channels.is_empty() && token.meta.is_none());
        let object = serde_json::json!({"user": user, "exp": EXP, "info": info, "sign": signed});
        assert_eq!(
            Signed::parse_object(&object.to_string()),
            Signed::parse(compact)
        );
    }
}

#[test]
fn the_form_is_strict() {
    let good = VECTORS[1].4;
    let (rest, digits) = good.rsplit_once('.').unwrap();
    for broken in [
        String::new(),
        "h1.".to_owned(),
        rest.to_owned(),
        format!("{good}."),
        format!("{good}.x"),
        format!("{rest}.x.{digits}"),
        format!("{rest}.{}", digits.to_uppercase()),
        format!("{rest}.{}", &digits[1..]),
        format!("{rest}.0{digits}"),
        format!("{rest}.{}g", &digits[1..]),
        good.replacen("h1", "H1", 1),
        good.replacen("h1", "h2", 1),
        good.replacen("NDI", "NDI=", 1),
        good.replacen("NDI", "NDJ", 1),
        good.replacen("1900000000", "+1900000000", 1),
        good.replacen("1900000000", "01900000000", 1),
        good.replacen("1900000000", "", 1),
        good.replacen("1900000000", "19000000000000000", 1),
        good.replacen("NDI", &URL_SAFE_NO_PAD.encode([0xff]), 1),
    ] {
        assert_eq!(Signed::parse(&broken), Err(Reason::Malformed), "{broken}");
    }
}

#[test]
fn fields_have_limits() {
    let issued = |user: &str, info: usize| issue(&secret(), user, EXP, &vec![b'1'; info]);
    assert!(issued(&"u".repeat(255), 16384).is_ok());
    assert_eq!(issued(&"u".repeat(256), 0), Err(Reason::Malformed));
    assert_eq!(issued("u", 16385), Err(Reason::Malformed));
    assert_eq!(issued("a\u{1f}", 0), Err(Reason::Malformed));
    assert_eq!(issued("a\u{7f}", 0), Err(Reason::Malformed));
    assert_eq!(issue(&secret(), "u", 0, b""), Err(Reason::Malformed));
    assert_eq!(issue(&secret(), "u", -5, b""), Err(Reason::Malformed));
    let long = format!("h1.{}", "A".repeat(COMPACT_LIMIT));
    assert_eq!(Signed::parse(&long), Err(Reason::Malformed));
}

#[test]
fn the_object_form_refuses_what_is_not_in_it() {
    let signed = VECTORS[0].3;
    let parse = |json: serde_json::Value| Signed::parse_object(&json.to_string());
    let good = serde_json::json!({"user": "42", "exp": EXP, "sign": signed});
    assert!(parse(good.clone()).is_ok());
    let base64 = serde_json::json!({"user": "42", "exp": EXP, "b64info": "MQ==", "sign": signed});
    assert_eq!(parse(base64).unwrap().info, "1");
    let wrong = [
        ("more", serde_json::json!(1)),
        ("exp", serde_json::json!("1900000000")),
        ("exp", serde_json::json!(1.9e9)),
        ("exp", serde_json::json!(null)),
        ("user", serde_json::json!(42)),
        ("info", serde_json::json!({"a": 1})),
        ("b64info", serde_json::json!("###")),
        ("sign", serde_json::json!(signed.to_uppercase())),
    ];
    for (name, value) in wrong {
        let mut object = good.clone();
        object[name] = value;
        assert_eq!(parse(object.clone()), Err(Reason::Malformed), "{object}");
    }
    for name in ["user", "exp", "sign"] {
        let mut object = good.clone();
        object.as_object_mut().unwrap().remove(name);
        assert_eq!(parse(object), Err(Reason::Malformed), "without {name}");
    }
    let both =
        serde_json::json!({"user": "42", "exp": EXP, "info": "", "b64info": "", "sign": signed});
    assert_eq!(parse(both), Err(Reason::Malformed));
}

#[test]
fn the_window_has_two_ends() {
    let verifier = Verifier::new(&CredentialsConfig {
        max_ttl: Duration::from_secs(100),
        ..config()
    });
    let verify = |exp: i64, now: &Now| {
        let text = issue(&secret(), "42", exp, b"").unwrap();
        verifier.verify(&Signed::parse(&text).unwrap(), now).err()
    };
    let mut now = now();
    now.unix_ms = 1_800_000_000_000;
    assert_eq!(verify(1_800_000_000, &now), Some(Reason::Expired));
    assert_eq!(verify(1_800_000_001, &now), None);
    assert_eq!(verify(1_800_000_100, &now), None);
    assert_eq!(verify(1_800_000_101, &now), Some(Reason::Lifetime));
    assert_eq!(verify(9_999_999_999_999_999, &now), Some(Reason::Lifetime));
    now.unix_ms += 999;
    assert_eq!(verify(1_800_000_001, &now), None);
    now.unix_ms += 1;
    assert_eq!(verify(1_800_000_001, &now), Some(Reason::Expired));
}

#[test]
fn the_signature_is_looked_at_before_the_window() {
    let text = issue(&Secret::from("other"), "42", 1, b"").unwrap();
    assert_eq!(verify(&text, &now()).unwrap_err(), Reason::Signature);
}

#[test]
fn the_previous_secret_is_accepted_for_a_while() {
    let now = now();
    let verify = |previous: &str, until: i64| {
        let config = CredentialsConfig {
            previous_secret_key: previous.into(),
            previous_secret_key_valid_until: until,
            ..config()
        };
        let text = issue(&Secret::from("before"), "42", EXP, b"").unwrap();
        Verifier::new(&config).verify(&Signed::parse(&text).unwrap(), &now)
    };
    assert!(verify("before", 0).is_ok());
    assert!(verify("before", now.unix() + 1).is_ok());
    assert!(verify("before", now.unix() - 1).is_err());
    assert!(verify("other", 0).is_err());
    assert!(verify("", 0).is_err());
    let empty = issue(&Secret::from(""), "42", EXP, b"").unwrap();
    let unset = Verifier::new(&config()).verify(&Signed::parse(&empty).unwrap(), &now);
    assert_eq!(
        unset.unwrap_err(),
        Reason::Signature,
        "no secret is not a secret"
    );
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,120}|h1(\\.[A-Za-z0-9_=-]{0,20}){0,6}") {
        if let Ok(signed) = Signed::parse(&text) {
            prop_assert!(text.starts_with(PREFIX));
            prop_assert!(is_exp(&signed.exp));
        }
        prop_assert!(Signed::parse_object(&text).is_err());
    }

    #[test]
    fn what_is_issued_verifies(user in "[^\\x00-\\x1f\\x7f]{0,40}", info in prop::collection::vec(any::<u8>(), 0..64)) {
        let text = issue(&secret(), &user, EXP, &info).unwrap();
        let token = verify(&text, &now()).unwrap();
        prop_assert_eq!(token.user.as_str(), user.as_str());
        prop_assert_eq!(&*token.info, info.as_slice());
    }

    #[test]
    fn one_altered_byte_never_verifies(
        user in "[a-z]{0,6}",
        info in "[a-z]{0,6}",
        at in any::<prop::sample::Index>(),
        byte in 0x20u8..0x7f,
    ) {
        let good = issue(&secret(), &user, EXP, info.as_bytes()).unwrap();
        let mut bytes = good.clone().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        let altered = String::from_utf8(bytes).unwrap();
        prop_assert!(verify(&altered, &now()).is_err(), "{} verifies like {}", altered, good);
    }

    #[test]
    fn moving_a_border_never_verifies(user in "[a-z]{1,6}", info in "[a-z]{1,6}") {
        let good = issue(&secret(), &user, EXP, info.as_bytes()).unwrap();
        let signature = good.rsplit_once('.').unwrap().1;
        let (moved, rest) = info.split_at(1);
        let shifted = format!(
            "h1.{}.{EXP}.{}.{signature}",
            URL_SAFE_NO_PAD.encode(format!("{user}{moved}")),
            URL_SAFE_NO_PAD.encode(rest),
        );
        prop_assert_eq!(verify(&shifted, &now()).unwrap_err(), Reason::Signature);
    }
}
