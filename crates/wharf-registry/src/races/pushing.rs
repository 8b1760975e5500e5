//! Rows 1 to 6, 16, 17, 19: pushes of blobs.

use std::time::Duration;

use wharf_base::failpoint::held_at;

use super::world::{DAY, Over, bytes, die, digest, race, race_for_a_lock};
use crate::{Error, Expiry};

rows! {
    gr01_two_pushes_of_one_blob_both_succeed,
    gr02_two_repositories_share_what_they_push_together,
    gr03_a_push_outlives_the_review_of_its_association,
    gr04_a_push_outlives_the_review_of_the_last_other_association,
    gr16_a_session_is_finished_or_expires,
    gr17_one_writer_a_session,
    gr19_an_upload_shares_nothing_until_it_is_complete,
}

async fn gr01_two_pushes_of_one_blob_both_succeed(over: Over) {
    for place in ["store.sealed", "store.locked", "registry.blob-placed", "registry.blob-recorded"] {
        let (world, blob) = (over.world().await, bytes(1));
        let push = || world.clone().push("r/one", blob.clone());
        let (first, second) = race_for_a_lock(place, push(), push()).await;
        assert_eq!((first.unwrap().digest, second.unwrap().digest), (digest(&blob), digest(&blob)), "{place}");
        world.serves("r/one", &blob).await;
        world.pass(DAY);
        world.clone().collect().await;
        world.pass(DAY);
        assert_eq!(world.clone().collect().await.removed, 1, "one row, one content");
    }
}

async fn gr02_two_repositories_share_what_they_push_together(over: Over) {
    for place in ["store.sealed", "registry.blob-placed"] {
        let (world, blob) = (over.world().await, bytes(1));
        let first = world.clone().push("r/one", blob.clone());
        let (first, second) = race_for_a_lock(place, first, world.clone().push("r/two", blob.clone())).await;
        assert!(first.is_ok() && second.is_ok(), "{place}");
        world.serves("r/one", &blob).await;
        world.serves("r/two", &blob).await;
        world.clone().delete_blob("r/one", blob.clone()).await.unwrap();
        world.serves("r/two", &blob).await;
    }
}

async fn gr03_a_push_outlives_the_review_of_its_association(over: Over) {
    for place in ["store.sealed", "registry.blob-placed"] {
        let (world, blob) = (over.world().await, bytes(1));
        world.due("r/one", &blob).await;
        let push = world.clone().push("r/one", blob.clone());
        let (pushed, collected) = race(place, push, world.clone().collect()).await;
        assert_eq!(collected.condemned, 1, "{place}");
        pushed.unwrap();
        world.serves("r/one", &blob).await;
        // What was condemned is not, and has a whole grace period again.
        world.pass(Duration::from_secs(24 * 3600));
        world.clone().collect().await;
        world.serves("r/one", &blob).await;
    }
}

async fn gr04_a_push_outlives_the_review_of_the_last_other_association(over: Over) {
    for place in ["store.sealed", "registry.blob-placed", "registry.blob-recorded"] {
        let (world, blob) = (over.world().await, bytes(1));
        world.due("r/two", &blob).await;
        let push = world.clone().push("r/one", blob.clone());
        let (pushed, collected) = race(place, push, world.clone().collect()).await;
        assert_eq!(collected.released, 1, "{place}");
        pushed.unwrap();
        world.lacks("r/two", &blob).await;
        world.serves("r/one", &blob).await;
    }
}

#[tokio::test]
async fn gr05_a_push_and_a_removal_exclude_each_other() {
    for place in ["registry.removal-locked", "registry.blob-forgotten", "registry.bytes-removed"] {
        let (world, blob) = (Over::Directory.world().await, bytes(1));
        world.condemned("r/old", &blob).await;
        let push = world.clone().push("r/new", blob.clone());
        let (_, pushed) = race_for_a_lock(place, world.clone().collect(), push).await;
        pushed.unwrap();
        world.serves("r/new", &blob).await;
        world.clone().collect().await;
        world.serves("r/new", &blob).await;
    }
    for place in ["store.locked", "registry.blob-placed", "registry.blob-recorded"] {
        let (world, blob) = (Over::Directory.world().await, bytes(1));
        world.condemned("r/old", &blob).await;
        let push = world.clone().push("r/new", blob.clone());
        let (pushed, _) = race_for_a_lock(place, push, world.clone().collect()).await;
        pushed.unwrap();
        world.serves("r/new", &blob).await;
    }
}

