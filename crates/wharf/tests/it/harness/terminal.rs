//! The command line as somebody uses it who has logged in, or not yet.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{ADMIN_PASSWORD, Wharf, binary, engines};

/// Somebody at a terminal, with a home directory of their own.
pub struct Terminal {
    pub server: Wharf,
    pub home: TempDir,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ran {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

impl Terminal {
    /// Before a server with accounts, and not logged in.
    pub fn new() -> Self {
        Self::at(Wharf::with_accounts())
    }

    /// Before `server`.
    pub fn at(server: Wharf) -> Self {
        Self { server, home: tempfile::tempdir().unwrap() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// `name` in the home directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs `wharf` with the words of `args`; quotes hold a word together.
    pub fn run(&self, args: &str, input: &str) -> Ran {
        self.run_with(args, input, &[])
    }

    /// The same, with these variables.
    pub fn run_with(&self, args: &str, input: &str, variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(args);
        let mut child = command.envs(variables.iter().copied()).spawn().unwrap();
        // A command that wants no input may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { exit: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The command, to be started, in the home directory.
    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(binary());
        for (index, part) in args.split('\'').enumerate() {
            match index % 2 {
                0 => _ = command.args(part.split_whitespace()),
                _ => _ = command.arg(part),
            }
        }
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WHARF_")) {
            command.env_remove(name);
        }
        if let Some((_, data)) = args.split_once("--data ") {
            command.envs(engines::of(Path::new(data.split_whitespace().next().unwrap())).environment());
        }
        command.env("HOME", self.home.path()).env("XDG_CONFIG_HOME", self.home.path().join("config"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.current_dir(self.home.path());
        command
    }

    #[track_caller]
    pub fn ok(&self, args: &str, input: &str) -> String {
        let ran = self.run(args, input);
        assert_eq!(ran.exit, 0, "wharf {args}\n{}\n{}", ran.out, ran.err);
        ran.out
    }

    #[track_caller]
    pub fn fails(&self, args: &str, exit: i32, says: &str) {
        let ran = self.run(args, "");
        assert_eq!(ran.exit, exit, "wharf {args}\n{}\n{}", ran.out, ran.err);
        assert!(ran.err.contains(says), "wharf {args}\n{}", ran.err);
    }

    pub fn login(&self) {
        let said = self.ok(&format!("login {} -u admin --password-stdin", self.url()), ADMIN_PASSWORD);
        assert!(said.starts_with(&format!("logged in to {} as admin", self.url())), "{said}");
    }
}
