//! Metrics pushed to Graphite: every interval one connection and one batch of lines (metrics.md 15).
//!
//! What could not be sent is not lost: its increases are part of the next batch.

use std::{fmt::Write as _, time::Duration};

use prometheus::{IntCounterVec, Opts, Registry};
use serde::Deserialize;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use super::items::{Increases, Item, Value};

/// Longest time for one batch, from connecting to the last byte.
const PATIENCE: Duration = Duration::from_secs(1);

/// Section `graphite`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Config {
    /// Switched on.
    pub(crate) enabled: bool,
    /// Host of the server.
    pub(crate) host: String,
    /// Port of the server.
    pub(crate) port: u16,
    /// How names begin.
    pub(crate) prefix: String,
    /// Time between two batches.
    pub(crate) interval: Duration,
    /// Labels as tags.
    pub(crate) tags: bool,
}

/// Pushes one registry.
#[derive(Debug)]
pub(crate) struct Graphite {
    config: Config,
    /// `<prefix>.<node>.`
    begins: String,
    namespace: String,
    registry: Registry,
    batches: IntCounterVec,
    increases: Increases,
}

impl Graphite {
    /// Prepares to push; `node` is the name of the node.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub(crate) fn new(
        config: Config,
        node: &str,
        namespace: &str,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let help = "Batches for Graphite, by how they ended.";
        let options = Opts::new("centripetal_graphite_batches_total", help);
        let batches = IntCounterVec::new(options, &["result"])?;
        registry.register(Box::new(batches.clone()))?;
        let prefix = config.prefix.strip_suffix('.').unwrap_or(&config.prefix);
        Ok(Self {
            begins: format!("{prefix}.{}.", cleaned(node)),
            namespace: namespace.to_owned(),
            registry: registry.clone(),
            batches,
            increases: Increases::default(),
            config,
        })
    }

    /// Pushes until it is dropped, the first time after one interval.
    pub(crate) async fn run(mut self) {
        let every = self.config.interval.max(Duration::from_millis(10));
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let sent = self.push().await;
            let result = if sent.is_ok() { "sent" } else { "failed" };
            self.batches.with_label_values(&[result]).inc();
            match sent {
                Err(error) if !failing => {
                    let (host, port) = (&self.config.host, self.config.port);
                    tracing::warn!(%error, host, port, "error sending metrics to graphite");
                    failing = true;
                }
                Err(_) => {}
                Ok(()) => failing = false,
            }
        }
    }

    async fn push(&mut self) -> std::io::Result<()> {
        // Only what has arrived counts as told.
        let mut increases = self.increases.clone();
        let items = increases.items(&self.registry.gather(), &self.namespace);
        let batch = self.batch(&items, chrono::Utc::now().timestamp());
        let address = (self.config.host.as_str(), self.config.port);
        let sending = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(batch.as_bytes()).await?;
            stream.shutdown().await
        };
        timeout(PATIENCE, sending).await??;
        self.increases = increases;
        Ok(())
    }

    fn batch(&self, items: &[Item], seconds: i64) -> String {
        let mut lines = String::new();
        for item in items {
            let path = if self.config.tags {
                tagged(item)
            } else {
                item.path()
            };
            lines.push_str(&self.begins);
            lines.extend(path.chars().map(printable));
            // Writing into a text cannot fail.
            let _written = match item.value {
                Value::Increase(number) => writeln!(lines, " {number:.0} {seconds}"),
                Value::Number(number) => writeln!(lines, " {number:.6} {seconds}"),
            };
        }
        lines
    }
}

/// Name and labels as `name;label=value`.
fn tagged(item: &Item) -> String {
    let mut path = item.name.clone();
    for (name, value) in &item.labels {
        path.push(';');
        path.push_str(name);
        path.push('=');
        path.push_str(value);
    }
    path
}

/// A space would end the path, and a line end the line.
const fn printable(c: char) -> char {
    if c.is_ascii_whitespace() || c.is_ascii_control() {
        '_'
    } else {
        c
    }
}

/// The name of a node as a part of a path.
fn cleaned(node: &str) -> String {
    node.chars()
        .map(|c| {
            if c == '.' || !c.is_ascii() {
                '_'
            } else {
                printable(c)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    use super::*;

    fn config(port: u16, tags: bool) -> Config {
        Config {
            enabled: true,
            host: "127.0.0.1".to_owned(),
            port,
            prefix: "pre.fix.".to_owned(),
            interval: Duration::from_millis(50),
            tags,
        }
    }

    fn item(labels: &[(&str, &str)], value: Value) -> Item {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Item {
            name: "centrifugo.node.x".to_owned(),
            labels: labels.iter().map(owned).collect(),
            value,
        }
    }

    #[test]
    fn lines_are_those_of_the_specification() {
        let items = [
            item(&[], Value::Increase(3.0)),
            item(&[("a", "b c"), ("d", "1.5")], Value::Number(0.25)),
        ];
        let lines = |tags| {
            let registry = Registry::new();
            let graphite =
                Graphite::new(config(0, tags), "my.höst 1", "centrifugo", &registry).unwrap();
            graphite.batch(&items, 77)
        };
        assert_eq!(
            lines(false),
            "pre.fix.my_h_st_1.centrifugo.node.x 3 77\n\
             pre.fix.my_h_st_1.centrifugo.node.x.a.b_c.d.1.5 0.250000 77\n"
        );
        assert!(
            lines(true).contains("pre.fix.my_h_st_1.centrifugo.node.x;a=b_c;d=1.5 0.250000 77\n")
        );
    }

    #[tokio::test]
    async fn increases_of_a_batch_that_was_not_taken_are_in_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let registry = Registry::new();
        let counter = prometheus::IntCounter::new("a_b_c", "h").unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        let mut graphite = Graphite::new(config(1, false), "n", "a", &registry).unwrap();
        counter.inc_by(4);
        assert!(graphite.push().await.is_err(), "nobody listens there");
        graphite.config.port = port;
        let mut received = Vec::new();
        for _ in 0..2 {
            let (pushed, accepted) = tokio::join!(graphite.push(), listener.accept());
            pushed.unwrap();
            let mut text = String::new();
            accepted.unwrap().0.read_to_string(&mut text).await.unwrap();
            received.push(text.split(' ').nth(1).unwrap().to_owned());
        }
        assert_eq!(received, ["4", "0"]);
    }
}
