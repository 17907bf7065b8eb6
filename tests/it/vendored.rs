//! The demo page's copies of the official SDK and of SockJS are the published ones, byte for byte, and say so.

use std::path::PathBuf;

/// A package and the files taken of it: name there, name here, content here.
struct Taken {
    package: &'static str,
    files: [(&'static str, &'static str, &'static str); 2],
}

const TAKEN: [Taken; 2] = [
    Taken {
        package: "centrifuge",
        files: [
            (
                "dist/centrifuge.js",
                "centrifuge.js",
                include_str!("../../src/dev/centrifuge.js"),
            ),
            (
                "LICENSE",
                "centrifuge.LICENSE",
                include_str!("../../src/dev/centrifuge.LICENSE"),
            ),
        ],
    },
    Taken {
        package: "sockjs-client",
        files: [
            (
                "dist/sockjs.min.js",
                "sockjs.js",
                include_str!("../../src/dev/sockjs.js"),
            ),
            (
                "LICENSE",
                "sockjs.LICENSE",
                include_str!("../../src/dev/sockjs.LICENSE"),
            ),
        ],
    },
];

const README: &str = include_str!("../../src/dev/README.md");

/// The packages as the SDK tests installed them; `None` outside of CI when nobody did.
#[expect(clippy::panic, clippy::print_stdout, reason = "part of a test")]
fn packages() -> Option<PathBuf> {
    match std::env::var_os("CENTRIPETAL_SDK_JS") {
        Some(sdk) => Some(PathBuf::from(sdk).join("node_modules")),
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
fn vendored_scripts_are_the_published_ones() {
    let Some(packages) = packages() else {
        return;
    };
    for Taken { package, files } in TAKEN {
        for (there, here, copy) in files {
            // Compared without printing a hundred kilobytes when they differ.
            let same = copy == read(&packages.join(package).join(there));
            assert!(same, "src/dev/{here} differs from the package");
        }
    }
}

#[test]
fn readme_names_the_vendored_versions() {
    let Some(packages) = packages() else {
        return;
    };
    for Taken { package, .. } in TAKEN {
        let manifest = read(&packages.join(package).join("package.json"));
        let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("a manifest");
        let version = manifest["version"].as_str().expect("a version");
        let named = README.lines().any(|line| {
            line.contains(&format!("[`{package}`]")) && line.contains(&format!(" {version},"))
        });
        assert!(named, "src/dev/README.md does not name {package} {version}");
    }
}
