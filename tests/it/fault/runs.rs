//! The faults themselves: each is done to two nodes that share one Redis, under load, and the judge decides what became of it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    bench::{Load, Run, settings},
    proxy::Proxy,
    table::{Row, table},
};
use crate::support::{RedisServer, Server, needed};

/// After Redis is back, so soon every position is checked: two seconds where the script measures it. In the suite the machine has
/// other work.
fn soon() -> Duration {
    let measured = std::env::var_os("CENTRIPETAL_FAULT_SECONDS").is_some();
    Duration::from_secs(if measured { 2 } else { 20 })
}

/// For what is waited for without a promise.
const PATIENCE: Duration = Duration::from_secs(30);

/// A hundred messages a second.
const LOAD: Load = Load {
    channels: 4,
    pace: Duration::from_millis(40),
    bytes: 10,
};

/// Two nodes, each with a link of its own to the same Redis, under load.
struct Stage {
    redis: RedisServer,
    links: Vec<Proxy>,
    run: Run,
}

impl Stage {
    async fn set(load: Load) -> Option<Self> {
        needed("CENTRIPETAL_REDIS")?;
        let redis = RedisServer::start(RedisServer::DURABLE).await;
        let (mut links, mut nodes) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let link = Proxy::to(redis.port()).await;
            let mut settings = settings();
            let address = format!("redis://127.0.0.1:{}", link.port());
            settings["engine"] = json!({"type": "redis", "redis": {"address": address}});
            nodes.push(Arc::new(Server::start(settings).await));
            links.push(link);
        }
        let mut run = Run::start(nodes, load).await;
        run.accepted().await;
        Some(Self { redis, links, run })
    }

    /// The sum of a metric's series over all nodes.
    async fn metric(&self, series: &str) -> f64 {
        let mut sum = 0.0;
        for node in self.run.nodes() {
            let text = node.get("/metrics").await.1;
            let values = text.lines().filter(|line| line.starts_with(series));
            sum += values
                .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
                .sum::<f64>();
        }
        sum
    }

    /// Within this time so many of a hundred repairs were done.
    async fn repaired_within(&self, percent: f64) -> Option<Duration> {
        const NAME: &str = "centripetal_sequencer_repair_duration_seconds";
        let all = self.metric(&format!("{NAME}_count")).await;
        for border in [
            0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0,
        ] {
            let series = format!("{NAME}_bucket{{le=\"{border}\"}}");
            if all > 0.0 && self.metric(&series).await >= all * percent / 100.0 {
                return Some(Duration::from_secs_f64(border));
            }
        }
        None
    }

    /// Comparisons of all positions after a return of PUB/SUB, by node.
    async fn checks(&self) -> Vec<f64> {
        let mut checks = Vec::new();
        for node in self.run.nodes() {
            let text = node.get("/metrics").await.1;
            let series = "centripetal_sequencer_reconnects_total ";
            let value = text.lines().find_map(|line| line.strip_prefix(series));
            checks.push(value.map_or(0.0, |value| value.parse().unwrap()));
        }
        checks
    }

    /// Waits until every node has checked its positions once more than `before`; how long that took.
    async fn checked(&self, before: &[f64]) -> Duration {
        let begun = Instant::now();
        loop {
            let now = self.checks().await;
            if before.iter().zip(&now).all(|(before, now)| now > before) {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < PATIENCE, "positions are not checked");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the run; nothing may be lost in silence.
    async fn ends(self, fault: &'static str, injected: u64, repair: Option<Duration>) -> Row {
        let verdict = self.run.judged().await;
        let row = Row {
            fault,
            injected,
            verdict,
            repair,
        };
        assert!(verdict.is_clean(), "{row:?}");
        assert!(injected > 0, "nothing was broken: {row:?}");
        row
    }
}

/// How long a fault lasts; the script asks for more.
fn seconds(usual: u64) -> Duration {
    let asked = std::env::var_os("CENTRIPETAL_FAULT_SECONDS");
    let asked = asked.and_then(|asked| asked.to_str()?.parse().ok());
    Duration::from_secs(asked.unwrap_or(usual))
}

async fn messages_lost() -> Option<Row> {
    let stage = Stage::set(LOAD).await?;
    let each = |lost| {
        stage
            .links
            .iter()
            .for_each(|link| link.breaks(|faults| faults.lost = lost))
    };
    each(0.01);
    sleep(seconds(6)).await;
    let begun = Instant::now();
    while stage.links.iter().all(|link| link.lost() == 0) {
        assert!(begun.elapsed() < PATIENCE, "no message is lost");
        sleep(Duration::from_millis(10)).await;
    }
    each(0.0);
    let lost = stage.links.iter().map(Proxy::lost).sum();
    let repair = stage.repaired_within(99.0).await;
    let row = stage
        .ends("1 % of PUB/SUB messages lost", lost, repair)
        .await;
    assert_eq!(undisturbed(&row), (0, 0, 0), "{row:?}");
    Some(row)
}

async fn messages_doubled() -> Option<Row> {
    let stage = Stage::set(LOAD).await?;
    let each = |part| {
        stage
            .links
            .iter()
            .for_each(|link| link.breaks(|faults| faults.doubled = part))
    };
    each(0.05);
    sleep(seconds(3)).await;
    let begun = Instant::now();
    while stage.links.iter().all(|link| link.doubled() == 0) {
        assert!(begun.elapsed() < PATIENCE, "no message is doubled");
        sleep(Duration::from_millis(10)).await;
    }
    each(0.0);
    let doubled = stage.links.iter().map(Proxy::doubled).sum();
    let row = stage
        .ends("5 % of PUB/SUB messages doubled", doubled, None)
        .await;
    assert_eq!(undisturbed(&row), (0, 0, 0), "{row:?}");
    Some(row)
}

async fn pubsub_cut() -> Option<Row> {
    let stage = Stage::set(LOAD).await?;
    let (mut cuts, mut slowest) = (0, Duration::ZERO);
    let until = Instant::now() + seconds(3);
    while Instant::now() < until {
        let before = stage.checks().await;
        stage.links.iter().for_each(Proxy::cut_pubsub);
        cuts += 2;
        slowest = slowest.max(stage.checked(&before).await);
        sleep(Duration::from_secs(1).saturating_sub(slowest)).await;
    }
    let row = stage
        .ends("PUB/SUB cut every second", cuts, Some(slowest))
        .await;
    assert_eq!(undisturbed(&row), (0, 0, 0), "{row:?}");
    assert!(slowest <= soon(), "{row:?}");
    Some(row)
}

async fn redis_killed() -> Option<Row> {
    let mut stage = Stage::set(LOAD).await?;
    let before = stage.checks().await;
    stage.redis.kill();
    sleep(seconds(1)).await;
    stage.redis.restart().await;
    let repair = stage.checked(&before).await;
    let row = stage.ends("Redis killed and back", 1, Some(repair)).await;
    assert_eq!(undisturbed(&row), (0, 0, 0), "{row:?}");
    assert!(row.verdict.failed > 0 && repair <= soon(), "{row:?}");
    Some(row)
}

async fn redis_emptied() -> Option<Row> {
    let mut stage = Stage::set(LOAD).await?;
    let series = "centripetal_sequencer_insufficient_total{";
    let before = stage.metric(series).await;
    stage.redis.kill();
    sleep(seconds(1)).await;
    stage.redis.restart_empty().await;
    let begun = Instant::now();
    let all = 2.0 * f64::from(u32::try_from(LOAD.channels).unwrap());
    while stage.metric(series).await < before + all {
        assert!(begun.elapsed() < PATIENCE, "the loss is not declared");
        sleep(Duration::from_millis(5)).await;
    }
    let repair = begun.elapsed();
    let row = stage
        .ends("Redis killed and back empty", 1, Some(repair))
        .await;
    let clients = 6 * u64::try_from(LOAD.channels).unwrap();
    assert!(
        row.verdict.declared >= clients && row.verdict.closed == 0,
        "{row:?}"
    );
    assert!(repair <= soon(), "{row:?}");
    Some(row)
}

async fn redis_frozen() -> Option<Row> {
    let stage = Stage::set(LOAD).await?;
    stage.redis.hang(true);
    sleep(seconds(3)).await;
    stage.redis.hang(false);
    let mut stage = stage;
    let begun = Instant::now();
    stage.run.accepted().await;
    let repair = begun.elapsed();
    let row = stage.ends("Redis frozen", 1, Some(repair)).await;
    assert_eq!(undisturbed(&row), (0, 0, 0), "{row:?}");
    Some(row)
}

async fn buffer_overflown() -> Option<Row> {
    let stage = Stage::set(Load {
        channels: 2,
        bytes: 50_000,
        ..LOAD
    })
    .await?;
    stage
        .redis
        .ask("CONFIG SET client-output-buffer-limit \"pubsub 65536 0 0\"")
        .await;
    let before = stage.checks().await;
    let deaf = &stage.links[0];
    deaf.breaks(|faults| faults.deaf = true);
    let begun = Instant::now();
    while stage.redis.overflows() == 0 {
        assert!(begun.elapsed() < PATIENCE, "the buffer does not overflow");
        sleep(Duration::from_millis(10)).await;
    }
    deaf.breaks(|faults| faults.deaf = false);
    // Only this node had to come back.
    let repair = stage.checked(&before[..1]).await;
    let ended = stage.redis.overflows();
    let row = stage
        .ends("output buffer overflown", ended, Some(repair))
        .await;
    assert_eq!(undisturbed(&row), (0, 0, 0), "{row:?}");
    assert!(repair <= soon(), "{row:?}");
    Some(row)
}

async fn scripts_flushed() -> Option<Row> {
    let stage = Stage::set(LOAD).await?;
    let mut flushed = 0;
    let until = Instant::now() + seconds(2);
    while Instant::now() < until {
        stage.redis.ask("SCRIPT FLUSH").await;
        flushed += 1;
        sleep(Duration::from_millis(50)).await;
    }
    let row = stage.ends("script cache flushed", flushed, None).await;
    assert_eq!(undisturbed(&row), (0, 0, 0), "{row:?}");
    assert_eq!(row.verdict.failed, 0, "{row:?}");
    Some(row)
}

/// A master dies under load, and sentinels let its replica take over. What the replica had not yet is lost, and told.
async fn failed_over() -> Option<Row> {
    needed("CENTRIPETAL_REDIS")?;
    let mut master = RedisServer::start("").await;
    let replica = RedisServer::start(&format!("replicaof 127.0.0.1 {}", master.port())).await;
    let following = |info: &str| info.contains("master_link_status:up");
    replica.until("INFO replication", following).await;
    let sentinel = RedisServer::start(&format!(
        "sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 5000",
        master.port(),
    ))
    .await;
    let port = replica.port().to_string();
    let known = |replicas: &str| replicas.contains(&port);
    sentinel.until("SENTINEL REPLICAS main", known).await;
    let engine = json!({
        "sentinel_address": [sentinel.address()], "sentinel_master_name": "main",
    });
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let mut settings = settings();
        settings["engine"] = json!({"type": "redis", "redis": engine});
        nodes.push(Arc::new(Server::start(settings).await));
    }
    let mut run = Run::start(nodes, LOAD).await;
    run.accepted().await;
    let stage = Stage {
        redis: replica,
        links: Vec::new(),
        run,
    };
    let before = stage.checks().await;
    master.kill();
    // Redis is back when the sentinels name the new one.
    let asked = "SENTINEL get-master-addr-by-name main";
    sentinel.until(asked, |master| master.contains(&port)).await;
    let repair = stage.checked(&before).await;
    let row = stage
        .ends("master killed, replica takes over", 1, Some(repair))
        .await;
    assert!(row.verdict.failed > 0 && row.verdict.closed == 0, "{row:?}");
    assert!(repair <= soon(), "{row:?}");
    Some(row)
}

