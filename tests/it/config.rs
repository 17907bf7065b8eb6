//! Configuration against the recorded truth of the compatible server, and the commands as a person meets them.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use centripetal::{
    cli::{self, Invocation, Start},
    config::{self, Environment, Warning},
};
use serde_json::{Map, Value, json};

/// `checkconfig` says more than the compatible server, which finds out only at start or never.
const CHECKED_EARLIER: &[(&str, &str)] = &[
    ("ping_pong", "ping against pong time is checked early"),
    ("ping_pong_equal", "ping against pong time is checked early"),
    ("engine_type", "types are checked early"),
    ("presence_manager_type", "types are checked early"),
    ("controller_type", "types are checked early"),
    ("token_audience_both", "token settings are checked early"),
    (
        "token_audience_regex_bad",
        "token settings are checked early",
    ),
    ("token_rsa_bad", "token settings are checked early"),
    ("token_jwks_template", "token settings are checked early"),
    ("token_eddsa_unused", "token settings are checked early"),
    ("http_api_error_mode", "error modes are checked early"),
    ("grpc_api_error_mode", "error modes are checked early"),
    ("origins_bad", "origin patterns are checked early"),
    ("tls_no_cert", "TLS is checked early"),
    ("tls_bad_file", "TLS is checked early"),
    ("http3_no_tls", "TLS is checked early"),
    ("webtransport_no_http3", "HTTP/3 is checked early"),
    (
        "same_handler_path",
        "equal paths are an error, not a crash when routes are built",
    ),
    (
        "rpc_proxy_empty",
        "a used proxy without endpoint is an error (proxy.md 18)",
    ),
    (
        "proxy_endpoint_scheme",
        "addresses of proxies are checked early",
    ),
    ("redis_bad_address", "addresses of Redis are checked early"),
    (
        "int_too_large",
        "a number beyond 64 bits is an error, it does not wrap around",
    ),
];

/// A start ends differently.
const STARTED_DIFFERENTLY: &[(&str, &str)] = &[
    ("flag_unknown", "usage errors end with exit code 1"),
    ("flag_bad_value", "usage errors end with exit code 1"),
    ("flag_missing_value", "usage errors end with exit code 1"),
    ("command_unknown", "usage errors end with exit code 1"),
    ("same_handler_path", "exit code 1, not a crash"),
    ("ping_negative_same", "no check when pings are off"),
    (
        "redis_unreachable",
        "found out by the engine, not by the configuration (tests/it/redis.rs)",
    ),
    (
        "rpc_proxy_empty",
        "a used proxy without endpoint is an error (proxy.md 18)",
    ),
    (
        "proxy_endpoint_scheme",
        "a scheme that nobody speaks stops the start, not the first question",
    ),
];

/// Options among the compatible ones that the compatible server keeps for its paid edition or does not have.
const FREE_HERE: [&str; 8] = [
    "allow_channel_compaction",
    "exclude_publisher",
    "batch_max_size",
    "batch_max_delay",
    "batch_flush_latest",
    "slow_policy",
    "write_delay",
    "max_messages_in_frame",
];

/// Without them, wherever they stand.
fn without_free(mut tree: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(pairs) => {
                pairs.retain(|key, _| !FREE_HERE.contains(&key.as_str()));
                pairs.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut tree);
    tree
}

/// Variables without theirs.
fn compatible_variables(lines: &str) -> Vec<&str> {
    let free = |line: &str| {
        let name = line.split('=').next().unwrap_or_default();
        FREE_HERE
            .iter()
            .any(|option| name.ends_with(&format!("_{}", option.to_uppercase())))
    };
    lines.lines().filter(|line| !free(line)).collect()
}

