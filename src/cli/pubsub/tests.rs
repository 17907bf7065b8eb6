//! Both commands against a little gateway: what is printed, what is said, how they end.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
};

use bytes::Bytes;
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinSet,
    time::{Duration, timeout},
};

use super::{
    Error,
    publish::{self, PubArgs},
    sub::{self, Printer, SubArgs},
};
use crate::{
    client::little_server::{
        Act, Command, Push, PushBody, ReplyBody, Request, Script, SubscribeResult, listen,
        serve_grpc,
    },
    model::{ClientError, Publication},
};

fn sub_args(address: SocketAddr, more: &[&str]) -> SubArgs {
    let url = format!("grpc://{address}");
    let line = ["sub", "--url", &url]
        .into_iter()
        .chain(more.iter().copied());
    SubArgs::from_matches(&sub::command().get_matches_from(line))
}

fn pub_args(address: SocketAddr, more: &[&str]) -> PubArgs {
    let url = format!("grpc://{address}");
    let line = ["pub", "--url", &url]
        .into_iter()
        .chain(more.iter().copied());
    PubArgs::from_matches(&publish::command().get_matches_from(line))
}

/// A writer that tells how many lines it has.
struct Page {
    text: Vec<u8>,
    lines: watch::Sender<usize>,
}

impl Page {
    fn new() -> (Self, watch::Receiver<usize>) {
        let (lines, counted) = watch::channel(0);
        let text = Vec::new();
        (Self { text, lines }, counted)
    }

