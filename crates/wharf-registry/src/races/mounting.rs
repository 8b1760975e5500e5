//! Rows 20 to 23: mounts.

use super::world::{DAY, Over, bytes, race, race_for_a_lock};

rows! {
    gr20_a_mount_or_the_review_of_its_source,
    gr21_a_mount_or_the_deletion_of_its_source,
    gr22_what_is_about_to_go_cannot_be_mounted,
    gr23_two_mounts_to_one_target_both_succeed,
}

async fn gr20_a_mount_or_the_review_of_its_source(over: Over) {
    let (world, blob) = (over.world().await, bytes(1));
    world.due("r/from", &blob).await;
    let mount = world.clone().mount("r/from", "r/to", blob.clone());
    let (mounted, collected) = race("registry.mount-allowed", mount, world.clone().collect()).await;
    assert_eq!((mounted.unwrap(), collected.condemned), (false, 1), "the source is gone: the client uploads");
    world.lacks("r/to", &blob).await;

    let (world, blob) = (over.world().await, bytes(1));
    world.due("r/from", &blob).await;
    let mount = world.clone().mount("r/from", "r/to", blob.clone());
    let (mounted, collected) = race("registry.mount-recorded", mount, world.clone().collect()).await;
    assert_eq!((mounted.unwrap(), collected.released, collected.condemned), (true, 1, 0));
    world.pass(DAY / 2);
    world.clone().collect().await;
    world.serves("r/to", &blob).await;
}

async fn gr21_a_mount_or_the_deletion_of_its_source(over: Over) {
    for (place, is_mounted) in [("registry.mount-allowed", false), ("registry.mount-recorded", true)] {
        let (world, blob) = (over.world().await, bytes(1));
        world.clone().push("r/from", blob.clone()).await.unwrap();
        let mount = world.clone().mount("r/from", "r/to", blob.clone());
        let (mounted, deleted) = race(place, mount, world.clone().delete_blob("r/from", blob.clone())).await;
        deleted.unwrap();
        assert_eq!(mounted.unwrap(), is_mounted, "{place}");
        if is_mounted {
            world.serves("r/to", &blob).await;
        } else {
            world.lacks("r/to", &blob).await;
        }
    }
}

async fn gr22_what_is_about_to_go_cannot_be_mounted(over: Over) {
    for place in ["registry.condemned-found", "registry.removal-locked", "registry.blob-forgotten"] {
        let (world, blob) = (over.world().await, bytes(1));
        world.condemned("r/from", &blob).await;
        let mount = world.clone().mount("r/from", "r/to", blob.clone());
        let (collected, mounted) = race(place, world.clone().collect(), mount).await;
        assert_eq!((collected.removed, mounted.unwrap()), (1, false), "{place}");
        world.lacks("r/to", &blob).await;
    }
}

async fn gr23_two_mounts_to_one_target_both_succeed(over: Over) {
    for place in ["registry.mount-allowed", "registry.mount-recorded"] {
        let (world, blob) = (over.world().await, bytes(1));
        world.clone().push("r/from", blob.clone()).await.unwrap();
        let mount = || world.clone().mount("r/from", "r/to", blob.clone());
        let (first, second) = race_for_a_lock(place, mount(), mount()).await;
        assert!(first.unwrap() && second.unwrap(), "{place}");
        world.serves("r/to", &blob).await;
    }
}
