//! Small disks that a test may fill and break. They need the rights to mount, as CI has them.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file system of its own; unmounted when dropped, so a server on it has to go first.
pub struct Disk {
    directory: TempDir,
}

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory to mount a disk on");
        std::fs::create_dir(directory.path().join("disk")).expect("a directory to mount a disk on");
        Self { directory }
    }

    /// `mib` MiB of memory.
    pub fn memory(mib: u64) -> Self {
        let disk = Self::new();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m,mode=700"), "none", text(&disk.path())]);
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// A loop device of `mib` MiB with ext4, which becomes read-only when something is wrong with it.
    pub fn ext4(mib: u64) -> Self {
        let disk = Self::new();
        let image = disk.directory.path().join("image");
        let file = std::fs::File::create(&image).expect("the image of a disk");
        file.set_len(mib << 20).expect("the size of a disk");
        run("mkfs.ext4", &["-q", "-F", text(&image)]);
        run("mount", &["-o", "loop,errors=remount-ro", text(&image), text(&disk.path())]);
        disk
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
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that was killed a moment ago may still be on its way out.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// A test that cannot have its disk has tested nothing, so it fails.
#[track_caller]
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "`{program} {}` failed, and this test needs it (run it as root, with loop devices):\n{}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}
