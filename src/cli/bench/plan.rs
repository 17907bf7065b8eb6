//! What is to be measured: the command line of `centripetal bench` and the values made of it.

use std::{path::PathBuf, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, builder::ValueParser, value_parser};

use super::{
    api::Route,
    target::{Error, Target},
};

/// Most connections that are opened side by side.
const CONCURRENCY: &str = "64";

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Fanout,
    Channels,
    Idle,
    Connect,
    Rpc,
    Publish,
    Storm,
}

/// Name, mode, what it measures, defaults of connections, publications and rate.
type Row = (&'static str, Mode, &'static str, [&'static str; 3]);

const MODES: [Row; 7] = [
    (
        "fanout",
        Mode::Fanout,
        "Many subscribers of one channel",
        ["1000", "1000", "50"],
    ),
    (
        "channels",
        Mode::Channels,
        "Many channels with few subscribers each",
        ["1000", "10000", "1000"],
    ),
    (
        "idle",
        Mode::Idle,
        "Connections that do nothing: memory",
        ["1000", "0", "0"],
    ),
    (
        "connect",
        Mode::Connect,
        "Opening connections and subscribing",
        ["1000", "0", "0"],
    ),
    (
        "rpc",
        Mode::Rpc,
        "Remote calls by clients",
        ["16", "10000", "0"],
    ),
    (
        "publish",
        Mode::Publish,
        "Publishing without subscribers",
        ["16", "20000", "0"],
    ),
    (
        "storm",
        Mode::Storm,
        "All clients cut at once while publishing goes on",
        ["1000", "200", "10"],
    ),
];

impl Mode {
    /// Its name on the command line.
    pub(super) fn name(self) -> &'static str {
        let row = MODES.iter().find(|(_, mode, ..)| *mode == self);
        row.map_or("bench", |(name, ..)| name)
    }
}

/// Everything a measurement needs to know.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) mode: Mode,
    pub(super) url: String,
    pub(super) target: Target,
    pub(super) route: Route,
    /// Sessions; in mode `publish`, publishers.
    pub(super) connections: usize,
    /// gRPC streams that share a connection.
    pub(super) streams: usize,
    /// Sessions opened side by side.
    pub(super) concurrency: usize,
    pub(super) channel: String,
    pub(super) channels: usize,
    /// Channels a session subscribes to.
    pub(super) subscriptions: usize,
    /// Publications, or calls in mode `rpc`.
    pub(super) publications: u64,
    /// Publications a second; `None` for as fast as they are answered.
    pub(super) rate: Option<f64>,
    /// Publications of one call.
    pub(super) batch: usize,
    /// Bytes of a payload.
    pub(super) size: usize,
    /// Method of mode `rpc`.
    pub(super) method: String,
    /// Storm: sessions that are not cut.
    pub(super) stay: usize,
    /// Idle: how long.
    pub(super) wait: Duration,
    /// Longest silence at the end before something counts as lost.
    pub(super) quiet: Duration,
    pub(super) pid: Option<u32>,
    pub(super) threads: usize,
    pub(super) json: bool,
    pub(super) plot: Option<PathBuf>,
}

/// The command with a subcommand for each mode.
pub(super) fn command() -> Command {
    Command::new("bench")
        .about("Measure a running server: speed, memory, and what was lost, doubled or reordered")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .after_help(
            "Works with every server of this protocol. It has to allow what is measured: subscribing for all modes, history\n\
             and recovery for `storm` (`centripetal dev` allows everything).\n\nExamples:\n  \
             centripetal dev                      # in another terminal; prints KEY\n  \
             centripetal bench fanout --api-key KEY\n  \
             centripetal bench fanout --url grpc://127.0.0.1:8001 --streams 50 --api-key KEY\n  \
             centripetal bench idle -n 10000 --plot latency.svg\n\n\
             The exit code is 1 when anything was lost.",
        )
        .subcommands(MODES.iter().map(|(name, mode, about, defaults)| {
            Command::new(*name).about(*about).args(arguments(*mode, *defaults))
        }))
}

