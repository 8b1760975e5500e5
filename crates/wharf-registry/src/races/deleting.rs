//! Rows 14, 15, 25, 27, 28: deletions and undo.

use super::world::{DAY, Over, World, bytes, race, race_for_a_lock};
use crate::Error;

rows! {
    gr14_the_later_of_a_push_and_a_deletion_counts,
    gr15_a_blob_that_is_deleted_under_a_manifest_stays_as_content,
    gr25_of_two_deletions_one_finds_nothing,
    gr27_a_read_that_began_before_the_deletion_may_end,
    gr28_a_restoration_and_a_deletion_are_one_after_the_other,
    gr28_a_restoration_saves_condemned_content_or_says_that_it_is_gone,
}

async fn world_with_image(over: Over) -> (World, bytes::Bytes) {
    let (world, blob) = (over.world().await, bytes(1));
    world.clone().push("r/one", blob.clone()).await.unwrap();
    world.clone().push_image("r/one", blob.clone(), "v1").await.unwrap();
    (world, blob)
}

async fn gr14_the_later_of_a_push_and_a_deletion_counts(over: Over) {
    let (world, blob) = world_with_image(over).await;
    let delete = world.clone().delete_image("r/one", blob.clone());
    let push = world.clone().push_image("r/one", blob.clone(), "v1");
    let (deleted, pushed) = race("registry.manifest-deleting", delete, push).await;
    assert!(deleted.is_ok() && pushed.is_ok());
    assert!(!world.has_image("r/one", &blob).await);
    world.pass(DAY);
    assert_eq!(world.clone().collect().await.condemned, 1, "its blob is looked at again");

    let (world, blob) = world_with_image(over).await;
    let push = world.clone().push_image("r/one", blob.clone(), "v1");
    let delete = world.clone().delete_image("r/one", blob.clone());
    let (pushed, deleted) = race("registry.manifest-planned", push, delete).await;
    assert!(deleted.is_ok() && pushed.is_ok());
    assert!(world.tag_is("r/one", "v1", &blob).await);
    world.pass(DAY);
    assert_eq!(world.clone().collect().await.released, 0, "it is held again");
    world.serves("r/one", &blob).await;
}

async fn gr15_a_blob_that_is_deleted_under_a_manifest_stays_as_content(over: Over) {
    let (world, blob) = (over.world().await, bytes(1));
    world.clone().push("r/one", blob.clone()).await.unwrap();
    let push = world.clone().push_image("r/one", blob.clone(), "v1");
    let delete = world.clone().delete_blob("r/one", blob.clone());
    let (pushed, deleted) = race("registry.manifest-planned", push, delete).await;
    deleted.unwrap();
    assert!(matches!(pushed, Err(Error::ReferencesMissing(_))), "{pushed:?}");

    for place in ["registry.manifest-recorded", "registry.blob-deleting"] {
        let (world, blob) = (over.world().await, bytes(1));
        world.clone().push("r/one", blob.clone()).await.unwrap();
        let push = world.clone().push_image("r/one", blob.clone(), "v1");
        let delete = world.clone().delete_blob("r/one", blob.clone());
        if place == "registry.blob-deleting" {
            let (deleted, pushed) = race(place, delete, push).await;
            assert!(deleted.is_ok() && pushed.is_ok());
        } else {
            let (pushed, deleted) = race(place, push, delete).await;
            assert!(deleted.is_ok() && pushed.is_ok());
        }
        world.lacks("r/one", &blob).await;
        for _ in 0..2 {
            world.pass(DAY);
            world.clone().collect().await;
        }
        assert!(world.is_stored(&blob).await, "{place}: the manifest holds it");
        world.clone().push("r/one", blob.clone()).await.unwrap();
        world.serves("r/one", &blob).await;
    }
}

