//! Programs in other languages: where they are, how they are run, and when they may be left out.
//!
//! `ci/check.sh` installs what they need and tells where. Without that a test is left out with a printed reason, but never in CI.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::Server;

/// Longest life of a program; they end themselves after a minute.
const LIMIT: Duration = Duration::from_secs(180);

/// A program and its first arguments.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    command: PathBuf,
    arguments: Vec<OsString>,
    /// Settings that stand for what the server says of itself.
    settings: Vec<(&'static str, OsString)>,
}

/// A started program, spoken with line by line.
#[derive(Debug)]
pub(crate) struct Running {
    name: String,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// The folder of the programs.
fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// A program of `tests/sdk/js`; needs Node and the packages.
pub(crate) fn sdk_javascript(file: &str) -> Option<Program> {
    let _packages = needed("CENTRIPETAL_SDK_JS")?;
    Some(Program {
        command: PathBuf::from("node"),
        arguments: vec![programs().join("js").join(file).into()],
        settings: Vec::new(),
    })
}

/// A Python program, below the repository; needs the virtual environment's interpreter.
pub(crate) fn sdk_python(file: &str) -> Option<Program> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    Some(Program {
        command: needed("CENTRIPETAL_SDK_PYTHON")?.into(),
        arguments: vec![file.into()],
        settings: Vec::new(),
    })
}

/// The built program of `tests/sdk/go`.
pub(crate) fn sdk_go() -> Option<Program> {
    Some(Program {
        command: needed("CENTRIPETAL_SDK_GO")?.into(),
        arguments: Vec::new(),
        settings: Vec::new(),
    })
}

/// The HTTP/2 conformance tool.
pub(crate) fn h2spec() -> Option<Program> {
    Some(Program {
        command: needed("CENTRIPETAL_H2SPEC")?.into(),
        arguments: Vec::new(),
        settings: Vec::new(),
    })
}

