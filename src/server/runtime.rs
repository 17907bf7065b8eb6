//! What the runtime is like (metrics.md 18): tasks, workers, and how late it is.

use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, IntGauge, Opts, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};

use super::entrance::OWN_NAMESPACE;

/// Between two looks at the clock.
const PERIOD: Duration = Duration::from_millis(100);

/// Borders of the lag, seconds. Timers are exact to a millisecond.
const BORDERS: [f64; 11] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Counts tasks when somebody asks.
#[derive(Debug)]
struct Runtime {
    handle: Handle,
    tasks: IntGauge,
    workers: IntGauge,
}

/// How late tasks run that have something to do.
#[derive(Clone, Debug)]
pub(super) struct Lag(Histogram);

/// Registers what there is to say of this runtime and of the build.
///
/// # Errors
/// When a name is taken in the registry.
pub(super) fn register(registry: &Registry) -> Result<Lag, prometheus::Error> {
    let gauge = |name: &str, help: &str| {
        IntGauge::with_opts(Opts::new(name, help).namespace(OWN_NAMESPACE))
    };
    registry.register(Box::new(Runtime {
        handle: Handle::current(),
        tasks: gauge("runtime_tasks", "Tasks that have not ended.")?,
        workers: gauge("runtime_workers", "Threads that run tasks.")?,
    }))?;
    let options = Opts::new("build_info", "The version that runs.")
        .namespace(OWN_NAMESPACE)
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("commit", option_env!("CENTRIPETAL_COMMIT").unwrap_or(""));
    let build = IntGauge::with_opts(options)?;
    build.set(1);
    registry.register(Box::new(build))?;
    let help = "How much later than its time a task runs.";
    let options = HistogramOpts::new("runtime_lag_seconds", help)
        .namespace(OWN_NAMESPACE)
        .buckets(BORDERS.to_vec());
    let lag = Histogram::with_opts(options)?;
    registry.register(Box::new(lag.clone()))?;
    Ok(Lag(lag))
}

impl Lag {
    /// Measures until it is dropped. For a task of its own: it is late when tasks are.
    pub(super) async fn run(self) {
        loop {
            let due = Instant::now() + PERIOD;
            sleep_until(due).await;
            self.0.observe(due.elapsed().as_secs_f64());
        }
    }
}

impl Collector for Runtime {
    fn desc(&self) -> Vec<&Desc> {
        let mut descs = self.tasks.desc();
        descs.extend(self.workers.desc());
        descs
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let int = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let runtime = self.handle.metrics();
        self.tasks.set(int(runtime.num_alive_tasks()));
        self.workers.set(int(runtime.num_workers()));
        let mut families = self.tasks.collect();
        families.extend(self.workers.collect());
        families
    }
}
