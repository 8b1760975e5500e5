//! Pushing manifests.

use std::sync::Arc;

use bytes::Bytes;
use wharf_oci::{Algorithm, Digest, Reference};

use super::fixture::*;
use crate::{Condition, ManifestHead, ManifestRecord, Metadata, Missing, RecordManifest, StoredManifest};

type Subject = Arc<dyn Metadata>;

const CREATED: RecordManifest = RecordManifest::Recorded { created: true };
const REPEATED: RecordManifest = RecordManifest::Recorded { created: false };

/// Byte for byte, with the digest it was pushed with, of either algorithm (P-197, P-242).
pub async fn p209_a_push_is_pullable_by_digest_and_tag(metadata: Subject) {
    let body = Bytes::from_static(b" {\"bytes\": \"kept \xff as they are\"} ");
    let wide = Digest::of(Algorithm::Sha512, &body);
    let record = ManifestRecord { body: body.clone(), digest: wide, ..tagged("a", "", &["v1", "v2"]) };
    assert_eq!(metadata.record_manifest(&record).await.unwrap(), CREATED);

    let stored = StoredManifest { digest: wide, media_type: MANIFEST.to_owned(), body: body.clone(), is_intact: false };
    let head =
        ManifestHead { digest: wide, media_type: MANIFEST.to_owned(), size_bytes: u64::try_from(body.len()).unwrap() };
    for reference in [Reference::Digest(wide), by_tag("v1"), by_tag("v2")] {
        assert_eq!(metadata.manifest(&name("a"), &reference).await.unwrap(), Some(stored.clone()));
        assert_eq!(metadata.manifest_head(&name("a"), &reference).await.unwrap(), Some(head.clone()));
    }

    let large = Bytes::from(vec![b' '; 4 << 20]);
    let record = ManifestRecord { body: large.clone(), ..tagged("a", "large", &["large"]) };
    assert_eq!(metadata.record_manifest(&record).await.unwrap(), CREATED);
    assert_eq!(metadata.manifest(&name("a"), &by_tag("large")).await.unwrap().unwrap().body, large);
}

/// Each once, in the manifest's order, and nothing has changed.
pub async fn p223_missing_blobs_refuse_the_push(metadata: Subject) {
    let [one, two, three] = ["1", "2", "3"].map(digest);
    let image = ManifestRecord { blobs: vec![three, one, two, three], ..tagged("a", "image", &["v1"]) };
    let missing = |blobs: &[Digest]| RecordManifest::Missing { blobs: blobs.to_vec(), children: vec![] };

    assert_eq!(metadata.record_manifest(&image).await.unwrap(), missing(&[three, one, two]));
    assert_eq!(metadata.tags(&name("a"), None, 1).await.unwrap(), None, "no repository either");
    have_blob(&*metadata, "a", "1").await;
    assert_eq!(metadata.record_manifest(&image).await.unwrap(), missing(&[three, two]));
    assert!(!has_manifest(&*metadata, "a", image.digest).await);
    assert_eq!(all_tags(&*metadata, "a").await, Vec::<String>::new());

    have_blob(&*metadata, "a", "2").await;
    have_blob(&*metadata, "a", "3").await;
    assert_eq!(metadata.record_manifest(&image).await.unwrap(), CREATED);
    assert_eq!(resolve(&*metadata, "a", "v1").await, Some(image.digest));
}

/// Knowing a digest is not enough to reference it.
pub async fn s017_a_blob_of_another_repository_does_not_count(metadata: Subject) {
    let blob = have_blob(&*metadata, "victim", "secret").await;
    let child = push(&*metadata, manifest("victim", "child")).await;
    let image = ManifestRecord { blobs: vec![blob], ..manifest("thief", "image") };
    let missing = RecordManifest::Missing { blobs: vec![blob], children: vec![] };
    assert_eq!(metadata.record_manifest(&image).await.unwrap(), missing);
    let list = index("thief", "index", &[child, blob]);
    let missing = RecordManifest::Missing { blobs: vec![], children: vec![child, blob] };
    assert_eq!(metadata.record_manifest(&list).await.unwrap(), missing);

    let allowed = ManifestRecord { missing_blobs: Missing::Allow, ..image };
    assert_eq!(metadata.record_manifest(&allowed).await.unwrap(), CREATED);
    assert_eq!(metadata.blob(&name("thief"), &blob).await.unwrap(), None, "naming a blob gives no right to it");
}

