//! What a check reads and what repairs write: pages are whole, damage takes no claim away, and a mended row is the right
//! one.

use std::sync::Arc;

use wharf_base::Location;
use wharf_oci::Digest;

use super::fixture::*;
use crate::{CheckCursor, ManifestRecord, Metadata, Missing, Page, RecordManifest, Reviewed, Unreviewed};

type Subject = Arc<dyn Metadata>;

/// Walks all pages of one length; every length sees the same rows once.
async fn all_rows<T, F>(limit: u32, page: impl Fn(Option<CheckCursor>, u32) -> F) -> Vec<T>
where
    F: Future<Output = Page<T>>,
{
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = page(after, limit).await;
        assert!(page.rows.len() <= limit as usize);
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return rows;
        }
    }
}

/// Content, associations, manifests, tags, their history: in pages of any length.
pub async fn pages_of_any_length_hold_all_rows_once(metadata: Subject) {
    for number in 0..7 {
        let blob = have_blob(&*metadata, "a", &format!("blob {number}")).await;
        have_blob(&*metadata, "b", &format!("blob {number}")).await;
        let image = ManifestRecord { blobs: vec![blob], ..tagged("a", &format!("image {number}"), &["tag"]) };
        push(&*metadata, image).await;
        begin(&*metadata, number, "a", "alice").await;
    }
    for limit in [1, 2, 3, 7, 8, 1_000] {
        let blobs = all_rows(limit, async |after: Option<CheckCursor>, limit| {
            metadata.check_blobs(after.as_ref(), limit).await.unwrap()
        });
        let blobs = blobs.await;
        assert_eq!(blobs.len(), 7, "pages of {limit}");
        assert!(blobs.iter().all(|blob| blob.state == "live" && blob.is_referenced && blob.is_associated));
        let links = all_rows(limit, async |after: Option<CheckCursor>, limit| {
            metadata.check_links(after.as_ref(), limit).await.unwrap()
        });
        let links = links.await;
        assert_eq!(links.len(), 14, "pages of {limit}");
        assert!(links.iter().all(|link| link.has_review && link.is_referenced == (link.repository == "a")));
        let manifests = all_rows(limit, async |after: Option<CheckCursor>, limit| {
            metadata.check_manifests(after.as_ref(), limit).await.unwrap()
        });
        let manifests = manifests.await;
        assert_eq!(manifests.len(), 7, "pages of {limit}");
        assert!(manifests.iter().all(|manifest| manifest.holds.len() == 1 && manifest.is_of_one_repository));
        let tagged: usize = manifests.iter().map(|manifest| manifest.tags.len()).sum();
        assert_eq!(tagged, 1);
        let tags = all_rows(limit, async |after: Option<CheckCursor>, limit| {
            metadata.check_tags(after.as_ref(), limit).await.unwrap()
        });
        let tags = tags.await;
        assert_eq!((tags.len(), tags[0].version, tags[0].last_version), (1, 7, Some(7)));
        assert_eq!(tags[0].last_digest, tags[0].digest);
        let changes = all_rows(limit, async |after: Option<CheckCursor>, limit| {
            metadata.check_changes(after.as_ref(), limit).await.unwrap()
        });
        let changes = changes.await;
        let versions: Vec<i64> = changes.iter().map(|change| change.version).collect();
        assert_eq!(versions, [1, 2, 3, 4, 5, 6, 7], "pages of {limit}");
        assert!(changes.iter().skip(1).all(|change| change.before == Some(change.from.clone())));
        let uploads = all_rows(limit, async |after: Option<CheckCursor>, limit| {
            metadata.check_uploads(after.as_ref(), limit).await.unwrap()
        });
        assert_eq!(uploads.await.len(), 7, "pages of {limit}");
    }
    assert_eq!(metadata.check_database(true).await.unwrap(), Vec::<String>::new());
}

/// What lies in the store and is named by nothing; what is noted to be removed is named.
pub async fn r024_only_what_no_row_names_is_unnamed(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    let other = digest("nobody's");
    assert_eq!(metadata.unnamed(&[blob, other]).await.unwrap(), [other]);
    metadata.review_blobs(at(86_400), at(86_400), 10).await.unwrap();
    let removal = metadata.forget_blob(&blob, at(86_400), at(86_400)).await.unwrap().unwrap();
    assert_eq!(metadata.unnamed(&[blob, other]).await.unwrap(), [other], "it is on its way");
    metadata.strike_removal(&removal).await.unwrap();
    assert_eq!(metadata.unnamed(&[blob, other]).await.unwrap(), [blob, other]);
    let open = begin(&*metadata, 1, "a", "alice").await;
    assert_eq!(metadata.sessionless(&[open, upload_id(2)]).await.unwrap(), [upload_id(2)]);
}