fn golden(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/config")
        .join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn golden_json(name: &str) -> Value {
    serde_json::from_str(&golden(name)).unwrap()
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unique = format!("centripetal-it-{}-{number}-{name}", std::process::id());
        let path = std::env::temp_dir().join(unique);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.0.join(name), content).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Exit code, output, and the start that was asked for.
struct Ran {
    code: u8,
    output: String,
    start: Option<Start>,
}

fn run(folder: &Path, environment: &Environment, arguments: &[&str]) -> Ran {
    let invocation = Invocation {
        arguments: std::iter::once("centripetal")
            .chain(arguments.iter().copied())
            .map(Into::into)
            .collect(),
        environment: environment.clone(),
        directory: folder.to_owned(),
    };
    let (mut output, mut start) = (Vec::new(), None);
    let code = cli::run(&invocation, &mut output, &mut |asked| {
        start = Some(asked);
        0
    });
    Ran {
        code,
        output: String::from_utf8(output).unwrap(),
        start,
    }
}

/// The part of a value that differs from the default, lists without their empty members: as the record has it.
fn changed(value: &Value, default: &Value) -> Value {
    match (value, default) {
        (Value::Object(pairs), Value::Object(defaults)) => pairs
            .iter()
            .filter(|(key, value)| defaults.get(*key) != Some(value))
            .map(|(key, value)| {
                (
                    key.clone(),
                    changed(value, defaults.get(key).unwrap_or(&Value::Null)),
                )
            })
            .collect::<Map<_, _>>()
            .into(),
        (Value::Array(items), _) => items.iter().map(pruned).collect(),
        _ => value.clone(),
    }
}

fn pruned(value: &Value) -> Value {
    let Value::Object(pairs) = value else {
        return value.clone();
    };
    let empty = [
        json!(null),
        json!(""),
        json!("0s"),
        json!(0),
        json!(false),
        json!([]),
        json!({}),
    ];
    pairs
        .iter()
        .map(|(key, value)| (key.clone(), pruned(value)))
        .filter(|(key, value)| key == "name" || !empty.contains(value))
        .collect::<Map<_, _>>()
        .into()
}

/// Without the options of Centripetal alone.
fn compatible(mut tree: Value) -> Value {
    let root = tree.as_object_mut().unwrap();
    root.shift_remove("centripetal").unwrap();
    root["client"]
        .as_object_mut()
        .unwrap()
        .shift_remove("hmac_credentials")
        .unwrap();
    without_free(tree)
}

/// One recorded case in a folder of its own.
struct Case<'a> {
    name: &'a str,
    file: &'a str,
    folder: Folder,
    environment: Environment,
    start: Option<Vec<&'a str>>,
    expected: &'a Value,
}

impl<'a> Case<'a> {
    fn new(case: &'a Value, expected: &'a Value) -> Self {
        let name = case["name"].as_str().unwrap();
        let folder = Folder::new(name);
        for (file, content) in case["files"].as_object().into_iter().flatten() {
            let text = content
                .as_str()
                .map_or_else(|| content.to_string(), str::to_owned);
            folder.write(file, &text);
        }
        let variables = case["env"].as_object().into_iter().flatten();
        Self {
            name,
            file: case["config"].as_str().unwrap_or("config.json"),
            folder,
            environment: variables
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect(),
            start: case["start"].as_array().map(|arguments| {
                arguments
                    .iter()
                    .map(|argument| argument.as_str().unwrap())
                    .collect()
            }),
            expected: &expected[name],
        }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        run(&self.folder.0, &self.environment, arguments)
    }

