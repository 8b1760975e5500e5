//! How many system calls one request costs, compared with what is written down in `guard.txt`.
//!
//! Counts repeat on a noisy machine where times do not, but for what a process does by itself meanwhile: so it runs with the load
//! tests. They are those of all threads of the process. (Instructions would be
//! counted by valgrind, which does not know `openat2`, and the store does without it for nobody.) When a request costs
//! more for a good reason, or less, write that down:
//! `WHARF_UPDATE_GUARD=1 cargo test --release -p wharf --test it guard:: -- --ignored`

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Client, Image, OCI_MANIFEST, Request, Wharf, content, sha256, tools};
use crate::load::policy::{Asking, with_rules};

/// Requests of each kind that are counted together; what a process does by itself meanwhile disappears among them.
const REQUESTS: u64 = 400;

/// How much more a request may cost than what is written down; a wake-up more or less is the scheduler's affair.
const MARGIN: f64 = 1.25;
const MARGIN_CALLS: f64 = 2.0;

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
    let found = count().await;
    let text = written(&found);
    println!("{text}");
    if std::env::var_os("WHARF_UPDATE_GUARD").is_some() {
        std::fs::write(file(), text).unwrap();
        return;
    }
    let known = read(&std::fs::read_to_string(file()).expect("guard.txt"));
    for (kind, calls) in found {
        let known = known.get(kind).unwrap_or_else(|| panic!("guard.txt has no line for {kind:?}"));
        let most = (known * MARGIN).max(known + MARGIN_CALLS);
        assert!(calls <= most, "{kind}: {calls:.1} system calls; {known:.1} are written down");
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/guard.txt")
}

fn written(found: &BTreeMap<&str, f64>) -> String {
    let mut text = format!("{:<24}{:>14}\n", "# a request of", "system calls");
    for kind in KINDS {
        text += &format!("{kind:<24}{:>14.1}\n", found[kind]);
    }
    text
}

fn read(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (kind, calls) = line.split_at(24);
            (kind.trim().to_owned(), calls.trim().parse().expect("a number"))
        })
        .collect()
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
async fn count() -> BTreeMap<&'static str, f64> {
    let mut world = World::new(Wharf::builder().accounts().start()).await;
    let mut costs = BTreeMap::new();
    for kind in KINDS {
        let counting = Counting::of(world.server.pid());
        world.ask(kind, REQUESTS).await;
        costs.insert(kind, counting.end() as f64 / REQUESTS as f64);
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
