//! The programs of others that a test runs: clients and the conformance suite.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

/// How long one run of a tool may take.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// A tool with arguments and an environment that knows nothing of this machine's user.
pub struct Tool {
    name: String,
    command: Command,
    /// Home and working directory of the tool.
    _home: TempDir,
}

/// How a tool ended and what it said.
#[derive(Debug)]
pub struct Ran {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Tool {
    /// The tool called `name`, where [`find`] finds it.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        let path = find(name);
        let home = tempfile::tempdir().expect("a home for the tool");
        let mut command = Command::new(path);
        command.env("HOME", home.path()).env("XDG_CONFIG_HOME", home.path()).env("XDG_CACHE_HOME", home.path());
        command.env("XDG_RUNTIME_DIR", home.path());
        command
            .env_remove("REGISTRY_AUTH_FILE")
            .env_remove("DOCKER_CONFIG")
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1");
        command.current_dir(home.path()).stdin(Stdio::null()).kill_on_drop(true);
        Self { name: name.to_owned(), command, _home: home }
    }

    /// With one more argument.
    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// With the words of `args` as arguments.
    pub fn args(mut self, args: &str) -> Self {
        self.command.args(args.split_whitespace());
        self
    }

    /// With one environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// In `directory` instead of a home of its own.
    pub fn inside(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Runs the tool, whatever its end.
    pub async fn run(mut self) -> Ran {
        let output = timeout(RUN_LIMIT, self.command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{} took more than {RUN_LIMIT:?}", self.name));
        let output = output.unwrap_or_else(|error| panic!("running {}: {error}", self.name));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { success: output.status.success(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Runs the tool, which must succeed; what it printed, without the line end.
    pub async fn ok(self) -> String {
        let told = format!("{:?}", self.command.as_std());
        let ran = self.run().await;
        assert!(ran.success, "{told} failed\n{}\n{}", ran.stdout, ran.stderr);
        ran.stdout.trim_end().to_owned()
    }

    /// Runs the tool, which must fail; what it said about it.
    pub async fn fails(self) -> String {
        let told = format!("{:?}", self.command.as_std());
        let ran = self.run().await;
        assert!(!ran.success, "{told} was expected to fail\n{}\n{}", ran.stdout, ran.stderr);
        ran.stderr
    }
}

/// The program called `name`, from `WHARF_TEST_TOOLS` (default `target/tools/bin`), else from `PATH`.
///
/// # Panics
///
/// When it is not installed: a test that is silently skipped proves nothing.
#[track_caller]
pub fn find(name: &str) -> PathBuf {
    let tools = std::env::var_os("WHARF_TEST_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/bin"), PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(tools.clone())
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("`{name}` is not installed; run scripts/install-test-tools (looked in {} and PATH)", tools.display())
    })
}
