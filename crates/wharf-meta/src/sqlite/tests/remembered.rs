//! What is remembered is forgotten in time, whatever statement of the writer makes it untrue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rusqlite::Connection;

use super::super::SqliteMetadata;
use super::Place;
use crate::Metadata;
use crate::contract::fixture::*;

/// `a` has a manifest with a blob and a tag, `b` has the blob too, and all of it has been asked for.
async fn warm(metadata: &SqliteMetadata) {
    have_blob(metadata, "a", "layer").await;
    have_blob(metadata, "b", "layer").await;
    push(metadata, tagged("a", "image", &["t"])).await;
    assert_eq!(answers(metadata).await, [true; 4]);
    assert_eq!(answers(metadata).await, [true; 4], "and once more, from memory");
}

/// Whether the manifest is there by tag and by digest, and the blob in `a` and in `b`.
async fn answers(metadata: &SqliteMetadata) -> [bool; 4] {
    let image = manifest("a", "image").digest;
    let blob = digest("layer");
    [
        resolve(metadata, "a", "t").await == Some(image),
        has_manifest(metadata, "a", image).await,
        metadata.blob(&name("a"), &blob).await.unwrap().is_some(),
        metadata.blob(&name("b"), &blob).await.unwrap().is_some(),
    ]
}

#[tokio::test]
async fn whatever_takes_something_away_is_noticed() {
    let of_b = "repository_id = (select id from repositories where name = 'b')";
    let changes = [
        ("delete from tags".to_owned(), [false, true, true, true]),
        ("update tags set name = 'other'".to_owned(), [false, true, true, true]),
        ("delete from manifests".to_owned(), [false, false, true, true]),
        ("update manifests set digest = 'sha256:' || hex(zeroblob(32))".to_owned(), [false, false, true, true]),
        (format!("delete from repository_blobs where {of_b}"), [true, true, true, false]),
        ("update blobs set state = 'quarantined'".to_owned(), [true, true, false, false]),
        ("update repositories set name = 'c' where name = 'a'".to_owned(), [false, false, false, true]),
    ];
    for (change, expected) in changes {
        let place = Place::new();
        let metadata = place.open();
        warm(&metadata).await;
        let sql = change.clone();
        metadata.writer.write("a change", move |connection| connection.execute_batch(&sql)).await.unwrap();
        assert_eq!(answers(&metadata).await, expected, "{change}");
    }
}

/// A change runs once more if it, or another one of its transaction, failed.
#[tokio::test]
async fn what_takes_something_away_at_the_second_attempt_is_noticed() {
    let place = Place::new();
    let metadata = place.open();
    warm(&metadata).await;
    let is_first = AtomicBool::new(true);
    let change = move |connection: &Connection| {
        connection.execute_batch("delete from tags")?;
        if is_first.swap(false, Ordering::SeqCst) { Err(rusqlite::Error::QueryReturnedNoRows) } else { Ok(()) }
    };
    metadata.writer.write("a change", change).await.unwrap();
    assert_eq!(answers(&metadata).await, [false, true, true, true]);
}

#[tokio::test]
async fn what_only_adds_or_is_taken_back_makes_nothing_untrue() {
    let place = Place::new();
    let metadata = place.open();
    warm(&metadata).await;
    let before = metadata.memory.generation(&name("a")).0;
    push(&metadata, tagged("a", "another", &["u"])).await;
    have_blob(&metadata, "a", "another layer").await;
    assert_eq!(metadata.memory.generation(&name("a")).0, before);
    assert_eq!(answers(&metadata).await, [true; 4]);
}

/// PR-1: once a push is acknowledged, or anybody has seen it, nobody gets what the tag pointed at before.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pr1_a_tag_never_goes_back_however_many_ask() {
    const MOVES: usize = 300;
    let place = Place::new();
    let metadata = Arc::new(place.open());
    let images: Vec<_> = (0..MOVES).map(|n| tagged("a", &format!("image {n}"), &["t"])).collect();
    let order: Arc<Vec<_>> = Arc::new(images.iter().map(|image| image.digest).collect());
    push(&*metadata, images[0].clone()).await;
    let (moved, acknowledged) = tokio::sync::watch::channel(0);
    let seen = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (metadata, order, acknowledged) = (Arc::clone(&metadata), Arc::clone(&order), acknowledged.clone());
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                loop {
                    let at_least = (*acknowledged.borrow()).max(seen.load(Ordering::SeqCst));
                    let found = resolve(&*metadata, "a", "t").await.unwrap();
                    let at = order.iter().position(|digest| *digest == found).unwrap();
                    assert!(at >= at_least, "image {at} was answered after {at_least} was acknowledged or seen");
                    seen.fetch_max(at, Ordering::SeqCst);
                    if at_least == MOVES - 1 {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for (n, image) in images.into_iter().enumerate().skip(1) {
        push(&*metadata, image).await;
        moved.send_replace(n);
    }
    for reader in readers {
        reader.await.unwrap();
    }
}
