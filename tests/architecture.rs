//! The house rules as a test: who may import whom, how long a file may be, what the pure rooms must not contain.
//!
//! Reads the sources as text, with comments, strings and test code blanked out; never compiles or runs anything.
//! A failure names file, line and reason. Widening a table here is a decision: argue it in the commit.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Which top-level modules a module may name. `*` is everything.
const IMPORTS: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("protocol", &["model"]),
    ("session", &["model", "protocol"]),
    ("hub", &["model", "protocol"]),
    ("engine", &["model"]),
    ("exposition", &["summary"]),
    ("trace", &["model", "engine"]),
    ("hooks", &["model"]),
    ("auth", &["model", "hooks"]),
    ("proxy", &["model", "hooks", "summary", "trace"]),
    ("summary", &[]),
    ("policy", &["model", "hooks", "auth", "proxy"]),
    (
        "node",
        &[
            "model",
            "protocol",
            "session",
            "hub",
            "engine",
            "hooks",
            "summary",
            "exposition",
            "trace",
        ],
    ),
    ("transport", &["model", "protocol", "node"]),
    ("api", &["model", "node", "summary", "trace"]),
    ("client", &["model", "protocol"]),
    ("dev", &["model"]),
    ("telemetry", &["model"]),
    // Of the others only their `Config`, see `config_names_only_configs`.
    (
        "config",
        &[
            "model",
            "auth",
            "policy",
            "proxy",
            "node",
            "engine",
            "transport",
            "api",
            "server",
            "telemetry",
        ],
    ),
    (
        "cli",
        &[
            "config", "auth", "client", "server", "model", "dev", "protocol",
        ],
    ),
    ("server", &["*"]),
    ("main", &["cli"]),
    ("lib", &["*"]),
];

/// Where generated Protobuf types may be named: files, and folders they may grow into.
const GENERATED: &[&str] = &[
    "lib.rs",
    "protocol/protobuf",
    "transport/grpc",
    "api/grpc",
    "proxy/grpc",
    "engine/wire",
    "client/grpc",
];

/// Words that must not occur.
struct Forbidden {
    places: &'static [&'static str],
    except: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

const FORBIDDEN: &[Forbidden] = &[
    Forbidden {
        places: &["session/", "protocol/", "client/machine"],
        except: &[],
        words: &[
            "async",
            "tokio",
            "tokio_util",
            "Instant::now",
            "SystemTime",
            "Mutex",
            "RwLock",
            "mpsc",
        ],
        why: "is pure: no task, no clock, no lock, no queue",
    },
    Forbidden {
        places: &["hub/"],
        except: &[],
        words: &[".await", "async"],
        why: "is synchronous",
    },
    Forbidden {
        places: &["model/"],
        except: &[],
        words: &["tokio", "tonic", "serde_json"],
        why: "is plain vocabulary",
    },
    Forbidden {
        places: &["node/"],
        except: &[],
        words: &[
            "tonic",
            "hyper",
            "http::",
            "axum",
            "tungstenite",
            "tokio_tungstenite",
        ],
        why: "knows no transport",
    },
    Forbidden {
        places: &["auth/"],
        except: &["auth/interceptor"],
        words: &["tonic"],
        why: "keeps tonic in its interceptor",
    },
];

/// Calls with one caller: what, and the only place.
const ONE_CALLER: &[(&str, &str)] = &[
    ("hub.broadcast(", "node/events"),
    ("hub().broadcast(", "node/events"),
    ("link.send(", "node/connection"),
];

/// Lines of a file, tests not counted.
const LONGEST: usize = 400;

/// Files that may be longer, with the reason.
const LONG: &[(&str, &str)] = &[("config/schema", "tables of data, one row an option")];

/// Endings of type names that say nothing.
const EMPTY_NAMES: &[&str] = &[
    "Manager", "Helper", "Util", "Utils", "Common", "Factory", "Base", "Impl",
];

/// One source file, blanked.
struct Source {
    /// Path below `src`, with `/`.
    path: String,
    /// The text with comments, strings and test code replaced by spaces; line breaks stay.
    code: String,
    /// Lines that are not test code, as in the file.
    lines: usize,
    /// Opens with a `//!` paragraph.
    opens_with_paragraph: bool,
}

impl Source {
    /// Top-level module the file belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many `super` lead from this file's module to the crate root.
    fn depth(&self) -> usize {
        let path = self.path.strip_suffix("/mod.rs").unwrap_or(&self.path);
        path.split('/').count()
    }

