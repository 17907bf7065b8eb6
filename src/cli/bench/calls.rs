//! Modes `publish` and `rpc`: calls one after another on many connections, nobody listening.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::{task::JoinSet, time::Instant};

use super::{
    Watch,
    api::{Post, Publisher},
    load::{Run, nanoseconds},
    mark::Mark,
    plan::Mode,
    progress::Progress,
    report::{Rate, Report},
    target::{Error, Session},
};
use crate::protocol::{Request, RpcRequest};

/// How often progress is shown, in calls.
const SHOWN: u64 = 256;

/// What makes calls.
enum Caller {
    Publisher(Publisher),
    Session(Session),
}

pub(super) async fn measure(run: Arc<Run>) -> Result<Report, Error> {
    let (plan, mut watched) = (&run.plan, JoinSet::new());
    let mut watch = Watch::begin(plan, &mut watched);
    let callers = open(&run).await?;
    let connected = watch.memory();
    let progress = Arc::new(Progress::of(
        "calling",
        usize::try_from(plan.publications).unwrap_or(0),
    ));
    let (next, mut tasks) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
    watch.lap();
    let start = Instant::now();
    for caller in callers {
        let (run, next, progress) = (run.clone(), next.clone(), progress.clone());
        tasks.spawn(async move { work(&run, caller, &next, &progress).await });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap_or_else(|error| Err(Error::Ended(error.to_string())))?;
    }
    let rate = Rate::new(plan.publications, start.elapsed(), &run.calls, watch.lap());
    let mut report = Report::of(&run);
    match plan.mode {
        Mode::Rpc => report.rpc = Some(rate),
        _ => report.publish = Some(rate),
    }
    report.server = watch.end(connected, plan.connections);
    Ok(report)
}

/// One caller for each connection, or for each of the calls that share one.
async fn open(run: &Run) -> Result<Vec<Caller>, Error> {
    let (plan, mut callers) = (&run.plan, Vec::new());
    while callers.len() < plan.connections {
        if plan.mode == Mode::Rpc {
            callers.push(Caller::Session(plan.target.open(None).await?));
            continue;
        }
        let publisher = plan.route.open().await?;
        let beside = (1..plan.streams).map_while(|_| publisher.beside());
        let beside: Vec<_> = beside.take(plan.connections - callers.len() - 1).collect();
        callers.extend(beside.into_iter().chain([publisher]).map(Caller::Publisher));
    }
    Ok(callers)
}

async fn work(
    run: &Run,
    mut caller: Caller,
    next: &AtomicU64,
    progress: &Progress,
) -> Result<(), Error> {
    let batch = run.plan.batch as u64;
    loop {
        let number = next.fetch_add(batch, Relaxed);
        if number >= run.plan.publications {
            return Ok(());
        }
        let start = Instant::now();
        match &mut caller {
            Caller::Publisher(publisher) => {
                let posts = (number..number + batch)
                    .map(|number| post(run, number))
                    .collect();
                publisher.publish(posts).await?;
            }
            Caller::Session(session) => {
                let request = Request::Rpc(RpcRequest {
                    data: post(run, number).payload.into(),
                    method: run.plan.method.clone(),
                });
                session.call("rpc", request, |_| {}).await?;
            }
        }
        run.calls.add(nanoseconds(start.elapsed()));
        if number.is_multiple_of(SHOWN) {
            progress.step(usize::try_from(number).unwrap_or(usize::MAX));
        }
    }
}

fn post(run: &Run, number: u64) -> Post {
    let channel = usize::try_from(number).unwrap_or(0) % run.channels.len();
    Post {
        channel: run.channels[channel].clone(),
        payload: run.marks.payload(Mark {
            channel,
            number,
            sent: 0,
        }),
    }
}