/// Either will do; nested indexes and repeated children are fine (P-227).
pub async fn p225_children_are_manifests_or_blobs(metadata: Subject) {
    let image = push(&*metadata, manifest("a", "image")).await;
    let blob = have_blob(&*metadata, "a", "blob").await;
    let unknown = digest("unknown");
    let refused = index("a", "index", &[unknown, image, blob, unknown]);
    let missing = RecordManifest::Missing { blobs: vec![], children: vec![unknown] };
    assert_eq!(metadata.record_manifest(&refused).await.unwrap(), missing);

    let list = push(&*metadata, index("a", "index", &[image, blob, image])).await;
    push(&*metadata, index("a", "nested", &[list])).await;
    push(&*metadata, index("a", "empty", &[])).await;
    // One name in both lists, and more than once.
    let both = ManifestRecord { blobs: vec![blob, blob], ..index("a", "both", &[blob, image, blob]) };
    assert_eq!(metadata.record_manifest(&both).await.unwrap(), CREATED);
    let sparse = ManifestRecord { missing_blobs: Missing::Allow, missing_children: Missing::Allow, ..both.clone() };
    let sparse = ManifestRecord { blobs: vec![unknown, blob], children: vec![blob, unknown], ..sparse };
    assert_eq!(
        metadata.record_manifest(&ManifestRecord { digest: digest("sparse"), ..sparse }).await.unwrap(),
        CREATED
    );
}

/// Each kind by its own switch.
pub async fn p226_missing_references_may_be_allowed(metadata: Subject) {
    let (blob, child) = (digest("blob"), digest("child"));
    let strict = ManifestRecord { blobs: vec![blob], children: vec![child], ..tagged("a", "sparse", &["v1"]) };
    let answer = async |missing_blobs, missing_children| {
        let record = ManifestRecord { missing_blobs, missing_children, ..strict.clone() };
        metadata.record_manifest(&record).await.unwrap()
    };
    use Missing::{Allow, Refuse};
    let missing = |blobs, children| RecordManifest::Missing { blobs, children };
    assert_eq!(answer(Refuse, Refuse).await, missing(vec![blob], vec![child]));
    assert_eq!(answer(Allow, Refuse).await, missing(vec![], vec![child]));
    assert_eq!(answer(Refuse, Allow).await, missing(vec![blob], vec![]));
    assert_eq!(answer(Allow, Allow).await, CREATED);
    assert_eq!(answer(Allow, Allow).await, REPEATED);
    assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), None);

    // What was missing may come later, and the manifest may go.
    have_blob(&*metadata, "a", "blob").await;
    have_blob(&*metadata, "a", "child").await;
    assert_eq!(answer(Refuse, Refuse).await, REPEATED);
    let deleted = metadata.delete_manifest(&name("a"), &strict.digest, &by("alice"), at(20), at(30)).await.unwrap();
    assert!(deleted.is_some());
    assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), Some(BLOB_BYTES));
}

/// Not even the place in the list of referrers.
pub async fn p232_a_repeated_push_changes_nothing(metadata: Subject) {
    let subject = digest("subject");
    let record = ManifestRecord { subject: Some(subject.into()), ..tagged("a", "image", &["v1"]) };
    assert_eq!(metadata.record_manifest(&record).await.unwrap(), CREATED);
    let before = metadata.referrers(&name("a"), &subject.into(), &[], None, 10).await.unwrap();
    let again = ManifestRecord { now: at(50), by: by("bob"), ..record };
    assert_eq!(metadata.record_manifest(&again).await.unwrap(), REPEATED);
    assert_eq!(metadata.referrers(&name("a"), &subject.into(), &[], None, 10).await.unwrap(), before);
    assert_eq!(resolve(&*metadata, "a", "v1").await, Some(again.digest));
    assert_eq!(all_tags(&*metadata, "a").await, ["v1"]);

    let more = tagged("a", "image", &["v2"]);
    assert_eq!(metadata.record_manifest(&more).await.unwrap(), REPEATED);
    assert_eq!(all_tags(&*metadata, "a").await, ["v1", "v2"], "new tags are added");
}

/// Within a repository; another one is free to differ.
pub async fn b054_the_same_bytes_under_another_media_type_conflict(metadata: Subject) {
    push(&*metadata, tagged("a", "image", &["v1"])).await;
    let other = ManifestRecord { media_type: INDEX.to_owned(), ..tagged("a", "image", &["v2"]) };
    assert_eq!(metadata.record_manifest(&other).await.unwrap(), RecordManifest::MediaTypeConflict);
    assert_eq!(all_tags(&*metadata, "a").await, ["v1"]);
    let stored = metadata.manifest(&name("a"), &Reference::Digest(other.digest)).await.unwrap().unwrap();
    assert_eq!(stored.media_type, MANIFEST);
    push(&*metadata, ManifestRecord { repository: name("b"), ..other }).await;
}

