//! Two hundred images there and back, or as many as `WHARF_TEST_IMAGES` says, while somebody reads for as long as the registry
//! serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::Value;

use super::place::Place;
use super::{admin, ask, fill, migrate};
use crate::backup::desk::{Desk, questions};
use crate::harness::{Admin, MIB, Wharf};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn many_images_move_both_ways_under_read_load() {
    let images = std::env::var("WHARF_TEST_IMAGES").map_or(200, |number| number.parse().unwrap());
    let (old, new, back) = (Place::embedded(), Place::scaled_out(), Place::embedded());
    let mut server = old.start();
    let begun = Instant::now();
    fill(&server, images).await;
    println!("{images} images pushed in {:?}", begun.elapsed());
    let asked = questions(&server);
    let answers = ask(&server, &asked).await;
    println!("{} questions", asked.len());
    let token = Admin::of(&server).token("admin", &[]).await;
    let desk = Desk::with_token(token);
    for (from, to) in [(&old, &new), (&new, &back)] {
        let reading = Reading::begin(&server, &asked);
        let url = format!("http://{}", server.address());
        let begun = Instant::now();
        let said =
            desk.ok(&["migrate", "--json", "--ahead", "--from", &from.file(), "--to", &to.file(), "--server", &url]);
        let ahead: Value = serde_json::from_str(&said).unwrap();
        let (ahead_took, read) = (begun.elapsed(), reading.end().await);
        server.stop();
        let begun = Instant::now();
        let moved = migrate(&desk, from, to);
        let (took, bytes) = (begun.elapsed(), ahead["copied_bytes"].as_u64().unwrap());
        println!(
            "ahead: {} blobs, {} MiB in {ahead_took:?} while {read} reads were answered; stopped for {took:?} with {} rows and the check",
            ahead["copied_blobs"],
            bytes / MIB,
            moved["rows"]
        );
        assert_eq!(moved["copied_blobs"], 0);
        assert_eq!(moved["check"]["clean"], true, "{moved}");
        server = to.start();
        assert_eq!(ask(&server, &asked).await, answers);
    }
}

/// Somebody who reads.
struct Reading {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    reader: tokio::task::JoinHandle<()>,
}

impl Reading {
    fn begin(server: &Wharf, asked: &[String]) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (mut client, asked) = (admin(server), asked.to_vec());
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&answered));
        let reader = tokio::spawn(async move {
            for question in asked.iter().cycle() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                assert!(client.get(question).await.status < 500, "{question}");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, answered, reader }
    }

    async fn end(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.reader.await.unwrap();
        self.answered.load(Ordering::Relaxed)
    }
}
