//! `serve`: files of a folder over HTTP, for development only.

use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use clap::Arg;
use hyper::StatusCode;

use super::{
    Command, Failure,
    http::{self, Answer},
};

pub(super) const SERVE: Command = Command {
    arguments: || {
        clap::Command::new("serve")
            .about("Serve the files of a folder (for development; this is not the server)")
            .arg(
                Arg::new("dir")
                    .short('d')
                    .long("dir")
                    .value_name("FOLDER")
                    .default_value("./")
                    .help("Folder to serve"),
            )
            .arg(
                Arg::new("port")
                    .short('p')
                    .long("port")
                    .value_name("NUMBER")
                    .default_value("3000")
                    .value_parser(clap::value_parser!(u16))
                    .help("Port to listen on"),
            )
            .arg(
                Arg::new("address")
                    .short('a')
                    .long("address")
                    .value_name("HOST")
                    .default_value("")
                    .help("Host to listen on; empty means all interfaces"),
            )
    },
    run: |arguments, context| {
        let text = |name| arguments.get_one::<String>(name).map_or("", String::as_str);
        let folder = context.directory.join(text("dir"));
        if !folder.is_dir() {
            return Err(Failure::new(format!(
                "error: {} is no folder",
                folder.display()
            )));
        }
        let host = match text("address") {
            "" => "0.0.0.0",
            host => host,
        };
        let port = arguments
            .get_one::<u16>("port")
            .copied()
            .unwrap_or_default();
        http::serve(context, (host, port), move |path| file(&folder, path))
    },
};

/// The file at this path; a folder is its `index.html`. Nothing outside the folder is ever read.
fn file(folder: &Path, path: &str) -> Answer {
    const ABSENT: Answer = Answer::refused(StatusCode::NOT_FOUND, "404 page not found\n");
    let Some(relative) = inside(path) else {
        return ABSENT;
    };
    let mut wanted = folder.join(relative);
    if wanted.is_dir() {
        wanted.push("index.html");
    }
    // A link may lead out of the folder.
    let real = folder
        .canonicalize()
        .and_then(|root| Ok((root, wanted.canonicalize()?)));
    match real {
        Ok((root, wanted)) if wanted.starts_with(&root) => match std::fs::read(&wanted) {
            Ok(content) => Answer::ok(content_type(&wanted), Bytes::from(content)),
            Err(_) => ABSENT,
        },
        _ => ABSENT,
    }
}

/// The path below the folder, percent-decoded; `None` when it would climb out.
fn inside(path: &str) -> Option<PathBuf> {
    let decoded = decoded(path)?;
    let relative = PathBuf::from(decoded.trim_start_matches('/'));
    relative
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
        .then_some(relative)
}

fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("ico") => "image/x-icon",
        Some("wasm") => "application/wasm",
        Some("txt" | "md" | "proto") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("centripetal-files-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("site/sub")).unwrap();
        std::fs::write(folder.join("secret"), "outside").unwrap();
        std::fs::write(folder.join("site/index.html"), "home").unwrap();
        std::fs::write(folder.join("site/sub/a b.js"), "code").unwrap();
        folder
    }

    #[test]
    fn files_and_folders_are_served_and_nothing_outside() {
        let folder = folder();
        let site = folder.join("site");
        let body = |path: &str| {
            let answer = file(&site, path);
            (answer.status.as_u16(), answer.content_type, answer.body)
        };
        assert_eq!(
            body("/"),
            (200, "text/html; charset=utf-8", Bytes::from("home"))
        );
        assert_eq!(body("/sub/a%20b.js").1, "text/javascript; charset=utf-8");
        for path in [
            "/nosuch",
            "/../secret",
            "/%2e%2e/secret",
            "/sub/../../secret",
            "/%zz",
            "/%00",
        ] {
            assert_eq!(body(path).0, 404, "{path}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
