//! What the interface does not show yet and the collector, the history and the undo rest on: the rows themselves.

use rusqlite::Connection;
use wharf_oci::Digest;

use super::Place;
use crate::contract::fixture::*;
use crate::{BlobMount, ManifestRecord, Metadata, Missing, SqliteConfig, SqliteMetadata};

/// Nothing is remembered: what these tests change past all code goes unnoticed.
fn start() -> (Place, SqliteMetadata, Connection) {
    let place = Place::new();
    let config = SqliteConfig { remembered: wharf_base::ByteSize::bytes(0), ..SqliteConfig::default() };
    let metadata = SqliteMetadata::open(&place.path(), &config).unwrap();
    let look = place.look();
    (place, metadata, look)
}

/// The rows of a query as text, columns separated by a space.
fn rows(look: &Connection, sql: &str) -> Vec<String> {
    let mut statement = look.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    let mut texts = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let texts_of_row = (0..columns).map(|column| match row.get::<_, rusqlite::types::Value>(column).unwrap() {
            rusqlite::types::Value::Null => "-".to_owned(),
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}"),
        });
        texts.push(texts_of_row.collect::<Vec<_>>().join(" "));
    }
    texts
}

/// Reviews as "repository kind digest seconds".
fn reviews(look: &Connection) -> Vec<String> {
    let beginning = at(0).as_micros();
    rows(
        look,
        &format!(
            "select r.name, v.kind, v.digest, (v.due_at_us - {beginning}) / 1000000
               from gc_reviews v join repositories r on r.id = v.repository_id order by 1, 2, 3"
        ),
    )
}

fn review(repository: &str, kind: &str, digest: Digest, second: u64) -> String {
    format!("{repository} {kind} {digest} {second}")
}

fn history(look: &Connection) -> Vec<String> {
    let beginning = at(0).as_micros();
    rows(
        look,
        &format!(
            "select name, version, from_digest, to_digest, (changed_at_us - {beginning}) / 1000000, changed_by
               from tag_history order by name, version"
        ),
    )
}

#[tokio::test]
async fn placing_and_releasing_content_asks_for_a_review() {
    let (_place, metadata, look) = start();
    let blob = have_blob(&metadata, "a", "blob").await;
    let mount =
        BlobMount { from: name("a"), to: name("b"), digest: blob, by: by("alice"), now: at(1), review_at: at(50) };
    metadata.mount_blob(&mount).await.unwrap();
    assert_eq!(reviews(&look), [review("a", "blob", blob, 86_400), review("b", "blob", blob, 50)]);

    metadata.delete_blob(&name("b"), &blob, &by("alice"), at(2), at(60)).await.unwrap();
    metadata.delete_blob(&name("b"), &blob, &by("alice"), at(2), at(70)).await.unwrap();
    assert_eq!(reviews(&look)[1], review("b", "blob", blob, 60), "and one that found nothing does not");

    metadata.mount_blob(&BlobMount { review_at: at(10), ..mount }).await.unwrap();
    assert_eq!(reviews(&look)[1], review("b", "blob", blob, 60), "an entry only moves later");
}

#[tokio::test]
async fn a_tags_moves_are_history_and_the_displaced_are_reviewed() {
    let (_place, metadata, look) = start();
    let one = push(&metadata, tagged("a", "one", &["v1"])).await;
    push(&metadata, tagged("a", "one", &["v1"])).await;
    assert_eq!(history(&look), [format!("v1 1 - {one} 10 alice")], "pointing where it points is no move");
    assert_eq!(reviews(&look), [""; 0]);

    let two = push(&metadata, ManifestRecord { by: by("bob"), now: at(11), ..tagged("a", "two", &["v1"]) }).await;
    assert_eq!(reviews(&look), [review("a", "manifest", one, 86_400)]);
    metadata.delete_tag(&name("a"), &tag("v1"), &by("carol"), at(12), at(100_000)).await.unwrap();
    push(&metadata, ManifestRecord { now: at(13), ..tagged("a", "one", &["v1"]) }).await;
    metadata.delete_manifest(&name("a"), &one, &by("dave"), at(14), at(100_000)).await.unwrap();
    assert_eq!(
        history(&look),
        [
            format!("v1 1 - {one} 10 alice"),
            format!("v1 2 {one} {two} 11 bob"),
            format!("v1 3 {two} - 12 carol"),
            format!("v1 4 - {one} 13 alice"),
            format!("v1 5 {one} - 14 dave"),
        ]
    );
    let mut expected = [review("a", "manifest", one, 86_400), review("a", "manifest", two, 100_000)];
    expected.sort();
    assert_eq!(reviews(&look), expected);
}

#[tokio::test]
async fn f02_a_deleted_manifest_is_kept_aside_and_what_it_listed_is_reviewed() {
    let (_place, metadata, look) = start();
    let layer = have_blob(&metadata, "a", "layer").await;
    let child_blob = have_blob(&metadata, "a", "child blob").await;
    let child = push(&metadata, manifest("a", "child")).await;
    look.execute("delete from gc_reviews", []).unwrap();
    let record = ManifestRecord {
        blobs: vec![layer],
        children: vec![child, child_blob],
        ..tagged("a", "parent", &["v1", "v2"])
    };
    let parent = push(&metadata, record).await;
    metadata.delete_manifest(&name("a"), &parent, &by("bob"), at(20), at(30)).await.unwrap().unwrap();

    let mut expected = vec![
        review("a", "blob", layer, 30),
        review("a", "blob", child_blob, 30),
        review("a", "manifest", child, 30),
        review("a", "manifest", child_blob, 30),
    ];
    expected.sort();
    assert_eq!(reviews(&look), expected);
    assert_eq!(
        rows(&look, "select digest, media_type, tags, deleted_by, cast(body as text) from deleted_manifests"),
        [format!("{parent} {MANIFEST} [\"v1\",\"v2\"] bob parent")]
    );
    for table in ["tags", "manifest_blobs", "manifest_children"] {
        assert_eq!(rows(&look, &format!("select count(*) from {table}")), ["0"], "{table} goes by cascade");
    }
    assert_eq!(rows(&look, "pragma foreign_key_check"), [""; 0]);
}

