//! `centripetal healthcheck`: asks a running gateway whether it is well, for containers and supervisors.
//!
//! Whoever read the configuration says where the health endpoint is; this file only asks it.

use std::{io::Write, time::Duration};

use clap::{Arg, ArgMatches, Command, value_parser};

const EXAMPLES: &str = "\
Examples:
  centripetal healthcheck
  centripetal healthcheck --config /etc/centripetal/config.toml
  HEALTHCHECK CMD [\"centripetal\", \"healthcheck\"]     # in a Dockerfile

Needs `health.enabled`. Asks the internal address of the configuration, or 127.0.0.1 when that is every address, over TLS where
that listener has it.
Exit code 0: healthy. 1: not healthy, not reachable, or switched off.";

/// What `centripetal healthcheck` is asked for.
#[derive(Clone, Debug)]
pub struct HealthArgs {
    /// Longest wait for the answer.
    pub timeout: Duration,
}

impl HealthArgs {
    /// Reads what clap found.
    #[must_use]
    pub fn from_matches(matches: &ArgMatches) -> Self {
        let seconds = matches.get_one("timeout").copied().unwrap_or(5);
        Self {
            timeout: Duration::from_secs(seconds),
        }
    }
}

/// The command with its flags and help; the flag that names the configuration is added by whoever reads it.
#[must_use]
pub fn command() -> Command {
    Command::new("healthcheck")
        .about("Ask the health endpoint of the running gateway")
        .after_help(EXAMPLES)
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64).range(1..=60))
                .default_value("5")
                .help("Longest wait for the answer"),
        )
}

/// Where the health endpoint is, as the configuration says.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `health.enabled`.
    pub enabled: bool,
    /// The internal listener has TLS.
    pub tls: bool,
    /// Host of the internal listener; empty for every address.
    pub host: String,
    /// Port of the internal listener.
    pub port: u16,
    /// `health.handler_prefix`.
    pub path: String,
}

impl Endpoint {
    /// The address to ask. A listener on every address is asked on loopback.
    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let host = match self.host.trim_start_matches('[').trim_end_matches(']') {
            "" | "0.0.0.0" => "127.0.0.1".to_owned(),
            "::" => "[::1]".to_owned(),
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        };
        let path = self.path.trim_start_matches('/');
        format!("{scheme}://{host}:{}/{path}", self.port)
    }
}

/// Why the gateway does not count as healthy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no health endpoint.
    #[error(
        "the health endpoint is off\nhint: set health.enabled to true (or CENTRIFUGO_HEALTH_ENABLED=true) and start the gateway again"
    )]
    Off,
    /// The endpoint did not answer.
    #[error("no answer from {url}")]
    Unreachable {
        /// Where it was asked.
        url: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// The endpoint answered that something is wrong.
    #[error("{url} answered {status}")]
    Unhealthy {
        /// Where it was asked.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// The output cannot be written.
    #[error("cannot write")]
    Output(#[source] std::io::Error),
}

/// Runs `centripetal healthcheck`.
///
/// # Errors
/// When the gateway is not healthy; see [`Error`].
pub async fn run(args: &HealthArgs, endpoint: &Endpoint, out: &mut dyn Write) -> Result<(), Error> {
    if !endpoint.enabled {
        return Err(Error::Off);
    }
    let url = endpoint.url();
    let status = ask(&url, args.timeout).await;
    match status.map_err(|source| Error::Unreachable {
        url: url.clone(),
        source,
    })? {
        200 => writeln!(out, "healthy").map_err(Error::Output),
        status => Err(Error::Unhealthy { url, status }),
    }
}

async fn ask(url: &str, limit: Duration) -> Result<u16, reqwest::Error> {
    let client = reqwest::Client::builder()
        .timeout(limit)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        // The certificate names the public host, not this address, and nothing secret is sent or believed.
        .tls_danger_accept_invalid_certs(true)
        .build()?;
    let response = client.get(url).send().await?;
    Ok(response.status().as_u16())
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode, routing::get};
    use tokio::{net::TcpListener, task::JoinSet};

    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint {
            enabled: true,
            tls: false,
            host: String::new(),
            port,
            path: "/health".to_owned(),
        }
    }

    fn args() -> HealthArgs {
        let matches = command().get_matches_from(["healthcheck"]);
        HealthArgs::from_matches(&matches)
    }

    /// A server that answers with this status.
    async fn serve(tasks: &mut JoinSet<()>, status: StatusCode) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().route("/health", get(move || async move { status }));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                let io = hyper_util::rt::TokioIo::new(stream);
                connections.spawn(async move {
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(io, service)
                        .await
                        .ok();
                });
            }
        });
        port
    }

    #[tokio::test]
    async fn healthy_gateway_is_a_success() {
        let mut tasks = JoinSet::new();
        let port = serve(&mut tasks, StatusCode::OK).await;
        let mut out = Vec::new();
        run(&args(), &endpoint(port), &mut out).await.unwrap();
        assert_eq!(out, b"healthy\n");
    }

    #[tokio::test]
    async fn unhealthy_and_unreachable_gateways_are_failures() {
        let mut tasks = JoinSet::new();
        let port = serve(&mut tasks, StatusCode::SERVICE_UNAVAILABLE).await;
        let mut out = Vec::new();
        let sick = run(&args(), &endpoint(port), &mut out).await;
        assert!(matches!(sick, Err(Error::Unhealthy { status: 503, .. })));
        tasks.shutdown().await;
        let gone = run(&args(), &endpoint(port), &mut out).await;
        assert!(matches!(gone, Err(Error::Unreachable { .. })));
        assert!(out.is_empty());
    }

    #[tokio::test]
    async fn endpoint_that_is_off_says_how_to_switch_it_on() {
        let off = Endpoint {
            enabled: false,
            ..endpoint(1)
        };
        let result = run(&args(), &off, &mut Vec::new()).await;
        let text = result.unwrap_err().to_string();
        assert!(text.contains("health.enabled"), "{text}");
    }

    #[test]
    fn every_address_is_asked_on_loopback() {
        for (host, url) in [
            ("", "http://127.0.0.1:8000/health"),
            ("0.0.0.0", "http://127.0.0.1:8000/health"),
            ("::", "http://[::1]:8000/health"),
            ("::1", "http://[::1]:8000/health"),
            ("10.0.0.1", "http://10.0.0.1:8000/health"),
        ] {
            let endpoint = Endpoint {
                host: host.to_owned(),
                ..endpoint(8000)
            };
            assert_eq!(endpoint.url(), url);
        }
        let tls = Endpoint {
            tls: true,
            ..endpoint(9)
        };
        assert_eq!(tls.url(), "https://127.0.0.1:9/health");
    }

    #[test]
    fn flags_have_their_defaults() {
        assert_eq!(args().timeout, Duration::from_secs(5));
        command().debug_assert();
    }
}
