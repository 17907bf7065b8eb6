//! What a person types: commands, flags, help. Everything printed goes through one `Write`.
//!
//! Without a command the server runs; how, is told by the caller (`main`), because this module knows no server.
//! A new command is one line in `COMMANDS`.

use std::{
    ffi::OsString,
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::ArgMatches;

use crate::{
    config::{Environment, File, Sources},
    dev::Demo,
};

mod bench;
mod config;
pub mod credentials;
pub mod dev;
mod files;
mod flags;
pub mod health;
mod http;
mod identity;
pub mod pubsub;
mod talk;
pub mod token;

/// One command: its arguments and what it does.
#[derive(Clone, Copy)]
struct Command {
    arguments: fn() -> clap::Command,
    run: fn(&ArgMatches, &mut Context<'_>) -> Result<(), Failure>,
}

/// All commands, in the order of the help text.
const COMMANDS: &[Command] = &[
    talk::SUB,
    talk::PUB,
    talk::HEALTHCHECK,
    bench::BENCH,
    config::GENCONFIG,
    config::CHECKCONFIG,
    identity::GENTOKEN,
    identity::GENSUBTOKEN,
    identity::CHECKTOKEN,
    identity::CHECKSUBTOKEN,
    identity::GENCREDENTIALS,
    identity::CHECKCREDENTIALS,
    config::DEFAULTCONFIG,
    config::DEFAULTENV,
    config::CONFIGDOC,
    files::SERVE,
    COMPLETION,
    VERSION,
];

/// What a process was started with.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Arguments, the program's name first.
    pub arguments: Vec<OsString>,
    /// Variables.
    pub environment: Environment,
    /// Working directory.
    pub directory: PathBuf,
}

/// What the server is to be started with.
#[derive(Debug)]
pub struct Start {
    /// Where the configuration comes from.
    pub sources: Sources,
    /// Unknown keys stop the start.
    pub strict: bool,
    /// Development: a page to serve, and what to say when it is there.
    pub page: Option<Page>,
}

/// The demo page of `dev`.
#[derive(Debug)]
pub struct Page {
    /// Serves it.
    pub router: axum::Router,
    /// What to open and what to try, for a person.
    pub banner: String,
}

/// Runs the server until it ends; the result is the exit code of the process.
pub type Serve<'a> = &'a mut dyn FnMut(Start) -> u8;

/// What a command works with.
pub(crate) struct Context<'a> {
    /// Variables.
    pub(crate) environment: &'a Environment,
    /// Working directory.
    pub(crate) directory: &'a Path,
    /// Where everything is printed.
    pub(crate) out: &'a mut dyn Write,
}

/// A message for the person, and exit code 1. An empty message was told elsewhere.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// With this message.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(format!("error: {error}"))
    }
}

/// Does what was typed; the result is the exit code of the process.
pub fn run(invocation: &Invocation, out: &mut dyn Write, serve: Serve<'_>) -> u8 {
    let matches = match parser().try_get_matches_from(&invocation.arguments) {
        Ok(matches) => matches,
        Err(answer) => return explain(&answer, out),
    };
    let Some((name, arguments)) = matches.subcommand() else {
        return serve(start(&matches, invocation));
    };
    let mut context = Context {
        environment: &invocation.environment,
        directory: &invocation.directory,
        out,
    };
    let command = COMMANDS
        .iter()
        .find(|command| (command.arguments)().get_name() == name);
    let Some(command) = command else {
        return serve(development(arguments, invocation));
    };
    match (command.run)(arguments, &mut context).and_then(|()| Ok(context.out.flush()?)) {
        Ok(()) => 0,
        Err(Failure(message)) => {
            if !message.is_empty() {
                // A closed pipe takes the message with it; the exit code still tells.
                let _closed: io::Result<()> = writeln!(context.out, "{message}");
            }
            1
        }
    }
}

fn start(matches: &ArgMatches, invocation: &Invocation) -> Start {
    let path = matches
        .get_one::<String>("config")
        .cloned()
        .unwrap_or_default();
    let sources = Sources {
        directory: invocation.directory.clone(),
        file: File::Path(path.into()),
        environment: invocation.environment.clone(),
        flags: flags::given(matches),
    };
    Start {
        sources: sources.with_dotenv(),
        strict: matches.get_flag("strict"),
        page: None,
    }
}

