//! The reference as one page without anything to load from elsewhere.

use super::{INTRODUCTION, Row, letter, rows, sections};
use crate::config::schema;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
    code{font-family:ui-monospace,monospace;font-size:.9em}\
    article{border-top:1px solid #8884;padding:.6rem 0}article p{margin:.2rem 0}\
    small{opacity:.7}h2{margin-top:2.5rem}nav a{margin-right:.8rem}";

/// The page, or the part of it below one top-level key.
#[must_use]
pub fn html(section: Option<&str>) -> String {
    let wanted = |name: &&str| section.is_none_or(|section| section == *name);
    let names: Vec<&str> = sections().into_iter().filter(wanted).collect();
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Centripetal configuration</title>\
         <style>{STYLE}</style><h1>Configuration reference</h1><p>{}</p><nav>",
        inline(INTRODUCTION)
    );
    for name in &names {
        page.push_str(&format!("<a href=\"#{name}\">{name}</a> "));
    }
    page.push_str("</nav>");
    for name in names {
        let help = schema::top(name).map_or("", |field| field.help);
        page.push_str(&format!(
            "<h2 id=\"{name}\"><code>{name}</code></h2><p>{}</p>",
            inline(help)
        ));
        for row in rows(Some(name)) {
            if !(row.is_section() && row.key == name) {
                article(&mut page, &row);
            }
        }
    }
    page.push_str("</html>\n");
    page
}

fn article(page: &mut String, row: &Row) {
    let mut facts = vec![
        row.field.kind.name().to_owned(),
        format!("tier {}", letter(row.field.tier)),
    ];
    let default = row.default();
    if !default.is_empty() {
        facts.push(format!("default <code>{}</code>", escaped(&default)));
    }
    if let Some(variable) = &row.variable {
        facts.push(format!("<code>{}</code>", escaped(variable)));
    }
    facts.extend(row.notes().iter().map(|note| inline(note)));
    let key = escaped(&row.key);
    page.push_str(&format!(
        "<article id=\"{key}\"><p><code><b>{key}</b></code></p><p>{}</p><p><small>{}</small></p></article>",
        inline(row.field.help),
        facts.join(" · ")
    ));
}

/// Text with `code` in backticks.
fn inline(text: &str) -> String {
    let mut shown = String::new();
    for (index, part) in text.split('`').enumerate() {
        let part = escaped(part);
        if index % 2 == 1 {
            shown.push_str(&format!("<code>{part}</code>"));
        } else {
            shown.push_str(&part);
        }
    }
    shown
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
