//! Nodes that know each other: announcements, newcomers, deaths, farewells, surveys.

use super::{
    super::survey::{self, Audience},
    bus::*,
    *,
};
use crate::model::{Control as Message, NodeId, NodeInfo, SurveyRequest, SurveyResponse};

fn names(node: &Node) -> Vec<String> {
    node.info().into_iter().map(|info| info.name).collect()
}

fn foreign() -> NodeId {
    NodeId::from("foreign")
}

fn foreign_node() -> Message {
    Message::Node(Box::new(NodeInfo {
        uid: foreign(),
        name: "foreign".to_owned(),
        ..NodeInfo::default()
    }))
}

#[tokio::test(start_paused = true)]
async fn nodes_find_each_other_and_a_newcomer_is_answered_at_once() {
    let started = tokio::time::Instant::now();
    let (bus, [(a, _), (b, _), (c, _)]) = Bus::fleet().await;
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "nobody waits for the next announcement"
    );
    assert_eq!(names(&a), ["n0", "n1", "n2"]);
    assert_eq!(names(&b), ["n1", "n0", "n2"], "this one first");
    // The last to come is told by those who heard of it, and only it.
    let to = |message: &Message, to: Option<&NodeId>| {
        matches!(message, Message::Node(_))
            .then(|| to.cloned())
            .flatten()
    };
    assert!(
        !bus.said(|_, addressee, message| to(message, addressee))
            .await
            .is_empty()
    );
    // The numbers of others are as old as their last announcement.
    let _client = connected(&c, "u").await;
    until(|| a.info()[2].num_clients == 1).await;
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn metrics_go_along_once_and_stay_with_the_receiver() {
    let (bus, [(a, _), _]) = Bus::fleet().await;
    tokio::time::sleep(Duration::from_secs(58)).await;
    let announced = |bus: &Bus| -> Vec<bool> {
        let said = bus.log().into_iter();
        said.filter_map(|(from, to, message)| match message {
            Message::Node(info) if from.as_str() == "n1" && to.is_none() => {
                Some(info.metrics.is_some())
            }
            _ => None,
        })
        .collect()
    };
    let mut expected = vec![true];
    expected.resize(20, false);
    assert_eq!(announced(&bus), expected, "at 0, 3, 6 … 57 seconds");
    assert!(a.info()[1].metrics.is_some());
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(announced(&bus).iter().filter(|with| **with).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_is_forgotten_between_seven_and_sixteen_seconds_later() {
    let (_bus, [(a, _), (_b, plug)]) = Bus::fleet().await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(names(&a), ["n0", "n1"], "who speaks is not forgotten");
    plug.faults.lock().cut = true;
    let died = tokio::time::Instant::now();
    // Its last announcement may be three seconds old.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(names(&a), ["n0", "n1"]);
    until(|| names(&a).len() == 1).await;
    assert!(died.elapsed() <= Duration::from_secs(16));
    plug.faults.lock().cut = false;
    until(|| names(&a).len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_says_so_before_its_connections_do_and_then_is_silent() {
    let (bus, [(a, _), (b, _)]) = Bus::fleet().await;
    let mut watcher = subscribed(&a, "watcher", true).await;
    let leaving = subscribed(&b, "leaving", false).await;
    assert_eq!(
        watcher.next().await["push"]["join"]["info"]["user"],
        "watcher"
    );
    assert_eq!(
        watcher.next().await["push"]["join"]["info"]["user"],
        "leaving"
    );
    let draining = b.clone();
    b.shared.pumps.spawn(async move { draining.drain().await });
    let leave = watcher.next().await;
    assert_eq!(leave["push"]["leave"]["info"]["user"], "leaving");
    assert_eq!(names(&a), ["n0"], "forgotten when the leave arrives");
    drop(leaving);
    let farewells = || {
        let log = bus.log();
        let at = log.iter().position(|(from, _, message)| {
            from.as_str() == "n1" && matches!(message, Message::Shutdown)
        });
        log[at.expect("a farewell") + 1..]
            .iter()
            .filter(|(from, ..)| from.as_str() == "n1")
            .count()
    };
    tokio::time::sleep(Duration::from_secs(20)).await;
    // Who asks for it as a newcomer gets no answer either.
    bus.deliver(&foreign(), Some(&"n1".into()), &foreign_node())
        .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(farewells(), 0, "nothing after the farewell");
    assert_eq!(names(&a), ["n0"]);
}

#[tokio::test(start_paused = true)]
async fn a_farewell_that_cannot_be_said_does_not_hold_the_drain() {
    let (_bus, [(a, _), (b, plug)]) = Bus::fleet().await;
    plug.faults.lock().dumb = true;
    let client = connected(&b, "u").await;
    let started = tokio::time::Instant::now();
    b.drain().await;
    assert_eq!(client.close_code().await, 3001);
    assert!(started.elapsed() < Duration::from_secs(2));
    until(|| names(&a).len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_stranger_says_of_this_node_is_not_believed() {
    let (bus, [(a, _), _]) = Bus::fleet().await;
    let mine = Message::Node(Box::new(NodeInfo {
        uid: "n0".into(),
        name: "false".to_owned(),
        ..NodeInfo::default()
    }));
    bus.deliver(&foreign(), None, &mine).await;
    bus.deliver(&foreign(), None, &foreign_node()).await;
    until(|| names(&a).len() == 3).await;
    assert_eq!(names(&a), ["n0", "foreign", "n1"]);
    bus.deliver(&foreign(), None, &Message::Shutdown).await;
    until(|| names(&a).len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn channels_are_counted_over_all_nodes() {
    let (_bus, [(a, _), (b, _), (c, _)]) = Bus::fleet().await;
    let mut clients = Vec::new();
    for (node, users) in [(&a, 1), (&b, 2), (&c, 3)] {
        for n in 0..users {
            clients.push(subscribed(node, &n.to_string(), false).await);
        }
    }
    let other = json!({"id": 3, "subscribe": {"channel": "ch:other"}});
    clients[1].send(std::slice::from_ref(&other)).await;
    until(|| b.info()[0].num_channels == 2).await;
    let counted = |channels: BTreeMap<Channel, u32>| -> Vec<(String, u32)> {
        let named = channels.into_iter();
        named
            .map(|(name, count)| (name.to_string(), count))
            .collect()
    };
    for node in [&a, &b, &c] {
        let all = counted(node.channels("").await.unwrap());
        assert_eq!(all, [("ch".to_owned(), 6), ("ch:other".to_owned(), 1)]);
        let some = counted(node.channels("ch:*").await.unwrap());
        assert_eq!(some, [("ch:other".to_owned(), 1)]);
        assert!(node.channels("nothing").await.unwrap().is_empty());
        let malformed = node.channels("[").await;
        assert!(matches!(malformed, Err(super::super::Error::Pattern(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn every_question_is_answered_the_unknown_one_as_well() {
    let (bus, [(a, _), _]) = Bus::fleet().await;
    let _client = subscribed(&a, "u", false).await;
    let pattern = Bytes::from_static(b"\x0a\x03zz*");
    let emulation = Bytes::from_static(b"\x12\x06nosuch\x1a\x04\"{}\"");
    let broken = Bytes::from_static(b"\xff");
    for (id, (op, data, code, length)) in [
        ("zzz", Bytes::new(), 3, 0),
        ("channels", Bytes::new(), 0, 10),
        ("channels", pattern, 0, 0),
        ("channels", Bytes::from_static(b"\x0a\x01["), 2, 0),
        ("channels", broken.clone(), 2, 0),
        ("centrifuge_emulation", emulation, 2, 0),
        ("centrifuge_emulation", broken, 1, 0),
    ]
    .into_iter()
    .enumerate()
    {
        let (id, op) = (id as u64 + 1, op.to_owned());
        let request = Message::SurveyRequest(SurveyRequest { id, op, data });
        bus.deliver(&foreign(), Some(&"n0".into()), &request).await;
        let response = bus
            .said(|_, to, message| match message {
                Message::SurveyResponse(response) if response.id == id => {
                    (to == Some(&foreign())).then(|| response.clone())
                }
                _ => None,
            })
            .await;
        assert_eq!((response.code, response.data.len()), (code, length), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_survey_waits_ten_seconds_for_a_silent_node_and_not_for_one_that_leaves() {
    let (bus, [(a, _), _]) = Bus::fleet().await;
    let speaking = async {
        loop {
            bus.deliver(&foreign(), None, &foreign_node()).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    };
    let asking = async {
        until(|| names(&a).len() == 3).await;
        let started = tokio::time::Instant::now();
        let answer = a.channels("").await;
        assert!(matches!(answer, Err(super::super::Error::Internal(None))));
        assert_eq!(started.elapsed().as_secs(), 10);
        // One that cannot be counted for it: the node was not asked, or has answered before.
        for (from, id) in [("n1", 1), ("nobody", 2), ("foreign", 99)] {
            let response = SurveyResponse {
                id,
                ..SurveyResponse::default()
            };
            bus.deliver(
                &from.into(),
                Some(&"n0".into()),
                &Message::SurveyResponse(response),
            )
            .await;
        }
        let started = tokio::time::Instant::now();
        let leaving = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            bus.deliver(&foreign(), None, &Message::Shutdown).await;
        };
        let (answer, ()) = tokio::join!(a.channels(""), leaving);
        assert!(answer.unwrap().is_empty());
        assert_eq!(started.elapsed().as_secs(), 3);
    };
    tokio::select! {
        () = speaking => {}
        () = asking => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_without_an_answer_fails_the_survey() {
    let (bus, [(a, _)]) = Bus::fleet().await;
    bus.deliver(&foreign(), None, &foreign_node()).await;
    until(|| names(&a).len() == 2).await;
    let answering = async {
        let id = bus
            .said(|_, _, message| match message {
                Message::SurveyRequest(request) => Some(request.id),
                _ => None,
            })
            .await;
        let response = SurveyResponse {
            id,
            code: 3,
            data: Bytes::new(),
        };
        bus.deliver(&foreign(), None, &Message::SurveyResponse(response))
            .await;
    };
    let (answer, ()) = tokio::join!(a.channels(""), answering);
    assert!(matches!(answer, Err(super::super::Error::Internal(None))));
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_asks_nobody() {
    let (bus, [(a, _)]) = Bus::fleet().await;
    assert!(a.channels("").await.unwrap().is_empty());
    let asked = bus
        .log()
        .into_iter()
        .any(|(_, _, message)| matches!(message, Message::SurveyRequest(_)));
    assert!(!asked);
}

#[tokio::test(start_paused = true)]
async fn a_question_to_one_node_waits_for_that_one() {
    let (bus, [(a, _), (b, _), _]) = Bus::fleet().await;
    let _client = subscribed(&b, "u", false).await;
    // A third one would not answer.
    bus.deliver(&foreign(), None, &foreign_node()).await;
    until(|| names(&a).len() == 4).await;
    let ask = |op, node: &'static str| {
        let shared = a.shared.clone();
        async move {
            let node = NodeId::from(node);
            survey::ask(&shared, op, Bytes::new(), Audience::One(&node)).await
        }
    };
    let answers = ask("channels", "n1").await.unwrap();
    assert_eq!(
        answers,
        [Bytes::from_static(b"\x0a\x08\x0a\x02ch\x12\x02\x08\x01")]
    );
    assert!(ask("channels", "n2").await.unwrap()[0].is_empty());
    assert!(ask("zzz", "n1").await.is_err(), "nobody knows it");
    assert!(ask("channels", "nobody").await.is_err(), "nobody is there");
}

#[tokio::test(start_paused = true)]
async fn more_questions_than_there_are_places_have_their_turn() {
    let (_bus, [(a, _), _]) = Bus::fleet().await;
    let questions = (0..300).map(|_| a.channels(""));
    let answers = futures_util::future::join_all(questions).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(a.shared.surveys.is_idle(), "no question is left over");
}
