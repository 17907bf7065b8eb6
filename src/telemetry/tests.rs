use std::io::Write;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tracing::{debug, error, info, info_span, trace, warn};

use super::*;

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while `events` runs.
fn written(level: Level, style: Style, events: impl FnOnce()) -> String {
    let output = Output::default();
    let queue = Queue::start(Box::new(output.clone())).unwrap();
    let lines = Lines::new(level, style, Arc::clone(&queue), otel::Records::default());
    let subscriber = tracing_subscriber::registry().with(lines);
    tracing::subscriber::with_default(subscriber, events);
    queue.close();
    let bytes = output.0.lock().clone();
    String::from_utf8(bytes).unwrap()
}

fn parsed(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn one_of_each() {
    trace!("t");
    debug!("d");
    info!("i");
    warn!("w");
    error!("e");
    error!(target: FATAL, "f");
}

#[test]
fn a_json_line_has_the_fields_in_order() {
    let text = written(Level::Info, Style::Json, || {
        info!(
            pid = 1,
            engine = "memory",
            ok = true,
            "starting {}",
            "Centripetal"
        );
    });
    let line = &parsed(&text)[0];
    let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["level", "pid", "engine", "ok", "time", "message"]);
    assert_eq!(line["level"], "info");
    assert_eq!(line["pid"], 1);
    assert_eq!(line["ok"], true);
    assert_eq!(line["message"], "starting Centripetal");
    let time = line["time"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
    assert!(!time.contains('.'), "{time}");
}

#[test]
fn each_level_includes_the_more_severe_ones() {
    for (level, expected) in [
        (Level::Trace, "trace debug info warn error fatal"),
        (Level::Debug, "debug info warn error fatal"),
        (Level::Info, "info warn error fatal"),
        (Level::Warn, "warn error fatal"),
        (Level::Error, "error fatal"),
        (Level::Fatal, "fatal"),
        (Level::None, ""),
    ] {
        let lines = parsed(&written(level, Style::Json, one_of_each));
        let levels: Vec<&str> = lines
            .iter()
            .map(|line| line["level"].as_str().unwrap())
            .collect();
        assert_eq!(levels.join(" "), expected, "{level:?}");
    }
}

#[test]
fn lines_carry_the_fields_of_their_spans() {
    let text = written(Level::Warn, Style::Json, || {
        let span = info_span!("connection", client = "c", user = tracing::field::Empty);
        span.record("user", "u");
        span.in_scope(|| warn!(client = "inner", "m"));
    });
    let line = &parsed(&text)[0];
    assert_eq!(line["client"], "inner");
    assert_eq!(line["user"], "u");
}

#[test]
fn other_crates_speak_from_warn_up() {
    let text = written(Level::Trace, Style::Json, || {
        info!(target: "hyper::proto", "chatter");
        warn!(target: "hyper::proto", "failure");
    });
    let lines = parsed(&text);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["message"], "failure");
}

#[test]
fn a_terminal_gets_text_without_the_controls_of_others() {
    let text = written(Level::Info, Style::Terminal, || {
        info!(
            path = "/a",
            reason = "two words",
            name = "\x1b[2J",
            "serving"
        );
    });
    assert!(text.contains("[INF]") && text.contains("serving"), "{text}");
    assert!(
        text.contains("/a") && text.contains("\"two words\""),
        "{text}"
    );
    assert!(!text.contains("\x1b[2J"), "{text:?}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn an_unknown_level_is_info_with_a_complaint() {
    let config = |level: &str| -> Config {
        serde_json::from_value(json!({"level": level, "file": ""})).unwrap()
    };
    let odd = config("odd");
    assert_eq!(odd.level, Level::Info);
    assert_eq!(
        odd.complaint().unwrap(),
        "unknown log level odd, defaulting to INFO"
    );
    assert_eq!(config("WARN").level, Level::Warn);
    assert_eq!(config("WARN").complaint(), None);
}

#[test]
fn an_early_fatal_line_is_json() {
    let line: Value =
        serde_json::from_str(&lines::fatal_line("error getting config", "no")).unwrap();
    assert_eq!(line["level"], "fatal");
    assert_eq!(line["error"], "no");
    assert_eq!(line["message"], "error getting config");
}

#[test]
fn a_log_file_that_cannot_be_opened_is_named() {
    let config = Config {
        level: Level::Info,
        file: "/nosuch/folder/log".to_owned(),
        unknown_level: None,
    };
    let error = init(&config).unwrap_err();
    assert!(error.to_string().contains("/nosuch/folder/log"), "{error}");
}
