//! Collection: what is due is looked at, what nobody needs goes, what somebody needs stays.

use std::sync::Arc;

use wharf_base::Location;
use wharf_oci::Digest;

use super::fixture::*;
use crate::{
    BlobMount, DueManifest, Hold, ManifestCursor, ManifestRecord, Metadata, RecordBlob, Removal, RemovedBlob, Retired,
    Reviewed,
};

type Subject = Arc<dyn Metadata>;

/// When what the fixture records is due.
const DUE: u64 = 86_400;

const NOTHING: Reviewed = Reviewed { looked_at: 0, released: 0, condemned: 0, condemned_bytes: 0 };

/// Reviews everything that is due `seconds` after the beginning; what is condemned goes 100 s later.
async fn review(metadata: &dyn Metadata, seconds: u64) -> Reviewed {
    metadata.review_blobs(at(seconds), at(seconds + 100), 1_000).await.unwrap()
}

async fn serves(metadata: &dyn Metadata, repository: &str, digest: Digest) -> bool {
    metadata.blob(&name(repository), &digest).await.unwrap().is_some()
}

async fn due(metadata: &dyn Metadata, repository: &str, digest: Digest) -> Option<wharf_base::Timestamp> {
    metadata.review_due(&name(repository), &digest).await.unwrap()
}

async fn have_image(metadata: &dyn Metadata, repository: &str, blob: Digest) -> Digest {
    push(metadata, ManifestRecord { blobs: vec![blob], ..manifest(repository, "image") }).await
}

/// The whole way: link, content, row, note.
pub async fn what_nothing_references_goes_step_by_step(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    assert_eq!(review(&*metadata, DUE - 1).await, NOTHING);
    assert!(serves(&*metadata, "a", blob).await);
    let backlog = metadata.backlog(at(DUE)).await.unwrap();
    assert_eq!((backlog.reviews, backlog.reviews_due, backlog.oldest_due), (1, 1, Some(at(DUE))));

    let reviewed = review(&*metadata, DUE).await;
    assert_eq!(reviewed, Reviewed { looked_at: 1, released: 1, condemned: 1, condemned_bytes: BLOB_BYTES });
    assert!(!serves(&*metadata, "a", blob).await);
    assert_eq!(review(&*metadata, DUE).await, NOTHING);
    let backlog = metadata.backlog(at(DUE)).await.unwrap();
    assert_eq!((backlog.reviews, backlog.condemned, backlog.condemned_bytes), (0, 1, BLOB_BYTES));

    assert_eq!(metadata.condemned(at(DUE + 99), 10).await.unwrap(), []);
    assert_eq!(metadata.forget_blob(&blob, at(DUE + 99), at(DUE + 99)).await.unwrap(), None, "not before its time");
    assert_eq!(metadata.condemned(at(DUE + 100), 10).await.unwrap(), [blob]);
    let removal = Removal { digest: blob, location: Location::BY_DIGEST, size_bytes: BLOB_BYTES };
    assert_eq!(metadata.forget_blob(&blob, at(DUE + 100), at(DUE + 100)).await.unwrap(), Some(removal.clone()));
    assert_eq!(metadata.forget_blob(&blob, at(DUE + 100), at(DUE + 100)).await.unwrap(), None, "once");
    assert_eq!(metadata.removals(at(DUE + 100), 10).await.unwrap(), std::slice::from_ref(&removal));
    assert!(metadata.confirm_removal(&removal).await.unwrap());
    metadata.strike_removal(&removal).await.unwrap();
    assert_eq!(metadata.removals(at(DUE + 100), 10).await.unwrap(), []);
    assert_eq!(metadata.backlog(at(DUE + 100)).await.unwrap(), crate::Backlog::default());
}

/// GR-8, L6: and the loss of the last reference starts a whole grace period.
pub async fn gr8_what_a_manifest_references_stays(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    let image = have_image(&*metadata, "a", blob).await;
    assert_eq!(review(&*metadata, DUE).await, Reviewed { looked_at: 1, ..NOTHING });
    assert!(serves(&*metadata, "a", blob).await);
    assert_eq!(due(&*metadata, "a", blob).await, None, "nothing to look at while it is referenced");

    metadata.delete_manifest(&name("a"), &image, &by("alice"), at(DUE), at(2 * DUE)).await.unwrap().unwrap();
    assert_eq!(due(&*metadata, "a", blob).await, Some(at(2 * DUE)));
    assert_eq!(review(&*metadata, 2 * DUE - 1).await, NOTHING);
    assert_eq!(review(&*metadata, 2 * DUE).await.condemned, 1);
}

