//! Publishing with history: the engine with several callers, the engine with one, and a bare client that does nothing but call
//! the same script on one connection with as many callers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use centripetal::{
    engine::{
        Broker, PublishOptions, event_channel,
        redis::{Node, Options, Redis},
    },
    model::{Channel, NodeId, Publication},
};
use prometheus::Registry;
use redis::aio::MultiplexedConnection;
use tokio::{task::JoinSet, time::Instant};

use super::{Faults, Plan, fixture::RedisServer, line, median};

/// The script of the engine.
const SCRIPT: &str = include_str!("../../src/engine/redis/scripts/publish_stream.lua");
/// A chat message.
const PAYLOAD: &[u8] = br#"{"text":"A message as people write them to each other, not long, not short","from":"alice","at":1700000000,"id":123456}"#;

/// An engine that nobody listens to.
async fn engine(server: &RedisServer) -> (Arc<Redis>, Vec<centripetal::engine::EventReceiver>) {
    let (events, heard) = event_channel(4, 4096, Duration::from_secs(5));
    let node = Node {
        id: NodeId::from("bench"),
        events,
        registry: Registry::new(),
        namespace: "bench".to_owned(),
    };
    let options = Options {
        address: vec![server.address()],
        ..Options::default()
    };
    (
        Arc::new(Redis::connect(options, node).await.unwrap()),
        heard,
    )
}

/// Lets callers call until the time is over; calls a second.
async fn rate<F: Future<Output = ()> + Send + 'static>(
    callers: usize,
    time: Duration,
    call: impl Fn(usize) -> F + Clone + Send + Sync + 'static,
) -> f64 {
    let done = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let (call, done) = (call.clone(), Arc::clone(&done));
        tasks.spawn(async move {
            while begun.elapsed() < time {
                call(caller).await;
                done.fetch_add(1, Relaxed);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of seconds")]
    let calls = done.load(Relaxed) as f64;
    calls / begun.elapsed().as_secs_f64()
}

/// What a bare client says; keys, arguments and the length of the payload are those of the engine.
fn bare(
    connection: &MultiplexedConnection,
    digest: &str,
    caller: usize,
) -> impl Future<Output = ()> + Send + use<> {
    let (mut connection, digest) = (connection.clone(), digest.to_owned());
    async move {
        let mut call = redis::cmd("EVALSHA");
        call.arg(digest).arg(3);
        for kind in ["stream", "stream.meta", "result"] {
            let end = if kind == "result" { "." } else { "" };
            call.arg(format!("centrifugo.{kind}.bare{caller}{end}"));
        }
        // A publication is its data behind a tag and a length, and the time.
        call.arg([PAYLOAD, &[0; 9]].concat())
            .arg(100)
            .arg(300)
            .arg(format!("centrifugo.client.bare{caller}"));
        call.arg(2_592_000)
            .arg("abcdefgh")
            .arg("publish")
            .arg("")
            .arg(0)
            .arg("")
            .arg("");
        call.exec_async(&mut connection).await.unwrap();
    }
}

fn publish(engine: &Arc<Redis>, caller: usize) -> impl Future<Output = ()> + Send + use<> {
    let engine = Arc::clone(engine);
    async move {
        let publication = Publication {
            data: Bytes::from_static(PAYLOAD),
            time: 1_700_000_000_000,
            ..Publication::default()
        };
        let options = PublishOptions {
            history_size: 100,
            history_ttl: Duration::from_secs(300),
            ..PublishOptions::default()
        };
        let channel = Channel::from(format!("own{caller}"));
        engine
            .publish(&channel, publication, &options)
            .await
            .unwrap();
    }
}

/// Rounds of all three, one after the other.
pub(super) async fn measure(plan: Plan) -> Faults {
    let server = RedisServer::start("").await;
    let (engine, _heard) = engine(&server).await;
    let client = redis::Client::open(format!("redis://{}", server.address())).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let digest: String = redis::cmd("SCRIPT")
        .arg("LOAD")
        .arg(SCRIPT)
        .query_async(&mut connection)
        .await
        .unwrap();
    let (mut bares, mut owns, mut ones) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let (connection, digest) = (connection.clone(), digest.clone());
        bares.push(
            rate(plan.callers, plan.time, move |caller| {
                bare(&connection, &digest, caller)
            })
            .await,
        );
        let many = Arc::clone(&engine);
        owns.push(
            rate(plan.callers, plan.time, move |caller| {
                publish(&many, caller)
            })
            .await,
        );
        let one = Arc::clone(&engine);
        ones.push(rate(1, plan.time, move |caller| publish(&one, caller)).await);
    }
    let (bare, own, one) = (median(bares), median(owns), median(ones));
    let callers = plan.callers;
    line(
        &format!("publish with history, {callers} callers, bare client"),
        &format!("{bare:.0}/s"),
        "",
    );
    line(
        &format!("publish with history, {callers} callers"),
        &format!("{own:.0}/s"),
        "",
    );
    line(
        "  against the bare client",
        &format!("{:.2}", own / bare),
        "at least 0.80",
    );
    line(
        "publish with history, one call at a time",
        &format!("{one:.0}/s"),
        "",
    );
    line(
        "  against one call at a time",
        &format!("{:.1}", own / one),
        "at least 3.0",
    );
    Faults::default()
}
