//! Coming back without losing anything, or being told (client-protocol.md 5.5, 5.6).

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    harness::{Client, Metric, Transport, now, on_every_listener, on_every_transport, server},
    support::Server,
};

on_every_transport!(
    the_four_rows_of_recovery,
    an_unrecoverable_position_can_be_an_error,
    what_is_missed_has_a_limit,
    server_side_subscriptions_recover_at_connect,
    a_stream_that_begins_anew_is_told,
    publications_race_with_subscriptions,
    publications_race_with_connections,
);

on_every_listener!(server_side_subscriptions_recover_at_connect,);

fn settings() -> Value {
    let recovering = json!({
        "allow_subscribe_for_client": true, "history_size": 1000, "history_ttl": "60s",
        "force_recovery": true, "allow_history_for_client": true,
    });
    let named = |name: &str, more: Value| {
        let mut options = recovering.clone();
        options["name"] = json!(name);
        for (key, value) in more.as_object().unwrap() {
            options[key] = value.clone();
        }
        options
    };
    json!({"channel": {"without_namespace": recovering, "namespaces": [
        named("short", json!({"history_size": 3})),
        named("brief", json!({"history_ttl": "1s", "history_meta_ttl": "1s"})),
    ]}})
}

/// Publishes so many numbers and returns the epoch.
async fn publish(server: &Server, channel: &str, count: u64) -> String {
    let mut epoch = Value::Null;
    for n in 1..=count {
        epoch = server.publish(channel, &json!({"n": n})).await["epoch"].take();
    }
    epoch.as_str().unwrap().to_owned()
}

/// Recovers from a position and returns the offsets of what was missed and the rest of the result.
async fn recover(
    client: &mut Client,
    channel: &str,
    offset: u64,
    epoch: &str,
) -> (Vec<u64>, Value) {
    let request = json!({"channel": channel, "recover": true, "offset": offset, "epoch": epoch});
    let mut result = client.subscribe(request).await;
    let missed = result.as_object_mut().unwrap().remove("publications");
    let missed = missed.unwrap_or_else(|| json!([]));
    let missed = missed.as_array().unwrap().iter();
    let offsets = missed.map(|publication| publication["offset"].as_u64().unwrap());
    let offsets = offsets.collect();
    client
        .call(json!({"unsubscribe": {"channel": channel}}))
        .await;
    (offsets, result)
}

async fn the_four_rows_of_recovery(on: Transport) {
    let server = server(settings()).await;
    let epoch = publish(&server, "short:x", 7).await;
    let mut client = on.user(&server, "alice").await;
    let result = |offset: u64, recovered: bool| {
        let mut result = json!({"recoverable": true, "positioned": true, "epoch": epoch,
            "offset": offset, "was_recovering": true});
        if recovered {
            result["recovered"] = json!(true);
        }
        result
    };
    let yes = Metric::of(
        &server,
        "centrifugo_client_recover",
        &[("recovered", "yes")],
    )
    .await;
    let no = Metric::of(&server, "centrifugo_client_recover", &[("recovered", "no")]).await;
    for (offset, asked, missed, recovered) in [
        (4, "strange", vec![], false),
        (7, "strange", vec![], false),
        (7, &*epoch, vec![], true),
        (4, &epoch, vec![5, 6, 7], true),
        (6, &epoch, vec![7], true),
        (6, "", vec![7], true),
        (3, &epoch, vec![], false),
        (0, &epoch, vec![], false),
        (8, &epoch, vec![], false),
    ] {
        let found = recover(&mut client, "short:x", offset, asked).await;
        let position = if recovered { offset } else { 7 };
        let expected = (missed, result(position, recovered));
        assert_eq!(found, expected, "from {offset} of {asked:?}");
    }
    yes.increased().await;
    no.increased().await;
    let plain = client.subscribe(json!({"channel": "short:x"})).await;
    let expected = json!({"recoverable": true, "positioned": true, "epoch": epoch, "offset": 7});
    assert_eq!(plain, expected);
}

