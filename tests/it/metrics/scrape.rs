//! The text format, read.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::Server;

/// Everything one scrape shows.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    pub(super) families: BTreeMap<String, Family>,
    /// Every series as `name{label=value,…}`, labels sorted, with its value.
    pub(super) series: BTreeMap<String, String>,
}

/// What is common to the series of one name.
#[derive(Debug, Default)]
pub(super) struct Family {
    pub(super) kind: String,
    /// Labels and their values, without borders and quantiles.
    pub(super) labels: BTreeMap<String, BTreeSet<String>>,
    /// Borders or quantiles, as they are written.
    pub(super) borders: BTreeSet<String>,
}

impl Scrape {
    /// Scrapes a server.
    pub(super) async fn of(server: &Server) -> Self {
        Self::read(&server.get("/metrics").await.1)
    }

    /// Reads the text format.
    pub(super) fn read(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                scrape.families.entry(name.to_owned()).or_default().kind = kind.to_owned();
            } else if !line.starts_with('#') && !line.is_empty() {
                scrape.sample(line);
            }
        }
        scrape
    }

    fn sample(&mut self, line: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let mut pairs = read_labels(labels.strip_suffix('}').unwrap());
        pairs.sort();
        let written: Vec<_> = pairs.iter().map(|(l, v)| format!("{l}={v}")).collect();
        self.series
            .insert(format!("{name}{{{}}}", written.join(",")), value.to_owned());
        let family = ["", "_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| {
                let family = name.strip_suffix(suffix)?;
                self.families.contains_key(family).then_some(family)
            })
            .unwrap_or_else(|| panic!("{line} has no type"));
        let family = self.families.get_mut(family).unwrap();
        for (label, value) in pairs {
            if ["le", "quantile"].contains(&&*label) {
                family.borders.insert(value);
            } else {
                family.labels.entry(label).or_default().insert(value);
            }
        }
    }

    /// The sum of all series of a name whose labels hold all of these.
    pub(super) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let series = self.series.iter().filter(|(series, _)| {
            series.strip_prefix(name).is_some_and(|rest| {
                rest.starts_with('{') && labels.iter().all(|label| rest.contains(label))
            })
        });
        series.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
    }
}

/// `a="b",c="d"`; values of these tests hold no quotes.
fn read_labels(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((name, more)) = rest.split_once("=\"") {
        let (value, more) = more.split_once('"').unwrap();
        pairs.push((name.trim_start_matches(',').to_owned(), value.to_owned()));
        rest = more;
    }
    pairs
}
