//! A server seen from outside: settings of these tests, metrics, the server API with whatever it answers, a bystander.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Client, Transport};
use crate::support::{Server, http_client};

/// How long a counter may take to be seen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a server that shows its metrics and does not ping in the middle of a test, with these settings.
pub(crate) async fn server(mut settings: Value) -> Server {
    settings["prometheus"]["enabled"] = json!(true);
    let ping = &mut settings["client"]["ping_interval"];
    if ping.is_null() {
        *ping = json!("300s");
    }
    Server::start(settings).await
}

/// The wall clock, in Unix seconds.
pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

/// Waits until something that follows by itself is true.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, check: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !check().await {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A counter that something must increase.
#[derive(Debug)]
pub(crate) struct Metric<'a> {
    server: &'a Server,
    name: &'static str,
    labels: Vec<String>,
    /// What it was.
    pub(crate) before: f64,
}

impl<'a> Metric<'a> {
    /// The sum of the series of `name` that have these labels, as it is now.
    pub(crate) async fn of(
        server: &'a Server,
        name: &'static str,
        labels: &[(&str, &str)],
    ) -> Self {
        let labels = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""));
        let mut metric = Self {
            server,
            name,
            labels: labels.collect(),
            before: 0.0,
        };
        metric.before = metric.value().await;
        metric
    }

    /// Waits until it is larger than it was.
    pub(crate) async fn increased(&self) {
        let what = format!("{}{:?} increases", self.name, self.labels);
        eventually(&what, || async { self.value().await > self.before }).await;
    }

    /// What it is.
    pub(crate) async fn value(&self) -> f64 {
        let text = self.server.get("/metrics").await.1;
        let series = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let rest = series.strip_prefix(self.name)?;
            let named = rest.is_empty() || rest.starts_with('{');
            let labelled = self.labels.iter().all(|label| rest.contains(label));
            (named && labelled).then(|| value.parse::<f64>().unwrap())
        });
        series.sum()
    }
}

/// A connection that has nothing to do with what happens beside it, and must not notice it.
#[derive(Debug)]
pub(crate) struct Bystander(Client);

impl Bystander {
    const CHANNEL: &str = "bystander";

    /// Connects and subscribes. Clients must be allowed to, without a namespace.
    pub(crate) async fn of(server: &Server) -> Self {
        let mut client = Transport::Json.user(server, "bystander").await;
        client.subscribe(json!({"channel": Self::CHANNEL})).await;
        Self(client)
    }

    /// Still gets what is published, and nothing else came.
    pub(crate) async fn served(&mut self, server: &Server) {
        let data = json!("still there");
        server.publish(Self::CHANNEL, &data).await;
        self.heard(&data).await;
    }

    /// Gets what was published in its channel.
    pub(crate) async fn heard(&mut self, data: &Value) {
        let push = self.0.push().await;
        assert_eq!(
            push,
            json!({"channel": Self::CHANNEL, "pub": {"data": data}})
        );
    }
}

impl Server {
    /// Publishes over the server API and returns the result.
    pub(crate) async fn publish(&self, channel: &str, data: &Value) -> Value {
        let params = json!({"channel": channel, "data": data});
        self.api("publish", &params).await
    }

    /// Asks for a path of the HTTP listener.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let url = format!("http://{}{path}", self.http_target());
        answer(http_client().get(url)).await
    }

    /// Posts to a path of the HTTP listener.
    pub(crate) async fn post(
        &self,
        path: &str,
        key: Option<&str>,
        body: impl Into<reqwest::Body>,
    ) -> (StatusCode, String) {
        let url = format!("http://{}{path}", self.http_target());
        let request = http_client().post(url).body(body);
        answer(match key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        })
        .await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    (status, answer.text().await.unwrap())
}
