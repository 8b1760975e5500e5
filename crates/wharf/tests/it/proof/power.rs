//! FT-02: the power goes, and with it everything that was not synced.
//!
//! The server's data is on a file system in a file. At a moment that a seed chooses the server is stopped where it stands,
//! and the file is copied: that is the disk after a power cut, because what the operating system still holds in memory is
//! not in it. The copy is mounted, a server started on it, and the ledgers compared. That this would find a missing sync
//! is shown by leaving each of them out.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use wharf_base::SeededRng;

use super::actor::{Actor, Fuse};
use super::kills::draw;
use super::ledger::After;
use super::{GRACE, eager, seeds, settle, verify};
use crate::harness::{Disk, DiskKind, Wharf};
use crate::only_in_the_embedded_run;

/// How many clients there are.
const ACTORS: u64 = 8;

/// How large the disk is, in MiB.
const DISK_MIB: u64 = 160;

/// How often a cut is tried that must be noticed.
const TRIES: u64 = 6;

/// How the ledger (about its repository) and the disk say that something is lost.
const VERDICTS: [&str; 3] = ["proof/r", "names without a file", "a torn file"];

/// Twenty cuts; `WHARF_PROOF_CUTS=200` for more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft02_power_cuts_lose_nothing() {
    only_in_the_embedded_run!("cuts the power of a disk");
    let (mut cuts, mut promises) = (0, 0);
    for seed in seeds("WHARF_PROOF_CUTS", 20) {
        let kind = if seed % 2 == 0 { DiskKind::Journal } else { DiskKind::Bare };
        promises += cut(seed, kind, None).await;
        cuts += 1;
    }
    println!("{cuts} power cuts, {promises} promises kept");
    assert!(promises > 10 * cuts, "the power was cut before anything was done");
}

/// Each sync that is left out is found missing. A journal would hide a name that was not synced by itself, because the
/// next sync of any file takes it along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft02_each_sync_is_needed() {
    only_in_the_embedded_run!("cuts the power of a disk");
    for (failpoint, kind) in [
        ("store.sync-file", DiskKind::Journal),
        ("store.sync-file", DiskKind::Bare),
        ("store.sync-directory", DiskKind::Bare),
        ("meta.sync", DiskKind::Journal),
        ("meta.sync", DiskKind::Bare),
    ] {
        let mut found = None;
        for seed in 1..=TRIES {
            found = tokio::spawn(cut(seed, kind, Some(failpoint))).await.err();
            if found.is_some() {
                break;
            }
        }
        let found = found.unwrap_or_else(|| panic!("{TRIES} power cuts did not miss {failpoint} on {kind:?}"));
        let panic = found.into_panic();
        let said = panic.downcast_ref::<String>().map_or("", String::as_str);
        let is_verdict = VERDICTS.iter().any(|verdict| said.contains(verdict));
        assert!(is_verdict, "neither the ledger nor the disk missed {failpoint}: {said}");
        println!("without {failpoint} on {kind:?}: {}", said.lines().next().unwrap_or(""));
    }
}

/// One power cut; how many promises had been made.
async fn cut(seed: u64, kind: DiskKind, left_out: Option<&'static str>) -> u64 {
    println!("seed {seed} on {kind:?}");
    let rng = SeededRng::new(seed);
    let disk = Disk::new(kind, DISK_MIB);
    let mut builder = eager().data_at(&disk.path().join("data"));
    if let Some(failpoint) = left_out {
        builder = builder.failpoints(&format!("{failpoint}=skip"));
    }
    let mut server = builder.start();
    let fuse = Fuse::new(50 + draw(&rng, 1_500));
    let working = (0..ACTORS).map(|number| {
        let mut actor = Actor::new(seed, number, ACTORS, &server.client(), GRACE);
        actor.meet(&server.client(), &fuse);
        tokio::spawn(actor.work())
    });
    let working: Vec<_> = working.collect();
    fuse.burnt().await;
    stop(&server);
    let after = disk.after_a_power_cut();
    server.kill9();
    let mut actors = Vec::new();
    for actor in working {
        actors.push(actor.await.expect("an actor"));
    }
    drop(disk);

    let mut server = eager().data_at(&after.path().join("data")).start();
    let promises = actors.iter_mut().map(|actor| actor.ledger().acknowledged()).sum();
    verify(&server, &mut actors, After::PowerCut).await;
    settle(&mut server, &mut actors).await;
    server.stop();
    drop(after);
    promises
}

/// Every thread of the server stands still when this returns.
fn stop(server: &Wharf) {
    server.signal(Signal::STOP);
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).expect("a process id");
    waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT).expect("waiting for the server to stand");
}
