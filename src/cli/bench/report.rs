//! What came out: one value for the table, for `--json` and for the exit code.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use super::{
    count::{Latencies, Percentiles, milliseconds},
    load::{Counted, Run},
};

/// The whole result. Times are in seconds, milliseconds or microseconds, as the names say.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) mode: &'static str,
    pub(super) url: String,
    pub(super) transport: &'static str,
    pub(super) connections: usize,
    pub(super) connect: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publish: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publish_by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rpc: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deliver: Option<Rate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counted: Option<Counted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) storm: Option<Storm>,
    /// Sessions that ended by themselves.
    pub(super) ended: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended_because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<Memory>,
}

/// Something that was done many times.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Rate {
    pub(super) count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) failed: u64,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    pub(super) latency_ms: Option<Percentiles>,
    /// CPU time of the server for each.
    pub(super) cpu_us: Option<f64>,
}

/// All clients cut at once.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Storm {
    pub(super) cut: usize,
    pub(super) back: usize,
    /// From the cut until the last one was subscribed again.
    pub(super) back_seconds: f64,
    /// From the cut until one was back.
    pub(super) back_ms: Option<Percentiles>,
    /// Of those that were not cut: before, and from the cut on.
    pub(super) stayed_before_ms: Option<Percentiles>,
    pub(super) stayed_ms: Option<Percentiles>,
}

/// The server's memory, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Memory {
    pub(super) pid: u32,
    pub(super) before: u64,
    pub(super) connected: u64,
    pub(super) end: u64,
    pub(super) peak: u64,
    /// What each connection added; after the wait in mode `idle`.
    pub(super) per_connection: i64,
    pub(super) cpu_seconds: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form serde wants")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Rate {
    pub(super) fn new(
        count: u64,
        took: Duration,
        latencies: &Latencies,
        cpu: Option<Duration>,
    ) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "counts of a measurement")]
        let count_f = count as f64;
        let round = |value: f64| (value * 1000.0).round() / 1000.0;
        Self {
            count,
            failed: 0,
            seconds: round(took.as_secs_f64()),
            per_second: round(count_f / took.as_secs_f64().max(1e-9)),
            latency_ms: latencies.summary(),
            cpu_us: cpu
                .filter(|_| count > 0)
                .map(|cpu| round(milliseconds(cpu) * 1000.0 / count_f)),
        }
    }
}

impl Report {
    /// A report in which nothing was measured yet.
    pub(super) fn of(run: &Run) -> Self {
        let plan = &run.plan;
        let ended = run.ended.lock().clone();
        Self {
            mode: plan.mode.name(),
            url: plan.url.clone(),
            transport: plan.target.transport(),
            connections: plan.connections,
            connect: None,
            publish: None,
            publish_by: plan.publishes_by(),
            rpc: None,
            deliver: None,
            counted: None,
            storm: None,
            ended: ended.0,
            ended_because: ended.1,
            server: None,
        }
    }

    /// Something did not arrive, or somebody did not come back.
    pub(super) fn lost(&self) -> bool {
        let missing = self.counted.is_some_and(|counted| counted.lost > 0);
        missing
            || self
                .storm
                .as_ref()
                .is_some_and(|storm| storm.back < storm.cut)
    }

    /// Prints a table for people or one object for programs.
    pub(super) fn print(&self, json: bool, out: &mut dyn Write) -> io::Result<()> {
        let value = serde_json::to_value(self)?;
        if json {
            return writeln!(out, "{value}");
        }
        let mut rows = Vec::new();
        flatten(&mut rows, String::new(), &value);
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, text) in rows {
            writeln!(out, "{name:width$}  {text}")?;
        }
        Ok(())
    }
}

/// One row for each value, named by its path.
fn flatten(rows: &mut Vec<(String, String)>, name: String, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = match &*name {
                    "" => field.replace('_', " "),
                    name => format!("{name} {}", field.replace('_', " ")),
                };
                flatten(rows, name, value);
            }
        }
        Value::Null => {}
        Value::String(text) => rows.push((name, text.clone())),
        other => rows.push((name, grouped(&other.to_string()))),
    }
}

/// Digits in groups of three.
fn grouped(number: &str) -> String {
    let whole = number.split('.').next().unwrap_or_default();
    let digits = whole.trim_start_matches('-').len();
    let mut text = String::new();
    let start = whole.len() - digits;
    for (index, digit) in number.char_indices() {
        let left = whole.len().saturating_sub(index);
        if index > start && left > 0 && left % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("-1234567.5678", "-1,234,567.5678"),
            ("12.345", "12.345"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_table_names_each_value_by_its_path() {
        let mut rows = Vec::new();
        let value =
            serde_json::json!({"connect": {"per_second": 1234.5, "latency_ms": null}, "url": "x"});
        flatten(&mut rows, String::new(), &value);
        let row = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(
            rows,
            [row("connect per second", "1,234.5"), row("url", "x")]
        );
    }
}
