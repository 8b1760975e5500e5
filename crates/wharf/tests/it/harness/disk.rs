//! Disks that a test may fill, break and take the power from. They need root and loop devices, as CI has them; a test that
//! cannot have its disk fails, because it would have proved nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What a disk is made of, and what it promises on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory.
    Memory,
    /// ext4 that becomes read-only when something is wrong with it.
    Careful,
    /// ext4 whose journal keeps the order of names; it is written when somebody syncs, or after five minutes.
    Journal,
    /// ext4 that keeps nothing but what was synced by itself: what a journal forgives is seen here.
    Bare,
}

/// A mounted file system; unmounted and removed when dropped, so a server on it has to go first.
pub struct Disk {
    kind: Kind,
    directory: TempDir,
}

impl Disk {
    /// A new, empty one.
    #[track_caller]
    pub fn new(kind: Kind, mib: u64) -> Self {
        let disk = Self::unmounted(kind);
        if kind != Kind::Memory {
            let file = std::fs::File::create(disk.image()).expect("the image of a disk");
            file.set_len(mib << 20).expect("the size of a disk");
            let features = if kind == Kind::Bare { "^has_journal" } else { "has_journal" };
            run("mkfs.ext4", &["-q", "-F", "-O", features, text(&disk.image())]);
        }
        disk.mount(mib);
        disk
    }

    /// What is on the disk and not only in memory at this moment. Nobody may be writing.
    pub fn after_a_power_cut(&self) -> Self {
        let copy = Self::unmounted(self.kind);
        run("cp", &["--sparse=always", text(&self.image()), text(&copy.image())]);
        if self.kind == Kind::Bare {
            // What an operator's machine does at its next start; 1 says that there was something to repair.
            let repaired = command("e2fsck", &["-f", "-y", text(&copy.image())]).output().expect("running e2fsck");
            let status = repaired.status;
            assert!(status.code().is_some_and(|code| code < 4), "e2fsck ended with {status}");
        }
        copy.mount(0);
        copy
    }

    /// Lets the kernel find something wrong with it.
    pub fn damage(&self) {
        let found = run("findmnt", &["-n", "-o", "SOURCE", text(&self.path())]);
        let device = Path::new(found.trim()).file_name().expect("a device").to_owned();
        let trigger = Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error");
        std::fs::write(&trigger, "1").unwrap_or_else(|error| panic!("{}: {error}", trigger.display()));
    }

    /// How many bytes are free.
    pub fn free_bytes(&self) -> u64 {
        let found = rustix::fs::statvfs(self.path()).expect("statvfs");
        found.f_bavail * found.f_frsize
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    fn unmounted(kind: Kind) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the disk");
        std::fs::create_dir(directory.path().join("mounted")).expect("a place to mount at");
        Self { kind, directory }
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    #[track_caller]
    fn mount(&self, mib: u64) {
        let (image, path) = (self.image(), self.path());
        let ext4 = |options| run("mount", &["-t", "ext4", "-o", options, text(&image), text(&path)]);
        match self.kind {
            Kind::Memory => run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m,mode=700"), "none", text(&path)]),
            Kind::Careful => ext4("loop,errors=remount-ro"),
            Kind::Journal => ext4("loop,commit=300"),
            Kind::Bare => ext4("loop"),
        };
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that was killed a moment ago may still be on its way out.
        let unmounted = command("umount", &["--lazy", text(&self.path())]).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.path().display());
        }
    }
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(super::tools::find(program));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// What it said.
#[track_caller]
fn run(program: &str, arguments: &[&str]) -> String {
    let output = command(program, arguments).output().unwrap_or_else(|error| panic!("running {program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let hint = "this test makes and mounts file systems: it needs root and loop devices";
    assert!(output.status.success(), "{program} {} failed ({hint})\n{said}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}
