//! `centripetal bench`: measures a running server from outside, over the same wire as its clients.
//!
//! Speed never stands alone: every publication carries a number, and what was lost, doubled or came out of order is counted
//! for each subscription. Knows the protocol but not the server; a compatible server is measured the same way.

use std::{
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Command, Failure};

mod api;
mod calls;
mod count;
mod grpc;
mod http;
mod load;
mod mark;
mod plan;
mod plot;
mod process;
mod progress;
mod report;
mod storm;
mod target;
#[cfg(test)]
mod tests;
mod websocket;

use load::{Ledger, Run, Subscriber};
use plan::{Mode, Plan};
use process::Process;
use progress::Progress;
use report::{Memory, Rate, Report};
use target::Error;

/// How often the memory of the server is looked at.
const SAMPLE: Duration = Duration::from_millis(100);

pub(super) const BENCH: Command = Command {
    arguments: plan::command,
    run: |arguments, context| {
        let plan = Plan::from_matches(arguments).map_err(|error| told(&error))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(plan.threads)
            .enable_all()
            .build()?;
        let (json, plotted) = (plan.json, plan.plot.clone());
        let run = Arc::new(Run::new(plan));
        // What publishes runs on this thread, what listens on the others.
        let measured = runtime.block_on(measure(run.clone()));
        runtime.shutdown_background();
        let report = measured.map_err(|error| told(&error))?;
        report.print(json, context.out)?;
        if let Some(file) = plotted {
            let title = format!("{} over {}", report.mode, report.transport);
            plot::draw(&file, &title, run.shown()).map_err(|error| told(&error))?;
        }
        if report.lost() {
            return Err(Failure::new(""));
        }
        Ok(())
    },
};

/// Tells an error on standard error: standard output belongs to the report.
fn told(error: &dyn std::error::Error) -> Failure {
    let cause = error.source().map(|cause| format!(": {cause}"));
    // Without a terminal the exit code still tells.
    writeln!(io::stderr(), "error: {error}{}", cause.unwrap_or_default()).ok();
    Failure::new("")
}

/// Watches the server's process, if it can be seen.
#[derive(Debug)]
struct Watch {
    process: Option<Process>,
    before: u64,
    peak: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    cpu: Option<Duration>,
    start: Option<Duration>,
}

impl Watch {
    fn begin(plan: &Plan, tasks: &mut JoinSet<()>) -> Self {
        let listening = || Process::listening(&plan.target.address.host, plan.target.address.port);
        let process = plan.pid.map(Process).or_else(listening);
        let (peak, over) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        if let Some(process) = process {
            let (peak, over) = (peak.clone(), over.clone());
            tasks.spawn(async move {
                while !over.load(Relaxed) {
                    peak.fetch_max(process.memory().unwrap_or(0), Relaxed);
                    sleep(SAMPLE).await;
                }
            });
        }
        let cpu = process.and_then(Process::cpu);
        Self {
            before: process.and_then(Process::memory).unwrap_or(0),
            cpu,
            start: cpu,
            process,
            peak,
            over,
        }
    }

    /// CPU time since the last lap.
    fn lap(&mut self) -> Option<Duration> {
        let now = self.process.and_then(Process::cpu);
        let lap = Some(now?.saturating_sub(self.cpu?));
        self.cpu = now;
        lap
    }

    fn memory(&self) -> u64 {
        self.process.and_then(Process::memory).unwrap_or(0)
    }

    /// Memory of the server, with what it was when all were connected.
    fn end(self, connected: u64, connections: usize) -> Option<Memory> {
        self.over.store(true, Relaxed);
        let process = self.process?;
        let grown = i64::try_from(connected).ok()? - i64::try_from(self.before).ok()?;
        Some(Memory {
            pid: process.0,
            before: self.before,
            connected,
            end: self.memory(),
            peak: self.peak.load(Relaxed),
            per_connection: grown / i64::try_from(connections.max(1)).ok()?,
            cpu_seconds: process.cpu()?.saturating_sub(self.start?).as_secs_f64(),
        })
    }
}

async fn measure(run: Arc<Run>) -> Result<Report, Error> {
    match run.plan.mode {
        Mode::Fanout | Mode::Channels | Mode::Idle | Mode::Connect => deliver(run).await,
        Mode::Rpc | Mode::Publish => calls::measure(run).await,
        Mode::Storm => storm::measure(run).await,
    }
}

/// Opens all sessions, timed.
async fn connect(run: &Run, watch: &mut Watch) -> Result<(Vec<Subscriber>, Rate), Error> {
    let start = Instant::now();
    let progress = Progress::of("connecting", run.plan.connections);
    let subscribers = run.connect(&progress).await?;
    let (count, took) = (subscribers.len() as u64, start.elapsed());
    let rate = Rate::new(count, took, &run.connects, watch.lap());
    Ok((subscribers, rate))
}

/// Connects, subscribes, and, if there is anything to publish, publishes and counts what comes.
async fn deliver(run: Arc<Run>) -> Result<Report, Error> {
    let (plan, mut tasks) = (&run.plan, JoinSet::new());
    let mut watch = Watch::begin(plan, &mut tasks);
    let (subscribers, connect) = connect(&run, &mut watch).await?;
    let ledgers = run.follow_all(subscribers, &mut tasks);
    sleep(plan.wait).await;
    let connected = watch.memory();
    let rates = if plan.publications > 0 {
        Some(publish(&run, &ledgers, &mut watch).await?)
    } else {
        None
    };
    let mut report = Report::of(&run);
    report.connect = Some(connect);
    if let Some((publish, deliver)) = rates {
        report.publish = Some(publish);
        report.deliver = Some(deliver);
        report.counted = Some(run.sum(&ledgers));
    }
    report.server = watch.end(connected, plan.connections);
    tasks.abort_all();
    Ok(report)
}

/// Publishes and waits for what comes of it; returns how fast both went.
async fn publish(run: &Run, ledgers: &[Ledger], watch: &mut Watch) -> Result<(Rate, Rate), Error> {
    let count = run.plan.publications;
    let mut publisher = run.plan.route.open().await?;
    watch.lap();
    let start = Instant::now();
    let steps = usize::try_from(count).unwrap_or(usize::MAX);
    let progress = Progress::of("publishing", steps);
    run.publish(&mut publisher, &progress).await?;
    let published = start.elapsed();
    run.settle(ledgers).await;
    let (delivered, cpu) = (start.elapsed(), watch.lap());
    let mut publish = Rate::new(count, published, &run.calls, None);
    publish.failed = run.refusals() as u64;
    let received = run.received.load(Relaxed);
    let deliver = Rate::new(received, delivered, &run.latencies, cpu);
    Ok((publish, deliver))
}

impl Run {
    /// The latency a picture shows: of deliveries, else of calls, else of connecting.
    fn shown(&self) -> &count::Latencies {
        let all = [&self.latencies, &self.calls];
        let measured = all.into_iter().find(|latencies| latencies.len() > 0);
        measured.unwrap_or(&self.connects)
    }
}
