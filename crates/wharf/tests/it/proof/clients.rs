//! FT-15 with the clients that people use: they push and pull in loops while one replica after the other is killed. A command that
//! fails is given again, as a person or a pipeline would; what it said it had pushed is pulled in the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::setting;
use crate::clients::layout_digest;
use crate::harness::{Cluster, Image, Tool};

const REPLICAS: usize = 3;

/// How long a replica lives until the next one dies.
const KILL_EVERY: Duration = Duration::from_secs(3);

/// How often a command is given until that counts as a failure.
const TIMES_MAX: u64 = 10;

/// One that pushes an image from a layout to a reference, and pulls it into another layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Crane,
    Oras,
    Skopeo,
    Buildah,
}

/// What a client's commands came to.
#[derive(Debug, Default)]
struct Commands {
    given: AtomicU64,
    /// Given once more, because the time before had failed.
    repeated: AtomicU64,
}

/// One client with a repository and a directory of its own.
struct Worker {
    kind: Kind,
    registry: String,
    place: TempDir,
    commands: Arc<Commands>,
}

impl Worker {
    fn push(&self, layout: &str, tag: &str) -> Tool {
        let image = format!("{}/clients/{:?}:{tag}", self.registry, self.kind).to_lowercase();
        let words = match self.kind {
            Kind::Crane => format!("push --insecure {layout} {image}"),
            Kind::Oras => format!("cp --no-tty --from-oci-layout {layout}:latest --to-plain-http {image}"),
            Kind::Skopeo => format!("--insecure-policy copy --dest-tls-verify=false oci:{layout} docker://{image}"),
            Kind::Buildah => format!("push --tls-verify=false --digestfile digest built-{layout} docker://{image}"),
        };
        self.tool(&words)
    }

    fn pull(&self, tag: &str, layout: &str) -> Tool {
        let image = format!("{}/clients/{:?}:{tag}", self.registry, self.kind).to_lowercase();
        let words = match self.kind {
            Kind::Crane => format!("pull --insecure --format=oci {image} {layout}"),
            Kind::Oras => format!("cp --no-tty --from-plain-http {image} --to-oci-layout {layout}:latest"),
            Kind::Skopeo | Kind::Buildah => {
                let words = format!("--insecure-policy copy --src-tls-verify=false docker://{image} oci:{layout}");
                return Tool::new("skopeo").args(&words).inside(self.place.path());
            }
        };
        self.tool(&words)
    }

    fn tool(&self, words: &str) -> Tool {
        match self.kind {
            Kind::Crane => Tool::new("crane"),
            Kind::Oras => Tool::new("oras"),
            Kind::Skopeo => Tool::new("skopeo"),
            Kind::Buildah => {
                let tool = Tool::new("buildah").args("--storage-driver vfs --root").arg(self.path("root"));
                tool.arg("--runroot").arg(self.path("state"))
            }
        }
        .args(words)
        .inside(self.place.path())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Gives a command until it succeeds.
    async fn insist(&self, command: impl Fn() -> Tool) {
        self.commands.given.fetch_add(1, Ordering::Relaxed);
        for _ in 0..TIMES_MAX {
            let ran = command().run().await;
            if ran.success {
                return;
            }
            println!("{:?}, once more: {}", self.kind, ran.stderr.trim().lines().last().unwrap_or_default());
            self.commands.repeated.fetch_add(1, Ordering::Relaxed);
        }
        panic!("{:?} failed {TIMES_MAX} times", self.kind);
    }

    /// What it has pushed by then: tags, and the digest of each.
    async fn work(self, until: Instant) -> (Self, Vec<(String, String)>) {
        let mut pushed = Vec::new();
        while Instant::now() < until {
            let tag = format!("v{}", pushed.len());
            let seed = 1_000 * self.kind as u64 + pushed.len() as u64;
            let image = Image::small(seed, "amd64", 400_000);
            image.write_layout(&self.path(&tag));
            let digest = match self.kind {
                Kind::Buildah => self.build_and_push(&tag).await,
                _ => {
                    self.insist(|| self.push(&tag, &tag)).await;
                    image.digest()
                }
            };
            pushed.push((tag.clone(), digest));
            // Whatever it pushed before, while replicas die.
            let (tag, digest) = &pushed[seed as usize % pushed.len()];
            self.pull_and_compare(tag, digest).await;
        }
        (self, pushed)
    }

    /// An image that buildah has made of a layout's content; it says itself which digest it pushed.
    async fn build_and_push(&self, tag: &str) -> String {
        let container = self.tool("from scratch").ok().await;
        self.tool(&format!("copy {container} {tag} /content")).ok().await;
        self.tool(&format!("commit --rm {container} built-{tag}")).ok().await;
        self.insist(|| self.push(tag, tag)).await;
        std::fs::read_to_string(self.path("digest")).unwrap()
    }

    async fn pull_and_compare(&self, tag: &str, digest: &str) {
        let layout = self.path("pulled");
        self.insist(|| {
            let _ = std::fs::remove_dir_all(&layout);
            self.pull(tag, "pulled")
        })
        .await;
        assert_eq!(layout_digest(Path::new(&layout)), digest, "{:?} {tag}", self.kind);
    }
}

/// For twenty seconds; `WHARF_PROOF_CLIENT_SECONDS=600` makes it ten minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft15_real_clients_push_and_pull_while_replicas_die() {
    let seconds = setting("WHARF_PROOF_CLIENT_SECONDS", 20);
    let mut cluster = Cluster::start(REPLICAS).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let working: Vec<_> = [Kind::Crane, Kind::Oras, Kind::Skopeo, Kind::Buildah]
        .into_iter()
        .map(|kind| Worker {
            kind,
            registry: cluster.balancer.address().to_string(),
            place: tempfile::tempdir().unwrap(),
            commands: Arc::default(),
        })
        .map(|worker| tokio::spawn(worker.work(until)))
        .collect();
    let mut kills = 0;
    while Instant::now() + KILL_EVERY < until {
        tokio::time::sleep(KILL_EVERY).await;
        cluster.replicas[kills % REPLICAS].kill9();
        tokio::task::block_in_place(|| cluster.restart(kills % REPLICAS));
        kills += 1;
    }
    for worker in working {
        let (worker, pushed) = worker.await.expect("a client");
        for (tag, digest) in &pushed {
            worker.pull_and_compare(tag, digest).await;
        }
        let (given, repeated) = (&worker.commands.given, &worker.commands.repeated);
        println!(
            "{:?}: {} images pushed, {} commands, {} repetitions in {kills} kills",
            worker.kind,
            pushed.len(),
            given.load(Ordering::Relaxed),
            repeated.load(Ordering::Relaxed)
        );
        assert!(!pushed.is_empty(), "{:?} did nothing", worker.kind);
    }
    assert!(kills > 1);
    crate::check::sound(&cluster.replicas[0]);
}
