//! Rows 8 to 13, 26, 30 to 32: the collector against manifests, looks and reads.

use futures_util::TryStreamExt;

use super::world::{AGES, DAY, HOUR, Over, bytes, digest, race};
use crate::Error;

rows! {
    gr08_a_manifest_holds_its_blobs_or_is_refused,
    gr09_who_was_told_that_it_is_there_can_push_the_manifest_hours_later,
    gr10_nobody_is_told_that_it_is_there_when_it_is_going,
    gr11_two_pushes_of_one_tag_are_one_after_the_other,
    gr12_a_manifest_whose_tag_went_and_came_back_is_kept,
    gr13_an_index_names_its_child_or_is_refused,
    gr26_what_a_deletion_leaves_is_looked_at_again,
    gr30_two_collectors_do_everything_once,
    gr31_a_sweep_takes_nothing_from_anybody,
}

async fn gr08_a_manifest_holds_its_blobs_or_is_refused(over: Over) {
    let (world, blob) = (over.world().await, bytes(1));
    world.due("r/one", &blob).await;
    let push = world.clone().push_image("r/one", blob.clone(), "v1");
    let (pushed, collected) = race("registry.manifest-planned", push, world.clone().collect()).await;
    assert_eq!(collected.condemned, 1);
    assert!(matches!(pushed, Err(Error::ReferencesMissing(_))), "{pushed:?}");
    assert!(!world.has_image("r/one", &blob).await);

    let (world, blob) = (over.world().await, bytes(1));
    world.due("r/one", &blob).await;
    let push = world.clone().push_image("r/one", blob.clone(), "v1");
    let (pushed, collected) = race("registry.manifest-recorded", push, world.clone().collect()).await;
    assert_eq!(collected.released, 0);
    pushed.unwrap();
    world.serves("r/one", &blob).await;
}

async fn gr09_who_was_told_that_it_is_there_can_push_the_manifest_hours_later(over: Over) {
    let (world, blob) = (over.world().await, bytes(1));
    world.clone().push("r/one", blob.clone()).await.unwrap();
    world.pass(20 * HOUR);
    assert!(world.clone().look("r/one", blob.clone()).await.unwrap());
    // What the push itself had promised is over; what the look has promised is not.
    world.pass(23 * HOUR);
    world.clone().collect().await;
    world.clone().push_image("r/one", blob.clone(), "v1").await.unwrap();
    world.serves("r/one", &blob).await;
}

/// A look that says "it is there" promises a grace period; so it must not say so of what a review has just released.
async fn gr10_nobody_is_told_that_it_is_there_when_it_is_going(over: Over) {
    // The entry is due.
    for place in ["registry.head-looked", "registry.head-due"] {
        let (world, blob) = (over.world().await, bytes(1));
        world.due("r/one", &blob).await;
        let look = world.clone().look("r/one", blob.clone());
        let (found, collected) = race(place, look, world.clone().collect()).await;
        assert_eq!((found.unwrap(), collected.condemned), (false, 1), "{place}");
    }
    // There is no entry yet, because a manifest holds it.
    let (world, blob) = (over.world().await, bytes(1));
    world.clone().push("r/one", blob.clone()).await.unwrap();
    world.clone().push_image("r/one", blob.clone(), "v1").await.unwrap();
    world.pass(DAY);
    world.clone().collect().await;
    let look = world.clone().look("r/one", blob.clone());
    let (found, ()) = race("registry.head-looked", look, async {
        world.clone().delete_image("r/one", blob.clone()).await.unwrap();
        world.pass(DAY);
        world.clone().collect().await;
    })
    .await;
    assert!(!found.unwrap());
    // The look comes first.
    let (world, blob) = (over.world().await, bytes(1));
    world.due("r/one", &blob).await;
    assert!(world.clone().look("r/one", blob.clone()).await.unwrap());
    world.pass(23 * HOUR);
    assert_eq!(world.clone().collect().await.released, 0);
    world.serves("r/one", &blob).await;
}

async fn gr11_two_pushes_of_one_tag_are_one_after_the_other(over: Over) {
    let (world, one, two) = (over.world().await, bytes(1), bytes(2));
    for blob in [&one, &two] {
        world.clone().push("r/one", blob.clone()).await.unwrap();
    }
    let first = world.clone().push_image("r/one", one.clone(), "v1");
    let second = world.clone().push_image("r/one", two.clone(), "v1");
    let (first, second) = race("registry.manifest-planned", first, second).await;
    assert!(first.is_ok() && second.is_ok());
    assert!(world.tag_is("r/one", "v1", &one).await, "the one that was committed last");
    assert!(world.has_image("r/one", &two).await);
    let tag = "v1".parse().unwrap();
    let history = world.registry.tag_history(&world.may("r/one"), &tag, None, 10).await.unwrap();
    let versions: Vec<_> = history.iter().map(|change| change.version).collect();
    assert_eq!(versions.len(), 2, "both are in the history: {history:?}");
    assert!(versions[0] > versions[1], "{history:?}");
    assert_eq!(history[0].from, history[1].to, "{history:?}");
}

