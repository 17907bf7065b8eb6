//! Real Redis servers on free ports with folders of their own, ended with the test. Used by the library's tests as well.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::ports::free_ports;

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(30);
/// Another test may have taken a port between its choice and the start.
const ATTEMPTS: usize = 3;

/// A running server; killed when dropped.
#[derive(Debug)]
pub(crate) struct RedisServer {
    child: Child,
    folder: PathBuf,
    port: u16,
    settings: String,
}

impl RedisServer {
    /// What it accepts is on disk before it says so.
    pub(crate) const DURABLE: &str = "appendonly yes\nappendfsync always";

    /// A server with these lines of configuration beside the necessary ones.
    pub(crate) async fn start(settings: &str) -> Self {
        let mut problem = String::new();
        for _ in 0..ATTEMPTS {
            let mut server = Self::spawned(settings);
            match server.ready().await {
                Ok(()) => return server,
                Err(why) => problem = why,
            }
        }
        panic!("{problem}");
    }

    fn spawned(settings: &str) -> Self {
        let [port, bus] = free_ports();
        let folder = std::env::temp_dir().join(format!("redis-{}", uuid::Uuid::new_v4()));
        let made = std::fs::create_dir_all(&folder);
        made.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let bus = if settings.contains("cluster-enabled") {
            format!("cluster-port {bus}\n")
        } else {
            String::new()
        };
        let kept = if settings.contains("sentinel monitor") {
            ""
        } else {
            "save \"\"\nappendonly no\n"
        };
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {0}\n{kept}{bus}{1}\n",
            folder.display(),
            settings.replace("{folder}", &folder.display().to_string()),
        );
        Self {
            child: spawn(&folder, &settings),
            folder,
            port,
            settings,
        }
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

    /// A cluster of so many masters, each with so many replicas; the masters first.
    pub(crate) async fn start_cluster_of(masters: usize, replicas: usize) -> Vec<Self> {
        let settings =
            "cluster-enabled yes\ncluster-node-timeout 2000\ncluster-replica-validity-factor 0";
        let mut servers = Vec::new();
        for number in 0..masters * (1 + replicas) {
            let server = Self::start(settings).await;
            let epoch = format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1);
            server.command(&epoch).await;
            if number < masters {
                let (first, next) = (number * 16_384 / masters, (number + 1) * 16_384 / masters);
                let slots = format!("CLUSTER ADDSLOTSRANGE {first} {}", next - 1);
                server.command(&slots).await;
            }
            servers.push(server);
        }
        for server in &servers[1..] {
            let (port, bus) = (server.port(), server.bus());
            let meet = format!("CLUSTER MEET 127.0.0.1 {port} {bus}");
            servers[0].command(&meet).await;
        }
        let known = format!("cluster_known_nodes:{}", servers.len());
        for server in &servers {
            let met = |info: &str| info.contains("cluster_state:ok") && info.contains(&known);
            server.until("CLUSTER INFO", met).await;
        }
        for (number, replica) in servers.iter().enumerate().skip(masters) {
            let id = servers[number % masters].command("CLUSTER MYID").await;
            let id = id.lines().nth(1).unwrap_or_default().to_owned();
            // Not every server has heard of every other at once.
            let follow = format!("CLUSTER REPLICATE {id}");
            replica
                .until(&follow, |answer| answer.starts_with("+OK"))
                .await;
            let following = |info: &str| info.contains("master_link_status:up");
            replica.until("INFO replication", following).await;
        }
        servers
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

    /// Carries out a command that must succeed.
    pub(crate) async fn ask(&self, line: &str) -> String {
        let answer = self.ask_as("", line).await;
        answer.unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Carries out a command on a connection that may need this password.
    pub(crate) async fn ask_as(&self, password: &str, line: &str) -> Result<String, String> {
        let lines = if password.is_empty() {
            line.to_owned()
        } else {
            format!("AUTH {password}\r\n{line}")
        };
        let answer = self.tried(&lines).await.ok_or("no answer")?;
        let answer = if password.is_empty() {
            Some(answer.as_str())
        } else {
            answer.strip_prefix("+OK\r\n")
        };
        match answer {
            Some(answer) if !answer.starts_with('-') => Ok(answer.to_owned()),
            refused => Err(refused.unwrap_or("wrong password").to_owned()),
        }
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

    /// Port of the bus of a cluster.
    pub(crate) fn bus(&self) -> &str {
        let mut lines = self.settings.lines();
        lines
            .find_map(|line| line.strip_prefix("cluster-port "))
            .unwrap_or_default()
    }

    /// Makes it hang, as a machine without memory does, or go on.
    pub(crate) fn hang(&self, on: bool) {
        let signal = if on { "-STOP" } else { "-CONT" };
        let told = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(
            told.is_ok_and(|told| told.success()),
            "Redis cannot be signalled"
        );
    }

    /// Kills it as the system does when there is no memory left.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Starts it again on the same port, with what it kept: nothing, unless it is durable.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.folder, &self.settings);
        let ready = self.ready().await;
        ready.unwrap_or_else(|problem| panic!("{problem}"));
    }

    /// The same, without anything.
    pub(crate) async fn restart_empty(&mut self) {
        self.kill();
        drop(std::fs::remove_dir_all(self.folder.join("appendonlydir")));
        self.restart().await;
    }

    /// Connections it has ended because what waited for them was too much.
    pub(crate) fn overflows(&self) -> u64 {
        let log = self.log();
        log.matches("overcoming of output buffer limits").count() as u64
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Waits until it answers; an error when it has ended.
    async fn ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("Redis ended with {status}: {}", self.log()));
            }
            // While it loads what it had, it refuses.
            let answer = self.tried("PING").await.unwrap_or_default();
            if answer.starts_with('+') || answer.starts_with("-NOAUTH") {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("Redis does not answer".to_owned());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn tried(&self, line: &str) -> Option<String> {
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
            let text = format!("{line}\r\n");
            stream.write_all(text.as_bytes()).await.ok()?;
            // The server answers before it sees that nothing more comes.
            stream.shutdown().await.ok()?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.ok()?;
            (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
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
    let mut appending = std::fs::File::options();
    let log = appending.create(true).append(true).open(folder.join("log"));
    let log = log.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let spawned = command.stdout(log).stderr(Stdio::null()).spawn();
    spawned.unwrap_or_else(|error| panic!("{program:?}, which ci/install.sh installs: {error}"))
}

#[cfg(test)]
#[tokio::test]
async fn what_was_accepted_survives_a_crash_but_not_an_empty_restart() {
    if std::env::var_os("CENTRIPETAL_REDIS").is_none() {
        return;
    }
    let mut redis = RedisServer::start(RedisServer::DURABLE).await;
    redis.ask("SET a 1").await;
    redis.kill();
    assert!(redis.ask_as("", "PING").await.is_err());
    redis.restart().await;
    assert_eq!(redis.ask("GET a").await, "$1\r\n1\r\n");
    redis.restart_empty().await;
    assert_eq!(redis.ask("GET a").await, "$-1\r\n");
    redis.ask("CONFIG SET requirepass secret").await;
    assert!(redis.ask_as("", "GET a").await.is_err());
    assert!(redis.ask_as("wrong", "GET a").await.is_err());
    assert!(redis.ask_as("secret", "GET a").await.is_ok());
}
