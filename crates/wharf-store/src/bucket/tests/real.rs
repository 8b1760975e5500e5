//! The same examination over a real server: SeaweedFS, which `scripts/install-test-tools` installs. `scripts/test` runs it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::*;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

struct Weed {
    child: Child,
    port: u16,
    _place: TempDir,
}

impl Weed {
    async fn start() -> Self {
        let place = TempDir::new().unwrap();
        let identities = serde_json::json!({ "identities": [{
            "name": "test",
            "credentials": [{ "accessKey": KEY, "secretKey": SECRET }],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }] });
        let access = place.path().join("s3.json");
        std::fs::write(&access, identities.to_string()).unwrap();
        // The first five are for itself; each of its services listens 10,000 above its port, too.
        let ports: Vec<u16> = free_ports(5);
        let mut command = Command::new("weed");
        command.arg("-logtostderr=true").arg("server");
        command.arg(format!("-dir={}", place.path().display())).args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
        command.args(["-volume.max=20", "-master.volumeSizeLimitMB=256", "-filer", "-s3"]);
        let names = ["-master.port", "-volume.port", "-filer.port", "-s3.port", "-s3.port.grpc"];
        command.args(names.iter().zip(&ports).map(|(name, port)| format!("{name}={port}")));
        command.arg(format!("-s3.config={}", access.display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("`weed` is missing: run scripts/install-test-tools");
        let weed = Self { child, port: ports[3], _place: place };
        weed.listens().await;
        weed
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    async fn listens(&self) {
        let begun = Instant::now();
        let client = reqwest::Client::new();
        loop {
            let is_there = TcpStream::connect(("127.0.0.1", self.port)).await.is_ok();
            let answer = if is_there { client.get(self.endpoint() + "/status").send().await.ok() } else { None };
            if answer.is_some_and(|answer| answer.status().is_success()) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "weed does not answer");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that nobody has, and that have nobody 10,000 above them.
fn free_ports(count: usize) -> Vec<u16> {
    let mut held = Vec::new();
    for port in 21_000..32_000 {
        let both = (
            std::net::TcpListener::bind(("127.0.0.1", port)),
            std::net::TcpListener::bind(("127.0.0.1", port + 10_000)),
        );
        if let (Ok(one), Ok(other)) = both {
            held.push((port, one, other));
        }
        if held.len() == count {
            break;
        }
    }
    assert_eq!(held.len(), count, "there are no free ports");
    held.into_iter().map(|(port, ..)| port).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs SeaweedFS; scripts/test runs it"]
async fn seaweedfs_passes_the_examination() {
    let weed = Weed::start().await;
    let number = AtomicU64::new(0);
    crate::contract::examine(|| {
        let prefix = format!("store-{}", number.fetch_add(1, Ordering::Relaxed));
        let config = BucketConfig { prefix, ..config(&weed.endpoint(), "examination") };
        async move { Arc::new(open(&config).await.unwrap()) as Arc<dyn BlobStore> }
    })
    .await;

    // And what only a server can show that has parts.
    let store = open(&config(&weed.endpoint(), "parts")).await.unwrap();
    let content = content(27 * MIB + 5);
    let digest = Digest::of(Algorithm::Sha256, &content);
    let mut at = None;
    for (start, end) in [(0, 9 * MIB), (9 * MIB, 20 * MIB), (20 * MIB, content.len())] {
        let other = open(&config(&weed.endpoint(), "parts")).await.unwrap();
        let mut writer = other.writer(upload(1), Algorithm::Sha256, at.as_ref(), None).await.unwrap();
        writer.write(content.slice(start..end)).await.unwrap();
        at = Some(writer.checkpoint().await.unwrap());
    }
    let writer = store.writer(upload(1), Algorithm::Sha256, at.as_ref(), None).await.unwrap();
    let place = writer.commit(&digest).await.unwrap().place().clone();
    assert!(read(&store, &place, content.len()).await.unwrap() == content);
    assert_eq!(everything(&store).await, [Entry::Located(place.location.clone())]);
    let lifetime = Duration::from_secs(60);
    let link = store.link(&place, "application/octet-stream", lifetime).await.unwrap().unwrap();
    let got = reqwest::get(&link).await.unwrap().error_for_status().unwrap();
    assert!(got.bytes().await.unwrap() == content);
    let forged = link.replace("X-Amz-Expires=60", "X-Amz-Expires=600");
    assert!(reqwest::get(&forged).await.unwrap().status().is_client_error());
}
