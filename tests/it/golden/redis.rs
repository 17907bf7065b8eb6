//! Keys, messages and effects in Redis as recorded: the steps of the recording done with this server, and what others might send.

use super::{LIMIT, Recording};
use crate::support::{free_range, needed, sdk_python};

/// Ports that one run uses.
const PORTS: usize = 70;

async fn recorded(runs: &[&str]) {
    let recording = Recording::open("redis");
    let (Some(_redis), Some(program)) = (
        needed("CENTRIPETAL_REDIS"),
        sdk_python("tests/golden/redis/check.py"),
    ) else {
        return;
    };
    let port = free_range(PORTS).to_string();
    let mut arguments = vec![
        "--server",
        env!("CARGO_BIN_EXE_centripetal"),
        "--port-base",
        &port,
    ];
    for run in runs {
        arguments.extend(["--only", run]);
    }
    let output = program.run_alone(&arguments, LIMIT).await.text;
    let played = format!("runs: {}, differences: ", runs.len());
    assert!(output.contains(&played), "{output}");
    let different = output
        .lines()
        .filter_map(|line| line.strip_prefix("DIFFERS "))
        .map(str::to_owned)
        .collect();
    let listed = recording.differing().into_iter();
    // What is listed for other runs is theirs.
    let listed = listed
        .filter(|name| runs.iter().any(|run| name.starts_with(&format!("{run}:"))))
        .collect();
    Recording::compare(&different, &listed, &output);
}

#[tokio::test]
async fn keys_and_messages_on_one_redis_are_as_recorded() {
    recorded(&["streams", "lists", "prefix_mapping"]).await;
}

#[tokio::test]
async fn keys_and_messages_in_a_cluster_and_on_shards_are_as_recorded() {
    recorded(&["cluster", "sharding"]).await;
}

#[tokio::test]
async fn messages_and_keys_of_others_have_the_recorded_effect() {
    recorded(&["receive"]).await;
}