async fn memory_full() -> Option<Row> {
    let mut stage = Stage::set(LOAD).await?;
    stage.redis.ask("CONFIG SET maxmemory 1").await;
    sleep(seconds(1)).await;
    stage.redis.ask("CONFIG SET maxmemory 0").await;
    let begun = Instant::now();
    stage.run.accepted().await;
    let repair = begun.elapsed();
    let row = stage.ends("memory full", 1, Some(repair)).await;
    assert_eq!(undisturbed(&row), (0, 0, 0), "{row:?}");
    assert!(row.verdict.failed > 0, "{row:?}");
    Some(row)
}

async fn password_changed() -> Option<Row> {
    let stage = Stage::set(LOAD).await?;
    let before = stage.checks().await;
    stage.redis.ask("CONFIG SET requirepass secret").await;
    stage.links.iter().for_each(Proxy::cut);
    sleep(seconds(1)).await;
    let reset = stage
        .redis
        .ask_as("secret", "CONFIG SET requirepass \"\"")
        .await;
    reset.unwrap();
    let repair = stage.checked(&before).await;
    let row = stage.ends("wrong password", 1, Some(repair)).await;
    assert_eq!(undisturbed(&row), (0, 0, 0), "{row:?}");
    assert!(row.verdict.failed > 0 && repair <= soon(), "{row:?}");
    Some(row)
}

