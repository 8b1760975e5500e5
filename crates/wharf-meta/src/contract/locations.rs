//! Where content lies, for stores that put each upload somewhere of its own.

use std::sync::Arc;

use wharf_base::Location;

use super::fixture::*;
use crate::{BlobRecord, Metadata, RecordBlob, Removal};

type Subject = Arc<dyn Metadata>;

fn located(repository: &str, content: &str, location: &str) -> BlobRecord {
    BlobRecord { location: Location::recorded(location), ..blob_record(repository, content) }
}

async fn location(metadata: &dyn Metadata, content: &str) -> String {
    metadata.locations(&[digest(content)]).await.unwrap().remove(0).to_string()
}

/// The row says where the latest push put it; what was there before goes later, and only that.
pub async fn a_push_elsewhere_replaces_what_was_recorded(metadata: Subject) {
    assert_eq!(location(&*metadata, "blob").await, "");
    for (repository, place) in [("a", "one"), ("a", "one"), ("b", "two"), ("a", "three")] {
        let recorded = metadata.record_blob(&located(repository, "blob", place)).await.unwrap();
        assert_eq!(recorded, RecordBlob::Recorded);
        assert_eq!(location(&*metadata, "blob").await, place);
    }
    metadata.record_blob(&located("a", "other", "four")).await.unwrap();
    let asked = metadata.locations(&[digest("other"), digest("nobody's"), digest("blob")]).await.unwrap();
    assert_eq!(asked.iter().map(Location::as_str).collect::<Vec<_>>(), ["four", "", "three"]);

    assert_eq!(metadata.removals(at(89_999), 10).await.unwrap(), [], "somebody may still be reading it");
    let removals = metadata.removals(at(90_000), 10).await.unwrap();
    let gone = |place| Removal { digest: digest("blob"), location: Location::recorded(place), size_bytes: BLOB_BYTES };
    assert_eq!(removals, [gone("one"), gone("two")]);
    assert!(metadata.confirm_removal(&removals[0]).await.unwrap());
    metadata.strike_removal(&removals[0]).await.unwrap();
    assert!(!metadata.confirm_removal(&gone("three")).await.unwrap(), "it is named");
    assert_eq!(metadata.removals(at(90_000), 10).await.unwrap(), [gone("two")]);
    let places = ["one", "two", "three", "four"].map(Location::recorded);
    assert_eq!(metadata.unlocated(&places).await.unwrap(), [places[0].clone()]);
}

/// The place goes with the row, and comes back with the next push.
pub async fn what_is_forgotten_says_where_it_lies(metadata: Subject) {
    let blob = digest("blob");
    metadata.record_blob(&located("a", "blob", "one")).await.unwrap();
    metadata.review_blobs(at(86_400), at(86_400), 10).await.unwrap();
    let removal = metadata.forget_blob(&blob, at(86_400), at(86_400)).await.unwrap().unwrap();
    assert_eq!(removal.location, Location::recorded("one"));
    assert_eq!(metadata.removals(at(86_400), 10).await.unwrap(), std::slice::from_ref(&removal));
    // Somebody pushes it again before the object is gone: another one, which nothing touches.
    metadata.record_blob(&located("a", "blob", "two")).await.unwrap();
    assert!(metadata.confirm_removal(&removal).await.unwrap());
    metadata.strike_removal(&removal).await.unwrap();
    assert_eq!(location(&*metadata, "blob").await, "two");
    assert_eq!(metadata.removals(at(1_000_000_000), 10).await.unwrap(), []);
}

/// Bytes whose session is gone are nobody's.
pub async fn what_could_not_be_recorded_is_to_go(metadata: Subject) {
    let id = begin(&*metadata, 1, "a", "alice").await;
    let record = BlobRecord { upload: Some(id), now: at(5), ..located("a", "blob", "one") };
    assert_eq!(metadata.record_blob(&record).await.unwrap(), RecordBlob::Recorded);
    // Twice the same request, each with an object of its own.
    let again = BlobRecord { location: Location::recorded("two"), ..record.clone() };
    assert_eq!(metadata.record_blob(&again).await.unwrap(), RecordBlob::Recorded);
    assert_eq!(location(&*metadata, "blob").await, "one");
    // An answer that was lost, and the same once more.
    assert_eq!(metadata.record_blob(&record).await.unwrap(), RecordBlob::Recorded);
    let late = BlobRecord { upload: Some(upload_id(9)), now: at(5), ..located("a", "blob", "three") };
    assert_eq!(metadata.record_blob(&late).await.unwrap(), RecordBlob::UploadGone);
    let removals = metadata.removals(at(5), 10).await.unwrap();
    let mut places: Vec<_> = removals.iter().map(|removal| removal.location.as_str()).collect();
    places.sort_unstable();
    assert_eq!(places, ["three", "two"]);
}

/// Only what was looked at is set aside, and it comes back from where the store has put it.
pub async fn content_is_set_aside_where_it_was_seen(metadata: Subject) {
    let blob = digest("blob");
    metadata.record_blob(&located("a", "blob", "one")).await.unwrap();
    let (one, two) = (Location::recorded("one"), Location::recorded("two"));
    metadata.record_blob(&located("a", "blob", "two")).await.unwrap();
    let by = by("scrub");
    assert!(!metadata.set_aside_blob(&blob, &one, "bits", &by, at(9)).await.unwrap(), "a push has healed it");
    assert!(metadata.set_aside_blob(&blob, &two, "bits", &by, at(9)).await.unwrap());
    assert_eq!(location(&*metadata, "blob").await, "", "the store has it");
    assert!(metadata.bring_back_blob(&blob, &one, &by, at(10)).await.unwrap());
    assert_eq!(location(&*metadata, "blob").await, "one");
}
