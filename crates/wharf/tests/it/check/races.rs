//! A check and what changes under it, held at the moment that matters (GR-34, GR-35).

use std::sync::Arc;

use wharf::app::{self, Offline};
use wharf::config::{Config, Flag, Sources};
use wharf_base::failpoint::held_at;
use wharf_base::{Spawner, SystemClock, SystemRng, Timestamp};
use wharf_oci::Digest;
use wharf_policy::Engine;
use wharf_registry::{CheckOrder, Depth, Parts, Registry, Watch};

use crate::harness::{Wharf, bucket, content, engines};
use crate::only_in_the_embedded_run;

/// A registry in this process, on the data directory of a server that was stopped after it took one blob.
struct World {
    server: Wharf,
    opened: Offline,
    registry: Arc<Registry>,
    digest: Digest,
}

impl World {
    async fn new() -> Self {
        let mut server = Wharf::start();
        let digest = server.client().put_blob("a/b", content(1, 5_000)).await;
        server.stop();
        let config = config_of(&server);
        let clock = Arc::new(SystemClock::new());
        let opened = app::open_offline(&config, clock.clone()).await.unwrap();
        let parts = Parts {
            meta: Arc::clone(&opened.meta),
            store: Arc::clone(&opened.store),
            policy: Arc::new(Engine::open()),
            clock,
            rng: Arc::new(SystemRng),
            spawner: Spawner::new(),
        };
        let registry = Registry::new(parts, config.use_cases());
        Self { server, opened, registry, digest: digest.parse().unwrap() }
    }

    /// Runs a check up to `place`, lets `change` happen, and says what the check found then.
    async fn found_after(&self, depth: Depth, place: &'static str, change: impl AsyncFnOnce()) -> Vec<String> {
        let watch = Arc::new(Watch::default());
        let (registry, told) = (Arc::clone(&self.registry), Arc::clone(&watch));
        let (held, work) = held_at(place, async move { registry.check(&CheckOrder::of(depth), &told).await });
        let checking = tokio::spawn(work);
        held.arrived().await;
        change().await;
        held.release();
        checking.await.unwrap().unwrap();
        watch.report().findings.into_iter().map(|finding| finding.problem).collect()
    }
}

/// The configuration of a registry, on whatever it is; the keys of a bucket come from a file, because this process has no others.
fn config_of(server: &Wharf) -> Config {
    let mut environment: Vec<_> =
        engines::of(server.data()).environment().into_iter().map(|(name, value)| (name.into(), value)).collect();
    if server.kept().is_in_a_bucket() {
        let [(_, key), (_, secret)] = bucket::credentials();
        let file = server.data().join("credentials");
        std::fs::write(&file, format!("[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"))
            .unwrap();
        environment.push(("WHARF_STORAGE__CREDENTIALS_FILE".into(), file.into()));
    }
    let flags = vec![Flag::short("data", server.data().to_str().unwrap().to_owned())];
    Sources { file: None, environment, flags }.load().unwrap().config
}

/// What the collector removes between the look at its row and the look at its file was not damaged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr34_what_is_collected_meanwhile_is_not_missing() {
    for depth in [Depth::Fast, Depth::Deep] {
        let world = World::new().await;
        let found = world.found_after(depth, "check.rows_read", async || {
            let (meta, store) = (&world.opened.meta, &world.opened.store);
            let far = Timestamp::from_micros(i64::MAX / 2);
            meta.review_blobs(far, far, 10).await.unwrap();
            let locked = store.begin_removal(&world.digest).await;
            let removal = meta.forget_blob(&world.digest, far, far).await.unwrap().unwrap();
            assert!(store.remove(&locked, &removal.location).await.unwrap());
            meta.strike_removal(&removal).await.unwrap();
        });
        assert_eq!(found.await, Vec::<String>::new(), "{depth:?}");
    }
}

/// What is pushed again between the look that found damage and the last one is healed, and neither reported nor set aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gr35_what_is_healed_meanwhile_is_not_damaged() {
    only_in_the_embedded_run!("heals content in its place, as nothing does in a bucket");
    for (depth, damage) in [(Depth::Fast, None), (Depth::Deep, Some(vec![9; 5_000]))] {
        let world = World::new().await;
        let (kept, digest) = (world.server.kept(), world.digest.to_string());
        let befall = || match &damage {
            Some(bytes) => kept.write(&digest, bytes),
            None => kept.remove(&digest),
        };
        befall();
        let found = world.found_after(depth, "check.doubted", async || kept.write(&digest, &content(1, 5_000)));
        assert_eq!(found.await, Vec::<String>::new(), "{depth:?}");
        // And what stays damaged is damaged.
        befall();
        assert_eq!(world.found_after(depth, "check.doubted", async || {}).await.len(), 1, "{depth:?}");
    }
}
