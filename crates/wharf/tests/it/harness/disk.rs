//! A disk that can lose its power: a file system in a file, mounted.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Which promises the file system makes on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A journal keeps the order of names; it is written when somebody syncs, or after five minutes.
    Journal,
    /// Nothing is kept but what was synced by itself: what the journal forgives is seen here.
    Bare,
}

/// A mounted file system; unmounted and removed when dropped.
pub struct Disk {
    kind: Kind,
    directory: TempDir,
}

impl Disk {
    const SIZE: &str = "160M";

    /// A new, empty one.
    ///
    /// # Panics
    ///
    /// When this machine cannot do it: a proof that is silently skipped proves nothing.
    pub fn new(kind: Kind) -> Self {
        let disk = Self { kind, directory: tempfile::tempdir().expect("a directory for the disk") };
        run("truncate", &["-s", Self::SIZE, &text(&disk.image())]);
        let features = if kind == Kind::Journal { "has_journal" } else { "^has_journal" };
        run("mkfs.ext4", &["-q", "-F", "-O", features, &text(&disk.image())]);
        disk.mount();
        disk
    }

    /// What is on the disk and not only in memory at this moment. Nobody may be writing.
    pub fn after_a_power_cut(&self) -> Self {
        let copy = Self { kind: self.kind, directory: tempfile::tempdir().expect("a directory for the disk") };
        run("cp", &["--sparse=always", &text(&self.image()), &text(&copy.image())]);
        if self.kind == Kind::Bare {
            // What an operator's machine does at its next start; 1 says that there was something to repair.
            let repaired = command("e2fsck", &["-f", "-y", &text(&copy.image())]).output().expect("running e2fsck");
            let status = repaired.status;
            assert!(status.code().is_some_and(|code| code < 4), "e2fsck ended with {status}");
        }
        copy.mount();
        copy
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn mount(&self) {
        std::fs::create_dir(self.path()).expect("a place to mount at");
        let options = if self.kind == Kind::Journal { "loop,commit=300" } else { "loop" };
        run("mount", &["-t", "ext4", "-o", options, &text(&self.image()), &text(&self.path())]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.path().exists() {
            return;
        }
        let unmounted = |options: &[&str]| {
            let path = text(&self.path());
            let arguments: Vec<&str> = options.iter().copied().chain([&*path]).collect();
            command("umount", &arguments).status().is_ok_and(|status| status.success())
        };
        // A process that still uses it must not keep it mounted for ever.
        if !unmounted(&[]) && !unmounted(&["--lazy"]) {
            eprintln!("{} is still mounted", self.path().display());
        }
    }
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(super::tools::find(program));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let output = command(program, arguments).output().unwrap_or_else(|error| panic!("running {program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let hint = "this test makes and mounts file systems: it needs root and loop devices";
    assert!(output.status.success(), "{program} {} failed ({hint})\n{said}", arguments.join(" "));
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path that is text").to_owned()
}
