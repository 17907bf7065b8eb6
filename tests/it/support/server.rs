//! Starts the executable under test with a configuration of its own and ends it with the test.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::LazyLock,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::ports::free_ports;

/// The settings, in the folder of a server.
const CONFIG: &str = "config.json";

/// How long a server may take to serve.
const START: Duration = Duration::from_secs(30);

/// How long a server may take to end.
const END: Duration = Duration::from_secs(15);

/// How long a call of the server API may take.
const CALL: Duration = Duration::from_secs(10);

/// Another test may have taken a port between its choice and the start.
const ATTEMPTS: usize = 3;

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    folder: Folder,
    variables: Vec<(String, String)>,
    http: u16,
    grpc: u16,
    api: u16,
    uni: u16,
}

/// A folder that is removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A folder of its own.
    pub(crate) fn new() -> std::io::Result<Self> {
        let name = format!("it-{}", uuid::Uuid::new_v4());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Kept, with the log of the server, for the person who looks into the failure.
            return;
        }
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Server {
    /// HMAC secret of tokens.
    pub(crate) const SECRET: &str = "integration-tests-secret-of-32-bytes-and-more";
    /// Key of both server APIs.
    pub(crate) const API_KEY: &str = "integration-tests-key";

    /// Starts a server with the given settings laid over those every test needs, and waits until it serves.
    pub(crate) async fn start(settings: Value) -> Self {
        Self::start_asked(settings, Self::healthy).await
    }

    /// The same with variables of its environment.
    pub(crate) async fn start_with(settings: Value, variables: Vec<(String, String)>) -> Self {
        Self::begin(settings, variables, Self::healthy).await
    }

    /// The same, asked in another way whether it serves, such as over TLS.
    pub(crate) async fn start_asked(settings: Value, asked: impl AsyncFn(&Self) -> bool) -> Self {
        Self::begin(settings, Vec::new(), asked).await
    }

    async fn begin(
        settings: Value,
        variables: Vec<(String, String)>,
        asked: impl AsyncFn(&Self) -> bool,
    ) -> Self {
        let mut problem = String::new();
        for _ in 0..ATTEMPTS {
            match Self::attempt(&settings, &variables, &asked).await {
                Ok(server) => return server,
                Err(error) => problem = error,
            }
        }
        panic!("{problem}");
    }

    async fn attempt(
        settings: &Value,
        variables: &[(String, String)],
        asked: impl AsyncFn(&Self) -> bool,
    ) -> Result<Self, String> {
        let [http, grpc, api, uni] = free_ports();
        let mut config = json!({
            "http_server": {"address": "127.0.0.1", "port": http},
            "health": {"enabled": true},
            "client": {"token": {"hmac_secret_key": Self::SECRET}},
            "http_api": {"key": Self::API_KEY},
            "http_stream": {"enabled": true},
            "sse": {"enabled": true},
            "uni_websocket": {"enabled": true},
            "uni_sse": {"enabled": true},
            "uni_http_stream": {"enabled": true},
            "uni_grpc": {"enabled": true, "address": "127.0.0.1", "port": uni},
            "grpc_api": {"enabled": true, "address": "127.0.0.1", "port": api, "key": Self::API_KEY},
            "centripetal": {
                "grpc": {"enabled": true, "address": "127.0.0.1", "port": grpc},
                "sockjs": {"enabled": true},
            },
        });
        lay_over(&mut config, settings);
        let folder = Folder::new().map_err(|error| error.to_string())?;
        let file = folder.0.join(CONFIG);
        std::fs::write(file, config.to_string()).map_err(|error| error.to_string())?;
        let child = spawn(&folder.0, variables).map_err(|error| error.to_string())?;
        let mut server = Self {
            child,
            folder,
            variables: variables.to_vec(),
            http,
            grpc,
            api,
            uni,
        };
        server.ready(asked).await?;
        Ok(server)
    }

    async fn healthy(&self) -> bool {
        let health = format!("http://127.0.0.1:{}/health", self.http);
        let answer = http_client().get(&health).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn ready(&mut self, asked: impl AsyncFn(&Self) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the server ended with {status}:\n{}", self.log()));
            }
            if asked(self).await && self.alive() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(format!("the server does not serve:\n{}", self.log()))
    }

    /// Listener of gRPC clients that only listen.
    pub(crate) fn uni_grpc_target(&self) -> String {
        format!("127.0.0.1:{}", self.uni)
    }

    /// Calls a method of the server API over HTTP and returns its result.
    pub(crate) async fn api(&self, method: &str, params: &Value) -> Value {
        let answer = http_client()
            .post(format!("{}/{method}", self.api_url()))
            .header("x-api-key", Self::API_KEY)
            .header("content-type", "application/json")
            .body(params.to_string())
            .send()
            .await
            .unwrap_or_else(|error| panic!("API {method}: {error}"));
        let body = answer.bytes().await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        assert!(body.get("result").is_some(), "API {method}: {body}");
        body["result"].clone()
    }

    /// A connection token with these claims.
    pub(crate) fn token(claims: &Value) -> String {
        let part = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
        let head = part(json!({"alg": "HS256", "typ": "JWT"}).to_string());
        let signed = format!("{head}.{}", part(claims.to_string()));
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(Self::SECRET.as_bytes()) else {
            panic!("HMAC takes keys of any length");
        };
        mac.update(signed.as_bytes());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    /// WebSocket endpoint.
    pub(crate) fn ws_url(&self) -> String {
        format!("ws://127.0.0.1:{}/connection/websocket", self.http)
    }

    /// Server API over HTTP.
    pub(crate) fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}/api", self.http)
    }

    /// Host and port of HTTP.
    pub(crate) fn http_target(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    /// Tells the server to stop, as the system does.
    pub(crate) fn terminate(&self) {
        let id = self.child.id().map(|id| id.to_string());
        let told = id.map(|id| std::process::Command::new("kill").arg(id).status());
        assert!(
            told.is_some_and(|told| told.is_ok_and(|status| status.success())),
            "the server cannot be told to stop"
        );
    }

    /// Ends the server at once, while others use it.
    pub(crate) fn crash(&self) {
        let id = self.child.id().map(|id| id.to_string());
        let told = id.map(|id| {
            let mut kill = std::process::Command::new("kill");
            kill.args(["-KILL", &id]).status()
        });
        assert!(
            told.is_some_and(|told| told.is_ok_and(|status| status.success())),
            "the server cannot be killed"
        );
    }

    /// Tells the server to read its configuration again, as an operator does.
    pub(crate) fn hang_up(&self) {
        let id = self.child.id().map(|id| id.to_string());
        let told = id.map(|id| {
            let mut kill = std::process::Command::new("kill");
            kill.args(["-HUP", &id]).status()
        });
        assert!(
            told.is_some_and(|told| told.is_ok_and(|status| status.success())),
            "the server cannot be told to read its configuration"
        );
    }

    /// Waits for the end and returns the exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        match timeout(END, self.child.wait()).await {
            Ok(Ok(status)) => status.code(),
            other => panic!("the server does not end: {other:?}\n{}", self.log()),
        }
    }

    /// Ends the server at once, as a crash does.
    pub(crate) async fn kill(&mut self) {
        let killed = self.child.kill().await;
        killed.unwrap_or_else(|error| panic!("the server cannot be killed: {error}"));
    }

    /// Starts again what has ended, on the same ports.
    pub(crate) async fn restart(&mut self) {
        let started = spawn(&self.folder.0, &self.variables).map(|child| self.child = child);
        started.unwrap_or_else(|error| panic!("no restart: {error}"));
        let ready = self.ready(Self::healthy).await;
        ready.unwrap_or_else(|problem| panic!("no restart: {problem}"));
    }

    /// Most memory the process ever had resident, bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        let id = self.child.id().unwrap_or_default();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.map_or_else(
            || panic!("no peak in {status}"),
            |kilobytes| kilobytes * 1024,
        )
    }

    /// It runs.
    pub(crate) fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Memory it has, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kilobytes: Option<u64> = kilobytes.and_then(|number| number.trim().parse().ok());
        kilobytes.unwrap_or_else(|| panic!("no memory in {status}")) * 1024
    }

    /// Time its threads have worked.
    pub(crate) fn worked(&self) -> Duration {
        let stat = self.proc("stat");
        // The name, in brackets, may hold anything; user and system time are the 12th and 13th after it.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let fields = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.map(|ticks| ticks.parse::<u64>().unwrap_or(0)).sum();
        Duration::from_millis(ticks * 10)
    }

    fn proc(&self, file: &str) -> String {
        let id = self.child.id().unwrap_or_default();
        let text = std::fs::read_to_string(format!("/proc/{id}/{file}"));
        text.unwrap_or_else(|error| panic!("the server is gone, {error}:\n{}", self.log()))
    }

    /// Host and port of the canonical stream.
    pub(crate) fn grpc_target(&self) -> String {
        format!("127.0.0.1:{}", self.grpc)
    }

    /// Host and port of the server API over gRPC.
    pub(crate) fn grpc_api_target(&self) -> String {
        format!("127.0.0.1:{}", self.api)
    }

    /// Where its configuration file is.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.0.clone()
    }

    /// What the server has written.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }
}

/// Making a client is costly, so there is one. Its connections are not kept: they would belong to the runtime of one test.
pub(crate) fn http_client() -> &'static reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        // The environment may name a proxy for the registries; the server is on this machine.
        let builder = reqwest::Client::builder().no_proxy();
        let builder = builder.pool_max_idle_per_host(0).timeout(CALL);
        let client = builder.build();
        client.unwrap_or_else(|error| panic!("no HTTP client: {error}"))
    });
    &CLIENT
}

fn spawn(folder: &Path, variables: &[(String, String)]) -> std::io::Result<Child> {
    let file = folder.join(CONFIG);
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_centripetal"));
    for (name, _) in std::env::vars_os() {
        // Settings of the tests, and of the person who runs them, are not the server's.
        let text = name.to_string_lossy();
        if text.starts_with("CENTRIPETAL_")
            || text.starts_with("CENTRIFUGO_")
            || text.starts_with("OTEL_")
        {
            command.env_remove(&name);
        }
    }
    command
        .arg("--config")
        .arg(file)
        .current_dir(folder)
        .envs(variables.iter().cloned())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
}

/// Puts `over` on `base`, object by object.
fn lay_over(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}
