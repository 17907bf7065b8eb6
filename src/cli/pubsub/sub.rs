//! `centripetal sub`: prints every message of some channels once, one line each, until it is stopped.

use std::{collections::BTreeMap, future::Future, io::Write};

use clap::{Arg, ArgAction, ArgMatches, Command};
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};

use super::{
    ConnectionArgs, Error, hint,
    line::{self, Line},
    unless_broken_pipe,
};
use crate::{
    client::{
        Client, Error as ClientError, Event, SubscribeOptions, Subscribed, SubscriptionEvent,
    },
    model::{Channel, Epoch},
};

const EXAMPLES: &str = "\
Examples:
  centripetal sub news
  centripetal sub news chat:room1 --json | jq .data
  centripetal sub news --recover        # after a cut, print what was missed
  centripetal sub news --join-leave
  centripetal sub news --url wss://example.com --token \"$(centripetal gentoken -q -u ann)\"

Messages go to standard output, everything else to standard error. Ctrl-C ends with exit code 0.
With --recover a message is printed exactly once even if the connection or the gateway breaks; when messages were lost
(the history is too short, or the gateway started anew without a store) standard error says `recovered: false`.";

/// What `centripetal sub` is asked for.
#[derive(Clone, Debug)]
pub struct SubArgs {
    /// Where the gateway is.
    pub connection: ConnectionArgs,
    /// Channels, at least one.
    pub channels: Vec<String>,
    /// Ask for missed messages after a cut.
    pub recover: bool,
    /// Print joins and leaves.
    pub join_leave: bool,
    /// How and how much is printed.
    pub output: Output,
}

/// How and how much is printed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Output {
    /// One JSON object a line.
    pub json: bool,
    /// No status messages.
    pub quiet: bool,
}

impl SubArgs {
    /// Reads what clap found.
    #[must_use]
    pub fn from_matches(matches: &ArgMatches) -> Self {
        let channels = matches.get_many::<String>("channel");
        Self {
            connection: ConnectionArgs::from_matches(matches),
            channels: channels.into_iter().flatten().cloned().collect(),
            recover: matches.get_flag("recover"),
            join_leave: matches.get_flag("join-leave"),
            output: Output {
                json: matches.get_flag("json"),
                quiet: matches.get_flag("quiet"),
            },
        }
    }
}

/// The command with its flags and help.
#[must_use]
pub fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    Command::new("sub")
        .about("Print the messages of channels, one line each")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("channel")
                .value_name("CHANNEL")
                .required(true)
                .num_args(1..)
                .help("Channels to listen to"),
        )
        .args(ConnectionArgs::flags())
        .args([
            flag("recover", "After a cut, print what was missed meanwhile"),
            flag("join-leave", "Print who joins and leaves"),
            flag(
                "json",
                "Print one JSON object a line: channel, data, offset, info, tags",
            ),
            flag("quiet", "Print no status messages").short('q'),
        ])
}

/// Runs `centripetal sub` until Ctrl-C.
///
/// # Errors
/// When the gateway cannot be reached at first, or refuses for good; see [`Error`].
pub async fn run(args: SubArgs, out: &mut dyn Write) -> Result<(), Error> {
    let mut status = std::io::stderr();
    // Without a signal handler Ctrl-C ends the process as always.
    let stop = tokio::signal::ctrl_c().then(|result| async move {
        if result.is_err() {
            std::future::pending::<()>().await;
        }
    });
    let mut printer = Printer::new(&args, out, &mut status);
    unless_broken_pipe(follow(&args, &mut printer, stop).await)
}

/// Something that happened.
enum Item {
    Connection(Event),
    Channel(Channel, SubscriptionEvent),
}

/// Follows the channels until `stop` or a final refusal.
pub(super) async fn follow(
    args: &SubArgs,
    printer: &mut Printer<'_>,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let (client, events) = args.connection.client().await?;
    let subscriptions = subscribe(args, &client).await?;
    let feed = stream::select(events.map(Item::Connection), subscriptions);
    let mut feed = Box::pin(feed.take_until(Box::pin(stop)));
    while let Some(item) = feed.next().await {
        printer.take(args, item)?;
        // Whatever is there already is written before the writer is flushed once.
        while let Some(Some(item)) = feed.next().now_or_never() {
            printer.take(args, item)?;
        }
        printer.out.flush().map_err(Error::Output)?;
    }
    drop(feed);
    client.close().await;
    Ok(())
}

async fn subscribe(
    args: &SubArgs,
    client: &Client,
) -> Result<impl Stream<Item = Item> + Send + Unpin, Error> {
    let mut options = SubscribeOptions::new();
    if args.recover {
        options = options.recover();
    }
    if args.join_leave {
        options = options.join_leave();
    }
    let mut subscriptions = Vec::new();
    // A channel named twice is one subscription, so that every message is printed once.
    let channels: std::collections::BTreeSet<&String> = args.channels.iter().collect();
    for name in channels {
        let channel = Channel::from(name.as_str());
        let subscribed = client.subscribe(channel.clone(), options.clone()).await;
        let subscription = subscribed.map_err(|error| args.connection.unreachable(error))?;
        let tagged = subscription.map(move |event| Item::Channel(channel.clone(), event));
        subscriptions.push(tagged);
    }
    Ok(stream::select_all(subscriptions))
}