    fn text(&self) -> String {
        String::from_utf8(self.text.clone()).unwrap()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        let lines = self.text.iter().filter(|byte| **byte == b'\n').count();
        self.lines.send_replace(lines);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn reaches(mut counted: watch::Receiver<usize>, lines: usize) {
    counted.wait_for(|count| *count >= lines).await.ok();
}

/// Follows until so many lines are printed. Returns what was printed and what was said.
async fn follow(args: &SubArgs, lines: usize) -> (Result<(), Error>, String, String) {
    let (out, counted) = Page::new();
    follow_onto(args, out, reaches(counted, lines)).await
}

async fn follow_onto(
    args: &SubArgs,
    mut out: Page,
    stop: impl Future<Output = ()>,
) -> (Result<(), Error>, String, String) {
    let (mut status, _counted) = Page::new();
    let mut printer = Printer::new(args, &mut out, &mut status);
    let following = sub::follow(args, &mut printer, stop);
    let limit = Duration::from_secs(20);
    let result = timeout(limit, following).await.expect("an end");
    (result, out.text(), status.text())
}

async fn gateway(tasks: &mut JoinSet<()>, script: Script) -> SocketAddr {
    let (listener, address) = listen().await;
    serve_grpc(tasks, listener, None, script);
    address
}

fn publication(offset: u64) -> Arc<Publication> {
    Arc::new(Publication {
        offset,
        data: Bytes::from(offset.to_string()),
        ..Publication::default()
    })
}

fn push(offset: u64) -> Act {
    let body = PushBody::Publication(publication(offset));
    let channel = "news".into();
    Act::Say(0, ReplyBody::Push(Push { channel, body }))
}

fn stream(offset: u64, epoch: &str) -> SubscribeResult {
    SubscribeResult {
        recoverable: true,
        positioned: true,
        offset,
        epoch: epoch.to_owned(),
        ..SubscribeResult::default()
    }
}

fn answer(
    command: Command,
    subscribe: impl Fn(u64) -> Vec<(Option<SubscribeResult>, u64)>,
) -> Vec<Act> {
    let id = command.id;
    match command.request {
        Request::Connect(_) => vec![Act::Say(id, ReplyBody::Connect(Box::default()))],
        Request::Subscribe(request) => subscribe(request.offset)
            .into_iter()
            .map(|(result, offset)| match result {
                Some(result) => Act::Say(id, ReplyBody::Subscribe(Box::new(result))),
                None => push(offset),
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// At offset 5 of epoch `a`, with two publications.
fn first(command: Command) -> Vec<Act> {
    answer(command, |_| {
        vec![(Some(stream(5, "a")), 0), (None, 6), (None, 7)]
    })
}

/// Remembers everything: one publication was missed, another follows.
fn kept(command: Command) -> Vec<Act> {
    answer(command, |offset| {
        assert_eq!(offset, 7, "the position reached");
        let result = SubscribeResult {
            recovered: true,
            was_recovering: true,
            publications: vec![publication(8)],
            ..stream(7, "a")
        };
        vec![(Some(result), 0), (None, 9)]
    })
}

/// Remembers nothing.
fn forgot(command: Command) -> Vec<Act> {
    answer(command, |_| {
        let result = SubscribeResult {
            was_recovering: true,
            ..stream(1, "b")
        };
        vec![(Some(result), 0), (None, 2)]
    })
}

/// A gateway that can be killed: it has a runtime of its own, which takes all connections with it.
struct Process(tokio::runtime::Runtime);

impl Process {
    async fn start(address: SocketAddr, script: Script) -> (Self, SocketAddr) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (told, bound) = oneshot::channel();
        runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            let mut tasks = JoinSet::new();
            serve_grpc(&mut tasks, listener, None, script);
            tasks.join_next().await;
        });
        (Self(runtime), bound.await.unwrap())
    }
}

impl Process {
    /// Returns when its port is free again.
    async fn kill(self) {
        let end = Duration::from_secs(1);
        let killing = tokio::task::spawn_blocking(move || self.0.shutdown_timeout(end));
        killing.await.unwrap();
    }
}

/// Follows `first`, then a gateway at the same address with another script.
async fn through_a_restart(script: Script, lines: usize) -> (String, String) {
    let (before, address) = Process::start(([127, 0, 0, 1], 0).into(), first).await;
    let args = sub_args(address, &["news", "--recover"]);
    let (out, counted) = Page::new();
    let restart = async {
        reaches(counted.clone(), 2).await;
        before.kill().await;
        let (after, _) = Process::start(address, script).await;
        reaches(counted.clone(), lines).await;
        after
    };
    let following = follow_onto(&args, out, reaches(counted.clone(), lines));
    let (after, (result, out, status)) = tokio::join!(restart, following);
    after.kill().await;
    result.unwrap();
    (out, status)
}

#[tokio::test]
async fn sub_prints_every_message_once_through_a_restart() {
    let (out, status) = through_a_restart(kept, 4).await;
    assert_eq!(out, "6\n7\n8\n9\n");
    for said in [
        "connected to grpc://",
        "news: subscribed at offset 5, epoch a",
        "connection lost",
        "recovered: true",
    ] {
        assert!(status.contains(said), "{said}: {status}");
    }
}

#[tokio::test]
async fn sub_says_when_the_stream_was_started_anew() {
    let (out, status) = through_a_restart(forgot, 3).await;
    assert_eq!(out, "6\n7\n2\n");
    assert!(
        status.contains("recovered: false") && status.contains("another epoch"),
        "{status}"
    );
}

#[tokio::test]
async fn sub_prints_json() {
    let mut tasks = JoinSet::new();
    let address = gateway(&mut tasks, first).await;
    let (result, out, status) = follow(&sub_args(address, &["news", "--json", "-q"]), 2).await;
    result.unwrap();
    assert_eq!(
        out,
        "{\"channel\":\"news\",\"data\":6,\"offset\":6}\n{\"channel\":\"news\",\"data\":7,\"offset\":7}\n"
    );
    assert_eq!(status, "", "quiet");
}

#[tokio::test]
async fn channel_named_twice_is_printed_once() {
    let mut tasks = JoinSet::new();
    let address = gateway(&mut tasks, first).await;
    let (result, out, _) = follow(&sub_args(address, &["news", "news"]), 2).await;
    result.unwrap();
    assert_eq!(out, "6\n7\n");
}

#[tokio::test]
async fn nobody_listening_says_what_to_do() {
    let (listener, address) = listen().await;
    drop(listener);
    let (result, _, _) = follow(&sub_args(address, &["news"]), 1).await;
    let text = result.unwrap_err().to_string();
    assert!(
        text.contains("centripetal dev") && text.contains("--url"),
        "{text}"
    );
    let result =
        publish::publish(&pub_args(address, &["news", "1"]), &mut tokio::io::empty()).await;
    assert!(matches!(result, Err(Error::Refused { .. })));
}

/// Lets everybody in and nobody do anything.
fn strict(command: Command) -> Vec<Act> {
    match command.request {
        Request::Connect(connect) if connect.token == "wrong" => vec![Act::End(3500)],
        Request::Connect(_) => vec![Act::Say(command.id, ReplyBody::Connect(Box::default()))],
        _ => vec![Act::Say(
            command.id,
            ReplyBody::Error(ClientError::PERMISSION_DENIED),
        )],
    }
}

#[tokio::test]
async fn refusals_come_with_number_text_and_hint() {
    let mut tasks = JoinSet::new();
    let address = gateway(&mut tasks, strict).await;
    let (result, _, _) = follow(&sub_args(address, &["news"]), 1).await;
    let text = result.unwrap_err().to_string();
    assert!(
        text.contains("103") && text.contains("allow_subscribe_for_client"),
        "{text}"
    );

    let (result, _, _) = follow(&sub_args(address, &["news", "--token", "wrong"]), 1).await;
    let text = result.unwrap_err().to_string();
    assert!(
        text.contains("3500") && text.contains("checktoken"),
        "{text}"
    );

    let args = pub_args(address, &["news", "1"]);
    let text = publish::publish(&args, &mut tokio::io::empty())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("103") && text.contains("permission denied"),
        "{text}"
    );
    assert!(
        text.contains("allow_publish_for_client") && text.contains("--token"),
        "{text}"
    );
}

#[tokio::test]
async fn refusal_of_one_channel_leaves_the_others() {
    fn partly(command: Command) -> Vec<Act> {
        match &command.request {
            Request::Subscribe(request) if request.channel.as_str() != "news" => {
                vec![Act::Say(
                    command.id,
                    ReplyBody::Error(ClientError::UNKNOWN_CHANNEL),
                )]
            }
            _ => first(command),
        }
    }
    let mut tasks = JoinSet::new();
    let address = gateway(&mut tasks, partly).await;
    let (result, out, status) = follow(&sub_args(address, &["news", "x:y"]), 2).await;
    result.unwrap();
    assert_eq!(out, "news 6\nnews 7\n");
    assert!(
        status.contains("x:y: unknown channel (102)") && status.contains("namespace"),
        "{status}"
    );
}

/// Takes `1`, `2` and JSON strings only, in this order or not.
fn choosy(command: Command) -> Vec<Act> {
    let id = command.id;
    match command.request {
        Request::Connect(_) => vec![Act::Say(id, ReplyBody::Connect(Box::default()))],
        Request::Publish(publish) => {
            let taken = matches!(&publish.data[..], b"1" | b"2" | b"\"two words\"");
            let body = if taken {
                ReplyBody::Publish
            } else {
                ReplyBody::Error(ClientError::BAD_REQUEST)
            };
            vec![Act::Say(id, body)]
        }
        other => panic!("{other:?}"),
    }
}

async fn published(more: &[&str], input: &'static [u8]) -> Result<(), Error> {
    let mut tasks = JoinSet::new();
    let address = gateway(&mut tasks, choosy).await;
    let mut input = input;
    publish::publish(&pub_args(address, more), &mut input).await
}

#[tokio::test]
async fn pub_takes_json_text_and_lines() {
    published(&["news", "1"], b"").await.unwrap();
    published(&["news", "two words", "--text"], b"")
        .await
        .unwrap();
    published(&["news"], b"1\n\n 2 \n1").await.unwrap();
    published(&["news", "-", "--text"], b"two words\n")
        .await
        .unwrap();
}

#[tokio::test]
async fn pub_names_the_line_it_stopped_at() {
    let refused = published(&["news"], b"1\n3\n").await;
    assert!(
        matches!(refused, Err(Error::Publish { line: Some(2), .. })),
        "{refused:?}"
    );
    let broken = published(&["news"], b"1\n\n{\n").await;
    assert!(matches!(broken, Err(Error::NotJson { line: Some(3) })));
    let text = published(&["news", "two words"], b"")
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("--text"), "{text}");
    static LONG: [u8; (1 << 20) + 2] = [b'1'; (1 << 20) + 2];
    let long = published(&["news"], &LONG).await;
    assert!(matches!(long, Err(Error::LineTooLong { line: 1, .. })));
}

/// A reader that went away.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn reader_that_went_away_is_a_success() {
    let mut tasks = JoinSet::new();
    let address = gateway(&mut tasks, first).await;
    let args = sub_args(address, &["news", "-q"]);
    sub::run(args, &mut Broken).await.unwrap();
}

#[test]
fn commands_are_sound_and_teach_by_example() {
    for (command, example) in [
        (sub::command(), "centripetal sub news"),
        (publish::command(), "centripetal pub news"),
    ] {
        let mut command = command;
        command.clone().debug_assert();
        assert!(command.render_long_help().to_string().contains(example));
    }
    assert!(sub::command().try_get_matches_from(["sub"]).is_err());
    assert!(
        publish::command()
            .try_get_matches_from(["pub", ""])
            .is_err()
    );
    let negative = publish::command().try_get_matches_from(["pub", "news", "-5"]);
    assert_eq!(
        PubArgs::from_matches(&negative.unwrap()).data.as_deref(),
        Some("-5")
    );
}
