//! HAProxy with the configuration file of this repository, a folder, a port and certificates of its own.

use std::{os::unix::process::CommandExt as _, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    Folder, Server, free_ports,
    nginx::{filled, kill_group, make_certificates},
    program::needed,
};

const FILE: &str = "haproxy/centripetal.cfg";

/// How long HAProxy may take to accept.
const PATIENCE: Duration = Duration::from_secs(30);

/// Another test may have taken the port between its choice and the start.
const ATTEMPTS: usize = 3;

/// A running HAProxy; killed when dropped.
#[derive(Debug)]
pub(crate) struct HaProxy {
    child: Child,
    folder: Folder,
    port: u16,
}

impl HaProxy {
    /// Starts HAProxy in front of a server, unless it is not there.
    pub(crate) async fn start(server: &Server) -> Option<Self> {
        let program = PathBuf::from(needed("CENTRIPETAL_HAPROXY")?);
        let mut problem = String::new();
        for _ in 0..ATTEMPTS {
            match Self::attempt(&program, server).await {
                Ok(haproxy) => return Some(haproxy),
                Err(error) => problem = error,
            }
        }
        panic!("{FILE}: {problem}");
    }

    async fn attempt(program: &PathBuf, server: &Server) -> Result<Self, String> {
        let [port] = free_ports();
        let folder = Folder::new().map_err(|error| error.to_string())?;
        let path = folder.path();
        make_certificates(&path.join("certs"));
        let part = |name: &str| std::fs::read(path.join("certs").join(name)).unwrap();
        let chain = [part("server.pem"), part("server.key")].concat();
        std::fs::write(path.join("centripetal.pem"), chain).unwrap();
        let (certificate, bind) = (
            format!("{}/centripetal.pem", path.display()),
            format!("bind 127.0.0.1:{port} "),
        );
        let replacements = [
            ("/etc/haproxy/centripetal.pem", &*certificate),
            ("bind :443 ", &*bind),
            ("127.0.0.1:8000", &server.http_target()),
            ("127.0.0.1:8001", &server.grpc_target()),
        ];
        let file = path.join("haproxy.cfg");
        std::fs::write(&file, filled(FILE, replacements.into_iter())).unwrap();
        let log = std::fs::File::create(path.join("log")).unwrap();
        let mut command = std::process::Command::new(program);
        command
            .arg("-db")
            .arg("-f")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0);
        let child = Command::from(command).kill_on_drop(true).spawn();
        let mut haproxy = Self {
            child: child.unwrap_or_else(|error| panic!("{program:?}: {error}")),
            folder,
            port,
        };
        haproxy.accepting().await.map(|()| haproxy)
    }

    async fn accepting(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("HAProxy ended with {status}:\n{}", self.log()));
            }
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(format!("HAProxy does not accept:\n{}", self.log()))
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The authority that signed its certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("certs/ca.pem")
    }

    /// What it has written.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        kill_group(&self.child);
    }
}
