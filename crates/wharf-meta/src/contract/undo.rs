//! Undo: history of tags, deleted manifests.

use std::sync::Arc;

use super::fixture::*;
use crate::{ManifestRecord, Metadata, Restore};

type Subject = Arc<dyn Metadata>;

const END: u64 = 86_400;

async fn delete(metadata: &dyn Metadata, digest: wharf_oci::Digest, seconds: u64) {
    let until = at(seconds + END);
    metadata.delete_manifest(&name("a"), &digest, &by("bob"), at(seconds), until).await.unwrap().unwrap();
}

fn later(record: ManifestRecord, seconds: u64) -> ManifestRecord {
    ManifestRecord { now: at(seconds), review_at: at(seconds + END), ..record }
}

/// Every change in its order, with who and when; what it was at any time.
pub async fn a_tag_has_a_history(metadata: Subject) {
    let one = push(&*metadata, later(tagged("a", "one", &["t"]), 10)).await;
    let two = push(&*metadata, later(tagged("a", "two", &["t"]), 20)).await;
    assert!(metadata.delete_tag(&name("a"), &tag("t"), &by("bob"), at(30), at(END)).await.unwrap());
    let history = metadata.tag_history(&name("a"), &tag("t"), None, 10).await.unwrap();
    let said: Vec<_> = history.iter().map(|c| (c.version, c.from, c.to, c.at, c.by.as_str())).collect();
    let expected = [
        (3, Some(two), None, at(30), "bob"),
        (2, Some(one), Some(two), at(20), "alice"),
        (1, None, Some(one), at(10), "alice"),
    ];
    assert_eq!(said, expected);
    assert_eq!(metadata.tag_history(&name("a"), &tag("t"), Some(3), 1).await.unwrap(), history[1..2]);
    assert_eq!(metadata.tag_history(&name("b"), &tag("t"), None, 10).await.unwrap(), []);
    let was = async |seconds| metadata.tag_at(&name("a"), &tag("t"), at(seconds)).await.unwrap().map(|c| c.to);
    assert_eq!(was(9).await, None);
    assert_eq!(was(10).await, Some(Some(one)));
    assert_eq!(was(29).await, Some(Some(two)));
    assert_eq!(was(1_000).await, Some(None));

    let retag =
        async |digest| metadata.retag(&name("a"), &tag("t"), &digest, &by("carol"), at(40), at(END)).await.unwrap();
    assert!(retag(one).await);
    assert!(!retag(digest("unknown")).await);
    assert_eq!(resolve(&*metadata, "a", "t").await, Some(one));
    assert_eq!(metadata.tag_history(&name("a"), &tag("t"), None, 1).await.unwrap()[0].by, "carol");
}

/// With the tags that point at nothing now; those that were given to something else stay there.
pub async fn a_deleted_manifest_comes_back_with_its_tags(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    let record = ManifestRecord { blobs: vec![blob], ..tagged("a", "image", &["t", "u"]) };
    let image = push(&*metadata, record.clone()).await;
    delete(&*metadata, image, 20).await;
    let other = push(&*metadata, later(tagged("a", "other", &["u"]), 30)).await;

    let deleted = metadata.deleted_manifests(&name("a"), None, at(40), 10).await.unwrap();
    assert_eq!(deleted.len(), 1);
    assert_eq!((deleted[0].digest, deleted[0].deleted_by.as_str()), (image, "bob"));
    assert_eq!(deleted[0].tags, [tag("t"), tag("u")]);
    assert_eq!((deleted[0].deleted_at, deleted[0].until), (at(20), at(20 + END)));
    assert_eq!(metadata.deleted_manifests(&name("a"), Some(&image), at(40), 10).await.unwrap(), []);
    let found = metadata.deleted_manifest(&name("a"), &image, at(40)).await.unwrap();
    assert_eq!(found, Some((MANIFEST.to_owned(), record.body.clone())));

    let again = later(ManifestRecord { tags: Vec::new(), ..record }, 50);
    let restored = metadata.restore_manifest(&again).await.unwrap();
    assert_eq!(restored, Restore::Restored { tags: vec![tag("t")] });
    assert_eq!(resolve(&*metadata, "a", "t").await, Some(image));
    assert_eq!(resolve(&*metadata, "a", "u").await, Some(other));
    assert_eq!(metadata.restore_manifest(&again).await.unwrap(), Restore::Unknown, "it is not deleted any more");
    assert_eq!(metadata.deleted_manifests(&name("a"), None, at(50), 10).await.unwrap(), []);
    assert_eq!(metadata.review_blobs(at(100 * END), at(200 * END), 10).await.unwrap().released, 0, "it holds its blob");
}

/// Up to its time, and not a moment longer; nothing of it stays in the database then.
pub async fn a_deletion_can_be_undone_until_its_time(metadata: Subject) {
    let image = push(&*metadata, tagged("a", "image", &["t"])).await;
    delete(&*metadata, image, 20).await;
    let wish = |seconds| later(ManifestRecord { tags: Vec::new(), ..manifest("a", "image") }, seconds);
    assert_eq!(metadata.forget_deleted_manifests(at(20 + END - 1), 10).await.unwrap(), 0);
    assert_eq!(metadata.restore_manifest(&wish(20 + END)).await.unwrap(), Restore::Unknown);
    let back = metadata.restore_manifest(&wish(20 + END - 1)).await.unwrap();
    assert_eq!(back, Restore::Restored { tags: vec![tag("t")] });
    delete(&*metadata, image, 30).await;
    assert_eq!(metadata.forget_deleted_manifests(at(30 + END), 10).await.unwrap(), 1);
    assert_eq!(metadata.restore_manifest(&wish(40)).await.unwrap(), Restore::Unknown);
}

/// GR-28: what it needs is there, can be saved, or is named.
pub async fn gr28_a_restored_manifest_has_its_blobs(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    let record = ManifestRecord { blobs: vec![blob], ..manifest("a", "image") };
    let image = push(&*metadata, record.clone()).await;
    delete(&*metadata, image, 20).await;
    let wish = later(record, 2 * END);
    let wish = ManifestRecord { now: at(30), ..wish };

    // The link was deleted as well; another repository still has the content.
    have_blob(&*metadata, "b", "blob").await;
    assert!(metadata.delete_blob(&name("a"), &blob, &by("alice"), at(25), at(26)).await.unwrap());
    assert_eq!(metadata.restore_manifest(&wish).await.unwrap(), Restore::Restored { tags: vec![] });
    assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), Some(BLOB_BYTES));

    // Everything was due, and the content is condemned.
    delete(&*metadata, image, 40).await;
    assert_eq!(metadata.review_blobs(at(10 * END), at(20 * END), 10).await.unwrap().condemned, 1);
    assert_eq!(metadata.restore_manifest(&wish).await.unwrap(), Restore::Condemned(vec![blob]));
    assert!(metadata.revive_blob(&name("a"), &blob, at(11 * END)).await.unwrap());
    assert!(!metadata.revive_blob(&name("a"), &blob, at(11 * END)).await.unwrap(), "once");
    assert_eq!(metadata.restore_manifest(&wish).await.unwrap(), Restore::Restored { tags: vec![] });

    delete(&*metadata, image, 50).await;
    assert_eq!(metadata.review_blobs(at(20 * END), at(21 * END), 10).await.unwrap().condemned, 1);
    assert!(metadata.forget_blob(&blob, at(21 * END), at(21 * END)).await.unwrap().is_some());
    assert_eq!(metadata.restore_manifest(&wish).await.unwrap(), Restore::Missing(vec![blob]));
    assert!(!has_manifest(&*metadata, "a", image).await);
}