    fn starts_with_any(&self, prefixes: &[&str]) -> bool {
        prefixes.iter().any(|prefix| {
            self.path.strip_prefix(prefix).is_some_and(|rest| {
                prefix.ends_with('/') || rest.is_empty() || rest.starts_with(['.', '/', '_'])
            })
        })
    }
}

// ---- reading -----------------------------------------------------------------------------

/// All sources below `src` that are not test code as a whole.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let texts: Vec<(String, String)> = paths
        .iter()
        .filter_map(|path| {
            let relative = path.strip_prefix(&root).ok()?.to_str()?.replace('\\', "/");
            Some((relative, fs::read_to_string(path).ok()?))
        })
        .collect();
    assert_eq!(texts.len(), paths.len(), "every source is readable UTF-8");
    assert!(!texts.is_empty(), "there are sources");
    let tests: BTreeSet<String> = texts
        .iter()
        .flat_map(|(path, text)| test_modules(path, &blank_text(text)))
        .collect();
    texts
        .iter()
        .filter(|(path, _)| !is_test(path, &tests))
        .map(|(path, text)| source(path, text))
        .collect()
}

fn source(path: &str, text: &str) -> Source {
    let blanked = blank_text(text);
    let (code, test_lines) = blank_tests(&blanked);
    Source {
        path: path.to_owned(),
        code,
        lines: text.lines().count() - test_lines,
        opens_with_paragraph: text.starts_with("//!"),
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Folder a file's child modules live in.
fn children_of(path: &str) -> String {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    let folder = match stem.rsplit_once('/') {
        Some((folder, "mod")) => folder,
        None if matches!(stem, "lib" | "main") => "",
        _ => stem,
    };
    if folder.is_empty() {
        String::new()
    } else {
        format!("{folder}/")
    }
}

/// Child modules declared for tests only, as path prefixes without extension.
fn test_modules(path: &str, code: &str) -> Vec<String> {
    test_items(code)
        .filter_map(|range| {
            let item = code[range].trim_end().strip_suffix(';')?;
            let (before, name) = item.rsplit_once(char::is_whitespace)?;
            let declared = before.trim_end().ends_with("mod");
            declared.then(|| format!("{}{name}", children_of(path)))
        })
        .collect()
}

fn is_test(path: &str, tests: &BTreeSet<String>) -> bool {
    tests.iter().any(|prefix| {
        path.strip_prefix(prefix.as_str())
            .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    })
}

// ---- blanking ----------------------------------------------------------------------------

/// Replaces comments, strings and character literals by spaces.
fn blank_text(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = comment_end(bytes, at).or_else(|| literal_end(bytes, at));
        if let Some(end) = end {
            blank(&bytes[at..end], &mut out);
            at = end;
        } else {
            // An identifier is taken whole, so that its last letter is not read as the prefix of a string.
            let end = word_end(bytes, at).max(at + 1);
            for &byte in &bytes[at..end] {
                out.push(if byte.is_ascii() {
                    char::from(byte)
                } else {
                    ' '
                });
            }
            at = end;
        }
    }
    out
}

fn blank(bytes: &[u8], out: &mut String) {
    out.extend(
        bytes
            .iter()
            .map(|&byte| if byte == b'\n' { '\n' } else { ' ' }),
    );
}

fn word_end(bytes: &[u8], at: usize) -> usize {
    let length = bytes[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
    at + length.count()
}

fn comment_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        let length = rest.iter().take_while(|byte| **byte != b'\n').count();
        return Some(at + length);
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut end) = (0, at);
    while end < bytes.len() {
        if bytes[end..].starts_with(b"/*") {
            (depth, end) = (depth + 1, end + 2);
        } else if bytes[end..].starts_with(b"*/") {
            (depth, end) = (depth - 1, end + 2);
            if depth == 0 {
                break;
            }
        } else {
            end += 1;
        }
    }
    Some(end)
}

/// End of a string, byte string, raw string or character literal that begins here.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let prefix = bytes[at..]
        .iter()
        .take_while(|byte| matches!(byte, b'b' | b'c' | b'r'))
        .count();
    let raw = bytes[at..at + prefix].contains(&b'r');
    let hashes = bytes[at + prefix..]
        .iter()
        .take_while(|byte| **byte == b'#')
        .count();
    let quote = at + prefix + hashes;
    match bytes.get(quote)? {
        b'"' if raw => {
            let close = format!("\"{}", "#".repeat(hashes));
            let found = bytes[quote + 1..]
                .windows(close.len())
                .position(|window| window == close.as_bytes());
            Some(found.map_or(bytes.len(), |found| quote + 1 + found + close.len()))
        }
        b'"' if hashes == 0 => quoted_end(bytes, quote, b'"'),
        b'\'' if hashes == 0 && !raw => {
            // A lifetime has no closing quote after one character.
            let escaped = bytes.get(quote + 1) == Some(&b'\\');
            let width = char_width(*bytes.get(quote + 1)?);
            let closed = bytes.get(quote + 1 + width) == Some(&b'\'');
            (escaped || closed)
                .then(|| quoted_end(bytes, quote, b'\''))
                .flatten()
        }
        _ => None,
    }
}

