//! The example file: every option of tiers A and B with its default, commented out, ready to be uncommented.

use super::{Row, rows};
use crate::config::schema::{Kind, Tier};

const HEAD: &str = "\
# Example configuration of Centripetal: the options that matter, with their defaults.
# Made by `centripetal configdoc --example`; do not edit. `centripetal configdoc` shows all options.
#
# Take what you need and remove the `#`. A table header such as [http_server] is needed by the keys below it.
# An option without quotes, brackets or braces around its value is a number or true / false.
";

/// The file as TOML.
#[must_use]
pub fn example() -> String {
    let rows: Vec<Row> = rows(None)
        .into_iter()
        .filter(|row| row.field.tier <= Tier::B)
        .collect();
    let mut page = HEAD.to_owned();
    // TOML wants plain keys of the top level before any table.
    for row in rows
        .iter()
        .filter(|row| !row.key.contains('.') && is_value(row))
    {
        page.push('\n');
        option(&mut page, row, &row.key);
    }
    let mut tables: Vec<&str> = Vec::new();
    for row in &rows {
        if let Some((table, _)) = row.key.rsplit_once('.')
            && !table.contains("[]")
            && is_value(row)
            && !tables.contains(&table)
        {
            tables.push(table);
        }
    }
    for table in tables {
        let head = rows.iter().find(|row| row.key == table);
        page.push_str(&format!("\n{}\n", "#".repeat(100)));
        if let Some(head) = head {
            comment(&mut page, head);
        }
        page.push_str(&format!("#[{table}]\n"));
        for row in &rows {
            if let Some((parent, key)) = row.key.rsplit_once('.')
                && parent == table
                && is_value(row)
            {
                page.push('\n');
                option(&mut page, row, key);
            }
        }
    }
    page
}

fn is_value(row: &Row) -> bool {
    !row.is_section()
}

fn option(page: &mut String, row: &Row, key: &str) {
    comment(page, row);
    let value = match row.field.kind {
        Kind::Text(..) | Kind::Duration(..) => format!("{:?}", row.default()),
        Kind::Texts(texts) => format!("{texts:?}"),
        Kind::Named(_) => "[]".to_owned(),
        _ => row.default(),
    };
    page.push_str(&format!("#{key} = {value}\n"));
}

fn comment(page: &mut String, row: &Row) {
    let mut text = vec![row.field.help.to_owned()];
    text.extend(row.notes());
    page.push_str(&format!("# {}\n", text.join(" ")));
}
