//! A check while everything changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::online;
use crate::proof::{Actor, GRACE, eager};

/// Pushes, mounts, deletions, restores and collection with a grace period of a second go on all the time; no check
/// complains of anything, and no client notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_under_load_complains_of_nothing() {
    let server = eager().start();
    let until = Instant::now() + Duration::from_secs(8);
    let working = (0..8).map(|number| {
        let actor = Actor::new(700, number, 8, &server.client(), GRACE);
        tokio::spawn(actor.work_until(until))
    });
    let working: Vec<_> = working.collect();
    let mut checks = 0;
    while Instant::now() < until {
        for words in [&["--deep"][..], &[], &["--deep", "--repo", "proof/**"]] {
            let found = online(&server, words);
            assert_eq!((found.exit, found.counts()), (0, BTreeMap::new()), "{found:#?}");
            checks += 1;
        }
    }
    for actor in working {
        actor.await.unwrap();
    }
    online(&server, &["--deep"]).is_clean();
    assert!(checks >= 3, "only {checks} checks");
}
