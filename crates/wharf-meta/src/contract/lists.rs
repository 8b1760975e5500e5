//! Tags, catalog, referrers.

use std::collections::BTreeMap;
use std::sync::Arc;

use wharf_oci::{AnyDigest, Digest, RepositoryName, Tag};

use super::fixture::*;
use crate::{ManifestRecord, Metadata, Referrer, ReferrerCursor};

type Subject = Arc<dyn Metadata>;

/// `10 < 9 < A < a < a-1 < a.1 < a_1`.
pub async fn p257_tags_are_listed_in_byte_order(metadata: Subject) {
    let expected = ["10", "9", "A", "a", "a-1", "a.1", "a_1"];
    let shuffled = ["a.1", "9", "a_1", "a", "10", "a-1", "A"];
    push(&*metadata, tagged("a", "image", &shuffled)).await;
    push(&*metadata, tagged("b", "image", &["of-b"])).await;
    assert_eq!(all_tags(&*metadata, "a").await, expected);
}

/// Strictly after it, whether it is a tag or not; the pages in a row are the list.
pub async fn p261_tag_pages_follow_any_text(metadata: Subject) {
    push(&*metadata, tagged("a", "image", &["a", "b", "c", "d", "e"])).await;
    let page = async |after: Option<&str>, limit| {
        let tags = metadata.tags(&name("a"), after, limit).await.unwrap().expect("the repository exists");
        tags.iter().map(Tag::to_string).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 2).await, ["a", "b"]);
    assert_eq!(page(Some("b"), 2).await, ["c", "d"]);
    assert_eq!(page(Some("d"), 2).await, ["e"]);
    assert_eq!(page(Some("e"), 2).await, [""; 0]);
    assert_eq!(page(Some("b!"), 1).await, ["c"]);
    assert_eq!(page(Some(""), 1).await, ["a"]);
    assert_eq!(page(Some("~ nothing like a tag ' \" % _ é"), 5).await, [""; 0]);
    assert_eq!(page(Some("c"), 10_000).await, ["d", "e"]);
    assert_eq!(page(None, 0).await, [""; 0]);
}

/// Empty is one thing, unknown another.
pub async fn p256_an_unknown_repository_is_not_one_without_tags(metadata: Subject) {
    have_blob(&*metadata, "blobs-only", "blob").await;
    push(&*metadata, manifest("untagged", "image")).await;
    for limit in [0, 1, 10] {
        assert_eq!(metadata.tags(&name("unknown"), None, limit).await.unwrap(), None);
        assert_eq!(metadata.tags(&name("blobs-only"), None, limit).await.unwrap(), Some(vec![]));
        assert_eq!(metadata.tags(&name("untagged"), Some("x"), limit).await.unwrap(), Some(vec![]));
    }
}

/// In byte order, by pages; one whose last manifest is deleted disappears, and is known all the same.
pub async fn p283_the_catalog_lists_repositories_with_a_manifest(metadata: Subject) {
    for repository in ["b", "a/b", "a", "a-b", "c/d/e"] {
        push(&*metadata, manifest(repository, "image")).await;
    }
    have_blob(&*metadata, "aa", "blob").await;
    begin(&*metadata, 1, "ab", "alice").await;
    let page = async |after: Option<&str>, limit| {
        let names = metadata.repositories(after, limit).await.unwrap();
        names.iter().map(RepositoryName::to_string).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 100).await, ["a", "a-b", "a/b", "b", "c/d/e"]);
    assert_eq!(page(None, 2).await, ["a", "a-b"]);
    assert_eq!(page(Some("a-b"), 2).await, ["a/b", "b"]);
    assert_eq!(page(Some("b"), 2).await, ["c/d/e"]);
    assert_eq!(page(Some("a-c"), 1).await, ["a/b"]);
    assert_eq!(page(Some("c/d/e"), 2).await, [""; 0]);
    assert_eq!(page(None, 0).await, [""; 0]);

    let image = digest("image");
    metadata.delete_manifest(&name("a-b"), &image, &by("alice"), at(20), at(30)).await.unwrap().unwrap();
    assert_eq!(page(None, 100).await, ["a", "a/b", "b", "c/d/e"]);
    assert_eq!(metadata.tags(&name("a-b"), None, 1).await.unwrap(), Some(vec![]));
}

fn referring(repository: &str, body: &str, subject: &AnyDigest, second: u64) -> ManifestRecord {
    ManifestRecord { subject: Some(subject.clone()), now: at(second), ..manifest(repository, body) }
}

async fn referrers(
    metadata: &Subject,
    subject: &AnyDigest,
    types: &[&str],
    after: Option<&ReferrerCursor>,
    limit: u32,
) -> Vec<Referrer> {
    let types: Vec<String> = types.iter().map(ToString::to_string).collect();
    metadata.referrers(&name("a"), subject, &types, after, limit).await.unwrap()
}

fn digests(referrers: &[Referrer]) -> Vec<Digest> {
    referrers.iter().map(|referrer| referrer.digest).collect()
}

