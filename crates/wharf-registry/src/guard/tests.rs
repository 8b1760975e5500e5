#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use wharf_base::{ByteSize, ManualClock, Timestamp};
use wharf_store::{Error, Space};

use super::{Guard, Room, Trouble};

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