/// L2: each repository's link goes in its own time, the content with the last one.
pub async fn gr4_content_goes_with_its_last_link(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    let other = crate::BlobRecord { review_at: at(2 * DUE), ..blob_record("b", "blob") };
    assert_eq!(metadata.record_blob(&other).await.unwrap(), RecordBlob::Recorded);
    assert_eq!(review(&*metadata, DUE).await, Reviewed { looked_at: 1, released: 1, ..NOTHING });
    assert!(!serves(&*metadata, "a", blob).await);
    assert!(serves(&*metadata, "b", blob).await);
    assert_eq!(review(&*metadata, 2 * DUE).await.condemned, 1);
}

/// GR-15, P-135: the link is gone, the manifest goes on holding the content.
pub async fn gr15_a_manifest_holds_content_without_a_link(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    have_image(&*metadata, "a", blob).await;
    have_blob(&*metadata, "other", "blob").await;
    assert!(metadata.delete_blob(&name("a"), &blob, &by("alice"), at(20), at(DUE)).await.unwrap());
    assert_eq!(review(&*metadata, DUE).await, Reviewed { looked_at: 2, released: 1, ..NOTHING });
    let mount = BlobMount {
        from: name("a"),
        to: name("b"),
        digest: blob,
        by: by("alice"),
        now: at(DUE),
        review_at: at(2 * DUE),
    };
    assert!(!metadata.mount_blob(&mount).await.unwrap());
    assert_eq!(metadata.condemned(at(100 * DUE), 10).await.unwrap(), []);
    have_blob(&*metadata, "a", "blob").await;
    assert!(serves(&*metadata, "a", blob).await);
}

/// GR-4, GR-5: bytes placed anew make it live again, and the remover finds nothing to do.
pub async fn gr5_a_push_saves_condemned_content(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    assert_eq!(review(&*metadata, DUE).await.condemned, 1);
    let again = crate::BlobRecord { now: at(DUE), review_at: at(2 * DUE), ..blob_record("b", "blob") };
    assert_eq!(metadata.record_blob(&again).await.unwrap(), RecordBlob::Recorded);
    assert!(serves(&*metadata, "b", blob).await);
    assert_eq!(metadata.forget_blob(&blob, at(10 * DUE), at(10 * DUE)).await.unwrap(), None);
    assert_eq!(metadata.condemned(at(10 * DUE), 10).await.unwrap(), []);
}

/// GR-6: killed between row and file, pushed again, then the restart finds the note.
pub async fn gr6_a_note_does_not_outlive_a_new_push(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    review(&*metadata, DUE).await;
    assert!(metadata.forget_blob(&blob, at(2 * DUE), at(2 * DUE)).await.unwrap().is_some());
    have_blob(&*metadata, "b", "blob").await;
    let removal = Removal { digest: blob, location: Location::BY_DIGEST, size_bytes: BLOB_BYTES };
    assert!(!metadata.confirm_removal(&removal).await.unwrap());
    assert_eq!(metadata.removals(at(100 * DUE), 10).await.unwrap(), []);
    assert!(serves(&*metadata, "b", blob).await);
}

/// GR-9, P-196: whoever is told "it is there" finds it there for a grace period. What is far from due, or referenced, is
/// not written.
pub async fn gr9_a_look_keeps_what_is_nearly_due(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    let keep = async |repository: &str, seconds: u64| {
        metadata.keep_blob(&name(repository), &blob, at(seconds + DUE), at(seconds + DUE + 100)).await.unwrap()
    };
    assert_eq!(keep("a", 0).await, Some(BLOB_BYTES));
    assert_eq!(due(&*metadata, "a", blob).await, Some(at(DUE)), "far enough away");
    assert_eq!(keep("a", 50).await, Some(BLOB_BYTES));
    assert_eq!(due(&*metadata, "a", blob).await, Some(at(DUE + 150)));
    assert_eq!(keep("b", 50).await, None);
    assert_eq!(review(&*metadata, DUE + 149).await, NOTHING);

    have_image(&*metadata, "a", blob).await;
    review(&*metadata, DUE + 150).await;
    assert_eq!(keep("a", 2 * DUE).await, Some(BLOB_BYTES));
    assert_eq!(due(&*metadata, "a", blob).await, None);

    let gone = have_blob(&*metadata, "a", "gone").await;
    review(&*metadata, 3 * DUE).await;
    let kept = metadata.keep_blob(&name("a"), &gone, at(4 * DUE), at(5 * DUE)).await.unwrap();
    assert_eq!(kept, None, "GR-10: never yes for what is going");
}

