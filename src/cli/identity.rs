//! The commands about tokens and credentials (tokens.md 12): read the configuration, hand it to the maker or the checker.

use std::path::PathBuf;

use clap::{ArgMatches, Command as Arguments};
use tokio::time::Instant;

use super::{Command, Context, Failure, block_on, config_argument, credentials, token};
use crate::{
    auth,
    config::{self, Sources},
    model::Now,
};

pub(super) const GENTOKEN: Command = Command {
    arguments: || reads(token::gentoken()),
    run: generate,
};

pub(super) const GENSUBTOKEN: Command = Command {
    arguments: || reads(token::gensubtoken()),
    run: generate,
};

pub(super) const CHECKTOKEN: Command = Command {
    arguments: || reads(token::checktoken()),
    run: |arguments, context| {
        let (config, now) = (read(arguments, context)?, now());
        print(context, |out| {
            block_on(async { token::check(&config, &token::token_of(arguments), &now, out).await })
        })
    },
};

pub(super) const CHECKSUBTOKEN: Command = Command {
    arguments: || reads(token::checksubtoken()),
    run: |arguments, context| {
        let (config, now) = (read(arguments, context)?, now());
        print(context, |out| {
            let given = token::token_of(arguments);
            block_on(async { token::check_subscription(&config, &given, &now, out).await })
        })
    },
};

pub(super) const GENCREDENTIALS: Command = Command {
    arguments: || reads(credentials::gencredentials()),
    run: |arguments, context| {
        let wanted = credentials::Generate::from_matches(arguments);
        let config = read(arguments, context)?;
        credentials::generate(&config, &wanted, &now(), context.out).map_err(failed)
    },
};

pub(super) const CHECKCREDENTIALS: Command = Command {
    arguments: || reads(credentials::checkcredentials()),
    run: |arguments, context| {
        let (config, now) = (read(arguments, context)?, now());
        print(context, |out| {
            let given = token::token_of(arguments);
            block_on(async { credentials::check(&config, &given, &now, out).await })
        })
    },
};

fn generate(arguments: &ArgMatches, context: &mut Context<'_>) -> Result<(), Failure> {
    let wanted = token::Generate::from_matches(arguments);
    let config = read(arguments, context)?;
    token::generate(&config, &wanted, &now(), context.out).map_err(failed)
}

fn reads(arguments: Arguments) -> Arguments {
    arguments.arg(config_argument())
}

fn now() -> Now {
    Now::at(Instant::now().into_std())
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("error: {error}"))
}

/// A checker writes into memory, because what it awaits may move between threads and standard output may not.
fn print(
    context: &mut Context<'_>,
    check: impl FnOnce(&mut Vec<u8>) -> Result<Result<(), token::Error>, Failure>,
) -> Result<(), Failure> {
    let mut text = Vec::new();
    let outcome = check(&mut text)?;
    context.out.write_all(&text)?;
    outcome.map_err(failed)
}

fn read(arguments: &ArgMatches, context: &Context<'_>) -> Result<auth::Config, Failure> {
    let path = arguments
        .get_one::<String>("config")
        .map(PathBuf::from)
        .unwrap_or_default();
    let sources = Sources::path(context.directory, &path, context.environment.clone());
    let wrong = |error| Failure::new(format!("error getting config: {error}"));
    let loaded = config::load(&sources).map_err(wrong)?;
    let invalid = |error| Failure::new(format!("error validating config: {error}"));
    loaded.config.validate().map_err(invalid)?;
    loaded.config.section("").map_err(wrong)
}