/// What the manifest holds, as "digest state".
fn held(look: &Connection, manifest: Digest) -> Vec<String> {
    rows(
        look,
        &format!(
            "select b.digest, b.state
               from manifest_blobs x join blobs b on b.id = x.blob_id join manifests m on m.id = x.manifest_id
              where m.digest = '{manifest}' order by 1"
        ),
    )
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

#[tokio::test]
async fn p225_an_index_holds_those_of_its_children_that_are_blobs() {
    let (_place, metadata, look) = start();
    let image = push(&metadata, manifest("a", "image")).await;
    let blob = have_blob(&metadata, "a", "blob").await;
    let both = push(&metadata, manifest("a", "both")).await;
    have_blob(&metadata, "a", "both").await;
    let list = push(&metadata, index("a", "index", &[image, blob, both])).await;
    assert_eq!(held(&look, list), sorted(vec![format!("{blob} live"), format!("{both} live")]));

    // The image comes again as a blob: the next push of the index holds it as well.
    have_blob(&metadata, "a", "image").await;
    push(&metadata, index("a", "index", &[image, blob, both])).await;
    assert_eq!(held(&look, list).len(), 3);
}

#[tokio::test]
async fn p226_a_sparse_manifest_holds_what_comes_later() {
    let (_place, metadata, look) = start();
    let [layer, child, going] = ["layer", "child", "going"].map(digest);
    have_blob(&metadata, "b", "going").await;
    look.execute_batch("update blobs set state = 'deleting', delete_after_us = 1").unwrap();
    let record = ManifestRecord {
        blobs: vec![layer, going],
        children: vec![child],
        missing_blobs: Missing::Allow,
        missing_children: Missing::Allow,
        ..manifest("a", "sparse")
    };
    let sparse = push(&metadata, record).await;
    assert_eq!(held(&look, sparse), sorted([layer, child, going].map(|digest| format!("{digest} missing")).to_vec()));
    assert_eq!(metadata.blob(&name("b"), &going).await.unwrap(), None, "nobody serves what was on its way out");

    for content in ["layer", "child", "going"] {
        have_blob(&metadata, "a", content).await;
    }
    assert_eq!(held(&look, sparse), sorted([layer, child, going].map(|digest| format!("{digest} live")).to_vec()));
}

#[tokio::test]
async fn only_live_content_is_answered_and_placing_it_makes_it_live() {
    let (_place, metadata, look) = start();
    let blob = have_blob(&metadata, "a", "blob").await;
    for (state, delete_after) in [("deleting", "1"), ("quarantined", "null")] {
        look.execute_batch(&format!("update blobs set state = '{state}', delete_after_us = {delete_after}")).unwrap();
        assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), None);
        assert_eq!(metadata.repositories_with_blob(&blob, 10).await.unwrap(), []);
        let mount =
            BlobMount { from: name("a"), to: name("b"), digest: blob, by: by("alice"), now: at(1), review_at: at(2) };
        assert!(!metadata.mount_blob(&mount).await.unwrap());
        let image = ManifestRecord { blobs: vec![blob], ..manifest("a", "image") };
        assert!(matches!(metadata.record_manifest(&image).await.unwrap(), crate::RecordManifest::Missing { .. }));

        have_blob(&metadata, "a", "blob").await;
        assert_eq!(metadata.blob(&name("a"), &blob).await.unwrap(), Some(BLOB_BYTES));
        assert_eq!(rows(&look, "select state, delete_after_us from blobs"), ["live -"]);
    }
}

#[tokio::test]
async fn one_digest_has_one_size() {
    let (_place, metadata, _look) = start();
    have_blob(&metadata, "a", "blob").await;
    let record = crate::BlobRecord { size_bytes: 1, ..blob_record("b", "blob") };
    let error = metadata.record_blob(&record).await.unwrap_err();
    assert!(matches!(error, crate::Error::Corrupt { doing: "recording a blob", .. }), "{error:?}");
    assert_eq!(metadata.tags(&name("b"), None, 1).await.unwrap(), None, "and nothing has changed");

    let huge = crate::BlobRecord { size_bytes: u64::MAX, ..blob_record("b", "huge") };
    assert!(matches!(metadata.record_blob(&huge).await, Err(crate::Error::Unavailable { .. })));
}

#[tokio::test]
async fn content_that_a_manifest_holds_cannot_lose_its_row() {
    let (place, metadata, look) = start();
    let blob = have_blob(&metadata, "a", "blob").await;
    push(&metadata, ManifestRecord { blobs: vec![blob], ..manifest("a", "image") }).await;
    metadata.delete_blob(&name("a"), &blob, &by("alice"), at(2), at(3)).await.unwrap();
    look.pragma_update(None, "foreign_keys", true).unwrap();
    assert!(look.execute("delete from blobs", []).is_err());
    drop(place);
}
