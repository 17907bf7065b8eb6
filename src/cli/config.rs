//! Commands about configurations: write, check, list, explain (config.md 10).

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches};

use super::{Command, Context, Failure, config_argument, http};
use crate::config::{self, Config, Format, Loaded, Sources, doc};

pub(super) const GENCONFIG: Command = Command {
    arguments: || {
        clap::Command::new("genconfig")
            .about("Write a minimal configuration file with fresh secrets")
            .after_help("The ending of the file name decides the format: .json, .yaml or .toml.")
            .arg(config_argument().help("File to write; must not exist yet"))
    },
    run: |arguments, context| {
        let path = path(arguments, "config");
        let format = Format::of(&path).map_err(failed)?;
        let text = format.write(&config::minimal()).map_err(failed)?;
        create(context, &path, &text)
    },
};

pub(super) const CHECKCONFIG: Command = Command {
    arguments: || {
        clap::Command::new("checkconfig")
            .about("Read and check a configuration; silent when all is well")
            .arg(config_argument().help("File to check"))
            .arg(switch("strict", 's', "Also fail on unknown keys"))
    },
    run: check,
};

pub(super) const DEFAULTCONFIG: Command = Command {
    arguments: || {
        clap::Command::new("defaultconfig")
            .about("Write the whole configuration with defaults")
            .arg(config_argument().help("File to write; must not exist yet"))
            .arg(base_argument())
            .arg(switch("dry-run", 'd', "Print it, write no file"))
    },
    run: |arguments, context| {
        let config = base(arguments, context)?;
        let path = path(arguments, "config");
        let format = Format::of(&path).map_err(failed)?;
        let text = format.write(&config::shown(&config)).map_err(failed)?;
        if arguments.get_flag("dry-run") {
            context.out.write_all(text.as_bytes())?;
            return Ok(());
        }
        create(context, &path, &text)
    },
};

pub(super) const DEFAULTENV: Command = Command {
    arguments: || {
        clap::Command::new("defaultenv")
            .about("Print all environment variables with their values")
            .arg(base_argument())
            .arg(
                Arg::new("base-non-zero-only")
                    .long("base-non-zero-only")
                    .action(ArgAction::SetTrue)
                    .help("Leave out variables that are empty, zero or false"),
            )
    },
    run: |arguments, context| {
        let config = base(arguments, context)?;
        for line in config::environment_lines(&config, arguments.get_flag("base-non-zero-only")) {
            writeln!(context.out, "{line}")?;
        }
        Ok(())
    },
};

pub(super) const CONFIGDOC: Command = Command {
    arguments: || {
        clap::Command::new("configdoc")
            .about("Explain all options, as a local page or as Markdown")
            .arg(switch("markdown", 'm', "Print Markdown, serve no page"))
            .arg(switch("list", 'l', "Print the names of the sections"))
            .arg(
                Arg::new("example")
                    .long("example")
                    .action(ArgAction::SetTrue)
                    .help("Print an example file with the options that matter"),
            )
            .arg(
                Arg::new("section")
                    .short('s')
                    .long("section")
                    .value_name("NAME")
                    .help("Only this section, such as client"),
            )
            .arg(
                Arg::new("port")
                    .short('p')
                    .long("port")
                    .value_name("NUMBER")
                    .default_value("6060")
                    .value_parser(clap::value_parser!(u16))
                    .help("Port of the page"),
            )
    },
    run: explain,
};

fn switch(name: &'static str, letter: char, help: &'static str) -> Arg {
    Arg::new(name)
        .short(letter)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn base_argument() -> Arg {
    Arg::new("base")
        .short('b')
        .long("base")
        .value_name("FILE")
        .help("Take the values of this file where it has some")
}

fn path(arguments: &ArgMatches, name: &str) -> PathBuf {
    arguments
        .get_one::<String>(name)
        .map(PathBuf::from)
        .unwrap_or_default()
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(format!("error: {error}"))
}

fn check(arguments: &ArgMatches, context: &mut Context<'_>) -> Result<(), Failure> {
    let path = path(arguments, "config");
    let sources = Sources::path(context.directory, &path, context.environment.clone());
    let loaded = config::load(&sources)
        .map_err(|error| Failure::new(format!("error getting config: {error}")))?;
    if loaded.path.is_none() {
        return Err(Failure::new("config file not found"));
    }
    loaded
        .config
        .validate()
        .map_err(|error| Failure::new(format!("error validating config: {error}")))?;
    if arguments.get_flag("strict") {
        loaded.refuse_unknown().map_err(Failure::new)?;
    }
    Ok(())
}

/// Defaults, with the values of a base file and of variables.
fn base(arguments: &ArgMatches, context: &Context<'_>) -> Result<Config, Failure> {
    let environment = context.environment.clone();
    let sources = match arguments.get_one::<String>("base") {
        Some(path) => Sources::path(context.directory, Path::new(path), environment),
        None => Sources {
            environment,
            ..Sources::value(serde_json::Value::Null)
        },
    };
    let Loaded { config, .. } = config::load(&sources).map_err(failed)?;
    config.validate().map_err(failed)?;
    Ok(config)
}

/// Writes a new file that only its owner can read: it may hold secrets.
fn create(context: &Context<'_>, path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let named = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => failed(format!(
            "{} exists already and is left as it is",
            path.display()
        )),
        _ => failed(format!("cannot write {}: {error}", path.display())),
    };
    let mut file = options.open(context.directory.join(path)).map_err(named)?;
    file.write_all(text.as_bytes()).map_err(named)
}

fn explain(arguments: &ArgMatches, context: &mut Context<'_>) -> Result<(), Failure> {
    let section = arguments.get_one::<String>("section").map(String::as_str);
    let sections = doc::sections();
    if let Some(name) = section
        && !sections.contains(&name)
    {
        return Err(failed(format!(
            "no section {name}; there are: {}",
            sections.join(", ")
        )));
    }
    if arguments.get_flag("list") {
        for name in sections {
            writeln!(context.out, "{name}")?;
        }
    } else if arguments.get_flag("example") {
        context.out.write_all(doc::example().as_bytes())?;
    } else if arguments.get_flag("markdown") {
        context.out.write_all(doc::markdown(section).as_bytes())?;
    } else {
        let port = arguments
            .get_one::<u16>("port")
            .copied()
            .unwrap_or_default();
        let page = bytes::Bytes::from(doc::html(section));
        return http::serve(context, ("127.0.0.1", port), move |_| {
            http::Answer::ok("text/html; charset=utf-8", page.clone())
        });
    }
    Ok(())
}