/// Of any algorithm; the subject need not exist; elsewhere there are none (P-230, P-269, P-270).
pub async fn p273_referrers_are_those_of_the_repository_and_the_exact_subject(metadata: Subject) {
    let subject = AnyDigest::from(digest("subject"));
    let foreign: AnyDigest = "blake3:0123456789abcdef".parse().unwrap();
    assert_eq!(referrers(&metadata, &subject, &[], None, 10).await, [], "unknown repository");
    let one = push(&*metadata, referring("a", "one", &subject, 10)).await;
    let two = push(&*metadata, referring("a", "two", &foreign, 10)).await;
    push(&*metadata, referring("b", "three", &subject, 10)).await;
    push(&*metadata, manifest("a", "without subject")).await;

    assert_eq!(digests(&referrers(&metadata, &subject, &[], None, 10).await), [one]);
    assert_eq!(digests(&referrers(&metadata, &foreign, &[], None, 10).await), [two]);
    assert_eq!(referrers(&metadata, &digest("unknown").into(), &[], None, 10).await, []);
}

/// Pages in a row are the list, also where many were pushed in the same instant.
pub async fn p278_referrers_are_listed_by_push_time_then_digest(metadata: Subject) {
    let subject = AnyDigest::from(digest("subject"));
    let mut expected = Vec::new();
    for number in 0..12u64 {
        let record = referring("a", &format!("referrer {number}"), &subject, 20 - number / 4);
        expected.push((record.now, record.digest.to_string(), record.digest));
        push(&*metadata, record).await;
    }
    expected.sort();
    let expected: Vec<Digest> = expected.into_iter().map(|(_, _, digest)| digest).collect();
    assert_eq!(digests(&referrers(&metadata, &subject, &[], None, 100).await), expected);

    for limit in [1, 3, 5, 12] {
        let mut listed = Vec::new();
        let mut after = None;
        loop {
            let page = referrers(&metadata, &subject, &[], after.as_ref(), limit).await;
            assert!(page.len() <= usize::try_from(limit).unwrap());
            let Some(last) = page.last() else { break };
            after = Some(last.cursor);
            listed.extend(digests(&page));
        }
        assert_eq!(listed, expected, "by {limit}");
    }
    assert_eq!(referrers(&metadata, &subject, &[], None, 0).await, []);
}

/// Exactly; several are a union; those without a type match none.
pub async fn p274_referrers_are_filtered_by_artifact_type(metadata: Subject) {
    let subject = AnyDigest::from(digest("subject"));
    let types = [Some("application/vnd.a"), Some("application/vnd.b"), None, Some("application/vnd.a+json")];
    let mut pushed = Vec::new();
    for (second, artifact_type) in types.into_iter().enumerate() {
        let second = u64::try_from(second).unwrap();
        let record = referring("a", &format!("referrer {second}"), &subject, 10 + second);
        let artifact_type = artifact_type.map(str::to_owned);
        pushed.push(push(&*metadata, ManifestRecord { artifact_type, ..record }).await);
    }
    let listed = async |types: &[&str]| digests(&referrers(&metadata, &subject, types, None, 10).await);
    assert_eq!(listed(&[]).await, pushed);
    assert_eq!(listed(&["application/vnd.a"]).await, [pushed[0]]);
    assert_eq!(listed(&["application/vnd.a+json", "application/vnd.b"]).await, [pushed[1], pushed[3]]);
    assert_eq!(listed(&["application/vnd.A"]).await, []);
    assert_eq!(listed(&["", "null", "\"]'"]).await, []);

    let types = ["application/vnd.a", "application/vnd.a+json"];
    let first = referrers(&metadata, &subject, &types, None, 1).await;
    assert_eq!(digests(&first), [pushed[0]]);
    let second = referrers(&metadata, &subject, &types, Some(&first[0].cursor), 1).await;
    assert_eq!(digests(&second), [pushed[3]]);
}

/// All five members.
pub async fn p271_a_referrer_shows_its_descriptor(metadata: Subject) {
    let subject = AnyDigest::from(digest("subject"));
    let annotations = BTreeMap::from([
        ("org.opencontainers.image.title".to_owned(), "a \"title\" é \u{1f6a2}".to_owned()),
        (String::new(), String::new()),
    ]);
    let record = ManifestRecord {
        media_type: INDEX.to_owned(),
        artifact_type: Some("application/vnd.example".to_owned()),
        annotations: annotations.clone(),
        ..referring("a", "referrer", &subject, 10)
    };
    let digest = push(&*metadata, record).await;
    let expected = Referrer {
        media_type: INDEX.to_owned(),
        digest,
        size_bytes: 8,
        artifact_type: Some("application/vnd.example".to_owned()),
        annotations,
        cursor: ReferrerCursor { pushed_at: at(10), digest },
    };
    assert_eq!(referrers(&metadata, &subject, &[], None, 10).await, [expected]);
}

/// At once; the list does not depend on the subject (P-248, P-279).
pub async fn p247_a_deleted_referrer_is_not_listed_and_a_deleted_subject_changes_nothing(metadata: Subject) {
    let image = push(&*metadata, manifest("a", "image")).await;
    let subject = AnyDigest::from(image);
    let one = push(&*metadata, referring("a", "one", &subject, 11)).await;
    let two = push(&*metadata, referring("a", "two", &subject, 12)).await;
    metadata.delete_manifest(&name("a"), &one, &by("alice"), at(20), at(30)).await.unwrap().unwrap();
    assert_eq!(digests(&referrers(&metadata, &subject, &[], None, 10).await), [two]);
    metadata.delete_manifest(&name("a"), &image, &by("alice"), at(20), at(30)).await.unwrap().unwrap();
    assert_eq!(digests(&referrers(&metadata, &subject, &[], None, 10).await), [two]);
    assert!(has_manifest(&*metadata, "a", two).await);
}
