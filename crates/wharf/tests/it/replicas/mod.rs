//! Three processes, one registry: over a real PostgreSQL and a real S3 server, behind a balancer that sends each request to another
//! one. The rows of the race table that are about two replicas (`reliability` §4.5, ⇉) have their ids in the names.

mod coherence;
mod faults;
mod fencing;
mod removal;
mod statements;
mod upgrade;
mod uploads;

use std::time::Instant;

use crate::harness::PATIENCE;

/// Asks again and again until the answer is yes.
#[track_caller]
fn waiting(what: &str) -> impl FnMut() + '_ {
    let begun = Instant::now();
    move || assert!(begun.elapsed() < PATIENCE, "{what} does not come true")
}
