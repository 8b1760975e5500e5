//! Which tests run on the embedded default alone, and why: `embedded_run.txt` keeps what they say in their first line
//! ([`only_in_the_embedded_run!`]). All others run once more with metadata in PostgreSQL and content in a bucket.
//!
//! `WHARF_UPDATE_EMBEDDED_RUN=1` writes the list anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How such a line begins; not in one piece, because this file is read as well.
const MARK: &str = concat!("only_in_the_embedded_run", "!(");

/// Where other engines may be asked about, or left: their harness, and a registry that moves between them.
const KNOWS_ENGINES: [&str; 3] = ["harness/", "migrate/place.rs", "embedded_run.rs"];

#[test]
fn the_list_is_what_the_tests_say() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        for (at, _) in text.match_indices(MARK) {
            let (test, reason) = said(&path, &text, at);
            found.entry(reason).or_default().insert(test);
        }
    }
    let known = known_tests();
    let listed: BTreeSet<&String> = found.values().flatten().collect();
    let unknown: Vec<_> = listed.iter().filter(|test| !known.contains(**test)).collect();
    assert!(unknown.is_empty(), "these are no tests: {unknown:?}");
    let text = written(&found);
    if std::env::var_os("WHARF_UPDATE_EMBEDDED_RUN").is_some() {
        std::fs::write(list(), text).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(list()).expect("embedded_run.txt");
    assert_eq!(kept, text, "run this test with WHARF_UPDATE_EMBEDDED_RUN=1");
}

/// The line is the only way to be left out: no test looks for itself at what the suite runs on, or starts a server elsewhere.
#[test]
fn nothing_else_leaves_a_test_out() {
    for (path, text) in sources().filter(|(path, _)| !KNOWS_ENGINES.iter().any(|known| path.starts_with(known))) {
        for word in ["WHARF_TEST_METADATA\")", "WHARF_TEST_STORAGE\")", "are_elsewhere(", "Wharf::embedded("] {
            let is_removed = text.contains(&format!("env_remove(\"{word}"));
            assert!(is_removed || !text.contains(word), "{path} has {word}");
        }
    }
}

/// The test whose first line is at `at`, and its reason.
fn said(path: &str, text: &str, at: usize) -> (String, String) {
    let before = &text[..at];
    let (_, function) = before.rsplit_once("fn ").expect("a function");
    let (name, rest) = function.split_once('(').expect("its name");
    assert!(
        rest.trim_end().ends_with('{') && rest.matches('{').count() == 1,
        "{path}: {name} begins with something else"
    );
    let reason = text[at..].split('"').nth(1).expect("a reason");
    let module = path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    (format!("{module}::{name}"), reason.to_owned())
}

fn written(found: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut text = String::from("# Tests that run on the embedded default alone, by their reason.\n");
    for (reason, tests) in found {
        text += &format!("\n{reason}\n");
        for test in tests {
            text += &format!("    {test}\n");
        }
    }
    text
}

/// The names of all tests of this binary.
fn known_tests() -> BTreeSet<String> {
    let output = Command::new(std::env::current_exe().unwrap()).arg("--list").output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")
}

fn list() -> PathBuf {
    root().join("embedded_run.txt")
}

/// The files of the tests, by their paths.
fn sources() -> impl Iterator<Item = (String, String)> {
    let mut directories = vec![root()];
    let mut found = BTreeMap::new();
    while let Some(directory) = directories.pop() {
        for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    found.into_iter()
}
