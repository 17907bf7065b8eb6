//! What Linux says of this process (metrics.md 12): processor time, memory, open files, age, network of its namespace.
//!
//! Read when somebody asks. What the system does not tell is left out, so elsewhere there is none of it.

use std::{fs, io};

use prometheus::{
    Opts,
    core::{Collector, Desc, Describer as _},
    proto::{Counter, Gauge, Metric, MetricFamily, MetricType},
};

/// Ticks a second in `/proc`: USER_HZ, which is part of Linux' binary interface and 100 on all architectures with Rust.
const TICKS: f64 = 100.0;

/// A family: name, help, kind.
type Described = (&'static str, &'static str, MetricType);

const FAMILIES: [Described; 9] = [
    (
        "process_cpu_seconds_total",
        "Processor time, of user and system.",
        MetricType::COUNTER,
    ),
    (
        "process_resident_memory_bytes",
        "Memory that is resident.",
        MetricType::GAUGE,
    ),
    (
        "process_virtual_memory_bytes",
        "Address space in use.",
        MetricType::GAUGE,
    ),
    (
        "process_virtual_memory_max_bytes",
        "Largest address space; -1 for any.",
        MetricType::GAUGE,
    ),
    ("process_open_fds", "Open files.", MetricType::GAUGE),
    (
        "process_max_fds",
        "Files that may be open.",
        MetricType::GAUGE,
    ),
    (
        "process_start_time_seconds",
        "When the process started, Unix time.",
        MetricType::GAUGE,
    ),
    (
        "process_network_receive_bytes_total",
        "Bytes received over IP in the network namespace.",
        MetricType::COUNTER,
    ),
    (
        "process_network_transmit_bytes_total",
        "Bytes sent over IP in the network namespace.",
        MetricType::COUNTER,
    ),
];

/// The process, as a collector.
#[derive(Debug)]
pub(crate) struct Process {
    descs: Vec<Desc>,
}

impl Process {
    /// A collector of this process.
    ///
    /// # Errors
    /// Never in practice: the names are fixed.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let descs = FAMILIES
            .iter()
            .map(|(name, help, _)| Opts::new(*name, *help).describe());
        Ok(Self {
            descs: descs.collect::<Result<_, _>>()?,
        })
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let known = values();
        let families = FAMILIES
            .iter()
            .zip(known)
            .filter_map(|(described, value)| Some(family(described, value?)));
        families.collect()
    }
}

fn family((name, help, kind): &Described, value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    if *kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    let mut family = MetricFamily::default();
    family.set_name((*name).to_owned());
    family.set_help((*help).to_owned());
    family.set_field_type(*kind);
    family.set_metric(vec![metric]);
    family
}

/// The values of `FAMILIES`, in their order.
fn values() -> [Option<f64>; FAMILIES.len()] {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let stat = Stat::read(&read("/proc/self/stat"));
    let (status, limits) = (read("/proc/self/status"), read("/proc/self/limits"));
    let booted = value_of(&read("/proc/stat"), "btime");
    let (received, sent) = octets(&read("/proc/self/net/netstat")).unzip();
    [
        stat.as_ref().map(|stat| stat.processor),
        value_of(&status, "VmRSS:").map(|kib| kib * 1024.0),
        stat.as_ref().map(|stat| stat.virtual_memory),
        limit(&limits, "Max address space"),
        open_files().ok(),
        limit(&limits, "Max open files"),
        stat.zip(booted).map(|(stat, booted)| booted + stat.started),
        received,
        sent,
    ]
}

#[expect(clippy::cast_precision_loss, reason = "nobody opens 2^52 files")]
fn open_files() -> io::Result<f64> {
    // One of them is the directory that is being read.
    Ok(fs::read_dir("/proc/self/fd")?.count().saturating_sub(1) as f64)
}

/// What is used of `/proc/self/stat`.
struct Stat {
    /// Seconds of processor time.
    processor: f64,
    virtual_memory: f64,
    /// Seconds between the start of the system and that of the process.
    started: f64,
}

impl Stat {
    /// The name of the program, in brackets, may hold anything; fields are counted behind it.
    fn read(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<f64> = rest
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0.0))
            .collect();
        Some(Self {
            processor: (fields.get(11)? + fields.get(12)?) / TICKS,
            started: fields.get(19)? / TICKS,
            virtual_memory: *fields.get(20)?,
        })
    }
}

/// The number behind a name at the beginning of a line.
fn value_of(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The soft limit of this name; -1 when there is none.
fn limit(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(-1.0),
        number => number.parse().ok(),
    }
}

/// Bytes received and sent: a line of names and a line of values.
fn octets(text: &str) -> Option<(f64, f64)> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let of = |wanted: &str| {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
    };
    Some((of("InOctets")?, of("OutOctets")?))
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells_all_of_it() {
        let registry = Registry::new();
        registry
            .register(Box::new(Process::new().unwrap()))
            .unwrap();
        let families = registry.gather();
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name() == name);
            let metric = &family.unwrap_or_else(|| panic!("{name}")).get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        assert_eq!(families.len(), FAMILIES.len());
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        let file = fs::File::open("/proc/self/stat").unwrap();
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") > value("process_open_fds"));
        drop(file);
        let (now, started) = (
            f64::from(u32::try_from(chrono::Utc::now().timestamp()).unwrap()),
            value("process_start_time_seconds"),
        );
        assert!(
            started <= now + 2.0 && started > now - 86_400.0,
            "{started}"
        );
    }

    #[test]
    fn a_name_with_brackets_moves_no_field() {
        let text = "7 (a b) c)) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0 300 4096 1 2";
        let stat = Stat::read(text).unwrap();
        assert!((stat.processor - 3.0).abs() < 1e-9);
        assert!((stat.started - 3.0).abs() < 1e-9);
        assert!((stat.virtual_memory - 4096.0).abs() < 1e-9);
        assert!(Stat::read("broken").is_none());
        assert_eq!(
            limit(
                "Max open files   unlimited unlimited files",
                "Max open files"
            ),
            Some(-1.0)
        );
    }
}