    fn reason(&self, list: &[(&str, &'static str)]) -> Option<&'static str> {
        list.iter()
            .find(|(name, _)| *name == self.name)
            .map(|(_, reason)| *reason)
    }

    /// Differences of `checkconfig`, `checkconfig -s` and `defaultconfig -d -b`.
    fn check(&self, defaults: &Value) -> Vec<String> {
        let mut differences = Vec::new();
        for (part, arguments) in [
            ("check", vec!["checkconfig", "-c", self.file]),
            ("strict", vec!["checkconfig", "-s", "-c", self.file]),
        ] {
            let (ran, expected) = (self.run(&arguments), &self.expected[part]);
            if expected["exit"] != ran.code {
                differences.push(format!(
                    "{} {part}: exit {}: {}",
                    self.name, ran.code, ran.output
                ));
            } else if let Some(missing) = unnamed(expected["output"].as_str().unwrap(), &ran.output)
            {
                differences.push(format!(
                    "{} {part}: {missing} is not named: {}",
                    self.name, ran.output
                ));
            }
        }
        let ran = self.run(&["defaultconfig", "-d", "-b", self.file]);
        let expected = &self.expected["effective"];
        let same = match expected.as_str() {
            Some(_) => ran.code == 1,
            None if ran.code == 0 => {
                let effective = without_free(serde_json::from_str(&ran.output).unwrap());
                changed(&effective, defaults) == *expected
            }
            None => false,
        };
        if !same {
            differences.push(format!(
                "{} effective: {}",
                self.name,
                &ran.output[..ran.output.len().min(300)]
            ));
        }
        differences
    }

    /// Differences of a start: whether it goes on, and the warnings.
    fn begin(&self, flags: &[&str]) -> Vec<String> {
        let mut arguments = vec!["-c", self.file, "-a", "127.0.0.1", "-p", "22020"];
        arguments.extend(flags);
        let ran = self.run(&arguments);
        let expected = &self.expected["start"];
        let Some(start) = ran.start else {
            let same = expected["exit"] == ran.code && ran.output.starts_with("Error: ");
            return if same {
                Vec::new()
            } else {
                vec![format!("{} start: {}", self.name, ran.output)]
            };
        };
        let loaded = config::load(&start.sources);
        let verdict = match &loaded {
            Ok(loaded) => loaded
                .judge(start.strict)
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let code = if verdict.is_ok() {
            Value::Null
        } else {
            json!(1)
        };
        let mut differences = Vec::new();
        if expected["exit"] != code {
            differences.push(format!("{} start: {verdict:?}", self.name));
        }
        if let Ok(loaded) = loaded
            && expected["exit"].is_null()
        {
            let mut warnings = loaded.warnings;
            warnings.extend(loaded.config.start_warnings());
            warnings.extend(loaded.config.log.complaint().map(|message| Warning {
                message,
                ..Warning::default()
            }));
            let mut got: Vec<Value> = warnings.iter().map(line).collect();
            let mut want = expected["log"].as_array().unwrap().clone();
            got.sort_by_key(Value::to_string);
            want.sort_by_key(Value::to_string);
            // Compared apart, because a refused start may still warn as expected.
            assert_eq!(json!(got), ordered(&want), "{}", self.name);
        }
        differences
    }
}

fn line(warning: &Warning) -> Value {
    let mut line = BTreeMap::from([("level", "warn"), ("message", warning.message.as_str())]);
    line.extend(warning.key.as_deref().map(|key| ("key", key)));
    line.extend(
        warning
            .variable
            .as_deref()
            .map(|variable| ("var", variable)),
    );
    json!(line)
}

fn ordered(lines: &[Value]) -> Value {
    let sorted = lines.iter().map(|line| {
        let pairs: BTreeMap<&String, &Value> = line.as_object().unwrap().iter().collect();
        json!(pairs)
    });
    let mut sorted: Vec<Value> = sorted.collect();
    sorted.sort_by_key(Value::to_string);
    json!(sorted)
}

/// The first key or variable that the expected text names and the other does not.
fn unnamed<'a>(expected: &'a str, got: &str) -> Option<&'a str> {
    let got = got.replace(".[", "[");
    if let Some(keys) = expected.strip_prefix("unknown keys in config: ") {
        let keys = keys.trim().split(", ");
        return keys
            .into_iter()
            .find(|key| !got.contains(&key.replace(".[", "[")));
    }
    let words = expected.split(|c: char| c.is_whitespace() || matches!(c, '\'' | '"' | ',' | ':'));
    words
        .filter(|word| {
            let key = word.contains('.') && word.starts_with(|c: char| c.is_ascii_lowercase());
            let options = ["client.", "channel.", "http_server", "health.", "proxies["];
            word.starts_with("CENTRIFUGO_")
                || (key && options.iter().any(|option| word.starts_with(option)))
        })
        .find(|word| !got.contains(*word))
}

/// Every listed case differs, and no other does.
fn compare(
    list: &[(&str, &'static str)],
    count: usize,
    differences: impl Fn(&Case<'_>) -> Option<Vec<String>>,
) {
    let (cases, expected) = (golden_json("cases.json"), golden_json("expected.json"));
    let cases = cases.as_array().unwrap();
    let mut found = Vec::new();
    let mut seen = 0;
    for case in cases {
        let case = Case::new(case, &expected);
        let Some(differences) = differences(&case) else {
            continue;
        };
        seen += 1;
        match (case.reason(list), differences.is_empty()) {
            (None, _) => found.extend(differences),
            (Some(_), false) => {}
            (Some(reason), true) => found.push(format!(
                "{}: no difference any more, unlist it ({reason})",
                case.name
            )),
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(seen, count);
}

#[test]
fn configurations_are_judged_and_read_as_recorded() {
    let folder = Folder::new("defaults");
    let ran = run(
        &folder.0,
        &Environment::default(),
        &["defaultconfig", "--dry-run"],
    );
    let defaults = without_free(serde_json::from_str(&ran.output).unwrap());
    compare(CHECKED_EARLIER, 161, |case| Some(case.check(&defaults)));
}

#[test]
fn starts_go_on_and_warn_as_recorded() {
    compare(STARTED_DIFFERENTLY, 46, |case| {
        case.start.as_ref().map(|flags| case.begin(flags))
    });
}

#[test]
fn defaults_are_the_recorded_ones_in_the_recorded_order() {
    let folder = Folder::new("order");
    let ran = run(&folder.0, &Environment::default(), &["defaultconfig", "-d"]);
    let ours = compatible(serde_json::from_str(&ran.output).unwrap());
    let text = serde_json::to_string_pretty(&ours).unwrap() + "\n";
    assert!(text == golden("defaults.json"), "{ours:#}");
}

#[test]
fn entries_of_lists_have_the_recorded_defaults_and_variables() {
    let folder = Folder::new("entries");
    let base = json!({
        "channel": {"namespaces": [{"name": "chat"}]},
        "rpc": {"namespaces": [{"name": "chat"}]},
        "proxies": [{"name": "chat", "endpoint": "http://x"}],
        "consumers": [{"name": "chat", "type": "kafka"}],
    });
    folder.write("base.json", &base.to_string());
    let none = Environment::default();
    let arguments = ["defaultconfig", "-d", "-b", "base.json"];
    let ran = run(&folder.0, &none, &arguments);
    let full = without_free(serde_json::from_str(&ran.output).unwrap());
    let expected = golden_json("entries.json");
    for (key, path) in [
        ("channel.namespaces[]", "/channel/namespaces/0"),
        ("rpc.namespaces[]", "/rpc/namespaces/0"),
        ("proxies[]", "/proxies/0"),
        ("consumers[]", "/consumers/0"),
    ] {
        assert_eq!(full.pointer(path), Some(&expected[key]), "{key}");
    }
    let lines = run(&folder.0, &none, &["defaultenv", "-b", "base.json"]).output;
    let mut lines = compatible_variables(&lines);
    lines.retain(|line| line.contains("_CHAT_"));
    let golden = golden("env-entries.txt");
    assert_eq!(lines, golden.lines().collect::<Vec<_>>());
}

#[test]
fn variables_are_the_recorded_ones() {
    let folder = Folder::new("variables");
    let ran = run(&folder.0, &Environment::default(), &["defaultenv"]);
    let (own, compatible): (Vec<&str>, Vec<&str>) = compatible_variables(&ran.output)
        .into_iter()
        .partition(|line| line.starts_with("CENTRIPETAL_"));
    assert_eq!(compatible, golden("env.txt").lines().collect::<Vec<_>>());
    assert!(own.contains(&"CENTRIPETAL_GRPC_PORT=8001"));
    assert!(own.contains(&"CENTRIPETAL_CLIENT_HMAC_CREDENTIALS_MAX_TTL=24h0m0s"));
    let zero = run(
        &folder.0,
        &Environment::default(),
        &["defaultenv", "--base-non-zero-only"],
    )
    .output;
    assert!(
        zero.contains("CENTRIFUGO_HTTP_SERVER_PORT=8000") && !zero.contains("HTTP_SERVER_ADDRESS")
    );
}

#[test]
fn the_flags_are_the_recorded_ones() {
    let folder = Folder::new("flags");
    let help = run(&folder.0, &Environment::default(), &["--help"]);
    assert_eq!(help.code, 0);
    let flags = |text: &str| -> Vec<String> {
        let mut flags: Vec<String> = text
            .lines()
            .filter(|line| line.trim_start().starts_with('-'))
            .flat_map(|line| {
                line.split_whitespace()
                    .take(2)
                    .filter(|word| word.starts_with("--"))
            })
            .map(|flag| flag.split(['[', '=']).next().unwrap().to_owned())
            .collect();
        flags.sort();
        flags
    };
    let mut expected = flags(&golden("help.txt"));
    expected.push("--strict".to_owned());
    expected.sort();
    assert_eq!(flags(&help.output), expected);
}

/// The real program with this file, until it ends.
fn program(folder: &Folder, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_centripetal"))
        .args(arguments)
        .current_dir(&folder.0)
        .env_clear()
        .output()
        .unwrap()
}

#[test]
fn a_failed_start_is_one_fatal_line_on_standard_error_and_exit_code_1() {
    let folder = Folder::new("program");
    for (file, message, part) in [
        ("{\"a\":", "error getting config", "config.json"),
        (
            "{\"client\":{\"ping_interval\":\"x\"}}",
            "error getting config",
            "client.ping_interval",
        ),
        (
            "{\"channel\":{\"namespaces\":[{\"name\":\"a b\"}]}}",
            "error validating config",
            "namespace a b",
        ),
        (
            "{\"swagger\":{\"enabled\":true}}",
            "error validating config",
            "swagger.enabled",
        ),
    ] {
        folder.write("config.json", file);
        let output = program(&folder, &[]);
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(output.stdout.is_empty(), "{file}");
        let text = String::from_utf8(output.stderr).unwrap();
        let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(line["level"], "fatal", "{text}");
        assert_eq!(line["message"], message, "{text}");
        assert!(line["error"].as_str().unwrap().contains(part), "{text}");
    }
}

#[test]
fn strict_refuses_unknown_keys_at_start() {
    let folder = Folder::new("strict");
    folder.write("config.json", "{\"http_server\":{\"prot\":1}}");
    let output = program(&folder, &["--strict"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("did you mean http_server.port?"), "{text}");
    assert!(
        text.contains("unknown keys in config: http_server.prot"),
        "{text}"
    );
}

#[test]
fn lines_go_to_the_log_file_when_there_is_one() {
    let folder = Folder::new("logfile");
    folder.write(
        "config.json",
        "{\"log\":{\"file\":\"server.log\",\"level\":\"odd\"},\"swagger\":{\"enabled\":true}}",
    );
    let output = program(&folder, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
    let text = std::fs::read_to_string(folder.0.join("server.log")).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let messages: Vec<&str> = lines
        .iter()
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert_eq!(
        messages,
        [
            "unknown log level odd, defaulting to INFO",
            "using config file",
            "error validating config"
        ]
    );
}

/// What a command that serves in a browser answers to a path, and how it names its address.
fn page(folder: &Folder, arguments: &[&str], path: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_centripetal"))
        .args(arguments)
        .current_dir(&folder.0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line
        .split("http://")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    answer
}

#[test]
fn configdoc_serves_a_page() {
    let folder = Folder::new("configdoc");
    let answer = page(&folder, &["configdoc", "-p", "0"], "/");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("text/html") && answer.contains("http_server.port"));
}

#[test]
fn serve_serves_files_and_nothing_else() {
    let folder = Folder::new("serve");
    folder.write("a.txt", "content");
    let arguments = ["serve", "-p", "0", "-a", "127.0.0.1"];
    assert!(page(&folder, &arguments, "/a.txt").ends_with("\r\n\r\ncontent"));
    assert!(page(&folder, &arguments, "/../a.txt").starts_with("HTTP/1.1 404"));
}