fn char_width(first: u8) -> usize {
    match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

fn quoted_end(bytes: &[u8], quote: usize, close: u8) -> Option<usize> {
    let mut at = quote + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == close => return Some(at + 1),
            _ => at += 1,
        }
    }
    Some(bytes.len())
}

/// Ranges of the items behind `#[cfg(test)]`, attribute included.
fn test_items(code: &str) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    code.match_indices("#[cfg(test)]")
        .map(move |(start, attribute)| start..item_end(code, start + attribute.len()))
}

/// End of the item that begins after `from`: its `;`, or the brace that closes its first block.
fn item_end(code: &str, from: usize) -> usize {
    let is_use = code[from..]
        .split_whitespace()
        .find(|word| !word.starts_with("pub") && !word.starts_with("#["))
        .is_some_and(|word| word == "use");
    let mut depth = 0_usize;
    for (index, byte) in code[from..].bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && !is_use {
                    return from + index + 1;
                }
            }
            b';' if depth == 0 => return from + index + 1,
            _ => {}
        }
    }
    code.len()
}

/// Blanks test items; returns the code and how many lines they took.
fn blank_tests(code: &str) -> (String, usize) {
    let (mut out, mut lines, mut at) = (String::with_capacity(code.len()), 0, 0);
    for range in test_items(code) {
        if range.start < at {
            continue;
        }
        out.push_str(&code[at..range.start]);
        blank(&code.as_bytes()[range.clone()], &mut out);
        lines += code[range.clone()].lines().count();
        at = range.end;
    }
    out.push_str(&code[at..]);
    (out, lines)
}

// ---- looking -----------------------------------------------------------------------------

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Where a text stands that is not part of a longer identifier.
fn occurrences<'a>(code: &'a str, text: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    let (begins, ends) = (
        is_word(text.as_bytes().first()),
        is_word(text.as_bytes().last()),
    );
    code.match_indices(text)
        .map(|(at, _)| at)
        .filter(move |&at| {
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            let inside = begins && is_word(before) || ends && is_word(bytes.get(at + text.len()));
            !inside
        })
}

/// The code without the white space that is not needed: a call may be spread over lines.
fn compact(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    for part in code.split_whitespace() {
        let glued = is_word(out.as_bytes().last()) && is_word(part.as_bytes().first());
        if glued {
            out.push(' ');
        }
        out.push_str(part);
    }
    out
}

/// A path from the crate root: line and its segments, several for a group.
type Import = (usize, String);

/// All paths that begin with `crate::`, or with as many `super::` as lead to the root, written out.
fn imports(source: &Source) -> Vec<Import> {
    let mut found = Vec::new();
    let climb = "super::".repeat(source.depth());
    for root in ["crate::", climb.as_str()] {
        for at in occurrences_of_path(&source.code, root) {
            let mut paths = Vec::new();
            expand(&source.code[at + root.len()..], "", &mut paths);
            let line = line_of(&source.code, at);
            found.extend(paths.into_iter().map(|path| (line, path)));
        }
    }
    found
}

fn occurrences_of_path<'a>(code: &'a str, root: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(root)
        .map(|(at, _)| at)
        .filter(move |&at| {
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            !is_word(before) && before != Some(&b':')
        })
}

/// Writes out the tree of a path, `a::{b, c::d}` as `a::b` and `a::c::d`; returns how much of the text it took.
fn expand(text: &str, prefix: &str, paths: &mut Vec<String>) -> usize {
    let bytes = text.as_bytes();
    let skip = |at: usize| at + text[at..].len() - text[at..].trim_start().len();
    let mut at = skip(0);
    if bytes.get(at) == Some(&b'{') {
        at += 1;
        loop {
            at = skip(at);
            match bytes.get(at) {
                None => return at,
                Some(b'}') => return at + 1,
                Some(b',') => at += 1,
                Some(_) => at += expand(&text[at..], prefix, paths).max(1),
            }
        }
    }
    let end = word_end(bytes, at);
    let path = format!("{prefix}{}", &text[at..end]);
    let after = skip(end);
    if text[after..].starts_with("::") {
        let next = skip(after + 2);
        let continues = is_word(bytes.get(next)) || bytes.get(next) == Some(&b'{');
        if continues {
            return next + expand(&text[next..], &format!("{path}::"), paths);
        }
    }
    paths.push(path);
    // A rename behind the path: `a as b`.
    let rest = text[end..].trim_start();
    if let Some(renamed) = rest.strip_prefix("as ") {
        let start = text.len() - renamed.len();
        return word_end(bytes, skip(start));
    }
    end
}

