//! nginx with a configuration file of this repository, a folder, ports and certificates of its own.
//!
//! The file is the very one that is shipped. What is replaced in it are addresses, the folder of the logs, and what a test
//! names; each replacement must find what it replaces.

use std::{
    collections::BTreeSet,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{Folder, Server, free_ports, program::needed};

/// How long nginx may take to accept, to end, or to change its workers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Another test may have taken the port between its choice and the start.
const ATTEMPTS: usize = 3;

/// A running nginx; killed with its workers when dropped.
#[derive(Debug)]
pub(crate) struct Nginx {
    child: Child,
    program: PathBuf,
    folder: Folder,
    port: u16,
}

/// What is in a configuration file, and what it becomes.
pub(crate) type Replacement = (String, String);

impl Nginx {
    /// The file for one node.
    pub(crate) const SHIPPED: &str = "nginx/centripetal.conf";
    /// The file for several nodes.
    pub(crate) const CLUSTER: &str = "nginx/centripetal-cluster.conf";
    /// The directives of a first attempt.
    pub(crate) const BARE: &str = "tests/nginx/bare.conf";

    /// Starts nginx with a file in front of a server, unless nginx is not there.
    pub(crate) async fn start(file: &str, server: &Server) -> Option<Self> {
        Self::changed(file, server, &[]).await
    }

    /// The same with further replacements.
    pub(crate) async fn changed(
        file: &str,
        server: &Server,
        more: &[(&str, &str)],
    ) -> Option<Self> {
        let mut replacements = vec![
            ("127.0.0.1:8000".to_owned(), server.http_target()),
            ("127.0.0.1:8001".to_owned(), server.grpc_target()),
        ];
        let owned = |(old, new): &(&str, &str)| ((*old).to_owned(), (*new).to_owned());
        replacements.extend(more.iter().map(owned));
        let program = PathBuf::from(needed("CENTRIPETAL_NGINX")?);
        Some(Self::run(program, file, &replacements).await)
    }

    /// Starts this nginx with this file, in which every replacement finds something.
    pub(crate) async fn run(program: PathBuf, file: &str, replacements: &[Replacement]) -> Self {
        let mut problem = String::new();
        for _ in 0..ATTEMPTS {
            match Self::attempt(&program, file, replacements).await {
                Ok(nginx) => return nginx,
                Err(error) => problem = error,
            }
        }
        panic!("{file}: {problem}");
    }

    async fn attempt(
        program: &Path,
        file: &str,
        replacements: &[Replacement],
    ) -> Result<Self, String> {
        let [port] = free_ports();
        let folder = Folder::new().map_err(|error| error.to_string())?;
        let logs = format!("{}/logs/", folder.path().display());
        let own = [
            (
                "listen 443 ".to_owned(),
                format!("listen 127.0.0.1:{port} "),
            ),
            ("/var/log/nginx/".to_owned(), logs),
        ];
        let every = replacements.iter().chain(&own);
        let text = filled(file, every.map(|(old, new)| (&**old, &**new)));
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
        make_certificates(&folder.path().join("certs"));
        let child = spawn(program, folder.path());
        let mut nginx = Self {
            child,
            program: program.to_owned(),
            folder,
            port,
        };
        nginx.accepting().await.map(|()| nginx)
    }

    async fn accepting(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("nginx ended with {status}:\n{}", self.log()));
            }
            let accepted = TcpStream::connect(("127.0.0.1", self.port)).await.is_ok();
            if accepted && !self.workers().is_empty() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(format!("nginx does not accept:\n{}", self.log()))
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The authority that signed its certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("certs/ca.pem")
    }

    /// `nginx -s reload`: waits until new workers serve. The old ones may still be there.
    pub(crate) async fn reload(&self) {
        let before = self.workers();
        let told = arguments(&self.program, self.folder.path(), "")
            .args(["-s", "reload"])
            .status();
        assert!(told.is_ok_and(|status| status.success()), "{}", self.log());
        let deadline = Instant::now() + PATIENCE;
        while self.workers().is_subset(&before) {
            assert!(Instant::now() < deadline, "no reload:\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until these workers have ended.
    pub(crate) async fn gone(&self, workers: &BTreeSet<u32>) {
        let deadline = Instant::now() + PATIENCE;
        while !self.workers().is_disjoint(workers) {
            assert!(Instant::now() < deadline, "{workers:?}:\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the master and every worker at once, as a crash of the machine does.
    pub(crate) async fn kill(&mut self) {
        kill_group(&self.child);
        let ended = self.child.wait().await;
        assert!(ended.is_ok(), "{ended:?}");
    }

    /// Starts again what was killed, on the same port.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.program, self.folder.path());
        let accepting = self.accepting().await;
        accepting.unwrap_or_else(|problem| panic!("no restart: {problem}"));
    }

    /// The processes that serve, those that only finish what they began included.
    pub(crate) fn workers(&self) -> BTreeSet<u32> {
        let Some(id) = self.child.id() else {
            return BTreeSet::new();
        };
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        let ids = children.split_whitespace();
        ids.filter_map(|id| id.parse().ok()).collect()
    }

    /// What it complained about.
    pub(crate) fn log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.folder.path().join(name));
        let (early, late) = (read("stderr"), read("logs/error.log"));
        early.unwrap_or_default() + &late.unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        kill_group(&self.child);
    }
}

/// Ends a leader and its group: workers would outlive their master.
pub(super) fn kill_group(leader: &Child) {
    if let Some(id) = leader.id() {
        let group = format!("-{id}");
        let kill = ["-KILL", "--", &group];
        drop(std::process::Command::new("kill").args(kill).status());
    }
}

/// Whether nginx takes a file with these replacements, and what it says.
pub(crate) fn examine(program: &Path, file: &str, replacements: &[(&str, &str)]) -> (bool, String) {
    let folder = Folder::new().unwrap();
    let logs = format!("{}/", folder.path().display());
    let own = [("/var/log/nginx/", &*logs)];
    let text = filled(file, replacements.iter().copied().chain(own));
    std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
    make_certificates(&folder.path().join("certs"));
    let output = arguments(program, folder.path(), "").arg("-t").output();
    let output = output.unwrap_or_else(|error| panic!("{program:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

/// The text of a file after replacements, each of which must find something.
pub(super) fn filled<'a>(
    file: &str,
    replacements: impl Iterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut text = std::fs::read_to_string(repository(file)).unwrap();
    for (old, new) in replacements {
        assert!(text.contains(old), "{file} has no {old:?}");
        text = text.replace(old, new);
    }
    text
}

/// A file of this repository.
pub(crate) fn repository(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

/// Certificates of an authority of their own.
pub(super) fn make_certificates(folder: &Path) {
    let made = std::process::Command::new(repository("certs/make.sh"))
        .arg(folder)
        .stdout(Stdio::null())
        .status();
    assert!(made.is_ok_and(|status| status.success()), "no certificates");
}

/// Everything else is in the file; where the process leaves its number is the package's choice.
fn arguments(program: &Path, folder: &Path, more: &str) -> std::process::Command {
    let mut command = std::process::Command::new(program);
    let pid = format!("pid {}/nginx.pid; {more}", folder.display());
    command.arg("-p").arg(folder);
    command.arg("-c").arg(folder.join("nginx.conf"));
    command.args(["-g", &pid]);
    command
}

fn spawn(program: &Path, folder: &Path) -> Child {
    let stderr = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("stderr"))
        .unwrap();
    let mut command = arguments(program, folder, "daemon off;");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .process_group(0);
    let child = Command::from(command).kill_on_drop(true).spawn();
    child.unwrap_or_else(|error| panic!("{program:?}: {error}"))
}
