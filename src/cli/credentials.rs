//! `gencredentials`, `checkcredentials` (tokens.md 9, 12): HMAC credentials in the safe form.
//!
//! Arguments in, text out, as in [`super::token`].

use std::io::Write;

use clap::{Arg, ArgMatches, Command, value_parser};

use super::token::{Error, of_user, quiet_arg, text, token_arg, user_arg};
use crate::{
    auth::{Authenticator, Config, credentials},
    model::Now,
};

/// What is generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generate {
    /// User; empty for anonymous.
    pub user: String,
    /// Seconds until they expire; there are none without an end.
    pub ttl: u32,
    /// Connection info; empty for none.
    pub info: String,
    /// Print the credentials only, without a line end.
    pub quiet: bool,
}

impl Generate {
    /// Reads the arguments of [`gencredentials`].
    #[must_use]
    pub fn from_matches(matches: &ArgMatches) -> Self {
        Self {
            user: text(matches, "user"),
            ttl: matches.get_one("ttl").copied().unwrap_or(DEFAULT_TTL),
            info: text(matches, "info"),
            quiet: matches.get_flag("quiet"),
        }
    }
}

/// An hour, seconds: bearer values have a short life.
const DEFAULT_TTL: u32 = 3600;

/// Arguments of `gencredentials`. The flag for the configuration file is the caller's.
#[must_use]
pub fn gencredentials() -> Command {
    Command::new("gencredentials")
        .about("Generate HMAC credentials")
        .arg(user_arg())
        .arg(
            Arg::new("ttl")
                .short('t')
                .long("ttl")
                .value_parser(value_parser!(u32).range(1..))
                .default_value("3600")
                .help("seconds until expiration"),
        )
        .arg(
            Arg::new("info")
                .short('i')
                .long("info")
                .default_value("")
                .help("what other clients see, JSON for JSON clients"),
        )
        .arg(quiet_arg())
}

/// Arguments of `checkcredentials`.
#[must_use]
pub fn checkcredentials() -> Command {
    Command::new("checkcredentials")
        .about("Check HMAC credentials")
        .arg(token_arg())
}

/// Writes new credentials.
///
/// # Errors
/// Without a secret in the configuration, for values that no credentials may have, or when nothing can be written.
pub fn generate(
    config: &Config,
    arguments: &Generate,
    now: &Now,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let hmac = &config.client.hmac_credentials;
    if hmac.secret_key.is_empty() {
        return Err(Error::Missing("client.hmac_credentials.secret_key"));
    }
    let Generate {
        user, info, ttl, ..
    } = arguments;
    if u64::from(*ttl) > hmac.max_ttl.as_secs() {
        return Err(Error::Value("ttl above client.hmac_credentials.max_ttl"));
    }
    let exp = now.unix().saturating_add(i64::from(*ttl));
    let credentials = credentials::issue(&hmac.secret_key, user, exp, info.as_bytes())
        .map_err(|_malformed| Error::Value("user or info"))?;
    if arguments.quiet {
        write!(out, "{credentials}")?;
        return Ok(());
    }
    let user = of_user(user);
    writeln!(
        out,
        "HMAC credentials for {user} with expiration in {ttl} seconds:"
    )?;
    writeln!(out, "{credentials}")?;
    Ok(())
}

/// Verifies credentials in their compact form and writes what they say.
///
/// # Errors
/// When they are not valid, the feature is off, or nothing can be written.
pub async fn check(
    config: &Config,
    given: &str,
    now: &Now,
    out: &mut (dyn Write + Send),
) -> Result<(), Error> {
    if !config.client.hmac_credentials.enabled {
        return Err(Error::Missing("client.hmac_credentials.enabled"));
    }
    if !given.starts_with(credentials::PREFIX) {
        return Err(Error::Value("credentials"));
    }
    let auth = Authenticator::new(config, &prometheus::Registry::new())?;
    let valid = auth
        .connection(given, now, &|_| Ok(std::sync::Arc::default()))
        .await?;
    writeln!(
        out,
        "valid credentials for {}",
        of_user(valid.user.as_str())
    )?;
    if let Some(at) = valid.expire_at {
        writeln!(out, "expiration: {at}")?;
    }
    if !valid.info.is_empty() {
        writeln!(out, "info: {}", String::from_utf8_lossy(&valid.info))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config::default();
        config.client.hmac_credentials.enabled = true;
        config.client.hmac_credentials.secret_key = "sixteen bytes !!".into();
        config
    }

    fn now() -> Now {
        Now::at(tokio::time::Instant::now().into_std())
    }

    fn arguments(line: &[&str]) -> Generate {
        let line = std::iter::once("x").chain(line.iter().copied());
        Generate::from_matches(&gencredentials().try_get_matches_from(line).unwrap())
    }

    #[tokio::test]
    async fn generated_credentials_are_valid() {
        let config = config();
        let mut out = Vec::new();
        let arguments = arguments(&["-q", "-u", "42", "-t", "60", "-i", "{\"n\":1}"]);
        generate(&config, &arguments, &now(), &mut out).unwrap();
        let given = String::from_utf8(out).unwrap();
        assert!(given.starts_with("h1.NDI.") && !given.ends_with('\n'));
        let mut out = Vec::new();
        check(&config, &given, &now(), &mut out).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("valid credentials for user \"42\"\nexpiration: "));
        assert!(text.ends_with("\ninfo: {\"n\":1}\n"));
    }

    #[tokio::test]
    async fn altered_credentials_and_tokens_are_refused() {
        let config = config();
        let mut out = Vec::new();
        generate(&config, &arguments(&["-q"]), &now(), &mut out).unwrap();
        let given = String::from_utf8(out).unwrap().replace("h1..", "h1.NDI.");
        let refused = check(&config, &given, &now(), &mut Vec::new()).await;
        assert!(matches!(refused, Err(Error::Invalid(_))));
        let refused = check(&config, "eyJ.x.y", &now(), &mut Vec::new()).await;
        assert!(matches!(refused, Err(Error::Value(_))));
    }

    #[test]
    fn values_have_to_fit() {
        let long = arguments(&["-t", "100000"]);
        assert!(generate(&config(), &long, &now(), &mut Vec::new()).is_err());
        let control = arguments(&["-u", "a\nb"]);
        assert!(generate(&config(), &control, &now(), &mut Vec::new()).is_err());
        let off = Config::default();
        assert!(generate(&off, &arguments(&[]), &now(), &mut Vec::new()).is_err());
        assert!(
            gencredentials()
                .try_get_matches_from(["x", "-t", "0"])
                .is_err()
        );
    }
}