fn complain(problems: &mut String, source: &Source, line: usize, what: &str) {
    writeln!(problems, "  src/{}:{line}: {what}", source.path).unwrap_or_default();
}

fn settle(rule: &str, problems: &str) {
    assert!(problems.is_empty(), "{rule}\n{problems}");
}

// ---- the rules ---------------------------------------------------------------------------

#[test]
fn modules_import_only_what_the_table_allows() {
    let mut problems = String::new();
    for source in sources() {
        let module = source.module();
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == module) else {
            complain(
                &mut problems,
                &source,
                1,
                "top-level module not in the table",
            );
            continue;
        };
        for (line, path) in imports(&source) {
            let target = path.split("::").next().unwrap_or_default();
            let known = IMPORTS.iter().any(|(name, _)| *name == target);
            let own = target == module || target == "pb" || !known;
            if !own && !allowed.contains(&target) && !allowed.contains(&"*") {
                let what = format!("`{module}` must not import `crate::{path}`");
                complain(&mut problems, &source, line, &what);
            }
        }
    }
    settle("imports that are not in the table:", &problems);
}

#[test]
fn config_names_only_configs() {
    let mut problems = String::new();
    for source in sources()
        .iter()
        .filter(|source| source.module() == "config")
    {
        for (line, path) in imports(source) {
            let target = path.split("::").next().unwrap_or_default();
            let free = matches!(target, "config" | "model");
            let named = path
                .split("::")
                .any(|part| part.contains("Config") || part == "config");
            if !free && !named {
                let what = format!("`crate::{path}` is not a Config");
                complain(&mut problems, source, line, &what);
            }
        }
    }
    settle("config imports more than each module's Config:", &problems);
}

#[test]
fn generated_types_stay_at_the_edges() {
    let mut problems = String::new();
    for source in sources() {
        if source.starts_with_any(GENERATED) || source.path.starts_with("api/grpc") {
            continue;
        }
        for (line, path) in imports(&source) {
            if path.split("::").next() == Some("pb") {
                complain(&mut problems, &source, line, &format!("`crate::{path}`"));
            }
        }
    }
    settle(
        "generated types outside the files that may name them:",
        &problems,
    );
}

#[test]
fn files_are_short_and_say_what_they_own() {
    let mut problems = String::new();
    for source in sources() {
        let exempt = LONG.iter().any(|(prefix, reason)| {
            assert!(!reason.is_empty());
            source.starts_with_any(&[prefix])
        });
        if source.lines > LONGEST && !exempt {
            let what = format!("{} lines besides tests, {LONGEST} allowed", source.lines);
            complain(&mut problems, &source, source.lines, &what);
        }
        if !source.opens_with_paragraph {
            complain(
                &mut problems,
                &source,
                1,
                "does not open with a `//!` paragraph",
            );
        }
    }
    settle("files against the growth rule:", &problems);
}

#[test]
fn features_gate_modules_only() {
    let mut problems = String::new();
    for source in sources() {
        if source.path == "server/mod.rs" {
            continue;
        }
        for at in occurrences(&source.code, "feature") {
            let line = line_of(&source.code, at);
            let text = source.code.lines().nth(line - 1).unwrap_or_default();
            if !text.contains("cfg") {
                continue;
            }
            let gated = source
                .code
                .lines()
                .skip(line - 1)
                .map(|line| line.rsplit(")]").next().unwrap_or_default().trim())
                .find(|rest| !rest.is_empty() && !rest.starts_with('#'))
                .unwrap_or_default();
            let item = gated
                .split_whitespace()
                .find(|word| !word.starts_with("pub"))
                .unwrap_or_default();
            if !matches!(item, "mod" | "use") {
                complain(&mut problems, &source, line, &format!("gates `{gated}`"));
            }
        }
    }
    settle(
        "`cfg(feature` elsewhere than on a `mod` or `use`:",
        &problems,
    );
}

