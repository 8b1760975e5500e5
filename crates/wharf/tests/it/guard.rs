//! How many system calls one request costs, compared with what is written down in `guard.txt`.
//!
//! Counts repeat on a noisy machine where times do not, but for what a process does by itself meanwhile: so it runs with the load
//! tests. They are those of all threads of the process. (Instructions are counted by valgrind, which does not know `openat2`, and the
//! store does without it for nobody: so `kernels` counts those of what needs no store.) When a request costs more for a good reason,
//! or less, write that down:
//! `CARGO_PROFILE_RELEASE_LTO=thin CARGO_PROFILE_RELEASE_CODEGEN_UNITS=4 WHARF_UPDATE_GUARD=1 cargo test --release -p wharf --test it guard:: -- --ignored`

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Client, Image, OCI_MANIFEST, Request, Table, Wharf, content, sha256, tools};
use crate::load::policy::{Asking, with_rules};

/// Requests of each kind that are counted together; what a process does by itself meanwhile disappears among them.
const REQUESTS: u64 = 400;

/// A wake-up more or less is the scheduler's affair.
const TABLE: Table = Table { file: "guard.txt", things: "a request of", counted: "system calls", slack: 2.0 };

const KINDS: [&str; 8] = [
    "manifest by tag",
    "manifest by digest",
    "blob of 4 KiB",
    "blob of 4 MiB",
    "blob HEAD",
    "tag page",
    "manifest push",
    "blob push of 4 KiB",
];

#[tokio::test]
#[ignore = "wants the machine to itself"]
async fn a_request_costs_no_more_than_is_written_down() {
    TABLE.compare(&count().await);
}

/// A registry with rules and a few things in it, and who asks it.
struct World {
    server: Wharf,
    asking: Asking,
    image: Image,
    small: String,
    large: String,
    sent: u64,
}

impl World {
    async fn new(server: Wharf) -> Self {
        let mut asking = with_rules(&server).await;
        let image = Image::small(1, "amd64", 1_000);
        for number in 0..1_000 {
            if number == 0 {
                image.push(&mut asking.pusher, "team-7/app", "v0").await;
            } else {
                put_tag(&mut asking.pusher, &image, &format!("v{number}")).await;
            }
        }
        let small = asking.pusher.put_blob("team-7/app", content(1, 4 << 10)).await;
        let large = asking.pusher.put_blob("team-7/app", content(2, 4 << 20)).await;
        let mut world = Self { server, asking, image, small, large, sent: 0 };
        for kind in KINDS {
            world.ask(kind, 20).await;
        }
        world
    }

    /// Asks the same kind of question so many times, on one connection.
    async fn ask(&mut self, kind: &str, times: u64) {
        let blob = |digest: &str| format!("/v2/team-7/app/blobs/{digest}");
        let target = match kind {
            "manifest by tag" => "/v2/team-7/app/manifests/v7".to_owned(),
            "manifest by digest" => format!("/v2/team-7/app/manifests/{}", self.image.digest()),
            "blob of 4 KiB" | "blob HEAD" => blob(&self.small),
            "blob of 4 MiB" => blob(&self.large),
            "tag page" => "/v2/team-7/app/tags/list?n=100&last=v300".to_owned(),
            _ => String::new(),
        };
        for _ in 0..times {
            self.sent += 1;
            match kind {
                "blob HEAD" => drop(self.asking.puller.head(&target).await.expect(200)),
                "manifest push" => put_tag(&mut self.asking.pusher, &self.image, &format!("w{}", self.sent)).await,
                "blob push of 4 KiB" => {
                    let bytes = content(1_000 + self.sent, 4 << 10);
                    let target = format!("/v2/team-7/app/blobs/uploads/?digest={}", sha256(&bytes));
                    self.asking.pusher.send(Request::new("POST", target).body(bytes)).await.expect(201);
                }
                _ => drop(self.asking.puller.get(&target).await.expect(200)),
            }
        }
    }
}

async fn put_tag(client: &mut Client, image: &Image, tag: &str) {
    client.put_manifest("team-7/app", tag, OCI_MANIFEST, image.manifest.clone()).await;
}

/// System calls of one request of each kind.
async fn count() -> Vec<(&'static str, f64)> {
    let mut world = World::new(Wharf::builder().accounts().start()).await;
    let mut costs = Vec::new();
    for kind in KINDS {
        let counting = Counting::of(world.server.pid());
        world.ask(kind, REQUESTS).await;
        costs.push((kind, counting.end() as f64 / REQUESTS as f64));
    }
    world.server.stop();
    costs
}

/// strace, counting what a process calls.
struct Counting {
    strace: Child,
    directory: tempfile::TempDir,
}

impl Counting {
    fn of(pid: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut strace = Command::new(tools::find("strace"))
            .args(["-c", "-f", "-U", "calls,name", "-p", &pid.to_string(), "-o"])
            .arg(directory.path().join("counts"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It says so when it has attached to all threads.
        let mut said = String::new();
        BufReader::new(strace.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("attached"), "{said}");
        Self { strace, directory }
    }

    fn end(mut self) -> u64 {
        kill_process(Pid::from_child(&self.strace), Signal::INT).unwrap();
        self.strace.wait().unwrap();
        let counts = std::fs::read_to_string(self.directory.path().join("counts")).unwrap();
        let total = counts.lines().find(|line| line.trim_end().ends_with("total")).expect("a total");
        total.split_whitespace().next().unwrap().parse().unwrap()
    }
}
