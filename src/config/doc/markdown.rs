//! The reference as Markdown: one heading and one table for each top-level key.

use super::{INTRODUCTION, Row, letter, rows, sections};
use crate::config::schema;

/// The reference, or the part of it below one top-level key.
#[must_use]
pub fn markdown(section: Option<&str>) -> String {
    let mut page = String::from("# Configuration reference\n\n");
    page.push_str("Made by `centripetal configdoc --markdown`; do not edit.\n\n");
    page.push_str(INTRODUCTION);
    page.push('\n');
    for name in sections() {
        if section.is_none_or(|section| section == name) {
            part(&mut page, name);
        }
    }
    page
}

fn part(page: &mut String, name: &str) {
    let help = schema::top(name).map_or("", |field| field.help);
    page.push_str(&format!("\n## `{name}`\n\n{help}\n\n"));
    page.push_str(
        "| Key | Type | Default | Variable | Tier | Meaning |\n|---|---|---|---|---|---|\n",
    );
    for row in rows(Some(name)) {
        if !(row.is_section() && row.key == name) {
            line(page, &row);
        }
    }
}

fn line(page: &mut String, row: &Row) {
    let code = |text: &str| match text {
        "" => String::new(),
        text => format!("`{text}`"),
    };
    let mut meaning = vec![row.field.help.to_owned()];
    meaning.extend(row.notes());
    let cells = [
        code(&row.key),
        row.field.kind.name().to_owned(),
        code(&row.default()),
        row.variable.as_deref().map_or(String::new(), code),
        letter(row.field.tier).to_owned(),
        meaning.join(" "),
    ];
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    page.push_str(&format!("| {} |\n", cells.join(" | ")));
}
