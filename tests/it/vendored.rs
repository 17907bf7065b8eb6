//! The demo page's copy of the official SDK is the published one, byte for byte, and says so.

use std::path::PathBuf;

const COPY: &str = include_str!("../../src/dev/centrifuge.js");
const LICENCE: &str = include_str!("../../src/dev/centrifuge.LICENSE");
const README: &str = include_str!("../../src/dev/README.md");

/// The package as the SDK tests installed it; `None` outside of CI when nobody did.
#[expect(clippy::panic, clippy::print_stdout, reason = "part of a test")]
fn package() -> Option<PathBuf> {
    match std::env::var_os("CENTRIPETAL_SDK_JS") {
        Some(sdk) => Some(PathBuf::from(sdk).join("node_modules/centrifuge")),
        None if std::env::var_os("CI").is_some_and(|ci| ci == "true") => {
            panic!("CENTRIPETAL_SDK_JS is not set, and in CI nothing is skipped")
        }
        None => {
            println!("skipped: CENTRIPETAL_SDK_JS does not name the folder with the installed SDK");
            None
        }
    }
}

#[expect(clippy::panic, reason = "part of a test")]
fn read(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn vendored_sdk_is_the_published_one() {
    let Some(package) = package() else {
        return;
    };
    // Compared without printing a hundred kilobytes when they differ.
    assert!(
        COPY == read(&package.join("dist/centrifuge.js")),
        "src/dev/centrifuge.js differs from the package"
    );
    assert!(
        LICENCE == read(&package.join("LICENSE")),
        "src/dev/centrifuge.LICENSE differs from the package"
    );
}

#[test]
fn readme_names_the_vendored_version() {
    let Some(package) = package() else {
        return;
    };
    let manifest: serde_json::Value =
        serde_json::from_str(&read(&package.join("package.json"))).expect("a manifest");
    let version = manifest["version"].as_str().expect("a version");
    assert!(
        README.contains(&format!(" {version},")),
        "src/dev/README.md does not name {version}"
    );
}
