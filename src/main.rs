//! Process entry: hands what was typed to the command line, and the server's start to the server. No logic.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use centripetal::{
    cli::{self, Invocation, Page, Start},
    config::{self, Config, Environment, Sources},
    server, telemetry,
};

fn main() -> ExitCode {
    let invocation = Invocation {
        arguments: std::env::args_os().collect(),
        environment: Environment::process(),
        directory: std::env::current_dir().unwrap_or_default(),
    };
    ExitCode::from(cli::run(&invocation, &mut io::stdout(), &mut start))
}

/// Reads and judges the configuration, sets logs up, runs the server.
fn start(start: Start) -> u8 {
    let loaded = match config::load(&start.sources) {
        Ok(loaded) => loaded,
        Err(error) => {
            telemetry::early_fatal("error getting config", &error);
            return 1;
        }
    };
    let guard = match telemetry::init(&loaded.config.log) {
        Ok(guard) => guard,
        Err(error) => {
            telemetry::early_fatal(
                "error setting up logs",
                &format!("{:#}", anyhow::Error::from(error)),
            );
            return 1;
        }
    };
    if let Some(path) = &loaded.path {
        tracing::info!(path = %path.display(), "using config file");
    }
    loaded.warnings.iter().for_each(warn);
    if let Err(error) = loaded.judge(start.strict) {
        tracing::error!(target: telemetry::FATAL, error = %error, "error validating config");
        return 1;
    }
    loaded.config.start_warnings().iter().for_each(warn);
    let records = guard.records();
    match serve(loaded.config, start.sources, (start.page, records)) {
        Ok(code) => code,
        Err(error) => {
            let step = error
                .downcast_ref()
                .map_or("server stopped", server::Error::step);
            tracing::error!(target: telemetry::FATAL, error = format!("{error:#}"), "{step}");
            1
        }
    }
}

fn warn(warning: &config::Warning) {
    let config::Warning {
        message,
        key,
        variable,
        hint,
        ..
    } = warning;
    tracing::warn!(key, var = variable, hint, "{message}");
}

/// Runs the server until a signal ends it; `sources` are for reading the configuration again.
fn serve(
    config: Config,
    sources: Sources,
    (page, records): (Option<Page>, telemetry::otel::Records),
) -> anyhow::Result<u8> {
    let (router, banner) = page.map(|page| (page.router, page.banner)).unzip();
    let ready = |_gateway: &server::Gateway| banner.iter().for_each(|text| tell(text));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(server::run(config, sources, (router, records), ready))?;
    Ok(u8::from(ended != server::Outcome::default()))
}

/// Says something to the person in front of the terminal.
fn tell(text: &str) {
    if let Err(error) = io::stdout().write_all(text.as_bytes()) {
        tracing::debug!(%error, "nobody reads standard output");
    }
}