/// One that may not move holds back all others, and the manifest with them.
pub async fn p237_all_tags_move_or_none(metadata: Subject) {
    let old = push(&*metadata, tagged("a", "old", &["b"])).await;
    let new = ManifestRecord { condition: Condition::TagAbsent, ..tagged("a", "new", &["a", "b", "c"]) };
    assert_eq!(metadata.record_manifest(&new).await.unwrap(), RecordManifest::ConditionFailed);
    assert!(!has_manifest(&*metadata, "a", new.digest).await);
    assert_eq!(all_tags(&*metadata, "a").await, ["b"]);
    assert_eq!(resolve(&*metadata, "a", "b").await, Some(old));

    push(&*metadata, tagged("a", "new", &["c", "a", "b", "a"])).await;
    for tag in ["a", "b", "c"] {
        assert_eq!(resolve(&*metadata, "a", tag).await, Some(new.digest));
    }
}

/// `If-Match` and `If-None-Match`.
pub async fn p233_conditions_are_decided_on_the_tag(metadata: Subject) {
    let answer = async |body: &str, condition| {
        let record = ManifestRecord { condition, ..tagged("a", body, &["v1"]) };
        metadata.record_manifest(&record).await.unwrap()
    };
    let (one, two) = (digest("one"), digest("two"));
    assert_eq!(answer("one", Condition::TagIs(one)).await, RecordManifest::ConditionFailed);
    assert_eq!(metadata.tags(&name("a"), None, 1).await.unwrap(), None, "no repository either");
    assert_eq!(answer("one", Condition::TagAbsent).await, CREATED);
    assert_eq!(answer("two", Condition::TagAbsent).await, RecordManifest::ConditionFailed);
    assert_eq!(answer("two", Condition::TagIs(two)).await, RecordManifest::ConditionFailed);
    assert_eq!(resolve(&*metadata, "a", "v1").await, Some(one));
    assert_eq!(answer("two", Condition::TagIs(one)).await, CREATED);
    assert_eq!(resolve(&*metadata, "a", "v1").await, Some(two));
    assert_eq!(answer("one", Condition::TagIs(two)).await, REPEATED);

    let unconditional = ManifestRecord { condition: Condition::TagAbsent, ..manifest("a", "without a tag") };
    assert_eq!(metadata.record_manifest(&unconditional).await.unwrap(), CREATED, "nothing to hold for no tag");
}

async fn at_once(metadata: &Subject, records: impl Iterator<Item = ManifestRecord>) -> Vec<(Digest, RecordManifest)> {
    let tasks: Vec<_> = records
        .map(|record| {
            let metadata = Arc::clone(metadata);
            tokio::spawn(async move { (record.digest, metadata.record_manifest(&record).await.unwrap()) })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

/// 64 of them: the tag ends at one, and every manifest is there.
pub async fn p232_concurrent_pushes_to_one_tag_all_succeed(metadata: Subject) {
    let answers = at_once(&metadata, (0..64).map(|number| tagged("a", &format!("image {number}"), &["v1"]))).await;
    for (digest, answer) in &answers {
        assert_eq!(*answer, CREATED);
        assert!(has_manifest(&*metadata, "a", *digest).await);
    }
    let last = resolve(&*metadata, "a", "v1").await.unwrap();
    assert!(answers.iter().any(|(digest, _)| *digest == last));
}

/// 64 creations of one tag (S-014).
pub async fn p233_of_concurrent_creations_one_wins(metadata: Subject) {
    let records = (0..64).map(|number| ManifestRecord {
        condition: Condition::TagAbsent,
        ..tagged("a", &format!("image {number}"), &["v1"])
    });
    let answers = at_once(&metadata, records).await;
    assert_one_won(&metadata, &answers).await;
}

/// 64 replacements of the same state.
pub async fn p233_of_concurrent_replacements_one_wins(metadata: Subject) {
    let old = push(&*metadata, tagged("a", "old", &["v1"])).await;
    let records = (0..64).map(|number| ManifestRecord {
        condition: Condition::TagIs(old),
        ..tagged("a", &format!("image {number}"), &["v1"])
    });
    let answers = at_once(&metadata, records).await;
    assert_one_won(&metadata, &answers).await;
}

async fn assert_one_won(metadata: &Subject, answers: &[(Digest, RecordManifest)]) {
    let winners: Vec<Digest> =
        answers.iter().filter(|(_, answer)| *answer == CREATED).map(|(digest, _)| *digest).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(resolve(&**metadata, "a", "v1").await, Some(winners[0]));
    for (digest, answer) in answers {
        if *digest != winners[0] {
            assert_eq!(*answer, RecordManifest::ConditionFailed);
            assert!(!has_manifest(&**metadata, "a", *digest).await, "a refusal changes nothing");
        }
    }
}
