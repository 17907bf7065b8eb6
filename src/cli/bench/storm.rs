//! Mode `storm`: all clients lose their connection at once while publishing goes on, and come back with recovery.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Watch, connect,
    count::Latencies,
    load::{Ledger, Run, Subscriber, nanoseconds},
    progress::Progress,
    report::{Rate, Report, Storm},
    target::Error,
};

/// Pause after an attempt to come back that failed.
const AGAIN: Duration = Duration::from_millis(100);
/// Longest wait for everybody to be back.
const LONGEST: Duration = Duration::from_secs(120);

/// What those share who are cut.
#[derive(Debug)]
struct Cut {
    now: CancellationToken,
    at: parking_lot::Mutex<Option<Instant>>,
    /// Who may connect at this moment.
    door: Semaphore,
    back: AtomicUsize,
    durations: Latencies,
}

/// Latencies of those who stay: before the cut and from then on.
#[derive(Debug, Default)]
struct Stayed {
    before: Latencies,
    after: Latencies,
}

pub(super) async fn measure(run: Arc<Run>) -> Result<Report, Error> {
    let (plan, mut tasks) = (&run.plan, JoinSet::new());
    let mut watch = Watch::begin(plan, &mut tasks);
    let (subscribers, connect) = connect(&run, &mut watch).await?;
    let cut = Arc::new(Cut {
        now: CancellationToken::new(),
        at: parking_lot::Mutex::default(),
        door: Semaphore::new(plan.concurrency),
        back: AtomicUsize::new(0),
        durations: Latencies::default(),
    });
    let stayed = Arc::new(Stayed::default());
    let mut ledgers = Vec::new();
    for session in 0..plan.stay {
        let subscriber = run.subscriber(session, None).await?;
        ledgers.push(subscriber.ledger.clone());
        tasks.spawn(stay(run.clone(), subscriber, cut.clone(), stayed.clone()));
    }
    for subscriber in subscribers {
        ledgers.push(subscriber.ledger.clone());
        tasks.spawn(be_cut(run.clone(), subscriber, cut.clone()));
    }
    let connected = watch.memory();
    watch.lap();
    let (published, took) = publish_and_cut(&run, &cut).await?;
    let back_seconds = everybody_back(&cut, plan.connections).await;
    run.settle(&ledgers).await;
    let mut report = Report::of(&run);
    report.connect = Some(connect);
    let mut rate = Rate::new(published, took, &run.calls, None);
    rate.failed = run.refusals() as u64;
    report.publish = Some(rate);
    let received = run.received.load(Relaxed);
    report.deliver = Some(Rate::new(received, took, &run.latencies, watch.lap()));
    report.counted = Some(run.sum(&ledgers));
    report.storm = Some(Storm {
        cut: plan.connections,
        back: cut.back.load(Relaxed),
        back_seconds,
        back_ms: cut.durations.summary(),
        stayed_before_ms: stayed.before.summary(),
        stayed_ms: stayed.after.summary(),
    });
    report.server = watch.end(connected, plan.connections + plan.stay);
    tasks.abort_all();
    Ok(report)
}

/// Publishes everything; after a third of it all clients are cut.
async fn publish_and_cut(run: &Run, cut: &Cut) -> Result<(u64, Duration), Error> {
    let plan = &run.plan;
    let mut publisher = plan.route.open().await?;
    let steps = usize::try_from(plan.publications).unwrap_or(usize::MAX);
    let progress = Progress::of("publishing", steps);
    let start = Instant::now();
    let cutting = async {
        while run.given() < plan.publications / 3 {
            sleep(Duration::from_millis(1)).await;
        }
        *cut.at.lock() = Some(Instant::now());
        cut.now.cancel();
        Ok(())
    };
    tokio::try_join!(run.publish(&mut publisher, &progress), cutting)?;
    Ok((plan.publications, start.elapsed()))
}

/// Waits until all are back; returns how long the last one took.
async fn everybody_back(cut: &Cut, all: usize) -> f64 {
    let start = Instant::now();
    while cut.back.load(Relaxed) < all && start.elapsed() < LONGEST {
        sleep(Duration::from_millis(5)).await;
    }
    cut.durations.quantile(1.0).as_secs_f64()
}

async fn stay(run: Arc<Run>, subscriber: Subscriber, cut: Arc<Cut>, stayed: Arc<Stayed>) {
    let latencies = || {
        if cut.now.is_cancelled() {
            &stayed.after
        } else {
            &stayed.before
        }
    };
    run.follow(subscriber.session, &subscriber.ledger, latencies)
        .await;
}

async fn be_cut(run: Arc<Run>, subscriber: Subscriber, cut: Arc<Cut>) {
    let Subscriber {
        session,
        ledger,
        epoch,
    } = subscriber;
    let following = run.follow(session, &ledger, || &run.latencies);
    // The future owns the socket: dropping it is the cut.
    cut.now
        .run_until_cancelled(following)
        .await
        .unwrap_or_default();
    let Some(at) = *cut.at.lock() else { return };
    let session = loop {
        let permit = cut.door.acquire().await;
        match come_back(&run, &ledger, &epoch).await {
            Ok(session) => break session,
            Err(error) => {
                run.ended.lock().1.get_or_insert_with(|| error.to_string());
                drop(permit);
                sleep(AGAIN.mul_f64(rand::random_range(0.5..1.5))).await;
            }
        }
    };
    cut.durations.add(nanoseconds(at.elapsed()));
    cut.back.fetch_add(1, Relaxed);
    run.follow(session, &ledger, || &run.latencies).await;
}

/// Connects and recovers from what was seen last. The channels of a run are new, so number n has offset n + 1.
async fn come_back(
    run: &Run,
    ledger: &Ledger,
    epoch: &str,
) -> Result<super::target::Session, Error> {
    let mut session = run.plan.target.open(None).await?;
    let places: Vec<_> = ledger
        .lock()
        .iter()
        .map(|seen| (seen.channel, seen.tracker.complete_below()))
        .collect();
    for (channel, offset) in places {
        let take = |message: &[u8]| run.take(message, ledger, &run.latencies);
        let from = Some((offset, epoch));
        // What was missed comes with the answer and is taken like the rest.
        session
            .subscribe(&run.channels[channel], from, take)
            .await?;
    }
    Ok(session)
}
