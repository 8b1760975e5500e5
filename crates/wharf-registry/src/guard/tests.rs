#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use wharf_base::{ByteSize, HumanDuration, ManualClock, SeededRng, Shutdown, Spawner, Timestamp};
use wharf_meta::{BlobRecord, Collecting as _, Metadata, RecordBlob, SqliteConfig, SqliteMetadata};
use wharf_oci::{Algorithm, Digest, RepositoryName};
use wharf_policy::{AccountType, Asker, Engine, Principal, Provider, Push};
use wharf_store::{DirectoryStore, Error, Space};

use super::space::Reserve;
use super::{Guard, Room, Trouble};
use crate::{Config, Expiry, GcConfig, Parts, Registry, Settings};

fn guard() -> (Arc<Guard>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(0)));
    (Guard::new(clock.clone(), Room::default()), clock)
}

fn failed_sync() -> Error {
    Error::Sync { doing: "testing", source: io::ErrorKind::Other.into() }
}

#[test]
fn r002_three_failed_syncs_within_a_minute_are_no_accident() {
    let (guard, clock) = guard();
    for _ in 0..10 {
        guard.saw(&failed_sync());
        clock.advance(Duration::from_secs(31));
    }
    guard.writable().unwrap();
    guard.saw(&failed_sync());
    guard.saw(&failed_sync());
    assert_eq!(guard.protection().unwrap().trouble, Trouble::NotSynced);
    guard.unprotect();
    guard.writable().unwrap();
    guard.saw(&failed_sync());
    guard.writable().expect("what was before the probe is over");
}

#[test]
fn no_probe_makes_a_damaged_database_whole() {
    let (guard, _) = guard();
    guard.protect(Trouble::DatabaseDamaged, "a page".into());
    guard.protect(Trouble::ReadOnly, "later".into());
    guard.unprotect();
    assert_eq!(guard.protection().unwrap().trouble, Trouble::DatabaseDamaged);
}

#[test]
fn r006_the_default_suits_every_disk() {
    let check = |room: Room, total: ByteSize, min_free: ByteSize, reserve: ByteSize| {
        let total_bytes = total.as_u64();
        assert_eq!(room.min_free_bytes(total_bytes), min_free.as_u64(), "min_free of {total}");
        assert_eq!(room.reserve_bytes(total_bytes), reserve.as_u64(), "reserve of {total}");
    };
    let (mib, gib) = (ByteSize::mib, ByteSize::gib);
    check(Room::default(), mib(60), mib(6), mib(3));
    check(Room::default(), gib(5), mib(512), mib(64));
    check(Room::default(), gib(20), gib(1), mib(64));
    check(Room::default(), gib(1_000), gib(20), mib(64));
    check(Room { min_free: Some(mib(7)), reserve: mib(1) }, gib(5), mib(7), mib(1));
}

#[test]
fn r006_what_is_admitted_counts_as_taken() {
    let (guard, _) = guard();
    guard.room_for(Some(u64::MAX - 1)).expect("nobody has looked yet");
    let gib = ByteSize::gib(1).as_u64();
    let look = |free_gib: u64| guard.space.note(Space { free_bytes: free_gib * gib, total_bytes: 40 * gib });
    assert!(!look(3));
    guard.room_for(Some(gib)).unwrap();
    guard.room_for(Some(gib)).unwrap();
    guard.room_for(Some(1)).unwrap_err();
    guard.room_for(Some(0)).unwrap();
    guard.room_for(None).unwrap();
    assert!(!look(2));
    guard.room_for(Some(gib)).expect("somebody has looked");
    assert!(look(0), "collection should hurry");
    assert!(!look(0), "once");
    guard.room_for(None).unwrap_err();
}

/// The deletion itself may be the first to meet the full disk, and is told nothing of it.
#[tokio::test]
async fn r006_what_makes_room_is_tried_again_when_the_reserve_gave_it_some() {
    let world = World::new().await;
    let full = || wharf_meta::Error::Full { doing: "testing", source: Arc::new(io::Error::other("full")) };
    let tries = std::cell::Cell::new(0);
    let change = |needed: u32| {
        tries.set(tries.get() + 1);
        std::future::ready(if tries.get() < needed { Err(full()) } else { Ok(()) })
    };
    world.registry.with_reserve(|| change(2)).await.expect_err("nothing was set aside");
    world.registry.look_at_disk().await;
    tries.set(0);
    world.registry.with_reserve(|| change(2)).await.unwrap();
    assert!(world.registry.guard.space.is_reserve_spent());
    world.registry.guard.room_for_facts().unwrap_err();
    tries.set(0);
    world.registry.with_reserve(|| change(2)).await.expect("given back a moment ago, by somebody else");
    world.registry.look_at_disk().await;
    world.registry.guard.room_for_facts().expect("it is set aside again");
}

/// The guard gives the reserve back while a deletion meets the full disk: the file is gone and that is not noted yet.
#[tokio::test]
async fn r006_a_deletion_waits_until_it_is_known_that_the_reserve_was_given_back() {
    let world = World::new().await;
    world.registry.look_at_disk().await;
    let giving = world.registry.guard.giving_back.lock().await;
    assert!(world.registry.parts.store.give_back().await.unwrap());
    let tries = std::cell::Cell::new(0);
    let deletion = world.registry.with_reserve(|| {
        tries.set(tries.get() + 1);
        let full = wharf_meta::Error::Full { doing: "testing", source: Arc::new(io::Error::other("full")) };
        std::future::ready(if tries.get() < 2 { Err(full) } else { Ok(()) })
    });
    let guard = async {
        // Long enough to find nothing to give back, for a deletion that does not wait.
        for _ in 0..50 {
            assert!(!world.registry.parts.store.give_back().await.unwrap());
        }
        assert_eq!(tries.get(), 1);
        world.registry.guard.space.set_reserve(Reserve::Spent);
        drop(giving);
    };
    tokio::join!(deletion, guard).0.expect("tried again");
}

