//! Real Redis servers on free ports with folders of their own, ended with the test. Used by the library's tests as well.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(30);

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct RedisServer {
    child: Child,
    folder: PathBuf,
    port: u16,
    settings: String,
}

impl RedisServer {
    /// A server with these lines of configuration beside the necessary ones.
    pub(crate) async fn start(settings: &str) -> Self {
        let [port, bus] = free_ports();
        let folder = std::env::temp_dir().join(format!("redis-{}", uuid::Uuid::new_v4()));
        let made = std::fs::create_dir_all(&folder);
        made.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let bus = if settings.contains("cluster-enabled") {
            format!("cluster-port {bus}\n")
        } else {
            String::new()
        };
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {0}\nsave \"\"\nappendonly no\n{bus}{1}\n",
            folder.display(),
            settings.replace("{folder}", &folder.display().to_string()),
        );
        let child = spawn(&folder, &settings);
        let server = Self {
            child,
            folder,
            port,
            settings,
        };
        server.answering().await;
        server
    }

    /// A cluster of one server, which owns all slots.
    pub(crate) async fn start_cluster() -> Self {
        let server = Self::start("cluster-enabled yes").await;
        server.command("CLUSTER ADDSLOTSRANGE 0 16383").await;
        server
            .until("CLUSTER INFO", |info| info.contains("cluster_state:ok"))
            .await;
        server
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sends one command, words separated by spaces, and returns what comes back as it is on the wire.
    pub(crate) async fn command(&self, line: &str) -> String {
        self.tried(line)
            .await
            .unwrap_or_else(|| panic!("Redis does not answer {line}"))
    }

    /// Waits until a command's answer is as wished.
    pub(crate) async fn until(&self, line: &str, wished: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + START;
        loop {
            let answer = self.tried(line).await.unwrap_or_default();
            if wished(&answer) {
                return;
            }
            assert!(Instant::now() < deadline, "{line}: {answer}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The value of a line of its configuration.
    pub(crate) fn setting(&self, name: &str) -> &str {
        let mut lines = self.settings.lines();
        lines
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default()
            .trim()
    }

    /// Kills it as the system does when there is no memory left.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts it again on the same port, empty.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.folder, &self.settings);
        self.answering().await;
    }

    async fn answering(&self) {
        self.until("PING", |answer| {
            answer.starts_with('+') || answer.starts_with("-NOAUTH")
        })
        .await;
    }

    async fn tried(&self, line: &str) -> Option<String> {
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
            // Replies end before QUIT is confirmed and the connection closed.
            let text = format!("{line}\r\nQUIT\r\n");
            stream.write_all(text.as_bytes()).await.ok()?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.ok()?;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            Some(answer.strip_suffix("+OK\r\n")?.to_owned())
        };
        timeout(Duration::from_secs(5), asked).await.ok().flatten()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn spawn(folder: &Path, settings: &str) -> Child {
    let file = folder.join("redis.conf");
    let written = std::fs::write(&file, settings);
    written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let program = std::env::var_os("CENTRIPETAL_REDIS").filter(|program| !program.is_empty());
    let program = program.unwrap_or_else(|| "redis-server".into());
    let mut command = Command::new(&program);
    command.arg(&file);
    if settings.contains("sentinel monitor") {
        command.arg("--sentinel");
    }
    let spawned = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    spawned.unwrap_or_else(|error| panic!("{program:?}, which ci/install.sh installs: {error}"))
}

/// Ports that were free a moment ago; the first below those of cluster buses.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)));
    listeners.map(|listener| {
        let address = listener.and_then(|listener| listener.local_addr());
        address.map_or_else(
            |error| panic!("no free port: {error}"),
            |address| address.port(),
        )
    })
}
