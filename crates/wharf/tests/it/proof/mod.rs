//! The proving ground: a real server, a load with a ledger, and something that goes wrong (`reliability` §10).
//!
//! Three judges decide each time: the [`ledger`], which knows what was acknowledged; the disk, which must hold what the
//! names need and, but for named strays, nothing else; and `wharf check --deep`, which knows all invariants. What ends a round prints its seed; `WHARF_PROOF_SEED` runs that
//! round again, and `scripts/prove` runs many.

mod actor;
mod clients;
mod disconnects;
mod failpoints;
mod faults;
mod forgetful;
mod kills;
mod ledger;
mod networks;
mod power;
mod replicas;
mod soak;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::collection::collect_all;
use crate::harness::{Builder, Wharf};
pub use actor::Actor;
use actor::Fuse;
use ledger::After;
pub use replicas::{gather, let_work, verify_cluster};

/// The grace period of servers that collect as fast as they can.
pub const GRACE: Duration = Duration::from_secs(1);

/// A number that somebody may have set for a longer run.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

/// The seeds of a test: that of `WHARF_PROOF_SEED` alone, or as many as `rounds` says, from `WHARF_PROOF_FIRST_SEED` on.
fn seeds(rounds: &str, default: u64) -> impl Iterator<Item = u64> {
    let first = setting("WHARF_PROOF_FIRST_SEED", 1);
    let all = first..first + setting(rounds, default);
    match setting("WHARF_PROOF_SEED", 0) {
        0 => all,
        seed => seed..seed + 1,
    }
}

/// A server that collects as fast as it can, right after a crash too.
pub fn eager() -> Builder {
    crate::collection::eager_with("1s").set("registry.delete_tags", "true")
}

/// The server agrees with everything that the actors know.
async fn verify(server: &Wharf, actors: &mut [Actor], after: After) {
    let mut client = server.client();
    for actor in actors {
        actor.meet(&client, &Fuse::endless());
        actor.ledger().verify(&mut client, after).await;
    }
    crate::check::sound(server);
}

/// Collection comes to an end, and then the disk holds what the actors' images need, and nothing else but strays.
async fn settle(server: &mut Wharf, actors: &mut [Actor]) {
    let mut client = server.client();
    collect_all(&mut client).await;
    verify(server, actors, After::Kill).await;
    collect_all(&mut client).await;
    let held: BTreeSet<String> = actors.iter_mut().flat_map(|actor| actor.ledger().held()).collect();
    let strays: BTreeSet<String> = actors.iter_mut().flat_map(|actor| actor.ledger().strays().clone()).collect();
    let found = server.kept().digests();
    let lost: Vec<_> = held.difference(&found).collect();
    assert!(lost.is_empty(), "names without a file: {lost:?}");
    let foreign: Vec<_> = found.difference(&held).filter(|digest| !strays.contains(*digest)).collect();
    assert!(foreign.is_empty(), "files that nobody needs: {foreign:?}");
    only_whole_files(server);
}

/// Whatever lies under a digest's name has that digest.
fn only_whole_files(server: &Wharf) {
    // What an object is called says nothing of its bytes; those of each row are what `wharf check --deep` compares.
    if server.kept().is_in_a_bucket() {
        return;
    }
    for digest in server.kept().digests() {
        let bytes = server.kept().read(&digest).expect("a file of the store");
        assert_eq!(crate::harness::sha256(&bytes), digest, "a torn file");
    }
}

/// Waits until the promise of a grace period that was given now is over.
async fn after_grace() {
    tokio::time::sleep_until((Instant::now() + GRACE + GRACE / 10).into()).await;
}
