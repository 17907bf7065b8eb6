//! `centripetal dev`, as a person starts it, on ports of its own.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{Folder, free_ports, http_client};

/// How long it may take to serve.
const START: Duration = Duration::from_secs(30);

/// A running development server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Dev {
    child: Child,
    folder: Folder,
    http: u16,
    grpc: u16,
}

impl Dev {
    /// Starts it on free ports, and waits until it serves.
    pub(crate) async fn start() -> Self {
        let [http, grpc] = free_ports();
        Self::on(http, grpc, &[]).await
    }

    /// The same on these ports, with further flags.
    pub(crate) async fn on(http: u16, grpc: u16, flags: &[&str]) -> Self {
        let folder = Folder::new().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_centripetal"))
            .args(["dev", "--port", &http.to_string()])
            .args(["--grpc-port", &grpc.to_string()])
            .args(flags)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut dev = Self {
            child,
            folder,
            http,
            grpc,
        };
        dev.ready().await;
        dev
    }

    async fn ready(&mut self) {
        let health = format!("{}health", self.url());
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("it ended with {status}:\n{}", self.log());
            }
            let answer = http_client().get(&health).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not serve:\n{}", self.log());
    }

    /// Where the page is.
    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}/", self.http)
    }

    /// Where the gRPC stream is.
    pub(crate) fn grpc_url(&self) -> String {
        format!("grpc://127.0.0.1:{}", self.grpc)
    }

    /// What it has written.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}
