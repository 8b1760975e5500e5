//! Rows go from one database to the other and back, and nothing is lost on the way.

use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;
use wharf_base::{ManualClock, Secret, SeededRng, StoreId};

use super::Place;
use crate::contract::fixture::*;
use crate::postgres::copy::{TABLES, columns};
use crate::{Identities as _, Metadata as _, SigningKey, SqliteConfig, SqliteMetadata};

/// Both schemas have the same tables with the same columns, and all of them are copied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_column_is_forgotten() {
    let place = Place::new();
    place.open().await.close().await.unwrap();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("wharf.db");
    SqliteMetadata::open(&path, &SqliteConfig::default()).unwrap().close().await.unwrap();
    let embedded = Connection::open(path).unwrap();
    let mut tables =
        embedded.prepare("select name from sqlite_schema where type = 'table' and name not like 'sqlite%'").unwrap();
    let tables: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    for table in &tables {
        let there = place.database.sql(&format!(
            "select column_name from information_schema.columns
              where table_schema = 'public' and table_name = '{table}'
              order by ordinal_position"
        ));
        assert_eq!(there, columns(&embedded, table).unwrap().join("\n"), "{table}");
        let is_copied = TABLES.iter().any(|copied| copied.name == table);
        assert!(is_copied || ["meta", "migrations", "changes"].contains(&table.as_str()), "{table}");
    }
    let count = place.database.sql("select count(*) from pg_tables where schemaname = 'public'");
    assert_eq!(count, tables.len().to_string());
}

/// A database with something in most tables, and with texts that are easily damaged.
async fn fill(path: &std::path::Path) {
    let metadata = SqliteMetadata::open(path, &SqliteConfig::default()).unwrap();
    metadata.set_store_id(StoreId::generate(&ManualClock::at(at(0)), &SeededRng::new(1))).await.unwrap();
    metadata.set_clock_mark(at(7)).await.unwrap();
    for number in 0..30 {
        have_blob(&metadata, "a", &format!("blob {number}")).await;
        let mut record =
            tagged("a", &format!("manifest {number}\n\\N\t\"\u{e4}\""), &["latest", &format!("t{number}")]);
        record.blobs = vec![digest(&format!("blob {number}"))];
        record.annotations.insert("odd".to_owned(), "tab\tline\nback\\slash \\N \u{1f680} '".to_owned());
        let pushed = push(&metadata, record).await;
        if number % 5 == 0 {
            metadata.delete_manifest(&name("a"), &pushed, &by("bob\t\\"), at(20), at(90_000)).await.unwrap();
        }
    }
    let mut index = index("b", "an index", &[digest("child")]);
    index.missing_children = crate::Missing::Allow;
    push(&metadata, index).await;
    let upload = begin(&metadata, 1, "a", "alice").await;
    metadata.advance_upload(upload, 0, 3, b"\x00\x01\xff\\", at(200)).await.unwrap();
    let key = SigningKey {
        id: "kid".to_owned(),
        algorithm: "EdDSA".to_owned(),
        private_key: Secret::new(vec![0, 1, 2, 255]),
        created_at: at(0),
        signs_from: at(0),
        retired_at: None,
    };
    metadata.add_signing_key(&key, None, &by("root")).await.unwrap();
    crate::AuditLog::seal_audit(&metadata, at(30)).await.unwrap();
    metadata.close().await.unwrap();
}

fn rows(database: &Connection, table: &str) -> Vec<Vec<Value>> {
    let columns = columns(database, table).unwrap();
    let list = columns.join(", ");
    let mut statement = database.prepare(&format!("select {list} from {table} order by {list}")).unwrap();
    let rows = statement.query_map([], |row| (0..columns.len()).map(|column| row.get(column)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_database_is_taken_over_and_comes_back_as_a_snapshot() {
    let place = Place::new();
    let path = place.directory.path().join("wharf.db");
    fill(&path).await;
    let mut metadata = place.open().await;
    metadata.adopt(&path, &SqliteConfig::default()).await.unwrap();
    assert!(metadata.was_clean_shutdown());
    assert_eq!(metadata.signing_keys().await.unwrap()[0].private_key.expose(), &[0, 1, 2, 255]);
    assert_eq!(metadata.clock_mark().await.unwrap(), Some(at(7)));
    assert_eq!(all_tags(&metadata, "a").await.len(), 25);

    let snapshot = crate::BackingUp::take_snapshot(&metadata).await.unwrap();
    assert_eq!(snapshot.faults().unwrap(), Vec::<String>::new());
    let beside = place.directory.path().join("wharf.db.snapshot");
    let (before, after) = (Connection::open(&path).unwrap(), Connection::open(beside).unwrap());
    for table in TABLES.iter().map(|table| table.name).filter(|name| *name != "signing_keys") {
        assert_eq!(rows(&before, table), rows(&after, table), "{table}");
    }
    assert_eq!(snapshot.store_id().unwrap(), metadata.store_id().await.unwrap());
    let tally = crate::BackingUp::tally(&metadata).await.unwrap();
    assert_eq!(tally.differences(&snapshot.tally().unwrap()), ["signing_keys: 1 rows here, 0 there"]);
    drop((after, snapshot));

    // A registry that moves leaves nothing behind.
    let everything = crate::BackingUp::take_everything(&metadata).await.unwrap();
    assert_eq!(tally.differences(&everything.tally().unwrap()), Vec::<String>::new());
    assert!(tally.rows() > 100, "{}", tally.rows());
    drop(everything);

    // Keys go on behind those that came along.
    have_blob(&metadata, "new", "new").await;
    push(&metadata, tagged("new", "new", &["new"])).await;
    assert_eq!(resolve(&metadata, "new", "new").await, Some(digest("new")));
    let now = crate::BackingUp::tally(&metadata).await.unwrap();
    assert!(now != tally && now.to_string() != tally.to_string());
    metadata.close().await.unwrap();
}