/// A second mount, a repeated push: the later time counts.
pub async fn an_entry_only_moves_later(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    let earlier = crate::BlobRecord { review_at: at(10), ..blob_record("a", "blob") };
    metadata.record_blob(&earlier).await.unwrap();
    assert_eq!(due(&*metadata, "a", blob).await, Some(at(DUE)));
    metadata.put_off_review(at(DUE)).await.unwrap();
    assert_eq!(due(&*metadata, "a", blob).await, Some(at(DUE + 300)));
    metadata.put_off_review(at(DUE + 300)).await.unwrap();
    assert_eq!(due(&*metadata, "a", blob).await, Some(at(DUE + 900)));
    metadata.put_off_review(at(0)).await.unwrap();
    assert_eq!(due(&*metadata, "a", blob).await, Some(at(DUE + 900)), "nothing was due");
}

/// Pages of a preview hold what a review would do, and change nothing.
pub async fn a_preview_says_what_a_review_would_do(metadata: Subject) {
    for content in ["one", "two", "three"] {
        have_blob(&*metadata, "a", content).await;
    }
    have_blob(&*metadata, "b", "one").await;
    let kept = crate::BlobRecord { review_at: at(3 * DUE), ..blob_record("c", "two") };
    metadata.record_blob(&kept).await.unwrap();
    have_image(&*metadata, "a", digest("three")).await;

    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = metadata.preview_collection(at(DUE), after.as_ref(), 1).await.unwrap();
        found.extend(page);
        after = next;
        if after.is_none() {
            break;
        }
    }
    let mut said: Vec<_> = found.iter().map(|entry| (entry.repository.as_str(), entry.digest, entry.frees)).collect();
    said.sort_unstable();
    let mut expected = [("a", digest("one"), true), ("a", digest("two"), false), ("b", digest("one"), true)];
    expected.sort_unstable();
    assert_eq!(said, expected);
    let reviewed = review(&*metadata, DUE).await;
    assert_eq!((reviewed.looked_at, reviewed.released, reviewed.condemned), (4, 3, 1));
    assert_eq!(reviewed.condemned_bytes, BLOB_BYTES);
}

/// A hold stands until its time or until it is released.
pub async fn holds_stand_until_their_time(metadata: Subject) {
    let hold = |id: &str, until| Hold { id: id.to_owned(), reason: "why".to_owned(), until: at(until) };
    metadata.hold(&hold("one", 10), Some(&by("alice")), at(0)).await.unwrap();
    metadata.hold(&hold("two", 20), None, at(0)).await.unwrap();
    assert_eq!(metadata.holds(at(9)).await.unwrap(), [hold("one", 10), hold("two", 20)]);
    assert_eq!(metadata.holds(at(10)).await.unwrap(), [hold("two", 20)]);
    metadata.hold(&hold("one", 30), None, at(10)).await.unwrap();
    assert_eq!(metadata.holds(at(10)).await.unwrap(), [hold("one", 30), hold("two", 20)]);
    assert!(metadata.release_hold("one", Some(&by("alice")), at(11)).await.unwrap());
    assert!(!metadata.release_hold("one", None, at(11)).await.unwrap());
    assert_eq!(metadata.holds(at(11)).await.unwrap(), [hold("two", 20)]);
}

