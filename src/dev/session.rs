//! A made-up user for somebody who opened the page: a name, and a token that proves it to the server.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rand::RngExt as _;
use serde::Serialize;

use super::{CHANNEL, Demo, TOKEN_LIFE};
use crate::model::Now;

/// What the page gets.
#[derive(Serialize)]
struct Session<'a> {
    /// User identifier.
    user: &'a str,
    /// The same for people.
    name: &'a str,
    /// Connection token.
    token: String,
    /// Channel to begin with.
    channel: &'static str,
    /// Address of the gRPC stream.
    grpc: String,
}

/// Claims of a connection token (tokens.md 4).
#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: i64,
    exp: i64,
    info: Info<'a>,
}

/// What others see.
#[derive(Serialize)]
struct Info<'a> {
    name: &'a str,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot sign")]
    Token(#[from] jsonwebtoken::errors::Error),
    #[error("cannot write")]
    Json(#[from] serde_json::Error),
}

/// A session as JSON, for the wanted user if the name is a plain one.
pub(super) fn new(demo: &Demo, wanted: Option<&str>) -> Result<String, Error> {
    let user = match wanted {
        Some(user) if is_plain(user) => user.to_owned(),
        _ => invent(),
    };
    let name = title(&user);
    let now = Now::at(tokio::time::Instant::now().into_std());
    let claims = Claims {
        sub: &user,
        iat: now.unix(),
        exp: now.later(TOKEN_LIFE).unix(),
        info: Info { name: &name },
    };
    let key = EncodingKey::from_secret(demo.token_secret.expose().as_bytes());
    let session = Session {
        user: &user,
        name: &name,
        token: jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?,
        channel: CHANNEL,
        grpc: format!("grpc://127.0.0.1:{}", demo.grpc_port),
    };
    Ok(serde_json::to_string(&session)?)
}

/// Small letters, digits and hyphens: the names made here.
fn is_plain(user: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=40).contains(&user.len()) && user.bytes().all(plain)
}

/// `quiet-otter-42`.
fn invent() -> String {
    const MANNERS: [&str; 12] = [
        "brave", "bright", "calm", "clever", "gentle", "happy", "keen", "lucky", "merry", "proud",
        "quick", "quiet",
    ];
    const ANIMALS: [&str; 12] = [
        "badger", "crane", "falcon", "fox", "heron", "lynx", "marten", "otter", "raven", "seal",
        "stork", "wren",
    ];
    let mut rng = rand::rng();
    let manner = MANNERS[rng.random_range(0..MANNERS.len())];
    let animal = ANIMALS[rng.random_range(0..ANIMALS.len())];
    format!("{manner}-{animal}-{}", rng.random_range(10..100))
}

/// `Quiet Otter 42`.
fn title(user: &str) -> String {
    let words = user.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::Value;

    use super::*;
    use crate::model::Secret;

    fn session(wanted: Option<&str>) -> Value {
        let demo = Demo {
            token_secret: Secret::from("secret"),
            grpc_port: 8001,
        };
        serde_json::from_str(&new(&demo, wanted).unwrap()).unwrap()
    }

    fn claims(session: &Value, secret: &str) -> Result<Value, jsonwebtoken::errors::Error> {
        let key = DecodingKey::from_secret(secret.as_bytes());
        let token = session["token"].as_str().unwrap();
        let data = jsonwebtoken::decode::<Value>(token, &key, &Validation::new(Algorithm::HS256));
        data.map(|data| data.claims)
    }

    #[test]
    fn token_names_the_user_and_is_signed_with_the_secret() {
        let session = session(Some("quiet-otter-42"));
        let claims_ = claims(&session, "secret").unwrap();
        assert_eq!(claims_["sub"], "quiet-otter-42");
        assert_eq!(claims_["info"]["name"], "Quiet Otter 42");
        let life = claims_["exp"].as_i64().unwrap() - claims_["iat"].as_i64().unwrap();
        assert_eq!(life, 86_400);
        assert!(claims(&session, "other").is_err());
        assert_eq!(session["channel"], "demo");
        assert_eq!(session["grpc"], "grpc://127.0.0.1:8001");
    }

    #[test]
    fn names_are_invented_unless_plain_ones_are_given() {
        for odd in [
            None,
            Some(""),
            Some("Ann"),
            Some("a%20b"),
            Some("<b>"),
            Some(&*"x".repeat(41)),
        ] {
            let session = session(odd);
            let user = session["user"].as_str().unwrap();
            assert!(is_plain(user) && user.split('-').count() == 3, "{user}");
        }
        assert_eq!(session(Some("robot"))["user"], "robot");
    }
}
