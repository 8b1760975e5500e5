//! Killed anywhere, the same command goes on; until everything is there, nothing is a registry.

use super::place::{Place, objects};
use super::{admin, ask, blobs_of, fill, migrate};
use crate::backup::desk::{Desk, questions};
use crate::harness::Image;
use crate::only_in_the_embedded_run;

/// Places at which the target is no registry yet, and those at which it is.
const BEFORE: [&str; 5] =
    ["migrate.copied@1", "migrate.copied@7", "migrate.content", "migrate.drafted", "snapshot.copied"];
const AFTER: [&str; 3] = ["migrate.committed", "migrate.whole", "migrate.checked"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_killed_goes_on_both_ways() {
    only_in_the_embedded_run!("names its engines itself");
    let old = Place::embedded();
    let mut server = old.start();
    fill(&server, 12).await;
    let (asked, blobs) = (questions(&server), blobs_of(&server));
    let answers = ask(&server, &asked).await;
    server.stop();
    let desk = Desk::new();
    for last in AFTER {
        let (new, back) = (Place::scaled_out(), Place::embedded());
        for (from, to) in [(&old, &new), (&new, &back)] {
            let words = ["migrate", "--from", &from.file(), "--to", &to.file()];
            for point in BEFORE {
                desk.killed_at(point, &words);
            }
            to.refuses("its metadata database");
            desk.killed_at(last, &words);
            let moved = migrate(&desk, from, to);
            assert!(moved["copied_blobs"].is_null() && moved["check"]["clean"] == true, "{moved}");
            assert!(!to.data().join("wharf.migrating").exists());
            let mut server = to.start();
            assert_eq!(ask(&server, &asked).await, answers, "killed at {last}");
            server.stop();
        }
        // What was in the hands of a process when it was killed is there twice, and goes with the weekly sweep.
        let there = objects(&new).len() as u64;
        assert!((blobs..blobs + 2 * 8).contains(&there), "{there} objects for {blobs} blobs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_moves_alone_is_given_up_also_after_a_kill() {
    only_in_the_embedded_run!("names its engines itself");
    let old = Place::embedded();
    let new = old.with_postgres();
    let mut server = old.start();
    Image::small(1, "amd64", 5_000).push(&mut admin(&server), "a/b", "v1").await;
    server.stop();
    let desk = Desk::new();
    for (from, to) in [(&old, &new), (&new, &old)] {
        let words = ["migrate", "--from", &from.file(), "--to", &to.file()];
        for point in ["migrate.drafted", "migrate.committed", "migrate.whole", "migrate.given-up"] {
            desk.killed_at(point, &words);
        }
        migrate(&desk, from, to);
        from.refuses("metadata database");
        let mut server = to.start();
        admin(&server).get("/v2/a/b/manifests/v1").await.expect(200);
        server.stop();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_went_on_after_the_target_was_made_is_not_forgotten() {
    only_in_the_embedded_run!("names its engines itself");
    let (old, new) = (Place::embedded(), Place::scaled_out());
    let mut server = old.start();
    Image::small(1, "amd64", 5_000).push(&mut admin(&server), "a/b", "v1").await;
    server.stop();
    let desk = Desk::new();
    let words = ["migrate", "--from", &old.file(), "--to", &new.file()];
    desk.killed_at("migrate.committed", &words);
    let mut server = old.start();
    Image::small(2, "amd64", 5_000).push(&mut admin(&server), "a/b", "v2").await;
    server.stop();
    desk.fails(&words, 9, "already");
}