#[tokio::test]
async fn gr06_a_pending_removal_spares_what_was_pushed_since() {
    for place in ["registry.blob-forgotten", "registry.bytes-removed"] {
        let (world, blob) = (Over::Directory.world().await, bytes(1));
        world.condemned("r/old", &blob).await;
        die(place, world.clone().collect()).await;
        world.clone().push("r/new", blob.clone()).await.unwrap();
        assert_eq!(world.clone().collect().await.removed, 0, "{place}");
        world.serves("r/new", &blob).await;
        // The same with the push between the look for pending removals and the lock.
        let (world, blob) = (Over::Directory.world().await, bytes(1));
        world.condemned("r/old", &blob).await;
        die(place, world.clone().collect()).await;
        let push = world.clone().push("r/new", blob.clone());
        let (_, pushed) = race("registry.removal-found", world.clone().collect(), push).await;
        pushed.unwrap();
        world.serves("r/new", &blob).await;
    }
}

/// Nobody waits for content that ended nowhere: a session that expires under its last request leaves nothing behind.
async fn gr16_a_session_is_finished_or_expires(over: Over) {
    for place in ["registry.blob-received", "registry.blob-placed"] {
        let (world, blob) = (over.world().await, bytes(1));
        let upload = world.begin("r/one").await;
        let finish = world.clone().finish("r/one", upload, blob.clone(), blob.clone());
        let expire = async {
            world.pass(DAY);
            world.registry.expire_uploads().await.unwrap()
        };
        let (finished, expired) = race(place, finish, expire).await;
        assert_eq!(expired, Expiry::NothingDue, "it is being written to");
        assert!(matches!(finished, Err(Error::UploadUnknown)), "{finished:?}");
        world.lacks("r/one", &blob).await;
        assert_eq!(world.registry.expire_uploads().await.unwrap(), Expiry::Ended(1));
        world.clone().collect().await;
        assert!(!world.is_stored(&blob).await, "{place}: content that nothing names");
    }
    let (world, blob) = (over.world().await, bytes(1));
    let upload = world.begin("r/one").await;
    world.clone().append("r/one", upload, blob.clone()).await.unwrap();
    world.pass(DAY);
    let registry = world.registry.clone();
    let expire = async move { registry.expire_uploads().await.unwrap() };
    let finish = world.clone().finish("r/one", upload, blob.clone(), bytes::Bytes::new());
    let (expired, finished) = race("registry.expiry-claimed", expire, finish).await;
    assert_eq!(expired, Expiry::Ended(1));
    assert!(matches!(finished, Err(Error::UploadUnknown)), "{finished:?}");
    world.lacks("r/one", &blob).await;
}

async fn gr17_one_writer_a_session(over: Over) {
    let (world, blob) = (over.world().await, bytes(1));
    let upload = world.begin("r/one").await;
    let (first, second) = (blob.slice(..400), blob.slice(400..));
    let append = world.clone().append("r/one", upload, first.clone());
    let again = world.clone().append("r/one", upload, second.clone());
    let (appended, refused) = race("registry.chunk-kept", append, again).await;
    assert!(matches!(refused, Err(Error::UploadBusy { offset_bytes: 0 })), "{refused:?}");
    assert_eq!(appended.unwrap(), 400);
    world.clone().finish("r/one", upload, blob.clone(), second).await.unwrap();
    world.serves("r/one", &blob).await;
}

/// what has begun to commit is not stopped by a client that goes away.
#[tokio::test]
async fn r027_a_push_goes_on_without_its_client() {
    for place in ["registry.blob-received", "store.sealed", "store.locked", "registry.blob-placed"] {
        let (world, blob) = (Over::Directory.world().await, bytes(1));
        let (held, push) = held_at(place, world.clone().push("r/one", blob.clone()));
        let push = tokio::spawn(push);
        held.arrived().await;
        push.abort();
        assert!(push.await.is_err_and(|error| error.is_cancelled()), "{place}");
        held.release();
        assert!(world.spawner.drain(super::world::HOUR).await, "{place}: the work goes on");
        world.serves("r/one", &blob).await;
    }
}

async fn gr19_an_upload_shares_nothing_until_it_is_complete(over: Over) {
    let (world, blob) = (over.world().await, bytes(1));
    world.condemned("r/old", &blob).await;
    let upload = world.begin("r/new").await;
    let append = world.clone().append("r/new", upload, blob.slice(..500));
    let (appended, collected) = race("registry.chunk-kept", append, world.clone().collect()).await;
    assert_eq!((appended.unwrap(), collected.removed), (500, 1));
    world.clone().finish("r/new", upload, blob.clone(), blob.slice(500..)).await.unwrap();
    world.serves("r/new", &blob).await;
}