/// A line a removal, with the repository that had it last; what was saved has none.
pub async fn what_was_removed_is_listed_for_a_while(metadata: Subject) {
    let (first, second) = (have_blob(&*metadata, "a", "first").await, have_blob(&*metadata, "b/c", "second").await);
    for wanted in 1..=2 {
        metadata.review_blobs(at(DUE), at(DUE), 10).await.unwrap();
        // Placing it again saves it; the next time it is condemned anew.
        if wanted == 1 {
            metadata.record_blob(&blob_record("a/d", "first")).await.unwrap();
            assert_eq!(metadata.forget_blob(&first, at(DUE), at(DUE)).await.unwrap(), None);
        }
    }
    assert_eq!(metadata.removed_blobs(None, None, 10).await.unwrap(), [], "condemned only");
    for (digest, now) in [(second, DUE + 1), (first, DUE + 2)] {
        metadata.forget_blob(&digest, at(now), at(now)).await.unwrap().unwrap();
    }
    let all = metadata.removed_blobs(None, None, 10).await.unwrap();
    let said = |removed: &RemovedBlob| (removed.digest, removed.repository.clone().unwrap(), removed.removed_at);
    let expected = [(first, "a/d".to_owned(), at(DUE + 2)), (second, "b/c".to_owned(), at(DUE + 1))];
    assert_eq!(all.iter().map(said).collect::<Vec<_>>(), expected);
    assert_eq!((all[0].size_bytes, all[0].condemned_at, &*all[0].reason), (BLOB_BYTES, at(DUE), "unreferenced"));
    let page = metadata.removed_blobs(None, None, 1).await.unwrap();
    let cursor = page[0].cursor.to_string().parse().unwrap();
    assert_eq!(metadata.removed_blobs(None, Some(cursor), 10).await.unwrap(), all[1..]);
    assert_eq!(metadata.removed_blobs(Some(&second), None, 10).await.unwrap(), all[1..]);
    assert_eq!(metadata.forget_removed_blobs(at(DUE + 2), 10).await.unwrap(), 1);
    assert_eq!(metadata.removed_blobs(None, None, 10).await.unwrap(), all[..1]);
    metadata.note_removed_orphan(&second, 5, at(DUE + 3)).await.unwrap();
    let latest = metadata.removed_blobs(None, None, 10).await.unwrap().remove(0);
    assert_eq!((latest.digest, latest.size_bytes, &*latest.reason, latest.repository), (second, 5, "orphan", None));
}

async fn retire(metadata: &dyn Metadata, manifest: &Digest) -> Retired {
    let by = by("retention:a");
    metadata.retire_manifest(&name("a"), manifest, &by, at(2 * DUE), at(3 * DUE)).await.unwrap()
}

async fn due_digests(metadata: &dyn Metadata, seconds: u64) -> Vec<Digest> {
    let due = metadata.due_manifests(at(seconds), 10).await.unwrap();
    due.into_iter().map(|due| due.digest).collect()
}

/// What a tag names, an index lists, or refers to something that is there, stays; the rest can be restored.
pub async fn an_untagged_manifest_is_retired_unless_something_needs_it(metadata: Subject) {
    let old = push(&*metadata, tagged("a", "old", &["t"])).await;
    let new = push(&*metadata, tagged("a", "new", &["t"])).await;
    let child = push(&*metadata, tagged("a", "child", &["c"])).await;
    push(&*metadata, index("a", "parent", &[child])).await;
    let subject = Some(new.to_string().parse().unwrap());
    let referrer = push(&*metadata, ManifestRecord { subject, ..manifest("a", "referrer") }).await;
    assert!(metadata.delete_tag(&name("a"), &tag("c"), &by("bob"), at(20), at(DUE)).await.unwrap());

    assert_eq!(due_digests(&*metadata, DUE - 1).await, []);
    let due = metadata.due_manifests(at(DUE), 10).await.unwrap();
    let expected = |digest| DueManifest { repository: name("a"), digest, due_at: at(DUE), waited: false };
    assert_eq!(due, [expected(old), expected(child)]);
    for (digest, becomes) in
        [(new, Retired::Needed), (child, Retired::Needed), (referrer, Retired::Needed), (old, Retired::Deleted)]
    {
        assert_eq!(retire(&*metadata, &digest).await, becomes);
    }
    assert_eq!(due_digests(&*metadata, DUE).await, []);
    assert_eq!(retire(&*metadata, &old).await, Retired::Gone);
    assert!(!has_manifest(&*metadata, "a", old).await);
    let deleted = metadata.deleted_manifests(&name("a"), None, at(2 * DUE), 10).await.unwrap();
    assert_eq!(
        (deleted[0].digest, deleted[0].deleted_by.as_str(), deleted[0].until),
        (old, "retention:a", at(3 * DUE))
    );
    metadata.delete_manifest(&name("a"), &new, &by("bob"), at(DUE), at(2 * DUE)).await.unwrap().unwrap();
    assert_eq!(retire(&*metadata, &referrer).await, Retired::Deleted, "its subject is gone");
}

