//! `centripetal pub`: publishes one message, or every line of standard input, as a client.

use std::{io::Write, pin::Pin};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::de::IgnoredAny;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use super::{ConnectionArgs, Error};
use crate::{
    client::{Client, Event},
    model::Channel,
};

const EXAMPLES: &str = "\
Examples:
  centripetal pub news '{\"text\":\"hello\"}'
  centripetal pub news hello --text           # the same as '\"hello\"'
  tail -F access.log | centripetal pub log --text
  centripetal pub news - < messages.jsonl     # one JSON value a line
  centripetal pub news 1 --token \"$(centripetal gentoken -q -u ann)\"

The gateway decides who may publish: error 103 means that neither the token's user nor everybody may
(allow_publish_for_client of the channel's namespace). A backend publishes through the server API instead.
Exit code 0: the gateway took every message. Otherwise 1, with the number and text of the error.";

/// Longest line read from standard input; gateways take 64 KiB unless told otherwise.
const LONGEST_LINE: u64 = 1 << 20;

/// What `centripetal pub` is asked for.
#[derive(Clone, Debug)]
pub struct PubArgs {
    /// Where the gateway is.
    pub connection: ConnectionArgs,
    /// Channel to publish into.
    pub channel: String,
    /// The message; `None` or `-` for the lines of standard input.
    pub data: Option<String>,
    /// The message is text, to be sent as a JSON string.
    pub text: bool,
}

impl PubArgs {
    /// Reads what clap found.
    #[must_use]
    pub fn from_matches(matches: &ArgMatches) -> Self {
        Self {
            connection: ConnectionArgs::from_matches(matches),
            channel: matches.get_one("channel").cloned().unwrap_or_default(),
            data: matches.get_one("data").cloned(),
            text: matches.get_flag("text"),
        }
    }

    /// The message of the command line, checked; `None` when the input has them.
    fn message(&self) -> Result<Option<String>, Error> {
        match self.data.as_deref() {
            None | Some("-") => Ok(None),
            Some(data) => payload(data, self.text, None).map(Some),
        }
    }
}

/// The command with its flags and help.
#[must_use]
pub fn command() -> Command {
    Command::new("pub")
        .about("Publish a message, or every line of standard input")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("channel")
                .value_name("CHANNEL")
                .required(true)
                .value_parser(clap::builder::NonEmptyStringValueParser::new())
                .help("Channel to publish into"),
        )
        .arg(
            Arg::new("data")
                .value_name("DATA")
                .allow_hyphen_values(true)
                .help(
                    "JSON value; `-` or nothing: the lines of standard input, empty ones left out",
                ),
        )
        .args(ConnectionArgs::flags())
        .arg(
            Arg::new("text")
                .long("text")
                .action(ArgAction::SetTrue)
                .help("Send the data as a JSON string"),
        )
}

/// Runs `centripetal pub`. Prints nothing: no message is good news.
///
/// # Errors
/// When the gateway cannot be reached or a message is not taken; see [`Error`].
pub async fn run(args: PubArgs, _out: &mut dyn Write) -> Result<(), Error> {
    let mut input = BufReader::new(tokio::io::stdin());
    publish(&args, &mut input).await
}

/// Publishes the message of the command line or the lines of the input, one after another.
pub(super) async fn publish(
    args: &PubArgs,
    input: &mut (impl AsyncBufRead + Unpin),
) -> Result<(), Error> {
    let message = args.message()?;
    let client = connect(args).await?;
    let channel = Channel::from(args.channel.as_str());
    let result = match message {
        Some(message) => send(&client, &channel, message, None).await,
        None => publish_lines(args, &client, &channel, Pin::new(input)).await,
    };
    client.close().await;
    result
}

/// Waits for the connection, so that a refusal is told instead of a time-out.
async fn connect(args: &PubArgs) -> Result<Client, Error> {
    let (client, mut events) = args.connection.client().await?;
    while let Some(event) = events.next().await {
        match event {
            Event::Connected { .. } => break,
            // Somebody who publishes once wants an answer now, so nothing is tried again.
            Event::Error(error) => return Err(args.connection.unreachable(error)),
            event => args.connection.before_connected(&event)?,
        }
    }
    Ok(client)
}

async fn publish_lines(
    args: &PubArgs,
    client: &Client,
    channel: &Channel,
    mut input: Pin<&mut (impl AsyncBufRead + Unpin)>,
) -> Result<(), Error> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut limited = (&mut input).take(LONGEST_LINE + 1);
        let read = limited.read_until(b'\n', &mut line).await;
        if read.map_err(Error::Input)? == 0 {
            break;
        }
        if line.len() as u64 > LONGEST_LINE {
            return Err(Error::LineTooLong {
                line: number,
                limit: LONGEST_LINE,
            });
        }
        let text = String::from_utf8_lossy(line.trim_ascii());
        if !text.is_empty() {
            let message = payload(&text, args.text, Some(number))?;
            send(client, channel, message, Some(number)).await?;
        }
    }
    Ok(())
}

async fn send(
    client: &Client,
    channel: &Channel,
    message: String,
    line: Option<u64>,
) -> Result<(), Error> {
    let published = client.publish(channel.clone(), message).await;
    published.map_err(|source| Error::Publish { line, source })
}

/// The payload to send: a JSON value, or text as a JSON string.
fn payload(data: &str, text: bool, line: Option<u64>) -> Result<String, Error> {
    if text {
        return Ok(serde_json::Value::from(data).to_string());
    }
    match serde_json::from_str::<IgnoredAny>(data) {
        Ok(_) => Ok(data.to_owned()),
        Err(_) => Err(Error::NotJson { line }),
    }
}
