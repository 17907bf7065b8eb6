//! `gentoken`, `gensubtoken`, `checktoken`, `checksubtoken` (config.md 10, tokens.md 12).
//!
//! Arguments in, text out: writes to the given writer only, reads neither files nor the environment, and leaves exit
//! codes to the caller.

use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value};

use crate::{
    auth::{
        self, Authenticator, Config,
        config::{SubscriptionTokenConfig, TokenConfig},
    },
    model::{Channel, ChannelOptions, ClientError, Now},
};

/// Why a command failed; the caller prints it and exits with 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something has to be configured first.
    #[error("no {0} in configuration")]
    Missing(&'static str),
    /// A required value was not given.
    #[error("{0} is required")]
    Required(&'static str),
    /// A value cannot be used.
    #[error("{0} cannot be so")]
    Value(&'static str),
    /// The configuration cannot verify anything.
    #[error("configuration cannot be used")]
    Config(#[from] auth::Error),
    /// The credential is not valid.
    #[error("{0}")]
    Invalid(#[from] auth::Refusal),
    /// Signing failed.
    #[error("token cannot be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The output is gone.
    #[error("cannot write")]
    Write(#[from] io::Error),
}

/// What is generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generate {
    /// User; empty for anonymous.
    pub user: String,
    /// Seconds until it expires; -1 for never.
    pub ttl: i64,
    /// Print the token only, without a line end.
    pub quiet: bool,
    /// Channel; `None` for a connection token.
    pub channel: Option<String>,
}

impl Generate {
    /// Reads the arguments of [`gentoken`] or [`gensubtoken`].
    #[must_use]
    pub fn from_matches(matches: &ArgMatches) -> Self {
        let channel = matches.try_get_one::<String>("channel").ok().flatten();
        Self {
            user: text(matches, "user"),
            ttl: matches.get_one("ttl").copied().unwrap_or(DEFAULT_TTL),
            quiet: matches.get_flag("quiet"),
            channel: channel.cloned(),
        }
    }
}

/// A week, seconds.
const DEFAULT_TTL: i64 = 604_800;

/// Arguments of `gentoken`. The flag for the configuration file is the caller's.
#[must_use]
pub fn gentoken() -> Command {
    generator("gentoken", "Generate an HS256 connection token")
}

/// Arguments of `gensubtoken`.
#[must_use]
pub fn gensubtoken() -> Command {
    generator("gensubtoken", "Generate an HS256 subscription token").arg(
        Arg::new("channel")
            .short('s')
            .long("channel")
            .default_value("")
            .help("channel of the subscription"),
    )
}

/// Arguments of `checktoken`.
#[must_use]
pub fn checktoken() -> Command {
    checker("checktoken", "Check a connection token")
}

/// Arguments of `checksubtoken`.
#[must_use]
pub fn checksubtoken() -> Command {
    checker("checksubtoken", "Check a subscription token")
}

/// The token argument of [`checktoken`], [`checksubtoken`] and `checkcredentials`.
#[must_use]
pub fn token_of(matches: &ArgMatches) -> String {
    text(matches, "token")
}

fn generator(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .arg(user_arg())
        .arg(
            Arg::new("ttl")
                .short('t')
                .long("ttl")
                .value_parser(value_parser!(i64))
                .allow_negative_numbers(true)
                .default_value("604800")
                .help("seconds until expiration, -1 for none"),
        )
        .arg(quiet_arg())
}

fn checker(name: &'static str, about: &'static str) -> Command {
    Command::new(name).about(about).arg(token_arg())
}

pub(super) fn user_arg() -> Arg {
    Arg::new("user")
        .short('u')
        .long("user")
        .default_value("")
        .help("user, empty for anonymous")
}

pub(super) fn quiet_arg() -> Arg {
    Arg::new("quiet")
        .short('q')
        .long("quiet")
        .action(ArgAction::SetTrue)
        .help("print nothing else, and no line end")
}

pub(super) fn token_arg() -> Arg {
    Arg::new("token").required(true).help("what to check")
}

pub(super) fn text(matches: &ArgMatches, name: &str) -> String {
    matches.get_one::<String>(name).cloned().unwrap_or_default()
}

pub(super) fn of_user(user: &str) -> String {
    if user.is_empty() {
        "anonymous user".to_owned()
    } else {
        format!("user {user:?}")
    }
}

/// Writes a new token: a subscription token when there is a channel.
///
/// # Errors
/// Without a secret in the configuration, without the channel of a subscription token, or when nothing can be written.
pub fn generate(
    config: &Config,
    arguments: &Generate,
    now: &Now,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let client = &config.client;
    let Generate {
        user, ttl, quiet, ..
    } = arguments;
    let (section, what) = match &arguments.channel {
        None => (&client.token, String::new()),
        Some(channel) if channel.is_empty() => return Err(Error::Required("channel")),
        Some(channel) => (
            subscription_section(config),
            format!(" and channel {channel:?}"),
        ),
    };
    let token = sign(section, arguments, now)?;
    if *quiet {
        write!(out, "{token}")?;
        return Ok(());
    }
    let life = if *ttl < 0 {
        "without expiration".to_owned()
    } else {
        format!("with expiration in {ttl} seconds")
    };
    writeln!(out, "HMAC SHA-256 JWT for {}{what} {life}:", of_user(user))?;
    writeln!(out, "{token}")?;
    Ok(())
}

fn subscription_section(config: &Config) -> &TokenConfig {
    match &config.client.subscription_token {
        SubscriptionTokenConfig {
            enabled: true,
            token,
        } => token,
        _ => &config.client.token,
    }
}

fn sign(section: &TokenConfig, arguments: &Generate, now: &Now) -> Result<String, Error> {
    if section.hmac_secret_key.is_empty() {
        return Err(Error::Missing("hmac_secret_key"));
    }
    if arguments.ttl < -1 {
        return Err(Error::Value("ttl"));
    }
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), Value::from(arguments.user.as_str()));
    if !section.user_id_claim.is_empty() {
        let user = Value::from(arguments.user.as_str());
        claims.insert(section.user_id_claim.clone(), user);
    }
    if let Some(channel) = &arguments.channel {
        claims.insert("channel".to_owned(), Value::from(channel.as_str()));
    }
    if arguments.ttl >= 0 {
        let exp = now.unix().saturating_add(arguments.ttl);
        claims.insert("exp".to_owned(), Value::from(exp));
    }
    claims.insert("iat".to_owned(), Value::from(now.unix()));
    let key = EncodingKey::from_secret(section.hmac_secret_key.expose().as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).map_err(Error::Sign)
}

/// Verifies a connection token and writes its user and claims.
///
/// # Errors
/// When it is not valid, or nothing can be written.
pub async fn check(
    config: &Config,
    token: &str,
    now: &Now,
    out: &mut (dyn Write + Send),
) -> Result<(), Error> {
    let auth = Authenticator::new(config, &prometheus::Registry::new())?;
    let valid = auth.jwt(token, now, &anywhere).await?;
    writeln!(out, "valid token for {}", of_user(valid.user.as_str()))?;
    write_claims(token, out)
}

/// Verifies a subscription token and writes its user, channel and claims.
///
/// # Errors
/// When it is not valid, or nothing can be written.
pub async fn check_subscription(
    config: &Config,
    token: &str,
    now: &Now,
    out: &mut (dyn Write + Send),
) -> Result<(), Error> {
    let auth = Authenticator::new(config, &prometheus::Registry::new())?;
    let valid = auth.subscription(token, now, &anywhere).await?;
    let user = of_user(valid.user.as_str());
    writeln!(
        out,
        "valid subscription token for {user} and channel {:?}",
        valid.channel.as_str()
    )?;
    write_claims(token, out)
}

/// Whether the channels of a token exist is another question.
#[expect(clippy::unnecessary_wraps, reason = "has the type of a lookup")]
fn anywhere(_: &Channel) -> Result<std::sync::Arc<ChannelOptions>, ClientError> {
    Ok(std::sync::Arc::default())
}

fn write_claims(token: &str, out: &mut (dyn Write + Send)) -> Result<(), Error> {
    let claims = token.split('.').nth(1).unwrap_or_default();
    if let Ok(claims) = URL_SAFE_NO_PAD.decode(claims) {
        writeln!(out, "payload: {}", String::from_utf8_lossy(&claims))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn config() -> Config {
        let mut config = Config::default();
        config.client.token.hmac_secret_key = "secret".into();
        config
    }

    fn now() -> Now {
        Now::at(tokio::time::Instant::now().into_std())
    }

    fn arguments(command: Command, line: &[&str]) -> Generate {
        let line = std::iter::once("x").chain(line.iter().copied());
        Generate::from_matches(&command.try_get_matches_from(line).unwrap())
    }

    fn quiet(config: &Config, arguments: &Generate) -> String {
        let mut out = Vec::new();
        generate(config, arguments, &now(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn flags_have_the_defaults_of_the_reference() {
        let defaults = arguments(gentoken(), &[]);
        assert_eq!(
            defaults,
            Generate {
                user: String::new(),
                ttl: 604_800,
                quiet: false,
                channel: None
            }
        );
        let given = arguments(gensubtoken(), &["-u", "42", "-t", "-1", "-q", "-s", "a:b"]);
        assert_eq!(
            given,
            Generate {
                user: "42".to_owned(),
                ttl: -1,
                quiet: true,
                channel: Some("a:b".to_owned())
            }
        );
    }

    #[tokio::test]
    async fn a_generated_token_is_valid_and_quiet_prints_nothing_else() {
        let config = config();
        let token = quiet(&config, &arguments(gentoken(), &["-q", "-u", "42"]));
        assert!(token.starts_with("eyJ") && !token.ends_with('\n'));
        let mut out = Vec::new();
        check(&config, &token, &now(), &mut out).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("valid token for user \"42\"\npayload: {\"sub\":\"42\",\"exp\":"));
    }

    #[tokio::test]
    async fn an_expired_token_is_refused() {
        let config = config();
        let token = quiet(&config, &arguments(gentoken(), &["-q", "-t", "10"]));
        let later = now().later(Duration::from_secs(11));
        let refused = check(&config, &token, &later, &mut Vec::new()).await;
        assert!(matches!(refused, Err(Error::Invalid(_))));
    }

    #[test]
    fn without_quiet_a_sentence_comes_first() {
        let mut out = Vec::new();
        let arguments = arguments(gentoken(), &["-t", "-1"]);
        generate(&config(), &arguments, &now(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let (sentence, token) = text.split_once('\n').unwrap();
        assert_eq!(
            sentence,
            "HMAC SHA-256 JWT for anonymous user without expiration:"
        );
        assert!(token.ends_with('\n'));
    }

    #[tokio::test]
    async fn subscription_tokens_use_their_own_section() {
        let mut config = config();
        config.client.subscription_token.enabled = true;
        config.client.subscription_token.token.hmac_secret_key = "sub-secret".into();
        config.client.subscription_token.token.user_id_claim = "uid".to_owned();
        let arguments = arguments(gensubtoken(), &["-q", "-u", "42", "-s", "news"]);
        let token = quiet(&config, &arguments);
        let mut out = Vec::new();
        check_subscription(&config, &token, &now(), &mut out)
            .await
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("valid subscription token for user \"42\" and channel \"news\""));
        assert!(text.contains("\"uid\":\"42\""));
        assert!(
            check(&config, &token, &now(), &mut Vec::new())
                .await
                .is_err()
        );
    }

    #[test]
    fn a_secret_and_a_channel_are_required() {
        let nothing = Config::default();
        let refused = generate(
            &nothing,
            &arguments(gentoken(), &[]),
            &now(),
            &mut Vec::new(),
        );
        assert!(matches!(refused, Err(Error::Missing(_))));
        let refused = generate(
            &config(),
            &arguments(gensubtoken(), &[]),
            &now(),
            &mut Vec::new(),
        );
        assert!(matches!(refused, Err(Error::Required("channel"))));
    }
}