/// The flags of a mode.
fn arguments(mode: Mode, [connections, publications, rate]: [&'static str; 3]) -> Vec<Arg> {
    let mut arguments = vec![number("connections", connections, "Connections").short('n')];
    arguments.extend(shared());
    if mode != Mode::Rpc {
        let channels = if mode == Mode::Channels { "1000" } else { "1" };
        arguments.push(number("channels", channels, "Channels"));
        let name = text("channel", "NAME", "Beginning of the channels' names");
        arguments.push(name.default_value("bench"));
    }
    if !matches!(mode, Mode::Rpc | Mode::Publish) {
        let help = "Silence after which what did not come is lost";
        arguments.push(seconds("quiet", "10", help));
        let help = "Channels each connection subscribes to";
        arguments.push(number("subscriptions", "1", help));
    }
    if !matches!(mode, Mode::Idle | Mode::Connect | Mode::Rpc) {
        arguments.extend(publishing());
    }
    if !matches!(mode, Mode::Idle | Mode::Connect) {
        let help = "Publications, or calls";
        arguments.push(number("publications", publications, help).short('m'));
        arguments.push(number("size", "120", "Bytes of a payload"));
    }
    match mode {
        Mode::Fanout | Mode::Channels | Mode::Storm => {
            let help = "Publications a second; 0: as fast as they are answered";
            let rate = text("rate", "PER_SECOND", help).default_value(rate);
            arguments.push(rate.value_parser(value_parser!(f64)));
        }
        Mode::Idle => arguments.push(seconds("wait", "5", "How long they do nothing")),
        Mode::Rpc => {
            arguments.push(text("method", "NAME", "Method to call").default_value("bench"));
        }
        Mode::Connect | Mode::Publish => {}
    }
    if mode == Mode::Storm {
        arguments.push(number("stay", "0", "Further connections that are not cut"));
    }
    arguments
}

/// What all modes have.
fn shared() -> [Arg; 10] {
    let url = "Server: ws://HOST:PORT/PATH, http://HOST:PORT/connection/{http_stream,sse} or grpc://HOST:PORT";
    let pid = "Process of the server; 0: the one that listens there, if it is on this machine";
    let plot = "Write percentiles of the latency as SVG";
    [
        text("url", "URL", url).default_value("ws://127.0.0.1:8000/connection/websocket"),
        switch(
            "protobuf",
            "Protobuf on WebSocket and HTTP stream in place of JSON",
        ),
        number("streams", "1", "gRPC streams that share a connection"),
        number(
            "concurrency",
            CONCURRENCY,
            "Connections opened side by side",
        ),
        text("token", "JWT", "Connection token"),
        text("data", "JSON", "Data to connect with"),
        number("pid", "0", pid),
        number("threads", "1", "Threads of those who listen"),
        switch("json", "Print one JSON object"),
        text("plot", "FILE", plot).value_hint(ValueHint::FilePath),
    ]
}

/// How publications go in.
fn publishing() -> [Arg; 3] {
    let api = "Publish through http://HOST:PORT/api or grpc://HOST:PORT; `client`: as a client";
    [
        text("api", "URL", api).default_value("http://127.0.0.1:8000/api"),
        text("api-key", "KEY", "Key of the server API").default_value(""),
        number("batch", "1", "Publications of one call"),
    ]
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    let switch = Arg::new(name).long(name).help(help);
    switch.action(ArgAction::SetTrue)
}

fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn number(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    let parser: ValueParser = value_parser!(u32).into();
    text(name, "N", help)
        .default_value(default)
        .value_parser(parser)
}

fn seconds(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    let parser: ValueParser = value_parser!(u32).into();
    text(name, "SECONDS", help)
        .default_value(default)
        .value_parser(parser)
}

impl Plan {
    /// Reads the matches of the command.
    pub(super) fn from_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let (name, given) = matches.subcommand().unwrap_or(("", matches));
        let row = MODES.iter().find(|row| row.0 == name);
        let mode = row.map_or(Mode::Fanout, |row| row.1);
        let text = |name: &str| given.try_get_one::<String>(name).ok().flatten();
        let number = |name: &str, or: usize| {
            let given = given.try_get_one::<u32>(name).ok().flatten();
            given.map_or(or, |number| usize::try_from(*number).unwrap_or(or))
        };
        let seconds = |name: &str| Duration::from_secs(number(name, 0) as u64);
        let url = text("url").cloned().unwrap_or_default();
        let token = text("token").map(String::as_str);
        let target = Target::parse(&url, given.get_flag("protobuf"), token)?;
        let target = match text("data") {
            Some(data) => target.with_data(data)?,
            None => target,
        };
        let api = text("api")
            .map(String::as_str)
            .filter(|api| *api != "client");
        let key = text("api-key").map_or("", String::as_str);
        let rate = given.try_get_one::<f64>("rate").ok().flatten().copied();
        Ok(Self {
            mode,
            route: Route::parse(api, key, &target)?,
            url,
            target,
            connections: number("connections", 1),
            streams: number("streams", 1).max(1),
            concurrency: number("concurrency", 1).max(1),
            channel: text("channel").cloned().unwrap_or_default(),
            channels: number("channels", 1).max(1),
            subscriptions: number("subscriptions", 1),
            publications: number("publications", 0) as u64,
            rate: rate.filter(|rate| *rate > 0.0),
            batch: number("batch", 1).max(1),
            size: number("size", 0),
            method: text("method").cloned().unwrap_or_default(),
            stay: number("stay", 0),
            wait: seconds("wait"),
            quiet: seconds("quiet"),
            pid: u32::try_from(number("pid", 0)).ok().filter(|pid| *pid > 0),
            threads: number("threads", 1).max(1),
            json: given.get_flag("json"),
            plot: text("plot").map(PathBuf::from),
        })
    }

    /// Where publications go in, for the report.
    pub(super) fn publishes_by(&self) -> Option<&'static str> {
        let publishes = !matches!(self.mode, Mode::Idle | Mode::Connect | Mode::Rpc);
        publishes.then(|| self.route.name())
    }
}