const HOUR: Duration = Duration::from_secs(3600);

/// A registry with a blob that is due in an hour and an upload session that ends in an hour.
struct World {
    clock: Arc<ManualClock>,
    meta: Arc<SqliteMetadata>,
    registry: Arc<Registry>,
    _data: TempDir,
}

impl World {
    async fn new() -> Self {
        let data = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000)));
        let rng = Arc::new(SeededRng::new(1));
        let store = DirectoryStore::open(&data.path().join("data"), &*clock, &*rng).unwrap();
        let meta =
            Arc::new(SqliteMetadata::open(&data.path().join("data/wharf.db"), &SqliteConfig::default()).unwrap());
        let policy = Arc::new(Engine::open());
        let parts = Parts {
            meta: meta.clone(),
            store: Arc::new(store),
            policy: Arc::clone(&policy),
            clock: clock.clone(),
            rng,
            spawner: Spawner::new(),
        };
        let config = Config { upload_idle: HumanDuration::hours(1), ..Config::default() };
        let gc = GcConfig { share_percent: 100, trash: HumanDuration::secs(0), ..GcConfig::default() };
        let registry = Registry::new(parts, Settings { registry: config, gc, ..Settings::default() });
        registry.check_clock_at_start().await.unwrap();

        let somebody = Principal::new(Provider::Local, "somebody", AccountType::Human, Vec::new());
        let repository: RepositoryName = "a/b".parse().unwrap();
        let asker = Asker::new(somebody, None, "r-1".into());
        let ok = policy.authorize::<Push>(&asker, repository.clone()).unwrap();
        registry.begin_upload(&ok, Algorithm::Sha256).await.unwrap();
        let now = registry.now();
        let record = BlobRecord {
            repository,
            digest: Digest::of(Algorithm::Sha256, b"content"),
            size_bytes: 7,
            location: wharf_base::Location::BY_DIGEST,
            replaced_go_at: now.plus(HOUR),
            upload: None,
            by: ok.attribution(),
            now,
            review_at: now.plus(HOUR),
            remember_until: now.plus(HOUR),
        };
        assert_eq!(meta.record_blob(&record).await.unwrap(), RecordBlob::Recorded);
        Self { clock, meta, registry, _data: data }
    }

    /// What the background does when its time has come.
    async fn work(&self) {
        if !self.registry.is_held().await {
            self.registry.run_collection(&Shutdown::new()).await;
        }
        assert_eq!(self.registry.expire_uploads().await.unwrap() == Expiry::NothingDue, self.is_held().await);
    }

    /// By the holds, at a moment at which everything was due.
    async fn is_held(&self) -> bool {
        !self.meta.holds(self.registry.now()).await.unwrap().is_empty()
    }

    async fn holds(&self) -> Vec<String> {
        let holds = self.meta.holds(self.registry.now()).await.unwrap();
        holds.into_iter().map(|hold| format!("{}: {}", hold.id, hold.reason)).collect()
    }

    async fn reviews(&self) -> u64 {
        self.meta.backlog(self.registry.now()).await.unwrap().reviews
    }
}

#[tokio::test]
async fn r050_a_clock_that_jumps_collects_and_expires_nothing_for_an_hour() {
    let world = World::new().await;
    world.clock.set(world.registry.now().plus(30 * 24 * HOUR));
    world.work().await;
    assert_eq!(world.holds().await, ["clock-jump: the clock has jumped forward by 30days"]);
    assert_eq!(world.reviews().await, 1);

    // Somebody corrects it: the dates are right again, and another hour begins.
    world.clock.set(world.registry.now().minus(30 * 24 * HOUR));
    assert!(world.registry.is_held().await);
    assert_eq!(world.holds().await, ["clock-jump: the clock has jumped back by 30days"]);
    world.clock.advance(HOUR + Duration::from_secs(1));
    world.work().await;
    assert_eq!((world.holds().await.len(), world.reviews().await), (0, 0), "an hour in which nobody objected");
}

#[tokio::test]
async fn r050_a_jump_in_the_middle_of_a_run_ends_it() {
    let world = World::new().await;
    assert!(!world.registry.is_held().await);
    world.clock.set(world.registry.now().plus(24 * HOUR));
    world.registry.run_collection(&Shutdown::new()).await;
    assert_eq!((world.holds().await.len(), world.reviews().await), (1, 1));
}

#[tokio::test]
async fn r050_hours_that_really_pass_hold_nothing() {
    let world = World::new().await;
    world.clock.advance(6 * 24 * HOUR);
    world.work().await;
    assert_eq!((world.holds().await.len(), world.reviews().await), (0, 0));
}

#[tokio::test]
async fn r050_a_start_at_another_time_holds() {
    let world = World::new().await;
    let mark = world.registry.now();
    for (now, expected) in [(mark.plus(8 * 24 * HOUR), 1), (mark, 1), (mark.plus(HOUR), 0)] {
        world.meta.release_hold("clock-jump", None, now).await.unwrap();
        world.clock.set(now);
        world.registry.check_clock_at_start().await.unwrap();
        assert_eq!(world.holds().await.len(), expected, "{now}: {:?}", world.holds().await);
        assert_eq!(world.meta.clock_mark().await.unwrap(), Some(now), "who was warned is not warned again");
    }
}