/// What `dev` starts: the server of every day with a configuration made in memory.
fn development(arguments: &ArgMatches, invocation: &Invocation) -> Start {
    let (wanted, key) = (dev::DevArgs::from_matches(arguments), dev::random_key());
    let demo = Demo {
        token_secret: key.clone(),
        grpc_port: wanted.grpc_port,
    };
    let sources = Sources {
        directory: invocation.directory.clone(),
        ..Sources::value(dev::config(&wanted, key.expose()))
    };
    Start {
        sources,
        strict: true,
        page: Some(Page {
            router: crate::dev::router(demo),
            banner: dev::banner(&wanted, key.expose()),
        }),
    }
}

/// Help and version are answers; anything else is an error with the usage.
fn explain(answer: &clap::Error, out: &mut dyn Write) -> u8 {
    let text = answer.render().to_string();
    let text = match text.strip_prefix("error: ") {
        Some(rest) => format!("Error: {rest}"),
        None => text,
    };
    // A closed pipe takes the text with it; the exit code still tells.
    let _closed: io::Result<()> = writeln!(out, "{}", text.trim_end());
    u8::from(answer.use_stderr())
}

/// The whole command line.
fn parser() -> clap::Command {
    clap::Command::new("centripetal")
        .about(
            "Real-time gateway: publish from your backend, receive on gRPC streams and WebSockets",
        )
        .after_help(EXAMPLES)
        .override_usage("centripetal [FLAGS]\n       centripetal <COMMAND> [FLAGS]")
        .subcommand_negates_reqs(true)
        .args_conflicts_with_subcommands(true)
        .next_help_heading("Flags of the server")
        .arg(config_argument().help("Configuration file: .json, .yaml, .yml or .toml"))
        .arg(
            clap::Arg::new("strict")
                .long("strict")
                .action(clap::ArgAction::SetTrue)
                .help("Refuse to start when the file holds unknown keys"),
        )
        .args(flags::arguments())
        .subcommand(dev::command())
        .subcommands(COMMANDS.iter().map(|command| (command.arguments)()))
}

/// `-c, --config`, which most commands have.
pub(crate) fn config_argument() -> clap::Arg {
    clap::Arg::new("config")
        .short('c')
        .long("config")
        .value_name("FILE")
        .default_value("config.json")
        .help("Configuration file")
}

const EXAMPLES: &str = "\
Without a command the server runs. Every option can be set in the configuration file, as a variable
(client.token.hmac_secret_key is CENTRIPETAL_CLIENT_TOKEN_HMAC_SECRET_KEY), and a few as flags.

Examples:
  centripetal genconfig                     write config.json with fresh secrets
  centripetal checkconfig --strict          find mistakes in config.json
  centripetal                               run with config.json of this folder
  centripetal -c app.toml --health.enabled  run with another file and one option more
  centripetal configdoc                     read about all options in a browser";

const VERSION: Command = Command {
    arguments: || clap::Command::new("version").about("Print name, version and tool chain"),
    run: |_, context| {
        writeln!(
            context.out,
            "Centripetal v{} (Rust {})",
            env!("CARGO_PKG_VERSION"),
            env!("CARGO_PKG_RUST_VERSION")
        )?;
        Ok(())
    },
};

const COMPLETION: Command = Command {
    arguments: || {
        clap::Command::new("completion")
            .about("Print a script that completes commands and flags")
            .after_help(
                "Example:\n  centripetal completion bash > /etc/bash_completion.d/centripetal",
            )
            .arg(
                clap::Arg::new("shell")
                    .required(true)
                    .value_parser(clap::value_parser!(clap_complete::Shell))
                    .help("Shell to write it for"),
            )
    },
    run: |arguments, context| {
        if let Some(shell) = arguments.get_one::<clap_complete::Shell>("shell") {
            // Into memory first: the generator panics when its output breaks.
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut parser(), "centripetal", &mut script);
            context.out.write_all(&script)?;
        }
        Ok(())
    },
};

/// Runs a future to its end, for commands that need the network.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(future);
    // A read of standard input cannot be called off, and nobody waits for it.
    runtime.shutdown_background();
    Ok(result)
}

#[cfg(test)]
mod tests;
