//! The commands that talk to a running gateway: `sub`, `pub`, `healthcheck`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use super::{Command, Context, Failure, block_on, config_argument, health, pubsub};
use crate::config::{self, Sources};

pub(super) const SUB: Command = Command {
    arguments: pubsub::sub::command,
    run: |arguments, context| {
        let wanted = pubsub::sub::SubArgs::from_matches(arguments);
        block_on(pubsub::sub::run(wanted, context.out))?.map_err(|error| told(&error))
    },
};

pub(super) const PUB: Command = Command {
    arguments: pubsub::publish::command,
    run: |arguments, context| {
        let wanted = pubsub::publish::PubArgs::from_matches(arguments);
        block_on(pubsub::publish::run(wanted, context.out))?.map_err(|error| told(&error))
    },
};

pub(super) const HEALTHCHECK: Command = Command {
    arguments: || health::command().arg(config_argument()),
    run: |arguments, context| {
        let endpoint = endpoint(arguments, context)?;
        let wanted = health::HealthArgs::from_matches(arguments);
        block_on(health::run(&wanted, &endpoint, context.out))?.map_err(|error| told(&error))
    },
};

/// Tells an error with its causes on standard error: standard output belongs to messages.
fn told(error: &dyn std::error::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    // Without a terminal the exit code still tells.
    writeln!(io::stderr(), "error: {text}").ok();
    Failure::new("")
}

/// Where the configuration says the health endpoint is.
fn endpoint(
    arguments: &clap::ArgMatches,
    context: &Context<'_>,
) -> Result<health::Endpoint, Failure> {
    let path = arguments
        .get_one::<String>("config")
        .map(PathBuf::from)
        .unwrap_or_default();
    let sources = Sources::path(context.directory, &path, context.environment.clone());
    let config = config::load(&sources)
        .map_err(|error| Failure::new(format!("error getting config: {error}")))?
        .config;
    let server = &config.http_server;
    let (host, port) = server.internal();
    let separate = server.internal() != server.external();
    Ok(health::Endpoint {
        enabled: config.health.enabled,
        tls: if separate {
            server.internal_tls.enabled || (server.tls.enabled && !server.tls_external)
        } else {
            server.tls.enabled
        },
        host: host.to_owned(),
        port,
        path: config.health.handler_prefix.clone(),
    })
}
