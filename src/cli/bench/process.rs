//! The server as the operating system sees it: which process listens on a port, its CPU time and its memory. Linux only; on
//! other systems and for servers elsewhere there is nothing to see.

use std::{fs, net::IpAddr, path::Path, time::Duration};

/// Length of a clock tick of `/proc/PID/stat`; the same on all Linux systems of today.
const TICK: Duration = Duration::from_millis(10);

/// A process of this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process(pub(super) u32);

impl Process {
    /// The process that listens on this port of this machine.
    pub(super) fn listening(host: &str, port: u16) -> Option<Self> {
        let here = host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
        let sockets: Vec<String> = tables
            .iter()
            .filter(|_| here)
            .filter_map(|table| fs::read_to_string(table).ok())
            .flat_map(|table| listeners(&table, port))
            .collect();
        let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
        processes
            .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
            .find(|(_, path)| holds(path, &sockets))
            .map(|(id, _)| Self(id))
    }

    /// CPU time used so far, by user and system, of all threads.
    pub(super) fn cpu(self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        // The name in parentheses may hold anything, so counting begins behind it.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut next = || fields.next()?.parse::<u32>().ok();
        Some(TICK * (next()? + next()?))
    }

    /// Resident bytes.
    pub(super) fn memory(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kilobytes * 1024)
    }
}

/// The sockets, as links of file descriptors name them, that listen on a port.
fn listeners(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let rows = table.lines().skip(1).filter_map(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let (_, at) = local.rsplit_once(':')?;
        let matches = u16::from_str_radix(at, 16) == Ok(port) && *state == LISTEN;
        matches.then(|| format!("socket:[{inode}]"))
    });
    rows.collect()
}

fn holds(process: &Path, sockets: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let mut links = links.filter_map(|link| link.to_str().map(str::to_owned));
    links.any(|link| sockets.contains(&link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_of_this_very_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = Process::listening("127.0.0.1", port).unwrap();
        assert_eq!(found.0, std::process::id());
        assert!(found.memory().unwrap() > 1_000_000);
        assert!(found.cpu().is_some());
        assert!(Process::listening("192.0.2.1", port).is_none());
        drop(listener);
        assert!(Process::listening("127.0.0.1", port).is_none());
    }
}
