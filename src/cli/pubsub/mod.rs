//! `centripetal sub` and `centripetal pub`: a running gateway from the command line, over the Rust client.
//!
//! What they share is here: how to reach a gateway, what can go wrong and what to do about it. Messages go to the given
//! writer, one line each; everything else goes to standard error.

use std::{io, path::PathBuf};

use clap::{Arg, ArgMatches, ValueHint, value_parser};

use crate::{
    client::{BuildError, Builder, Client, Error as ClientError, Event, Events},
    model::Secret,
};

mod hint;
mod line;
pub mod publish;
pub mod sub;
#[cfg(test)]
mod tests;

/// How to reach a gateway.
#[derive(Clone, Debug)]
pub struct ConnectionArgs {
    /// Address of the gateway.
    pub url: String,
    /// Connection token.
    pub token: Option<Secret>,
    /// Certificate authorities trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
}

/// Why a command ended without success. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address or the authorities cannot be used.
    #[error("cannot use {url}")]
    Client {
        /// Address as given.
        url: String,
        /// What is wrong with it.
        #[source]
        source: BuildError,
    },
    /// Nothing listens there.
    #[error(
        "nothing listens at {url}\nhint: start a gateway with `centripetal dev`, or name another one with --url"
    )]
    Refused {
        /// Address as given.
        url: String,
    },
    /// The gateway cannot be reached for another reason.
    #[error("cannot connect to {url}")]
    Unreachable {
        /// Address as given.
        url: String,
        /// What happened.
        #[source]
        source: ClientError,
    },
    /// The gateway refused or ended the connection or the last subscription.
    #[error("{reason} ({code}){}", hint::line(.hint))]
    Ended {
        /// Error, disconnect or unsubscribe code.
        code: u32,
        /// Text of the gateway.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// A message was not published.
    #[error("{}not published: {source}{}", hint::place(.line), hint::line(hint::publish(.source)))]
    Publish {
        /// Line of the input, from 1; `None` for a message of the command line.
        line: Option<u64>,
        /// What happened.
        source: ClientError,
    },
    /// The message is not JSON.
    #[error(
        "{}not JSON\nhint: give a JSON value, such as '{{\"text\":\"hello\"}}', or --text to send it as a JSON string",
        hint::place(.line)
    )]
    NotJson {
        /// Line of the input, from 1; `None` for a message of the command line.
        line: Option<u64>,
    },
    /// A line of the input is larger than any gateway takes.
    #[error("line {line}: longer than {limit} bytes")]
    LineTooLong {
        /// Line of the input, from 1.
        line: u64,
        /// Longest line read.
        limit: u64,
    },
    /// The input cannot be read.
    #[error("cannot read the messages")]
    Input(#[source] io::Error),
    /// The output cannot be written.
    #[error("cannot write")]
    Output(#[source] io::Error),
}

impl ConnectionArgs {
    /// The flags, for a command that needs a gateway.
    fn flags() -> [Arg; 3] {
        [
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .value_hint(ValueHint::Url)
                .default_value("grpc://127.0.0.1:8001")
                .help("Gateway: grpc://, grpcs://, ws:// or wss://"),
            Arg::new("token")
                .long("token")
                .value_name("JWT")
                .help("Connection token (see `centripetal gentoken`)"),
            Arg::new("ca-file")
                .long("ca-file")
                .value_name("FILE")
                .value_hint(ValueHint::FilePath)
                .value_parser(value_parser!(PathBuf))
                .help("Trust the certificate authorities of this PEM file as well"),
        ]
    }

    fn from_matches(matches: &ArgMatches) -> Self {
        Self {
            url: matches.get_one("url").cloned().unwrap_or_default(),
            token: matches
                .get_one::<String>("token")
                .map(|token| Secret::from(token.as_str())),
            ca_file: matches.get_one("ca-file").cloned(),
        }
    }

    /// A client that begins to connect.
    async fn client(&self) -> Result<(Client, Events), Error> {
        let unusable = |source| Error::Client {
            url: self.url.clone(),
            source,
        };
        let (client, events) = self.builder().and_then(Builder::build).map_err(unusable)?;
        let connecting = client.connect().await;
        connecting.map_err(|error| self.unreachable(error))?;
        Ok((client, events))
    }

    fn builder(&self) -> Result<Builder, BuildError> {
        let mut builder = Client::builder(&*self.url)
            .name("centripetal")
            .version(env!("CARGO_PKG_VERSION"));
        if let Some(token) = &self.token {
            builder = builder.token(token.expose());
        }
        match &self.ca_file {
            Some(path) => builder.ca_file(path),
            None => Ok(builder),
        }
    }

    /// What an event means for a command that has not been connected yet: an end, or nothing.
    fn before_connected(&self, event: &Event) -> Result<(), Error> {
        match event {
            Event::Disconnected { code, reason } => Err(Error::Ended {
                code: *code,
                reason: reason.clone(),
                hint: hint::connection(*code),
            }),
            Event::Error(error @ ClientError::Transport(_)) => Err(self.unreachable(error.clone())),
            _ => Ok(()),
        }
    }

    fn unreachable(&self, source: ClientError) -> Error {
        let url = self.url.clone();
        if source.is_refused() {
            Error::Refused { url }
        } else {
            Error::Unreachable { url, source }
        }
    }
}

/// A reader that went away (`| head -1`) is a success.
fn unless_broken_pipe(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