async fn an_unrecoverable_position_can_be_an_error(on: Transport) {
    let server = server(settings()).await;
    let epoch = publish(&server, "short:x", 7).await;
    let mut client = on.user(&server, "alice").await;
    let ask = |offset: u64, epoch: &str| {
        json!({"subscribe": {"channel": "short:x", "flag": 2, "recover": true,
            "offset": offset, "epoch": epoch}})
    };
    for request in [ask(1, &epoch), ask(7, "strange")] {
        let reply = client.call(request).await;
        let expected = json!({"error": {"code": 112, "message": "unrecoverable position"}});
        assert_eq!(reply, expected);
    }
    let reply = client.call(ask(5, &epoch)).await;
    assert_eq!(reply["subscribe"]["recovered"], true, "{reply}");
}

async fn what_is_missed_has_a_limit(on: Transport) {
    let mut settings = settings();
    settings["client"] = json!({"recovery_max_publication_limit": 3});
    let server = server(settings).await;
    let epoch = publish(&server, "x", 7).await;
    let mut client = on.user(&server, "alice").await;
    let (missed, result) = recover(&mut client, "x", 4, &epoch).await;
    assert_eq!(
        (missed, &result["recovered"]),
        (vec![5, 6, 7], &json!(true))
    );
    let (missed, result) = recover(&mut client, "x", 3, &epoch).await;
    assert_eq!((missed, result.get("recovered")), (vec![], None));
    assert_eq!(result["offset"], 7);
}

async fn server_side_subscriptions_recover_at_connect(on: Transport) {
    let server = server(settings()).await;
    let epoch = publish(&server, "x", 5).await;
    let claims = json!({"sub": "alice", "channels": ["x", "short:y"]});
    let positions = json!({"x": {"recover": true, "offset": 3, "epoch": epoch},
        "foreign": {"recover": true, "offset": 3, "epoch": epoch}});
    let request = json!({"token": Server::token(&claims), "subs": positions});
    let name = "centrifugo_client_recover";
    let counted = Metric::of(&server, name, &[("recovered", "yes")]).await;
    let mut client = on.open(&server).await;
    let result = client.connect(request).await;
    counted.increased().await;
    let subs = result["subs"].as_object().unwrap();
    assert_eq!(
        subs.len(),
        3,
        "the two of the token, and one that was asked for: {result}"
    );
    let expected = json!({"recoverable": true, "positioned": true, "recovered": true,
        "was_recovering": true, "offset": 3, "epoch": epoch, "publications": [
            {"data": {"n": 4}, "offset": 4}, {"data": {"n": 5}, "offset": 5}]});
    assert_eq!(subs["x"], expected);
    assert_eq!(subs["short:y"].get("was_recovering"), None);
    server.publish("x", &json!("live")).await;
    assert_eq!(
        client.push().await["pub"],
        json!({"data": "live", "offset": 6})
    );
}

async fn a_stream_that_begins_anew_is_told(on: Transport) {
    let mut settings = settings();
    settings["client"] = json!({"expired_close_delay": "10ms"});
    let server = server(settings).await;
    let epoch = publish(&server, "brief:x", 3).await;
    let mut client = on.user(&server, "alice").await;
    let result = client.subscribe(json!({"channel": "brief:x"})).await;
    assert_eq!(result["epoch"], epoch);
    let token = Server::token(&json!({"sub": "bob", "channels": ["brief:x"]}));
    let mut other = on.connect(&server, json!({"token": token})).await;
    let with_older = if on.is_emulated() {
        Transport::Json
    } else {
        on
    };
    let mut older = with_older.open(&server).await;
    let token = Server::token(&json!({"sub": "dave"}));
    older.call(json!({"params": {"token": token}})).await;
    let request = json!({"method": 1, "params": {"channel": "brief:x"}});
    assert_eq!(older.call(request).await["result"]["epoch"], epoch);
    // Looking at the stream would keep it, so the end of a connection tells that it is forgotten.
    let token = Server::token(&json!({"sub": "carol", "exp": now() + 3}));
    let mut clock = on.connect(&server, json!({"token": token})).await;
    clock.closed(3005, "connection expired").await;
    let counter = "centrifugo_client_num_server_unsubscribes";
    let counted = Metric::of(&server, counter, &[("code", "2500")]).await;
    server.publish("brief:x", &json!("new")).await;
    let told = json!({"code": 2500, "reason": "insufficient state"});
    let push = json!({"channel": "brief:x", "unsubscribe": told});
    assert_eq!(client.push().await, push);
    other.closed(3010, "insufficient state").await;
    assert_eq!(older.close().await.code, 3010);
    counted.increased().await;
    let (_, result) = recover(&mut client, "brief:x", 3, &epoch).await;
    assert_eq!(result.get("recovered"), None);
}