/// A program of `tests/browser`, with settings of its own; needs Node, the packages and Chromium.
pub(crate) fn browser(file: &str, settings: Vec<(&'static str, OsString)>) -> Option<Program> {
    let _packages = needed("CENTRIPETAL_BROWSER")?;
    let _chromium = needed("CENTRIPETAL_CHROMIUM")?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    Some(Program {
        command: PathBuf::from("node"),
        arguments: vec![folder.join(file).into()],
        settings,
    })
}

/// The executable under test, for what a person types.
pub(crate) fn centripetal() -> Program {
    Program {
        command: env!("CARGO_BIN_EXE_centripetal").into(),
        arguments: Vec::new(),
        settings: Vec::new(),
    }
}

/// The example application in Rust, listening here.
pub(crate) fn backend_rust(address: &str) -> Program {
    let folder = Path::new(env!("CARGO_BIN_EXE_centripetal")).parent();
    let command = folder.unwrap_or(Path::new("")).join("examples/backend");
    // Without `--test` Cargo has built it.
    static BUILT: std::sync::Once = std::sync::Once::new();
    BUILT.call_once(|| {
        if !command.exists() {
            let mut build = std::process::Command::new(env!("CARGO"));
            let built = build.args(["build", "--example", "backend"]).status();
            assert!(
                built.is_ok_and(|status| status.success()),
                "the example backend cannot be built"
            );
        }
    });
    Program {
        command,
        arguments: vec![address.into()],
        settings: Vec::new(),
    }
}

/// The same application in Python, listening here for HTTP and for gRPC.
pub(crate) fn backend_python(http: &str, grpc: &str) -> Option<Program> {
    let mut program = sdk_python("examples/backend/backend.py")?;
    program.arguments.extend([http.into(), grpc.into()]);
    Some(program)
}

/// Autobahn's cases; needs a Python 2.7 with the suite. `ci/install.sh` says `none` where there is no such Python.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
pub(crate) fn autobahn() -> Option<Program> {
    let python = needed("CENTRIPETAL_AUTOBAHN")?;
    if python == "none" {
        eprintln!("left out: there is no Python 2.7, which Autobahn's suite needs");
        return None;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/autobahn/fuzz.py");
    Some(Program {
        command: python.into(),
        arguments: vec![file.into()],
        settings: Vec::new(),
    })
}

/// The value of a variable that `ci/check.sh` sets. Without it the test is left out, but not in CI.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
pub(crate) fn needed(variable: &str) -> Option<OsString> {
    let value = std::env::var_os(variable).filter(|value| !value.is_empty());
    if value.is_none() {
        let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!ci, "{variable} is not set, and in CI no test is left out");
        eprintln!("left out: {variable} is not set; `ci/check.sh` sets it");
    }
    value
}

impl Program {
    /// The same program with these arguments before all others.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(Into::into));
        self
    }

    /// The same program, talking to a front with TLS on this port and trusting this authority.
    pub(crate) fn through(mut self, port: u16, authority: &Path) -> Self {
        let authority: OsString = authority.into();
        let url = format!("wss://localhost:{port}/connection/websocket");
        self.settings = vec![
            ("SDK_WS_URL", url.into()),
            ("SDK_GRPC", format!("localhost:{port}").into()),
            ("SDK_GRPC_CA", authority.clone()),
            // What Node, Go and Python call it.
            ("NODE_EXTRA_CA_CERTS", authority.clone()),
            ("SSL_CERT_FILE", authority),
        ];
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.command);
        command
            .args(&self.arguments)
            .args(arguments)
            // The environment may name a proxy for the registries; the server is on this machine.
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("no_proxy", "127.0.0.1,localhost")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(self.settings.iter().cloned())
            .kill_on_drop(true);
        command
    }

    fn against(&self, server: &Server, arguments: &[&str]) -> Command {
        let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/client.proto");
        let mut command = self.command(arguments);
        command
            .env("SDK_WS_URL", server.ws_url())
            .env("SDK_API_URL", server.api_url())
            .env("SDK_API_KEY", Server::API_KEY)
            .env("SDK_SECRET", Server::SECRET)
            .env("SDK_GRPC", server.grpc_target())
            .env("SDK_GRPC_API", server.grpc_api_target())
            .env("SDK_PROTO", schema)
            .envs(self.settings.iter().cloned());
        command
    }

    /// Runs the program to its end and returns what it printed; fails unless it succeeded.
    pub(crate) async fn run(&self, server: &Server, arguments: &[&str]) -> String {
        let output = finish(self.against(server, arguments), LIMIT).await;
        assert!(
            output.success,
            "{self:?} {arguments:?}:\n{}\nserver:\n{}",
            output.text,
            server.log()
        );
        output.text
    }

    /// Runs the program, which starts servers by itself, to its end.
    pub(crate) async fn run_alone(&self, arguments: &[&str], limit: Duration) -> Output {
        finish(self.command(arguments), limit).await
    }

    /// Starts the program and leaves it running.
    pub(crate) fn start(&self, server: &Server, arguments: &[&str], name: &str) -> Running {
        spawn(self.against(server, arguments), name)
    }

    /// Starts the program, which was told by its settings where to go, and leaves it running.
    pub(crate) fn start_alone(&self, name: &str) -> Running {
        spawn(self.command(&[]), name)
    }
}

fn spawn(mut command: Command, name: &str) -> Running {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("{name}: {error}"));
    let Some(out) = child.stdout.take() else {
        panic!("{name}: no standard output");
    };
    Running {
        name: name.to_owned(),
        child,
        lines: BufReader::new(out).lines(),
    }
}

/// What a finished program left.
#[derive(Debug)]
pub(crate) struct Output {
    /// It ended with 0 within its time.
    pub(crate) success: bool,
    /// Standard output and standard error.
    pub(crate) text: String,
}

async fn finish(mut command: Command, limit: Duration) -> Output {
    match timeout(limit, command.stdin(Stdio::null()).output()).await {
        Ok(Ok(output)) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            Output {
                success: output.status.success(),
                text,
            }
        }
        Ok(Err(error)) => Output {
            success: false,
            text: format!("cannot be started: {error}"),
        },
        Err(_elapsed) => Output {
            success: false,
            text: format!("not done within {limit:?}"),
        },
    }
}

impl Running {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The next line it prints.
    pub(crate) async fn line(&mut self) -> String {
        match timeout(LIMIT, self.lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            other => panic!("{}: no line but {other:?}", self.name),
        }
    }

    /// Gives it a line to read.
    pub(crate) async fn tell(&mut self, line: &str) {
        let Some(input) = self.child.stdin.as_mut() else {
            panic!("{}: no standard input", self.name);
        };
        let line = format!("{line}\n");
        let told = input.write_all(line.as_bytes()).await;
        told.unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Waits for its end; fails unless it succeeded.
    pub(crate) async fn end(mut self) {
        match timeout(LIMIT, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => {}
            other => panic!("{}: ended with {other:?}", self.name),
        }
    }
}
