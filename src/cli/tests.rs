use super::*;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("centripetal-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Exit code, output, and the start that was asked for.
    fn run(&self, arguments: &[&str]) -> (u8, String, Option<Start>) {
        let invocation = Invocation {
            arguments: std::iter::once("centripetal")
                .chain(arguments.iter().copied())
                .map(Into::into)
                .collect(),
            environment: Environment::default(),
            directory: self.0.clone(),
        };
        let (mut out, mut start) = (Vec::new(), None);
        let code = run(&invocation, &mut out, &mut |asked| {
            start = Some(asked);
            42
        });
        (code, String::from_utf8(out).unwrap(), start)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn the_command_line_is_sound() {
    parser().debug_assert();
}

#[test]
fn without_a_command_the_server_runs() {
    let folder = Folder::new("server");
    let (code, output, start) = folder.run(&[
        "-c",
        "x.toml",
        "-p",
        "9000",
        "--health.enabled",
        "--admin.enabled=false",
        "--strict",
    ]);
    assert_eq!((code, output.as_str()), (42, ""));
    let start = start.unwrap();
    assert!(start.strict);
    assert!(matches!(&start.sources.file, File::Path(path) if path == Path::new("x.toml")));
    let flags: Vec<_> = start
        .sources
        .flags
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        flags,
        [
            ("admin.enabled", "false"),
            ("health.enabled", "true"),
            ("http_server.port", "9000")
        ]
    );
}

#[test]
fn mistakes_get_the_usage_and_exit_code_1() {
    let folder = Folder::new("mistakes");
    for arguments in [
        vec!["nosuch"],
        vec!["--nosuch"],
        vec!["--grpc_api.port", "x"],
        vec!["--log.level"],
        vec!["--health.enabled=maybe"],
        vec!["checkconfig", "--nosuch"],
        vec!["completion", "nosuch"],
    ] {
        let (code, output, start) = folder.run(&arguments);
        assert_eq!(code, 1, "{arguments:?}");
        assert!(output.starts_with("Error: "), "{output}");
        assert!(start.is_none());
    }
}

#[test]
fn help_is_an_answer_for_every_command() {
    let folder = Folder::new("help");
    for command in COMMANDS {
        let name = (command.arguments)().get_name().to_owned();
        let (code, output, _) = folder.run(&[&name, "--help"]);
        assert_eq!(code, 0, "{name}");
        assert!(output.contains("Usage: centripetal"), "{output}");
    }
    let (code, output, _) = folder.run(&["help"]);
    assert_eq!(code, 0);
    assert!(output.contains("checkconfig") && output.contains("Examples:"));
}

#[test]
fn version_is_one_line() {
    let (code, output, _) = Folder::new("version").run(&["version"]);
    assert_eq!(code, 0);
    assert!(
        output.starts_with("Centripetal v") && output.lines().count() == 1,
        "{output}"
    );
}

#[test]
fn completion_knows_commands_and_flags() {
    let (code, output, _) = Folder::new("completion").run(&["completion", "bash"]);
    assert_eq!(code, 0);
    assert!(output.contains("genconfig") && output.contains("--health.enabled"));
}

#[test]
fn genconfig_writes_once_and_only_for_the_owner() {
    let folder = Folder::new("genconfig");
    for name in ["config.json", "config.yaml", "config.toml"] {
        let (code, output, _) = folder.run(&["genconfig", "-c", name]);
        assert_eq!((code, output.as_str()), (0, ""), "{name}");
        let path = folder.0.join(name);
        let before = std::fs::read_to_string(&path).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let (code, output, _) = folder.run(&["genconfig", "-c", name]);
        assert_eq!(code, 1);
        assert!(output.contains("exists already"), "{output}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
        let (code, output, _) = folder.run(&["checkconfig", "-s", "-c", name]);
        assert_eq!((code, output.as_str()), (0, ""), "{name}");
    }
    let (code, output, _) = folder.run(&["genconfig", "-c", "config.ini"]);
    assert_eq!(code, 1);
    assert!(output.contains("extension"), "{output}");
}

#[test]
fn defaultconfig_writes_a_file_that_is_valid() {
    let folder = Folder::new("defaultconfig");
    let (code, _, _) = folder.run(&["defaultconfig", "-c", "full.yaml"]);
    assert_eq!(code, 0);
    let (code, output, _) = folder.run(&["checkconfig", "-s", "-c", "full.yaml"]);
    assert_eq!((code, output.as_str()), (0, ""));
    let (code, _, _) = folder.run(&["defaultconfig", "-c", "full.yaml"]);
    assert_eq!(code, 1);
}

#[test]
fn checkconfig_needs_its_file() {
    let (code, output, _) = Folder::new("checkconfig").run(&["checkconfig"]);
    assert_eq!((code, output.as_str()), (1, "config file not found\n"));
}

#[test]
fn configdoc_prints_what_is_asked_for() {
    let folder = Folder::new("configdoc");
    let (_, list, _) = folder.run(&["configdoc", "-l"]);
    assert!(list.lines().any(|line| line == "centripetal"));
    let (_, part, _) = folder.run(&["configdoc", "-m", "-s", "health"]);
    assert!(part.contains("health.enabled") && !part.contains("log.level"));
    let (code, output, _) = folder.run(&["configdoc", "-m", "-s", "nosuch"]);
    assert_eq!(code, 1);
    assert!(output.contains("no section nosuch"), "{output}");
    let (_, example, _) = folder.run(&["configdoc", "--example"]);
    assert!(example.contains("#[http_server]"));
}
