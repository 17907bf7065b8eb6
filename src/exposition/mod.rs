//! Metrics on their way out of the process: names and values for Graphite and `info`, the formats of a scrape, and what the
//! system says of the process.
//!
//! Reads registries that others fill; never decides what is counted, and answers no request.

pub(crate) mod graphite;
pub(crate) mod items;
mod process;
mod protobuf;

use prometheus::{TextEncoder, proto::MetricFamily};

pub(crate) use graphite::Config as GraphiteConfig;
pub(crate) use process::Process;

/// How a scraper is answered (metrics.md 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text format 0.0.4.
    Text,
    /// `io.prometheus.client.MetricFamily`, each behind its length.
    Protobuf,
}

impl Format {
    /// What a scraper wants that sends these `Accept` values: the best known one, text when there is none.
    pub(crate) fn wanted<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let mut best = (Self::Text, 0.0);
        for entry in accept.flat_map(|value| value.split(',')) {
            let Some(offer) = Offer::read(entry) else {
                continue;
            };
            if offer.quality > best.1 {
                best = (offer.format, offer.quality);
            }
        }
        best.0
    }

    /// The media type.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=underscores"
            }
        }
    }

    /// The families in this format.
    ///
    /// # Errors
    /// When a family cannot be written as text.
    pub(crate) fn write(self, families: &[MetricFamily]) -> Result<Vec<u8>, prometheus::Error> {
        match self {
            Self::Text => Ok(TextEncoder::new().encode_to_string(families)?.into_bytes()),
            Self::Protobuf => Ok(protobuf::write(families)),
        }
    }
}

/// One entry of an `Accept` header, of a kind that is known.
struct Offer {
    format: Format,
    quality: f32,
}

impl Offer {
    fn read(entry: &str) -> Option<Self> {
        let mut parts = entry.split(';').map(str::trim);
        let kind = parts.next()?;
        let (mut quality, mut proto, mut delimited, mut version) = (1.0, false, false, None);
        for part in parts {
            let (name, value) = part.split_once('=')?;
            let value = value.trim_matches('"');
            match name {
                "q" => quality = value.parse().ok()?,
                "proto" => proto = value == "io.prometheus.client.MetricFamily",
                "encoding" => delimited = value == "delimited",
                "version" => version = Some(value),
                _ => {}
            }
        }
        let format = match kind {
            "application/vnd.google.protobuf" if proto && delimited => Format::Protobuf,
            "text/plain" if version.is_none_or(|version| version == "0.0.4") => Format::Text,
            _ => return None,
        };
        Some(Self { format, quality })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scraper_chooses_between_what_is_offered() {
        let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        for (accept, expected) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain;version=0.0.4", Format::Text),
            ("application/openmetrics-text;version=1.0.0", Format::Text),
            (protobuf, Format::Protobuf),
            ("application/vnd.google.protobuf", Format::Text),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
                Format::Text,
            ),
        ] {
            assert_eq!(Format::wanted([accept].into_iter()), expected, "{accept}");
        }
        let both = format!("{protobuf};q=0.4,text/plain;version=0.0.4;q=0.3");
        assert_eq!(Format::wanted([&*both].into_iter()), Format::Protobuf);
        let both = format!("{protobuf};q=0.2,text/plain;version=0.0.4;q=0.3,*/*;q=0.1");
        assert_eq!(Format::wanted([&*both].into_iter()), Format::Text);
    }
}