/// Damaged content is served by nobody and kept by everybody; the next push serves it everywhere again.
pub async fn damaged_content_waits_for_a_push(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    have_blob(&*metadata, "b", "blob").await;
    let image = ManifestRecord { blobs: vec![blob], ..tagged("a", "image", &["v1"]) };
    push(&*metadata, image.clone()).await;

    assert!(metadata.set_aside_blob(&blob, &Location::BY_DIGEST, "bits", &by("scrub"), at(10)).await.unwrap());
    assert!(!metadata.set_aside_blob(&blob, &Location::BY_DIGEST, "bits", &by("scrub"), at(10)).await.unwrap(), "once");
    for repository in ["a", "b"] {
        assert_eq!(metadata.blob(&name(repository), &blob).await.unwrap(), None);
        assert!(metadata.is_set_aside(&name(repository), &blob).await.unwrap());
    }
    assert!(!metadata.is_set_aside(&name("c"), &blob).await.unwrap(), "S-011: nobody else is told");
    assert_eq!(metadata.count_set_aside().await.unwrap(), 1);
    let affected = metadata.affected(&blob, 10).await.unwrap();
    assert_eq!(affected.len(), 1);
    assert_eq!((&*affected[0].repository, affected[0].tag.as_deref()), ("a", Some("v1")));
    let refused = RecordManifest::Missing { blobs: vec![blob], children: vec![] };
    assert_eq!(metadata.record_manifest(&image).await.unwrap(), refused);

    have_blob(&*metadata, "c", "blob").await;
    for repository in ["a", "b", "c"] {
        assert_eq!(metadata.blob(&name(repository), &blob).await.unwrap(), Some(BLOB_BYTES), "{repository}");
    }
    assert!(!metadata.bring_back_blob(&blob, &Location::BY_DIGEST, &by("check"), at(11)).await.unwrap(), "it is live");
    assert!(metadata.set_aside_blob(&blob, &Location::BY_DIGEST, "bits", &by("scrub"), at(12)).await.unwrap());
    assert!(metadata.bring_back_blob(&blob, &Location::BY_DIGEST, &by("check"), at(13)).await.unwrap());
    assert_eq!(metadata.blob(&name("b"), &blob).await.unwrap(), Some(BLOB_BYTES));
}

/// Damaged content that nothing needs goes like any other.
pub async fn damaged_content_is_collected(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    assert!(metadata.set_aside_blob(&blob, &Location::BY_DIGEST, "bits", &by("scrub"), at(10)).await.unwrap());
    let reviewed = metadata.review_blobs(at(86_400), at(86_400), 10).await.unwrap();
    assert_eq!(reviewed, Reviewed { looked_at: 1, released: 1, condemned: 1, condemned_bytes: BLOB_BYTES });
    assert!(metadata.forget_blob(&blob, at(86_400), at(86_400)).await.unwrap().is_some());
}

/// New content is at the end of the queue, and what is set aside in none.
pub async fn what_was_verified_longest_ago_is_due_first(metadata: Subject) {
    let blobs: Vec<Digest> = [
        have_blob(&*metadata, "a", "one").await,
        have_blob(&*metadata, "a", "two").await,
        have_blob(&*metadata, "a", "three").await,
    ]
    .to_vec();
    assert_eq!(metadata.due_for_scrub(at(0), 10).await.unwrap(), [], "all have just been hashed");
    metadata.note_verified(&blobs[1..2], at(5_000)).await.unwrap();
    metadata.note_verified(&blobs[..1], at(6_000)).await.unwrap();
    metadata.note_verified(&blobs[2..], at(4_000)).await.unwrap();
    let due = async |before, limit| -> Vec<Digest> {
        metadata.due_for_scrub(at(before), limit).await.unwrap().into_iter().map(|(digest, _)| digest).collect()
    };
    assert_eq!(due(6_000, 10).await, [blobs[2], blobs[1], blobs[0]]);
    assert_eq!(due(6_000, 2).await, [blobs[2], blobs[1]]);
    assert_eq!(due(4_999, 10).await, [blobs[2]]);
    assert_eq!(metadata.verified_longest_ago().await.unwrap(), Some(at(4_000)));
    metadata.set_aside_blob(&blobs[2], &Location::BY_DIGEST, "bits", &by("scrub"), at(7_000)).await.unwrap();
    assert_eq!(due(6_000, 10).await, [blobs[1], blobs[0]]);
}