async fn gr25_of_two_deletions_one_finds_nothing(over: Over) {
    let (world, blob) = world_with_image(over).await;
    let delete = || world.clone().delete_image("r/one", blob.clone());
    let (first, second) = race("registry.manifest-deleting", delete(), delete()).await;
    second.unwrap();
    assert!(matches!(first, Err(Error::ManifestUnknown(_))), "{first:?}");
    let deleted = world.registry.deleted_manifests(&world.may("r/one"), None, 10).await.unwrap();
    assert_eq!(deleted.len(), 1);
    let history = world.registry.tag_history(&world.may("r/one"), &"v1".parse().unwrap(), None, 10).await.unwrap();
    assert_eq!(history.iter().filter(|change| change.to.is_none()).count(), 1, "{history:?}");
}

async fn gr27_a_read_that_began_before_the_deletion_may_end(over: Over) {
    let (world, blob) = (over.world().await, bytes(1));
    world.clone().push("r/one", blob.clone()).await.unwrap();
    let pull = world.clone().pull("r/one", blob.clone());
    let (pulled, deleted) = race("registry.pull-looked", pull, world.clone().delete_blob("r/one", blob.clone())).await;
    deleted.unwrap();
    assert_eq!(pulled.unwrap().unwrap(), blob);
    world.lacks("r/one", &blob).await;
}

async fn gr28_a_restoration_and_a_deletion_are_one_after_the_other(over: Over) {
    let (world, blob) = world_with_image(over).await;
    let delete = world.clone().delete_image("r/one", blob.clone());
    let restore = world.clone().restore_image("r/one", blob.clone());
    let (deleted, restored) = race("registry.manifest-deleting", delete, restore).await;
    deleted.unwrap();
    assert!(!restored.unwrap().was_deleted, "it was there still");
    assert!(!world.has_image("r/one", &blob).await);
    assert!(world.clone().restore_image("r/one", blob.clone()).await.unwrap().was_deleted);
    world.serves("r/one", &blob).await;

    let (world, blob) = world_with_image(over).await;
    world.clone().delete_image("r/one", blob.clone()).await.unwrap();
    let restore = world.clone().restore_image("r/one", blob.clone());
    let again = world.clone().restore_image("r/one", blob.clone());
    let (first, second) = race("registry.restore-planned", restore, again).await;
    assert!(second.unwrap().was_deleted);
    assert!(!first.unwrap().was_deleted, "somebody was faster, which is as good");
    assert!(world.tag_is("r/one", "v1", &blob).await);
}

/// Content that was condemned too early is saved, or the restoration says that it is gone; never a name without bytes.
async fn gr28_a_restoration_saves_condemned_content_or_says_that_it_is_gone(over: Over) {
    for place in ["registry.restore-recorded", "registry.revive-looked", "registry.revived"] {
        let (world, blob) = world_with_image(over).await;
        world.clone().delete_image("r/one", blob.clone()).await.unwrap();
        world.review_early().await;
        let restore = world.clone().restore_image("r/one", blob.clone());
        let (restored, _) = race_for_a_lock(place, restore, world.clone().collect()).await;
        match restored {
            Ok(restored) => {
                assert!(restored.was_deleted && world.has_image("r/one", &blob).await, "{place}");
                world.serves("r/one", &blob).await;
            }
            Err(Error::ContentGone(_)) => {
                assert!(!world.has_image("r/one", &blob).await && !world.is_stored(&blob).await, "{place}");
            }
            Err(error) => panic!("{place}: {error:?}"),
        }
    }
    for place in ["registry.removal-locked", "registry.blob-forgotten", "registry.bytes-removed"] {
        let (world, blob) = world_with_image(over).await;
        world.clone().delete_image("r/one", blob.clone()).await.unwrap();
        world.review_early().await;
        let restore = world.clone().restore_image("r/one", blob.clone());
        let (_, restored) = race_for_a_lock(place, world.clone().collect(), restore).await;
        // Nothing is locked between replicas before the database decides.
        if over == Over::Replicas && place == "registry.removal-locked" {
            assert!(restored.unwrap().was_deleted && world.has_image("r/one", &blob).await);
            world.serves("r/one", &blob).await;
            continue;
        }
        assert!(matches!(restored, Err(Error::ContentGone(_))), "{place}: {restored:?}");
        assert!(!world.has_image("r/one", &blob).await, "{place}");
    }
}