#[test]
fn pure_rooms_stay_pure() {
    let mut problems = String::new();
    for source in sources() {
        for rule in FORBIDDEN {
            if !source.starts_with_any(rule.places) || source.starts_with_any(rule.except) {
                continue;
            }
            for word in rule.words {
                for at in occurrences(&source.code, word) {
                    let line = line_of(&source.code, at);
                    let what = format!("`{word}`, but {} {}", source.module(), rule.why);
                    complain(&mut problems, &source, line, &what);
                }
            }
        }
    }
    settle("words that a room must not contain:", &problems);
}

#[test]
fn a_publication_flows_one_way() {
    let mut problems = String::new();
    for source in sources() {
        let code = compact(&source.code);
        for (call, place) in ONE_CALLER {
            if occurrences(&code, call).next().is_some() && !source.starts_with_any(&[place]) {
                let what = format!("`{call}…)` belongs to {place}");
                complain(&mut problems, &source, 1, &what);
            }
        }
    }
    settle("calls that have one caller:", &problems);
}

#[test]
fn names_say_something() {
    let mut problems = String::new();
    for source in sources() {
        for keyword in ["struct", "enum", "trait", "type"] {
            for at in occurrences(&source.code, keyword) {
                let rest = source.code[at + keyword.len()..].trim_start();
                let name = &rest[..word_end(rest.as_bytes(), 0)];
                if EMPTY_NAMES.iter().any(|word| name.ends_with(word)) {
                    let line = line_of(&source.code, at);
                    complain(&mut problems, &source, line, &format!("`{name}`"));
                }
            }
        }
    }
    settle("type names that say nothing:", &problems);
}

// ---- the test tested ---------------------------------------------------------------------

fn paths_of(path: &str, text: &str) -> Vec<String> {
    let imports = imports(&source(path, text));
    imports.into_iter().map(|(_, path)| path).collect()
}

#[test]
fn imports_are_found_wherever_they_stand() {
    let text = "use crate::{engine::{self, Error as E}, hub::Hub};\nfn f() -> crate::api::X { $crate::node::Y; }";
    let found = paths_of("session/mod.rs", text);
    let expected = [
        "engine::self",
        "engine::Error",
        "hub::Hub",
        "api::X",
        "node::Y",
    ];
    assert_eq!(found, expected);
}

#[test]
fn climbing_to_the_root_is_an_import() {
    assert_eq!(
        paths_of("session/a/b.rs", "use super::super::super::hub::Hub;"),
        ["hub::Hub"]
    );
    assert_eq!(
        paths_of("session/mod.rs", "use super::hub::Hub;"),
        ["hub::Hub"]
    );
    assert!(paths_of("session/a.rs", "use super::Session; pub(crate) fn f() {}").is_empty());
}

#[test]
fn words_are_whole_and_calls_may_be_spread_over_lines() {
    let code = "async_trait; tokio::x; return link\n    .send(a); x.await;";
    assert_eq!(occurrences(code, "async").count(), 0);
    assert_eq!(occurrences(code, "tokio").count(), 1);
    assert_eq!(occurrences(code, ".await").count(), 1);
    assert_eq!(occurrences(&compact(code), "link.send(").count(), 1);
    assert_eq!(occurrences("uplink.send(", "link.send(").count(), 0);
}

#[test]
fn comments_strings_and_tests_do_not_count() {
    let text = r##"//! [`crate::hub`]
/* crate::hub /* crate::hub */ crate::hub */
const A: (&str, &str, char, u8) = ("crate::hub \" crate::hub", r#"crate::hub " "#, '"', b'"');
fn f<'a>(x: &'a str) -> &'a str { x } // crate::hub
#[cfg(test)]
use crate::hub::{A, B};
#[cfg(test)]
mod tests { use crate::hub::C; fn g() { if true {} } }
use crate::model::Channel;
"##;
    assert_eq!(paths_of("session/mod.rs", text), ["model::Channel"]);
    let blanked = source("session/mod.rs", text);
    assert_eq!(blanked.lines, text.lines().count() - 4);
    assert_eq!(line_of(&blanked.code, blanked.code.find("use").unwrap()), 9);
}

#[test]
fn modules_for_tests_are_known_by_their_declaration() {
    let code = "mod a;\n#[cfg(test)]\npub(crate) mod contract;\n#[cfg(test)]\nmod tests;";
    assert_eq!(
        test_modules("engine/mod.rs", code),
        ["engine/contract", "engine/tests"]
    );
    assert_eq!(
        test_modules("a/b.rs", "#[cfg(test)] mod tests;"),
        ["a/b/tests"]
    );
    let tests = BTreeSet::from(["engine/contract".to_owned()]);
    assert!(is_test("engine/contract/history.rs", &tests));
    assert!(!is_test("engine/contractor.rs", &tests));
}
