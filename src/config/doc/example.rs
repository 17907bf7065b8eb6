//! The example file: the options of tiers A and B that this version has, with their defaults, commented out.

use super::{Row, rows};
use crate::config::schema::{Gate, Kind, Tier};

const HEAD: &str = "\
# Example configuration of Centripetal: the options that matter, with their defaults.
# Made by `centripetal configdoc --example`; do not edit. Rare options, and features that this version does not
# have yet, are left out; `centripetal configdoc` shows everything.
#
# Take what you need and remove the `#`. A table header such as [http_server] is needed by the keys below it.
# An entry of a named list is a table of its own, for instance:
#
#   [[channel.namespaces]]
#   name = \"chat\"
#   presence = true
#   history_size = 50
#   history_ttl = \"5m\"
#   force_recovery = true
";

/// The file as TOML.
#[must_use]
pub fn example() -> String {
    let rows = shown(rows(None));
    let mut page = HEAD.to_owned();
    for table in rows.iter().filter(|row| row.is_section()) {
        let options: Vec<(&str, &Row)> = rows
            .iter()
            .filter(|row| !row.is_section())
            .filter_map(|row| Some((direct(&table.key, &row.key)?, row)))
            .collect();
        if options.is_empty() {
            continue;
        }
        page.push_str(&format!("\n{}\n", "#".repeat(100)));
        comment(&mut page, table);
        page.push_str(&format!("#[{}]\n", table.key));
        for (key, row) in options {
            page.push('\n');
            comment(&mut page, row);
            page.push_str(&format!("#{key} = {}\n", value(row)));
        }
    }
    page
}

/// Without rare options, and without whole sections that are rare or not available.
fn shown(all: Vec<Row>) -> Vec<Row> {
    let left_out = |row: &Row| row.field.tier > Tier::B || row.field.gate == Gate::Missing;
    let switched_off: Vec<String> = all
        .iter()
        .filter(|row| left_out(row))
        .map(|row| match row.key.strip_suffix(".enabled") {
            // A feature whose switch is not available has no options either.
            Some(section) => format!("{section}."),
            None => format!("{}.", row.key),
        })
        .collect();
    let inside = |key: &str| {
        let key = format!("{key}.");
        switched_off
            .iter()
            .any(|prefix| key.starts_with(prefix.as_str()))
    };
    all.into_iter()
        .filter(|row| row.key.contains('.') || row.is_section())
        .filter(|row| !row.key.contains("[]") && !left_out(row) && !inside(&row.key))
        .collect()
}

/// The last part of a key that stands directly in this table.
fn direct<'a>(table: &str, key: &'a str) -> Option<&'a str> {
    let rest = key.strip_prefix(table)?.strip_prefix('.')?;
    (!rest.contains('.')).then_some(rest)
}

fn value(row: &Row) -> String {
    match row.field.kind {
        Kind::Text(..) | Kind::Duration(..) => format!("{:?}", row.default()),
        Kind::Texts(texts) => format!("{texts:?}"),
        _ => row.default(),
    }
}

fn comment(page: &mut String, row: &Row) {
    let mut text = vec![row.field.help.to_owned()];
    text.extend(row.notes());
    page.push_str(&format!("# {}\n", text.join(" ")));
}