/// Only an association that nothing would ever look at again.
pub async fn a_review_is_entered_only_where_none_is_and_none_needed(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    let held = have_blob(&*metadata, "a", "held").await;
    push(&*metadata, ManifestRecord { blobs: vec![held], ..manifest("a", "image") }).await;
    // The review of what is held is struck, and that is right.
    metadata.review_blobs(at(86_399), at(86_400), 10).await.unwrap();
    let link = |repository: &str, digest| Unreviewed { repository: name(repository), digest };
    let links = [link("a", blob), link("a", held), link("b", blob), link("nowhere", blob)];
    assert_eq!(metadata.review_links(&links, &by("check"), at(10), at(20)).await.unwrap(), 0);
    assert_eq!(metadata.review_due(&name("a"), &blob).await.unwrap(), Some(at(86_400)), "an entry stays as it is");
}

/// Nothing that is about to go and that nothing needs is kept.
pub async fn only_needed_content_is_rescued(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    assert!(!metadata.rescue_blob(&blob, &by("check"), at(1)).await.unwrap(), "it is live");
    metadata.review_blobs(at(86_400), at(90_000), 10).await.unwrap();
    assert!(!metadata.rescue_blob(&blob, &by("check"), at(86_401)).await.unwrap(), "nothing needs it");
    assert_eq!(metadata.condemned(at(90_000), 10).await.unwrap(), [blob]);
}

/// What follows from a manifest's bytes is written anew, and only for these bytes.
pub async fn a_manifest_is_described_again(metadata: Subject) {
    let (first, second) = (have_blob(&*metadata, "a", "1").await, have_blob(&*metadata, "a", "2").await);
    let right = ManifestRecord { blobs: vec![first], ..manifest("a", "image") };
    // As a damaged row would have it.
    let wrong = ManifestRecord { blobs: vec![second], artifact_type: Some("x/y".to_owned()), ..right.clone() };
    push(&*metadata, wrong).await;
    let other = ManifestRecord { body: bytes::Bytes::from_static(b"other"), ..right.clone() };
    assert!(!metadata.describe_manifest(&other).await.unwrap(), "other bytes");
    let mended = ManifestRecord { missing_blobs: Missing::Allow, ..right.clone() };
    assert!(metadata.describe_manifest(&mended).await.unwrap());
    let page = metadata.check_manifests(None, 10).await.unwrap();
    assert_eq!(page.rows[0].holds, [first.to_string()]);
    assert_eq!(page.rows[0].artifact_type, right.artifact_type);
    assert!(metadata.review_due(&name("a"), &second).await.unwrap().is_some(), "what it let go is looked at");
    let elsewhere = ManifestRecord { repository: name("b"), ..right };
    assert!(!metadata.describe_manifest(&elsewhere).await.unwrap());
}

/// The same push replaces bytes that rotted, with all that follows from them.
pub async fn ft09_the_same_push_replaces_other_bytes(metadata: Subject) {
    let blob = have_blob(&*metadata, "a", "blob").await;
    let right = ManifestRecord { blobs: vec![blob], ..tagged("a", "image", &["v1"]) };
    let rotten = ManifestRecord { body: bytes::Bytes::from_static(b"rotten"), blobs: vec![], ..right.clone() };
    push(&*metadata, rotten).await;
    assert_eq!(metadata.record_manifest(&right).await.unwrap(), RecordManifest::Recorded { created: false });
    let found = metadata.manifest(&name("a"), &by_tag("v1")).await.unwrap().unwrap();
    assert_eq!(found.body, right.body);
    assert_eq!(metadata.check_manifests(None, 10).await.unwrap().rows[0].holds, [blob.to_string()]);
}

/// The next time everything is listed survives a restart.
pub async fn a_sweep_is_planned(metadata: Subject) {
    assert_eq!(metadata.sweep_due().await.unwrap(), None);
    metadata.plan_sweep(at(50), at(1)).await.unwrap();
    assert_eq!(metadata.sweep_due().await.unwrap(), Some(at(50)));
    metadata.plan_sweep(at(90), at(50)).await.unwrap();
    assert_eq!(metadata.sweep_due().await.unwrap(), Some(at(90)));
}

/// Its time is over, and expiry does the rest.
pub async fn a_session_is_ended(metadata: Subject) {
    let id = begin(&*metadata, 1, "a", "alice").await;
    assert!(metadata.expire_upload(id, &by("check"), at(2)).await.unwrap());
    assert!(!metadata.expire_upload(id, &by("check"), at(2)).await.unwrap(), "once");
    assert_eq!(metadata.expired_uploads(at(2), 10).await.unwrap(), [id]);
    assert!(!metadata.expire_upload(upload_id(9), &by("check"), at(2)).await.unwrap());
}
