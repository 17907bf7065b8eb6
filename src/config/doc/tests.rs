use super::*;
use crate::config::{Config, Sources, file::Format, load};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");
const REFERENCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/config.md");

fn committed(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn the_committed_example_is_current() {
    assert!(
        committed(EXAMPLE) == example(),
        "run: cargo run -- configdoc --example > config.example.toml"
    );
}

#[test]
fn the_committed_reference_is_current() {
    assert!(
        committed(REFERENCE) == markdown(None),
        "run: cargo run -- configdoc --markdown > docs/reference/config.md"
    );
}

#[test]
fn the_example_uncommented_is_the_default_configuration() {
    let lines: Vec<&str> = example_lines().collect();
    let tree = Format::Toml.parse(&lines.join("\n")).unwrap();
    let loaded = load(&Sources::value(tree)).unwrap();
    assert_eq!(loaded.unknown, [""; 0]);
    assert_eq!(loaded.warnings, []);
    let default = Config::from_value(serde_json::json!({})).unwrap();
    assert_eq!(
        crate::config::shown(&loaded.config),
        crate::config::shown(&default)
    );
    assert!(lines.len() > 100, "{}", lines.len());
}

/// Lines that are options or tables once their `#` is gone; prose has a blank behind it.
fn example_lines() -> impl Iterator<Item = &'static str> {
    let text: &'static str = Box::leak(example().into_boxed_str());
    text.lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.starts_with([' ', '#']) && !line.is_empty())
}

#[test]
fn every_option_has_help_that_is_a_sentence() {
    for row in rows(None) {
        let help = row.field.help;
        assert!(help.ends_with('.') && help.len() > 7, "{}: {help}", row.key);
    }
}

#[test]
fn one_section_can_be_shown_alone() {
    let part = markdown(Some("health"));
    assert!(part.contains("`health.enabled`") && !part.contains("`log.level`"));
    let part = html(Some("health"));
    assert!(part.contains("health.enabled") && !part.contains("log.level"));
}

#[test]
fn the_page_escapes_what_it_shows() {
    assert!(html(None).contains("CENTRIFUGO_CHANNEL_NAMESPACES_&lt;NAME&gt;_PRESENCE"));
}

#[test]
fn hidden_options_are_not_documented() {
    assert!(!markdown(None).contains("redisnats"));
}