/// How many publications race.
const RACE: u64 = 200;

/// Publishes the numbers from 1 to `RACE`, one after the other.
fn publisher(server: &Arc<Server>) -> JoinSet<()> {
    let (server, mut tasks) = (server.clone(), JoinSet::new());
    tasks.spawn(async move {
        for n in 1..=RACE {
            server.publish("x", &json!({"n": n})).await;
        }
    });
    tasks
}

/// What a subscriber has seen: a position, and that nothing was missing or came twice.
#[derive(Debug)]
struct Seen {
    offset: u64,
    epoch: String,
}

impl Seen {
    fn publication(&mut self, publication: &Value) {
        assert_eq!(publication["offset"], self.offset + 1, "{publication}");
        assert_eq!(publication["data"]["n"], self.offset + 1, "{publication}");
        self.offset += 1;
    }

    fn result(&mut self, result: &Value) {
        assert_eq!(result["epoch"], self.epoch, "{result}");
        assert_eq!(result["recovered"], true, "from {}: {result}", self.offset);
        let missed = result.get("publications").and_then(Value::as_array);
        missed
            .into_iter()
            .flatten()
            .for_each(|one| self.publication(one));
    }

    fn request(&self) -> Value {
        json!({"channel": "x", "recover": true, "offset": self.offset, "epoch": self.epoch})
    }
}

/// A server, and where its stream begins.
async fn stream() -> (Arc<Server>, Seen) {
    let server = Arc::new(server(settings()).await);
    let history = server.api("history", &json!({"channel": "x"})).await;
    let epoch = history["epoch"].as_str().unwrap().to_owned();
    (server, Seen { offset: 0, epoch })
}

/// The pushes that have come, in the order they came.
async fn catch_up(client: &mut Client, seen: &mut Seen) {
    for message in client.so_far().await {
        assert_eq!(message["push"]["channel"], "x", "{message}");
        seen.publication(&message["push"]["pub"]);
    }
}

async fn publications_race_with_subscriptions(on: Transport) {
    let (server, mut seen) = stream().await;
    let mut client = on.user(&server, "alice").await;
    let publisher = publisher(&server);
    let mut rounds = 0;
    while seen.offset < RACE {
        let result = client.subscribe(seen.request()).await;
        seen.result(&result);
        catch_up(&mut client, &mut seen).await;
        client.call(json!({"unsubscribe": {"channel": "x"}})).await;
        // What was on its way when the unsubscribe came.
        catch_up(&mut client, &mut seen).await;
        rounds += 1;
    }
    assert!(rounds > 3, "no race: {rounds} rounds");
    publisher.join_all().await;
}

async fn publications_race_with_connections(on: Transport) {
    let (server, mut seen) = stream().await;
    let publisher = publisher(&server);
    let token = Server::token(&json!({"sub": "alice", "channels": ["x"]}));
    let mut rounds = 0;
    while seen.offset < RACE {
        let mut client = on.open(&server).await;
        let request = json!({"token": token, "subs": {"x": seen.request()}});
        let result = client.connect(request).await;
        seen.result(&result["subs"]["x"]);
        catch_up(&mut client, &mut seen).await;
        rounds += 1;
    }
    assert!(rounds > 3, "no race: {rounds} rounds");
    publisher.join_all().await;
}
