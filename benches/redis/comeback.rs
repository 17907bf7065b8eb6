//! A node that listens to many channels when Redis is killed and started again with its data: the time from the first answer of
//! Redis until all channels are subscribed again, and whether everything published around it arrives once and in order.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use centripetal::{
    engine::{
        Broker, Event, EventReceiver, PublishOptions, event_channel,
        redis::{Node, Options, Redis},
    },
    model::{Channel, ChannelEvent, NodeId, Publication},
};
use futures_util::{StreamExt as _, stream};
use prometheus::Registry;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{Faults, Plan, fixture::RedisServer, line};

const PATIENCE: Duration = Duration::from_secs(60);
/// Every so many channels one is published into.
const SAMPLE: usize = 10;
/// Publications before and after.
const EACH: u64 = 3;

fn kept() -> PublishOptions {
    PublishOptions {
        history_size: 100,
        history_ttl: Duration::from_secs(300),
        ..PublishOptions::default()
    }
}

/// Publishes into every tenth channel; the offset of the last publication of each.
async fn publish(broker: &dyn Broker, channels: &[Channel]) -> HashMap<Channel, u64> {
    let mut last = HashMap::new();
    for channel in channels.iter().step_by(SAMPLE) {
        for _ in 0..EACH {
            let publication = || Publication {
                data: Bytes::from_static(b"{}"),
                ..Publication::default()
            };
            let result = loop {
                // The first call on every old connection fails; should it have been carried out, its offset is taken.
                match broker.publish(channel, publication(), &kept()).await {
                    Ok(result) => break result,
                    Err(_lost) => sleep(Duration::from_millis(10)).await,
                }
            };
            last.insert(channel.clone(), result.position.offset);
        }
    }
    last
}

/// Passes on which publication came.
async fn listen(mut events: EventReceiver, heard: mpsc::Sender<(Channel, u64)>) {
    while let Some(event) = events.recv().await {
        if let Event::Channel(channel, ChannelEvent::Publication(publication, _)) = event {
            drop(heard.send((channel, publication.offset)).await);
        }
    }
}

/// Channels somebody listens to, besides those of every node.
async fn subscribed(server: &RedisServer, wanted: usize) -> bool {
    let info = server.command("INFO stats").await;
    let count = info
        .lines()
        .find_map(|line| line.strip_prefix("pubsub_channels:"));
    count
        .and_then(|count| count.trim().parse::<usize>().ok())
        .is_some_and(|count| count >= wanted)
}

async fn all_subscribed(server: &RedisServer, wanted: usize) {
    while !subscribed(server, wanted).await {
        sleep(Duration::from_millis(5)).await;
    }
}

pub(super) async fn measure(plan: Plan) -> Faults {
    let mut server = RedisServer::start(RedisServer::DURABLE).await;
    let (events, receivers) = event_channel(4, 4096, Duration::from_secs(5));
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
    let engine = Redis::connect(options, node).await.unwrap().into_engine();
    let broker = &*engine.broker;
    let (heard, all) = mpsc::channel(4096);
    let mut listening = JoinSet::new();
    for receiver in receivers {
        listening.spawn(listen(receiver, heard.clone()));
    }
    drop(heard);
    let channels: Vec<_> = (0..plan.channels)
        .map(|n| Channel::from(format!("c{n}")))
        .collect();
    let begun = Instant::now();
    let subscribing = stream::iter(&channels).map(|channel| broker.subscribe(channel));
    let done: Vec<_> = subscribing.buffer_unordered(256).collect().await;
    assert!(
        done.iter().all(Result::is_ok),
        "a channel cannot be subscribed"
    );
    let count = channels.len();
    let first = format!("{:.2} s", begun.elapsed().as_secs_f64());
    line(&format!("{count} channels subscribed"), &first, "");
    publish(broker, &channels).await;
    server.restart().await;
    let begun = Instant::now();
    timeout(PATIENCE, all_subscribed(&server, count))
        .await
        .expect("the channels are subscribed again");
    let back = format!("{:.2} s", begun.elapsed().as_secs_f64());
    line(
        &format!("{count} channels subscribed again after a restart"),
        &back,
        "at most 2 s",
    );
    let last = publish(broker, &channels).await;
    let faults = judged(all, &last).await;
    line(
        "  of what was published around it",
        &faults.to_string(),
        "nothing",
    );
    engine.broker.close().await;
    faults
}

/// Waits until every channel has its last publication, and judges what came.
async fn judged(mut all: mpsc::Receiver<(Channel, u64)>, last: &HashMap<Channel, u64>) -> Faults {
    let mut seen: HashMap<Channel, Vec<u64>> = HashMap::new();
    let mut open = last.len();
    while open > 0 {
        let Ok(Some((channel, offset))) = timeout(PATIENCE, all.recv()).await else {
            break;
        };
        open -= usize::from(last.get(&channel) == Some(&offset));
        seen.entry(channel).or_default().push(offset);
    }
    last.iter()
        .fold(Faults::default(), |faults, (channel, last)| {
            let offsets = seen.get(channel).map_or(&[][..], Vec::as_slice);
            faults.plus(Faults::judged(offsets, *last))
        })
}
