//! Every statement prepares, its parameters stand in order, and the hot ones find their rows without a search through
//! a table.

use rusqlite::Connection;

use super::super::schema;
use crate::sql::Sql;
use crate::statements::all;

fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    schema::migrate(&connection, schema::MIGRATIONS).unwrap();
    connection
}

#[test]
fn every_statement_prepares_with_its_parameters_in_order() {
    let database = database();
    for (file, name, sql) in all() {
        let statement = database.prepare(sql.sqlite).unwrap_or_else(|error| panic!("{file}::{name}: {error}"));
        for index in 1..=statement.parameter_count() {
            assert_eq!(statement.parameter_name(index), Some(&*format!("${index}")), "{file}::{name}");
        }
    }
}

/// The steps of SQLite's plan, one a line.
fn plan(database: &Connection, sql: Sql) -> String {
    let mut statement = database.prepare(&format!("explain query plan {}", sql.sqlite)).unwrap();
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        steps.push(row.get::<_, String>(3).unwrap());
    }
    steps.join("\n")
}

/// One of `json_each` walks the list that the request gave; one of the index of open sessions, and one of what a subquery
/// has found, are bounded by a limit.
const HARMLESS: [&str; 5] = [
    "SCAN counted",
    "SCAN one",
    "SCAN json_each VIRTUAL TABLE INDEX 1:",
    "SCAN uploads USING COVERING INDEX uploads_open_by_owner",
    "SCAN CONSTANT ROW",
];

#[test]
fn no_statement_scans_a_table_or_sorts_one() {
    let database = database();
    for (file, name, sql) in all() {
        let plan = plan(&database, sql);
        for step in plan.lines().filter(|step| !HARMLESS.contains(step)) {
            let bounded = step == "SCAN found" || !step.starts_with("SCAN ");
            assert!(bounded, "{file}::{name} scans:\n{plan}");
            assert!(!step.contains("AUTOMATIC"), "{file}::{name} builds an index:\n{plan}");
            assert!(file == "deletion" || !step.contains("TEMP B-TREE"), "{file}::{name} sorts:\n{plan}");
        }
    }
}

#[track_caller]
fn check_plan(file: &str, name: &str, expected: &[&str]) {
    let statements = all();
    let (.., sql) = statements.iter().find(|(f, n, _)| (*f, *n) == (file, name)).expect("there is such a statement");
    assert_eq!(plan(&database(), *sql), expected.join("\n"), "{file}::{name}");
}

#[test]
fn the_hot_statements_use_the_index_made_for_them() {
    let repository = "SEARCH r USING COVERING INDEX sqlite_autoindex_repositories_1 (name=?)";
    check_plan(
        "blobs",
        "SIZE",
        &[
            repository,
            "SEARCH b USING INDEX sqlite_autoindex_blobs_1 (digest=?)",
            "SEARCH a USING COVERING INDEX repository_blobs_by_blob (blob_id=? AND repository_id=?)",
        ],
    );
    check_plan(
        "manifests",
        "BY_TAG",
        &[
            repository,
            "SEARCH t USING PRIMARY KEY (repository_id=? AND name=?)",
            "SEARCH m USING INTEGER PRIMARY KEY (rowid=?)",
        ],
    );
    check_plan(
        "manifests",
        "BY_DIGEST",
        &[repository, "SEARCH m USING INDEX sqlite_autoindex_manifests_1 (repository_id=? AND digest=?)"],
    );
    check_plan("tags", "PAGE", &[repository, "SEARCH t USING PRIMARY KEY (repository_id=? AND name>?) LEFT-JOIN"]);
    check_plan(
        "repositories",
        "PAGE",
        &[
            "SEARCH r USING COVERING INDEX sqlite_autoindex_repositories_1 (name>?)",
            "SEARCH m EXISTS USING COVERING INDEX sqlite_autoindex_manifests_1 (repository_id=?)",
        ],
    );
    check_plan(
        "referrers",
        "PAGE",
        &[
            repository,
            "SEARCH m USING INDEX manifests_by_subject (repository_id=? AND subject_digest=? AND (pushed_at_us,digest)>(?,?))",
        ],
    );
    check_plan("uploads", "FIND", &["SEARCH uploads USING PRIMARY KEY (id=?)"]);
    check_plan("uploads", "EXPIRED", &["SEARCH uploads USING COVERING INDEX uploads_by_end (expires_at_us<?)"]);
}