async fn link_stalled() -> Option<Row> {
    let mut stage = Stage::set(LOAD).await?;
    stage.links[0].breaks(|faults| faults.stalled = true);
    sleep(seconds(2)).await;
    stage.links[0].breaks(|faults| {
        faults.stalled = false;
        faults.throttle = Some(50_000);
    });
    sleep(seconds(2)).await;
    stage.links[0].breaks(|faults| faults.throttle = None);
    let begun = Instant::now();
    stage.run.accepted().await;
    let repair = begun.elapsed();
    let row = stage.ends("link stalled, then slow", 1, Some(repair)).await;
    assert_eq!(undisturbed(&row), (0, 0, 0), "{row:?}");
    Some(row)
}

async fn node_killed() -> Option<Row> {
    let mut stage = Stage::set(LOAD).await?;
    stage.run.nodes()[1].crash();
    let begun = Instant::now();
    stage.run.accepted().await;
    let repair = begun.elapsed();
    let row = stage.ends("node killed", 1, Some(repair)).await;
    let clients = 3 * u64::try_from(LOAD.channels).unwrap();
    // The clients of that node, and no others.
    assert_eq!(undisturbed(&row), (0, 0, clients), "{row:?}");
    Some(row)
}

/// What clients noticed: declared losses, ended subscriptions, ended connections.
const fn undisturbed(row: &Row) -> (u64, u64, u64) {
    (row.verdict.declared, row.verdict.told, row.verdict.closed)
}

