//! What Redis costs, in one run on one machine: publishing against a bare client, a publication through Redis to two nodes
//! against one node's memory, and coming back after a restart. Prints every figure with its goal, and what was lost, doubled
//! or reordered; the exit code is 1 when anything was.
//!
//!     cargo bench --bench redis
//!     cargo bench --profile dev --bench redis -- --seconds 1 --rounds 1 --subscribers 20 --channels 500    # does it work?
//!
//! Needs `redis-server` (or its path in `CENTRIPETAL_REDIS`) and a quiet machine. Only ratios of one run say anything.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made has no result"
)]

use std::{process::ExitCode, time::Duration};

use clap::{Arg, ArgMatches, Command, value_parser};

mod comeback;
mod fanout;
#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../../tests/it/support/redis.rs"]
mod fixture;
#[path = "../../tests/it/support/ports.rs"]
mod ports;
mod publish;

/// What is measured, and for how long.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// Of one round of one kind.
    time: Duration,
    rounds: usize,
    callers: usize,
    subscribers: usize,
    /// Publications a second of the fan-out.
    rate: u32,
    channels: usize,
}

/// What may never happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Faults {
    lost: u64,
    doubled: u64,
    reordered: u64,
}

impl Faults {
    /// Takes offsets as they came, of which 1 to `last` were to come in this order.
    fn judged(seen: &[u64], last: u64) -> Self {
        let mut faults = Self::default();
        let mut known = std::collections::HashSet::new();
        let mut newest = 0;
        for &offset in seen {
            if !known.insert(offset) {
                faults.doubled += 1;
            } else if offset < newest {
                faults.reordered += 1;
            }
            newest = newest.max(offset);
        }
        faults.lost = (1..=last).filter(|offset| !known.contains(offset)).count() as u64;
        faults
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            reordered: self.reordered + other.reordered,
        }
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            lost,
            doubled,
            reordered,
        } = self;
        write!(f, "lost {lost}, doubled {doubled}, reordered {reordered}")
    }
}

/// One line of the report.
fn line(what: &str, figure: &str, goal: &str) {
    println!("{what:<58} {figure:>16}   {goal}");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .default_value(default)
            .help(help)
            .value_parser(value_parser!(u32))
    };
    Command::new("redis")
        .arg(number("seconds", "5", "Of each measurement"))
        .arg(number("rounds", "3", "Of the publishing, interleaved"))
        .arg(number("callers", "16", "Publishing at a time"))
        .arg(number("subscribers", "1000", "Of the fan-out"))
        .arg(number("rate", "20", "Publications a second of the fan-out"))
        .arg(number(
            "channels",
            "10000",
            "To subscribe again after a restart",
        ))
        // What Cargo says to every benchmark.
        .arg(Arg::new("bench").long("bench").num_args(0).hide(true))
}

impl Plan {
    fn of(given: &ArgMatches) -> Self {
        let number = |name| given.get_one::<u32>(name).copied().unwrap();
        let count = |name| usize::try_from(number(name)).unwrap().max(1);
        Self {
            time: Duration::from_secs(number("seconds").max(1).into()),
            rounds: count("rounds"),
            callers: count("callers"),
            subscribers: count("subscribers"),
            rate: number("rate").max(1),
            channels: count("channels"),
        }
    }
}

fn main() -> ExitCode {
    let plan = Plan::of(&command().get_matches());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let faults = runtime.block_on(async {
        let published = publish::measure(plan).await;
        let spread = fanout::measure(plan).await;
        let back = comeback::measure(plan).await;
        published.plus(spread).plus(back)
    });
    line("all together", &faults.to_string(), "nothing");
    ExitCode::from(u8::from(faults != Faults::default()))
}
