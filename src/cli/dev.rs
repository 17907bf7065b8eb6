//! `centripetal dev`: everything on, nothing kept, loopback only. Makes the configuration and says what to try;
//! the server is started by whoever dispatches commands.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use crate::{dev::Origin, model::Secret};

const EXAMPLES: &str = "\
Examples:
  centripetal dev
  centripetal dev --port 9000 --grpc-port 9001
  centripetal dev --origin https://localhost:8443     behind nginx with TLS on this machine

Opens on this machine only: a demo page, WebSocket and server API on one port, the gRPC stream on another.
Everybody who connects may do everything, and nothing survives a restart: never use it in production.

Pages of other addresses are refused, and so are requests that name another host. A proxy in front has an address of its
own: name it with --origin as the browser shows it, and the demo page works there, over wss if it is https. Whoever
reaches that proxy may do everything, too.";

/// What `centripetal dev` is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevArgs {
    /// Port of the page, WebSocket and server API.
    pub port: u16,
    /// Port of the gRPC stream.
    pub grpc_port: u16,
    /// Further addresses of the page: of proxies in front.
    pub(crate) origins: Vec<Origin>,
}

impl DevArgs {
    /// Reads what clap found.
    #[must_use]
    pub fn from_matches(matches: &ArgMatches) -> Self {
        let port = |name, default| matches.get_one(name).copied().unwrap_or(default);
        Self {
            port: port("port", 8000),
            grpc_port: port("grpc-port", 8001),
            origins: matches
                .get_many("origin")
                .map(|origins| origins.cloned().collect())
                .unwrap_or_default(),
        }
    }
}

/// The command with its flags and help.
#[must_use]
pub fn command() -> Command {
    let port = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("PORT")
            .value_parser(value_parser!(u16).range(1..))
            .default_value(default)
            .help(help)
    };
    Command::new("dev")
        .about("Start a gateway to try things out, with a demo page")
        .after_help(EXAMPLES)
        .arg(
            port(
                "port",
                "8000",
                "Port of the demo page, WebSocket and server API",
            )
            .short('p'),
        )
        .arg(port("grpc-port", "8001", "Port of the gRPC stream"))
        .arg(
            Arg::new("origin")
                .long("origin")
                .value_name("URL")
                .value_parser(value_parser!(Origin))
                .action(ArgAction::Append)
                .help("Address of a proxy in front, as browsers show it; may be repeated"),
        )
}

/// A random key: what the server API asks for, or what tokens are signed with.
#[must_use]
pub fn random_key() -> Secret {
    let bytes: [u8; 24] = rand::random();
    Secret::from(URL_SAFE_NO_PAD.encode(bytes))
}

/// The configuration in the form of a file. `key` opens the server API and signs tokens, so that a person who tries things
/// out has one secret to copy.
#[must_use]
pub fn config(args: &DevArgs, key: &str) -> Value {
    let own = ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{}", args.port));
    let fronts = args.origins.iter().map(Origin::to_string);
    let origins: Vec<String> = own.into_iter().chain(fronts).collect();
    json!({
        "http_server": { "address": "127.0.0.1", "port": args.port },
        "engine": { "type": "memory" },
        "client": {
            "insecure": true,
            "allowed_origins": origins,
            "token": { "hmac_secret_key": key },
        },
        "channel": {
            "without_namespace": {
                "presence": true,
                "join_leave": true,
                "history_size": 100,
                "history_ttl": "10m",
                "force_positioning": true,
                "force_recovery": true,
            },
        },
        "http_stream": { "enabled": true },
        "sse": { "enabled": true },
        "http_api": { "key": key },
        "grpc_api": { "key": key },
        "health": { "enabled": true },
        "centripetal": {
            // The demo page has the script.
            "sockjs": { "enabled": true, "url": "/sockjs.js" },
            "grpc": {
                "address": "127.0.0.1",
                "port": args.grpc_port,
                "api": true,
                "reflection": true,
            },
        },
    })
}

