//! Sharded PUB/SUB on a real cluster of three masters and three replicas (engines.md 3.12).

use super::{
    modes::{SOON, kept, numbered, publication, two_nodes_meet},
    *,
};
use crate::{
    engine::{Broker as _, HistoryQuery, redis::partition::Partitions},
    model::Channel,
};

fn sharded(server: &RedisServer, partitions: usize, precomputed: bool) -> Options {
    Options {
        sharded_pub_sub_partitions: partitions,
        precomputed_partition_tags: precomputed,
        ..at(server.address())
    }
}

/// Names of sharded PUB/SUB that somebody listens to.
async fn heard_at(server: &RedisServer) -> usize {
    let names = server.command("PUBSUB SHARDCHANNELS").await;
    names.matches("centrifugo.client.").count()
}

#[tokio::test]
async fn partitions_are_spread_over_the_servers_of_a_cluster() {
    let servers = RedisServer::start_cluster_of(3, 1).await;
    for precomputed in [false, true] {
        let options = sharded(&servers[1], 16, precomputed);
        two_nodes_meet(options.clone()).await;
        let (node, _heard) = open(options).await.unwrap();
        let channels: Vec<_> = (0..60).map(|n| Channel::from(format!("c:{n}"))).collect();
        for channel in &channels {
            node.subscribe(channel).await.unwrap();
            node.publish(channel, numbered(1), &kept()).await.unwrap();
        }
        let mut all = 0;
        for master in &servers[..3] {
            let here = heard_at(master).await;
            assert!(here > 0, "a server carries nothing");
            all += here;
            // Nothing is left to the PUB/SUB that every server repeats.
            let plain = master.command("PUBSUB CHANNELS centrifugo.client.*").await;
            assert_eq!(plain, "*0\r\n");
        }
        assert_eq!(all, channels.len());
        node.unsubscribe(&channels[0]).await.unwrap();
        node.close().await;
        let partition = super::super::hash::jump("c:0", 16);
        let partitions = Partitions::new(16, precomputed).unwrap();
        let key = format!(
            "EXISTS centrifugo.stream.{{{}}}.c:0",
            partitions.tag(partition)
        );
        let found = servers[..3].iter().map(|master| master.command(&key));
        let found = futures_util::future::join_all(found).await;
        let here = found.iter().filter(|answer| answer.starts_with(":1"));
        assert_eq!(here.count(), 1, "{found:?}");
    }
}

#[tokio::test]
async fn a_server_that_dies_takes_its_partitions_to_its_replica() {
    let mut servers = RedisServer::start_cluster_of(3, 1).await;
    let (node, mut heard) = open(sharded(&servers[1], 8, false)).await.unwrap();
    let node = node.into_engine().broker;
    let channels: Vec<_> = (0..24).map(|n| Channel::from(format!("c:{n}"))).collect();
    for channel in &channels {
        node.subscribe(channel).await.unwrap();
        let query = HistoryQuery::default();
        node.history(channel, &query).await.unwrap();
    }
    servers[0].kill();
    servers[3]
        .until("ROLE", |role| role.contains("master"))
        .await;
    let deadline = tokio::time::Instant::now() + SOON;
    for (number, channel) in channels.iter().enumerate() {
        while let Err(error) = node.publish(channel, numbered(number), &kept()).await {
            assert!(tokio::time::Instant::now() < deadline, "{error}");
        }
        // What is published while nobody listens yet comes when the listener is back.
        loop {
            let (from, data) = publication(&mut heard).await;
            if (&from, data) == (channel, number.to_string()) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn partitions_need_a_cluster_and_a_number_that_there_is() {
    let server = RedisServer::start("").await;
    let error = open(sharded(&server, 8, false)).await.unwrap_err();
    assert!(error.to_string().contains("needs Redis Cluster"), "{error}");
    let cluster = RedisServer::start_cluster().await;
    let error = open(sharded(&cluster, 17, true)).await.unwrap_err();
    assert!(error.to_string().contains("16, 32, 64 or 128"), "{error}");
    let error = open(sharded(&cluster, 2000, false)).await.unwrap_err();
    assert!(error.to_string().contains("at most 1024"), "{error}");
}