/// GR-12: waiting for the age of a manifest does not count when a tag came and went meanwhile.
pub async fn gr12_a_tag_that_moves_again_begins_the_wait_anew(metadata: Subject) {
    let old = push(&*metadata, tagged("a", "old", &["t"])).await;
    push(&*metadata, tagged("a", "new", &["t"])).await;
    let due = metadata.due_manifests(at(DUE), 10).await.unwrap();
    metadata.wait_for_manifests(&[(due[0].clone(), at(10 * DUE))]).await.unwrap();
    assert_eq!(due_digests(&*metadata, 10 * DUE - 1).await, []);
    assert!(metadata.due_manifests(at(10 * DUE), 10).await.unwrap()[0].waited);

    // It is tagged and loses the tag again; what was read before that says nothing any more.
    push(&*metadata, ManifestRecord { now: at(20), ..tagged("a", "old", &["t"]) }).await;
    push(&*metadata, ManifestRecord { now: at(21), ..tagged("a", "new", &["t"]) }).await;
    let again = metadata.due_manifests(at(10 * DUE), 10).await.unwrap();
    let of_old: Vec<_> = again.iter().filter(|due| due.digest == old).collect();
    assert!(!of_old[0].waited, "{again:?}");
    metadata.wait_for_manifests(&[(due[0].clone(), at(5 * DUE))]).await.unwrap();
    assert!(!metadata.due_manifests(at(10 * DUE), 10).await.unwrap().iter().any(|due| due.waited));
    metadata.keep_manifests(&again).await.unwrap();
    assert_eq!(due_digests(&*metadata, 100 * DUE).await, []);
}

/// In pieces of a bounded size, also where there is nothing to find.
pub async fn a_walk_finds_manifests_that_never_had_a_tag(metadata: Subject) {
    let mut never = Vec::new();
    for number in 0..7 {
        let body = format!("manifest {number}");
        if number % 3 == 0 {
            never.push(push(&*metadata, manifest("a", &body)).await);
        } else {
            push(&*metadata, tagged("a", &body, &[&format!("t{number}")])).await;
        }
    }
    let walk = async || {
        let (mut found, mut after) = (Vec::new(), Some(ManifestCursor::default()));
        while let Some(from) = after {
            let (piece, next) = metadata.walk_untagged(from, 2).await.unwrap();
            assert!(piece.len() <= 2);
            found.extend(piece);
            after = next;
        }
        found
    };
    let found = walk().await;
    assert_eq!(found.iter().map(|untagged| untagged.digest).collect::<Vec<_>>(), never);
    assert_eq!((found[0].repository.clone(), found[0].pushed_at), (name("a"), at(10)));
    let entries: Vec<_> = found.into_iter().map(|untagged| (untagged, at(DUE))).collect();
    metadata.enter_untagged(&entries).await.unwrap();
    metadata.enter_untagged(&entries).await.unwrap();
    assert_eq!(walk().await, []);
    assert!(metadata.due_manifests(at(DUE), 10).await.unwrap().iter().all(|due| due.waited));
}

/// Whatever step the collector stands at: a hold that has been set counts.
pub async fn gr36_nothing_is_forgotten_while_a_hold_stands(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    assert_eq!(review(&*metadata, DUE).await.condemned, 1);
    assert_eq!(metadata.condemned(at(DUE + 100), 10).await.unwrap(), [blob]);
    let hold = Hold { id: "backup".to_owned(), reason: "why".to_owned(), until: at(DUE + 200) };
    metadata.hold(&hold, None, at(DUE + 100)).await.unwrap();
    assert_eq!(metadata.forget_blob(&blob, at(DUE + 199), at(DUE + 199)).await.unwrap(), None, "it is held");
    assert!(metadata.forget_blob(&blob, at(DUE + 200), at(DUE + 200)).await.unwrap().is_some(), "the hold has run out");
}

/// Something may have gone since it ended.
pub async fn r061_a_hold_is_renewed_only_while_it_stands(metadata: Subject) {
    let hold = Hold { id: "backup".to_owned(), reason: "why".to_owned(), until: at(10) };
    assert!(!metadata.renew_hold("backup", at(20), at(0)).await.unwrap());
    metadata.hold(&hold, None, at(0)).await.unwrap();
    assert!(metadata.renew_hold("backup", at(20), at(9)).await.unwrap());
    assert_eq!(metadata.holds(at(19)).await.unwrap(), [Hold { until: at(20), ..hold.clone() }]);
    assert!(!metadata.renew_hold("backup", at(30), at(20)).await.unwrap());
    metadata.hold(&hold, None, at(0)).await.unwrap();
    assert!(metadata.release_hold("backup", None, at(1)).await.unwrap());
    assert!(!metadata.renew_hold("backup", at(30), at(2)).await.unwrap());
}