/// What to open and three commands to try.
#[must_use]
pub fn banner(args: &DevArgs, key: &str) -> String {
    let DevArgs {
        port,
        grpc_port,
        origins,
    } = args;
    let fronts = origins.iter();
    let fronts: String = fronts
        .map(|origin| format!("\n               {origin}/   (through your proxy)"))
        .collect();
    let url = if *grpc_port == 8001 {
        String::new()
    } else {
        format!(" --url grpc://127.0.0.1:{grpc_port}")
    };
    format!(
        r#"Centripetal {version}, development mode

  Open         http://localhost:{port}/{fronts}
  WebSocket    ws://localhost:{port}/connection/websocket
  gRPC         grpc://127.0.0.1:{grpc_port}   (stream, server API, reflection)
  Server API   http://localhost:{port}/api   key: {key}

Try in another terminal:
  centripetal sub demo --recover{url}
  centripetal pub demo '{{"text":"hello from a terminal"}}'{url}
  curl -H 'X-API-Key: {key}' -d '{{"channel":"demo","data":{{"text":"hello from a backend"}}}}' http://localhost:{port}/api/publish

Listens on this machine only. Everybody here may do everything, and nothing is kept: not for production.
"#,
        version = env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(more: &[&str]) -> DevArgs {
        let line = ["dev"].into_iter().chain(more.iter().copied());
        DevArgs::from_matches(&command().get_matches_from(line))
    }

    #[test]
    fn ports_have_defaults_and_flags() {
        assert_eq!(
            args(&[]),
            DevArgs {
                port: 8000,
                grpc_port: 8001,
                origins: Vec::new(),
            }
        );
        let other = args(&["-p", "9000", "--grpc-port", "9001"]);
        assert_eq!(
            other,
            DevArgs {
                port: 9000,
                grpc_port: 9001,
                origins: Vec::new(),
            }
        );
        assert!(
            command()
                .try_get_matches_from(["dev", "--port", "0"])
                .is_err()
        );
        command().debug_assert();
    }

    #[test]
    fn configuration_stays_on_this_machine() {
        let config = config(&args(&["--port", "9000"]), "key");
        assert_eq!(config["http_server"]["address"], "127.0.0.1");
        assert_eq!(config["centripetal"]["grpc"]["address"], "127.0.0.1");
        let origins = &config["client"]["allowed_origins"];
        assert_eq!(
            *origins,
            json!(["http://localhost:9000", "http://127.0.0.1:9000"])
        );
        for place in ["http_api", "grpc_api"] {
            assert_eq!(config[place]["key"], "key");
        }
        assert_eq!(config["client"]["token"]["hmac_secret_key"], "key");
    }

    #[test]
    fn proxies_in_front_are_named_by_their_origins() {
        let args = args(&[
            "--origin",
            "https://localhost:8443",
            "--origin",
            "https://Chat.example.com:443",
        ]);
        assert_eq!(
            config(&args, "key")["client"]["allowed_origins"],
            json!([
                "http://localhost:8000",
                "http://127.0.0.1:8000",
                "https://localhost:8443",
                "https://chat.example.com",
            ])
        );
        let text = banner(&args, "key");
        for front in ["https://localhost:8443/", "https://chat.example.com/"] {
            assert!(text.contains(front), "{text}");
        }
        for odd in ["*", "https://*", "https://localhost:8443/path", "localhost"] {
            let refused = command().try_get_matches_from(["dev", "--origin", odd]);
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("https://HOST"), "{refused}");
        }
    }

    #[test]
    fn banner_says_what_to_open_and_three_commands() {
        let text = banner(&args(&[]), "key");
        for part in [
            "http://localhost:8000/",
            "grpc://127.0.0.1:8001",
            "\n  centripetal sub",
            "\n  centripetal pub",
            "\n  curl",
            "X-API-Key: key",
            "not for production",
        ] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("--url"));
        let text = banner(&args(&["--grpc-port", "9001"]), "key");
        assert_eq!(text.matches("--url grpc://127.0.0.1:9001").count(), 2);
    }

    #[test]
    fn keys_are_long_and_differ() {
        let (one, other) = (random_key(), random_key());
        assert!(one != other && one.expose().len() == 32);
    }
}
