//! A real Redis with a folder and a port of its own, which can be killed, frozen, emptied and reconfigured.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::resp::length;
use crate::support::{Folder, free_ports, needed};

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Another test may have taken the port between its choice and the start.
const ATTEMPTS: usize = 3;

/// A running Redis; killed when dropped. What it accepts is on disk before it says so.
#[derive(Debug)]
pub(crate) struct Redis {
    program: PathBuf,
    child: Child,
    folder: Folder,
    port: u16,
}

impl Redis {
    /// Starts an empty one, unless the program is not there.
    pub(crate) async fn start() -> Option<Self> {
        let program = PathBuf::from(needed("CENTRIPETAL_REDIS")?);
        let mut problem = String::new();
        for _ in 0..ATTEMPTS {
            let [port] = free_ports();
            let folder = Folder::new().unwrap();
            let mut redis = Self {
                child: spawn(&program, &folder, port),
                program: program.clone(),
                folder,
                port,
            };
            match redis.ready().await {
                Ok(()) => return Some(redis),
                Err(error) => problem = error,
            }
        }
        panic!("{problem}");
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Ends it as a crash does.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts what was killed, with what it had.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.program, &self.folder, self.port);
        self.ready().await.unwrap();
    }

    /// Starts what was killed, without anything.
    pub(crate) async fn restart_empty(&mut self) {
        std::fs::remove_dir_all(self.folder.path().join("appendonlydir")).unwrap();
        self.restart().await;
    }

    /// Stops it in the middle of whatever it does.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().unwrap().to_string();
        let told = std::process::Command::new("kill")
            .args([name, &id])
            .status();
        assert!(told.unwrap().success());
    }

    /// Carries out a command, on a connection of its own that may need this password.
    pub(crate) async fn ask_as(&self, password: &str, command: &str) -> Result<String, String> {
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            if !password.is_empty() {
                answer(&mut stream, &format!("AUTH {password}")).await?;
            }
            answer(&mut stream, command).await
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(text)) if text.starts_with('-') => Err(text),
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }

    /// Carries out a command, which must succeed.
    pub(crate) async fn ask(&self, command: &str) -> String {
        let answer = self.ask_as("", command).await;
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Connections it has ended because what waited for them was too much.
    pub(crate) fn overflows(&self) -> u64 {
        let log = std::fs::read_to_string(self.folder.path().join("log"));
        let log = log.unwrap();
        log.matches("overcoming of output buffer limits").count() as u64
    }

    async fn ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = std::fs::read_to_string(self.folder.path().join("log"));
                return Err(format!("redis ended with {status}: {log:?}"));
            }
            // While it loads what it had, it refuses.
            if self.ask_as("", "PING").await.is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("redis does not answer".to_owned());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn spawn(program: &PathBuf, folder: &Folder, port: u16) -> Child {
    let mut appending = std::fs::File::options();
    appending.create(true).append(true);
    let log = appending.open(folder.path().join("log")).unwrap();
    Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args([
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
        ])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn answer(stream: &mut TcpStream, command: &str) -> std::io::Result<String> {
    stream
        .write_all(format!("{command}\r\n").as_bytes())
        .await?;
    let mut bytes = Vec::new();
    while length(&bytes).is_none() {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn what_was_accepted_survives_a_crash_but_not_an_empty_restart() {
    let Some(mut redis) = Redis::start().await else {
        return;
    };
    redis.ask("SET a 1").await;
    redis.kill().await;
    assert!(redis.ask_as("", "PING").await.is_err());
    redis.restart().await;
    assert_eq!(redis.ask("GET a").await, "$1\r\n1\r\n");
    redis.kill().await;
    redis.restart_empty().await;
    assert_eq!(redis.ask("GET a").await, "$-1\r\n");
    redis.ask("CONFIG SET requirepass secret").await;
    assert!(redis.ask_as("", "GET a").await.is_err());
    assert!(redis.ask_as("secret", "GET a").await.is_ok());
}
