//! What pages bring along from npm is the published package, byte for byte, and the page's README says which.

use std::path::PathBuf;

/// A package and what was copied of it.
struct Vendored {
    /// Variable with the folder where tests have installed it.
    installed: &'static str,
    package: &'static str,
    readme: &'static str,
    /// File in the package, and its copy.
    files: &'static [(&'static str, &'static str)],
}

const SDK: Vendored = Vendored {
    installed: "CENTRIPETAL_SDK_JS",
    package: "centrifuge",
    readme: include_str!("../../src/dev/README.md"),
    files: &[
        (
            "dist/centrifuge.js",
            include_str!("../../src/dev/centrifuge.js"),
        ),
        ("LICENSE", include_str!("../../src/dev/centrifuge.LICENSE")),
    ],
};

const SOCKJS: Vendored = Vendored {
    installed: "CENTRIPETAL_SDK_JS",
    package: "sockjs-client",
    readme: include_str!("../../src/dev/README.md"),
    files: &[
        (
            "dist/sockjs.min.js",
            include_str!("../../src/dev/sockjs.js"),
        ),
        ("LICENSE", include_str!("../../src/dev/sockjs.LICENSE")),
    ],
};

const CHARTS: Vendored = Vendored {
    installed: "CENTRIPETAL_BROWSER",
    package: "uplot",
    readme: include_str!("../../admin/README.md"),
    files: &[
        (
            "dist/uPlot.iife.min.js",
            include_str!("../../admin/uplot.js"),
        ),
        ("dist/uPlot.min.css", include_str!("../../admin/uplot.css")),
        ("LICENSE", include_str!("../../admin/uplot.LICENSE")),
    ],
};

impl Vendored {
    /// Compares with the package; outside of CI nobody may have installed it.
    #[expect(clippy::panic, clippy::print_stdout, reason = "part of a test")]
    fn check(&self) {
        let Some(folder) = std::env::var_os(self.installed) else {
            let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
            assert!(
                !ci,
                "{} is not set, and in CI nothing is skipped",
                self.installed
            );
            println!(
                "skipped: {} does not name a folder with packages",
                self.installed
            );
            return;
        };
        let package = PathBuf::from(folder)
            .join("node_modules")
            .join(self.package);
        let read = |file: &str| {
            let path = package.join(file);
            std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        for (file, copy) in self.files {
            // Compared without printing a hundred kilobytes when they differ.
            assert!(
                *copy == read(file),
                "the copy of {file} differs from {}",
                self.package
            );
        }
        let manifest: serde_json::Value =
            serde_json::from_str(&read("package.json")).unwrap_or_default();
        let version = manifest["version"].as_str().unwrap_or("no version");
        assert!(
            self.readme.contains(&format!(" {version},")),
            "the README does not name {version}"
        );
    }
}

#[test]
fn vendored_sdk_is_the_published_one() {
    SDK.check();
}

#[test]
fn vendored_sockjs_is_the_published_one() {
    SOCKJS.check();
}

#[test]
fn vendored_charts_are_the_published_ones() {
    CHARTS.check();
}