/// Where it is printed, and what was seen so far.
pub(super) struct Printer<'a> {
    out: &'a mut dyn Write,
    status: &'a mut dyn Write,
    output: Output,
    labelled: bool,
    connected: bool,
    /// Channels that are still followed, with the epoch last seen.
    open: BTreeMap<Channel, Option<Epoch>>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(args: &SubArgs, out: &'a mut dyn Write, status: &'a mut dyn Write) -> Self {
        let open: BTreeMap<_, _> = args
            .channels
            .iter()
            .map(|name| (Channel::from(name.as_str()), None))
            .collect();
        Self {
            out,
            status,
            output: args.output,
            labelled: open.len() > 1,
            connected: false,
            open,
        }
    }

    fn take(&mut self, args: &SubArgs, item: Item) -> Result<(), Error> {
        match item {
            Item::Connection(event) => self.connection(args, &event),
            Item::Channel(channel, event) => self.channel(args, &channel, event),
        }
    }

    fn connection(&mut self, args: &SubArgs, event: &Event) -> Result<(), Error> {
        if !self.connected {
            args.connection.before_connected(event)?;
        }
        match event {
            Event::Connected { client, .. } => {
                let again = if self.connected { " again" } else { "" };
                self.connected = true;
                self.say(&format!(
                    "connected{again} to {} as {client}",
                    args.connection.url
                ));
            }
            Event::Connecting { code, reason } if *code > 0 => {
                self.say(&format!(
                    "connection lost: {reason} ({code}); connecting again"
                ));
            }
            Event::Disconnected { code, reason } => {
                return Err(Error::Ended {
                    code: *code,
                    reason: reason.clone(),
                    hint: hint::connection(*code),
                });
            }
            Event::Error(error) => self.say(&format!("{}; trying again", chain(error))),
            _ => {}
        }
        Ok(())
    }

    fn channel(
        &mut self,
        args: &SubArgs,
        channel: &Channel,
        event: SubscriptionEvent,
    ) -> Result<(), Error> {
        match event {
            SubscriptionEvent::Publication(publication) => {
                return self.print(channel, &Line::Publication(&publication));
            }
            // A namespace may push them to everybody.
            SubscriptionEvent::Join(_) | SubscriptionEvent::Leave(_) if !args.join_leave => {}
            SubscriptionEvent::Join(info) => return self.print(channel, &Line::Join(&info)),
            SubscriptionEvent::Leave(info) => return self.print(channel, &Line::Leave(&info)),
            SubscriptionEvent::Subscribed(told) => self.subscribed(args, channel, &told),
            SubscriptionEvent::Subscribing { code, reason } if (2500..3000).contains(&code) => {
                self.say(&format!("{channel}: {reason} ({code}); subscribing again"));
            }
            SubscriptionEvent::Error(error) => {
                self.say(&format!("{channel}: {}; trying again", chain(&error)));
            }
            SubscriptionEvent::Unsubscribed { code, reason } => {
                self.open.remove(channel);
                let hint = hint::subscription(code);
                if self.open.is_empty() {
                    let reason = format!("{channel}: {reason}");
                    return Err(Error::Ended { code, reason, hint });
                }
                self.say(&format!("{channel}: {reason} ({code}){}", hint::line(hint)));
            }
            SubscriptionEvent::Subscribing { .. } => {}
        }
        Ok(())
    }

    fn subscribed(&mut self, args: &SubArgs, channel: &Channel, told: &Subscribed) {
        let at = told.position.clone().unwrap_or_default();
        let again = self.open.insert(channel.clone(), Some(at.epoch)).flatten();
        let text = match (&again, &told.position) {
            (None, None) if args.recover => {
                "subscribed; the gateway keeps no history of this channel, so --recover has no effect"
                    .to_owned()
            }
            (None, None) => "subscribed".to_owned(),
            (None, Some(at)) => format!("subscribed at offset {}, epoch {}", at.offset, at.epoch),
            (Some(_), _) if told.recovered => match told.missed {
                0 => "subscribed again, nothing was missed".to_owned(),
                missed => format!("subscribed again, recovered: true, missed messages: {missed}"),
            },
            (Some(old), Some(at)) if told.was_recovering => {
                let why = if *old == at.epoch {
                    "the history does not reach back far enough"
                } else {
                    "the stream was started anew with another epoch"
                };
                format!(
                    "subscribed again, recovered: false: {why}; messages may be missing, going on at offset {}, epoch {}",
                    at.offset, at.epoch
                )
            }
            (Some(_), _) => {
                "subscribed again; what was published meanwhile is missing (see --recover)".to_owned()
            }
        };
        self.say(&format!("{channel}: {text}"));
    }

    fn print(&mut self, channel: &Channel, line: &Line<'_>) -> Result<(), Error> {
        let text = if self.output.json {
            line::json(channel, line).map_err(|error| Error::Output(error.into()))?
        } else {
            line::plain(self.labelled.then_some(channel), line)
        };
        writeln!(self.out, "{text}").map_err(Error::Output)
    }

    fn say(&mut self, text: &str) {
        if !self.output.quiet {
            // Nobody listening to status messages is no reason to stop.
            writeln!(self.status, "{text}").ok();
        }
    }
}

/// An error with its causes on one line.
fn chain(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