async fn gr12_a_manifest_whose_tag_went_and_came_back_is_kept(over: Over) {
    let (world, one, two) = (over.world().await, bytes(1), bytes(2));
    for blob in [&one, &two] {
        world.clone().push("r/one", blob.clone()).await.unwrap();
        world.clone().push_image("r/one", blob.clone(), "v1").await.unwrap();
    }
    world.pass(DAY);
    let back = world.clone().push_image("r/one", one.clone(), "v1");
    let (back, collected) = race("registry.manifest-planned", back, world.clone().collect()).await;
    back.unwrap();
    assert!(collected.reviewed > 0, "the review of the manifest was due");
    for blob in [&one, &two] {
        assert!(world.has_image("r/one", blob).await, "manifests without a tag are kept");
        world.serves("r/one", blob).await;
    }
}

async fn gr13_an_index_names_its_child_or_is_refused(over: Over) {
    for (place, is_there) in [("registry.manifest-planned", false), ("registry.manifest-recorded", true)] {
        let (world, blob) = (over.world().await, bytes(1));
        world.clone().push("r/one", blob.clone()).await.unwrap();
        world.clone().push_image("r/one", blob.clone(), "child").await.unwrap();
        let push = world.clone().push_index("r/one", blob.clone(), "index");
        let (pushed, deleted) = race(place, push, world.clone().delete_image("r/one", blob.clone())).await;
        assert_eq!(deleted.unwrap(), usize::from(is_there), "{place}: how many indexes are warned of");
        assert_eq!(pushed.is_ok(), is_there, "{place}: {pushed:?}");
    }
}

async fn gr26_what_a_deletion_leaves_is_looked_at_again(over: Over) {
    for place in ["registry.manifest-deleting", "registry.manifest-deleted"] {
        let (world, blob) = (over.world().await, bytes(1));
        world.clone().push("r/one", blob.clone()).await.unwrap();
        world.clone().push_image("r/one", blob.clone(), "v1").await.unwrap();
        world.pass(DAY);
        let delete = world.clone().delete_image("r/one", blob.clone());
        let (deleted, collected) = race(place, delete, world.clone().collect()).await;
        assert_eq!((deleted.unwrap(), collected.released), (0, 0), "{place}");
        world.pass(23 * HOUR);
        assert_eq!(world.clone().collect().await.released, 0, "{place}: the whole grace period");
        world.serves("r/one", &blob).await;
        world.pass(DAY);
        assert_eq!(world.clone().collect().await.condemned, 1, "{place}");
        world.pass(DAY);
        world.clone().collect().await;
        assert!(!world.is_stored(&blob).await, "{place}");
    }
}

async fn gr30_two_collectors_do_everything_once(over: Over) {
    let places = ["registry.reviewed", "registry.condemned-found", "registry.removal-locked", "registry.bytes-removed"];
    for place in places {
        let (world, blob, other) = (over.world().await, bytes(1), bytes(2));
        world.condemned("r/old", &blob).await;
        world.due("r/old", &other).await;
        let (first, second) =
            super::world::race_for_a_lock(place, world.clone().collect(), world.clone().collect()).await;
        assert_eq!((first.removed + second.removed, first.condemned + second.condemned), (1, 1), "{place}");
        assert!(!world.is_stored(&blob).await);
        assert!(world.is_stored(&other).await);
    }
}

/// A sweep only asks for reviews, and only removes what no row names when it is about to go.
async fn gr31_a_sweep_takes_nothing_from_anybody(over: Over) {
    // What it looked at is reviewed, condemned and removed meanwhile.
    let (world, blob) = (over.world().await, bytes(1));
    world.due("r/one", &blob).await;
    let (swept, ()) = race("registry.links-looked", world.clone().sweep(), async {
        assert_eq!(world.clone().collect().await.condemned, 1);
        world.pass(DAY);
        assert_eq!(world.clone().collect().await.removed, 1);
    })
    .await;
    assert_eq!((swept.reconciled, swept.orphans), (0, 0));
    world.lacks("r/one", &blob).await;
    world.clone().push("r/one", blob.clone()).await.unwrap();
    world.serves("r/one", &blob).await;

    // What the death of a push has left is pushed again when it has been found; or nobody pushes it.
    for is_pushed in [true, false] {
        let (world, blob) = (over.world().await, bytes(1));
        world.leave(&blob).await;
        world.pass(AGES);
        let (swept, ()) = race("registry.orphans-found", world.clone().sweep(), async {
            if is_pushed {
                world.clone().push("r/two", blob.clone()).await.unwrap();
            }
            world.clone().collect().await;
        })
        .await;
        // A push has an object of its own in a bucket, and takes nothing over that lies there.
        assert_eq!(swept.orphans, u64::from(!is_pushed || over == Over::Replicas));
        assert_eq!(world.is_stored(&blob).await, is_pushed);
        if is_pushed {
            world.serves("r/two", &blob).await;
        }
    }
}

#[tokio::test]
async fn gr32_an_open_blob_is_read_to_its_end() {
    let (world, blob) = (Over::Directory.world().await, bytes(1));
    world.clone().push("r/one", blob.clone()).await.unwrap();
    let open = world.registry.open_blob(&world.may("r/one"), &digest(&blob)).await.unwrap();
    for _ in 0..2 {
        world.pass(DAY);
        world.clone().collect().await;
    }
    assert!(!world.is_stored(&blob).await);
    world.lacks("r/one", &blob).await;
    let pieces: Vec<bytes::Bytes> = open.stream(0..open.size_bytes).try_collect().await.unwrap();
    assert_eq!(pieces.concat(), blob);
}