/// All of them, two at a time, and one table.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "with the machine for itself; `cargo test --test it -- --ignored fault::runs` runs it"]
async fn every_fault_is_repaired_or_declared() {
    let (mut rows, mut broken) = (Vec::new(), Vec::new());
    macro_rules! two {
        ($($one:ident, $other:ident;)+) => {$(
            let one = AssertUnwindSafe($one()).catch_unwind();
            let other = AssertUnwindSafe($other()).catch_unwind();
            let (one, other) = tokio::join!(Box::pin(one), Box::pin(other));
            for (name, done) in [(stringify!($one), one), (stringify!($other), other)] {
                match done {
                    Ok(row) => rows.extend(row),
                    Err(_panicked) => broken.push(name),
                }
            }
            eprintln!("{} runs done", rows.len());
        )+};
    }
    two! {
        messages_lost, messages_doubled;
        pubsub_cut, redis_killed;
        redis_emptied, redis_frozen;
        buffer_overflown, scripts_flushed;
        memory_full, password_changed;
        link_stalled, node_killed;
    }
    // Alone: what it takes to elect a master is not this machine's to share.
    match AssertUnwindSafe(Box::pin(failed_over()))
        .catch_unwind()
        .await
    {
        Ok(row) => rows.extend(row),
        Err(_panicked) => broken.push("failed_over"),
    }
    println!("{}", table(&rows));
    assert!(broken.is_empty(), "{broken:?}");
}
