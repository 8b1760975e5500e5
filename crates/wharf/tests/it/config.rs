//! `wharf config` and what `wharf serve` says about a configuration that is not right.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::cli::wharf;

/// A directory with a `wharf.toml` of this content.
fn file(content: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wharf.toml");
    fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

/// What `wharf` says, with the file called `wharf.toml`.
fn said(path: &str, variables: &[(&str, &str)], args: &[&str]) -> String {
    let directory = Path::new(path).parent().unwrap();
    wharf(variables, args).replace(&format!("{}/", directory.display()), "")
}

#[test]
fn check_names_the_sources_of_a_valid_configuration() {
    assert_eq!(
        wharf(&[], &["config", "check"]),
        "configuration is valid\n  file: nothing\n  environment: nothing\n  command line: nothing\n[exit 0]\n"
    );
    let (_directory, path) = file("[registry]\ncatalog = false\n");
    let variables = [("WHARF_CONFIG", &*path), ("WHARF_DATA", "d"), ("WHARF_REGISTRY__READ_ONLY", "false")];
    assert_eq!(
        said(&path, &variables, &["config", "check", "--read-only", "--set", "log.level=warn"]),
        "configuration is valid
  file: wharf.toml
  environment: WHARF_DATA
  command line: --set log.level, --read-only
[exit 0]
"
    );
}

const BAD: &str = "[server]\nlistn = []\n[registry]\nread_only = 1\n";

const COMPLAINTS: &str = "\
error: the configuration is not valid
  wharf.toml:2: unknown key server.listn; did you mean server.listen?
  wharf.toml:4: registry.read_only = 1: expected true or false
  WHARF_DTA: unknown variable; did you mean WHARF_DATA?
  --set log.levl: unknown key log.levl; did you mean log.level?
hint: correct these; `wharf config schema` says what each key may be
[exit 2]
";

#[test]
fn b132_all_complaints_at_once_whoever_reads_the_configuration() {
    let (_directory, path) = file(BAD);
    for command in [&["config", "check"][..], &["config", "show"], &["serve", "--open"]] {
        let args = [command, &["--config", &path, "--set", "log.levl=warn"]].concat();
        assert_eq!(said(&path, &[("WHARF_DTA", "d")], &args), COMPLAINTS);
    }
}

#[test]
fn relations_between_keys_are_complained_of() {
    assert_eq!(
        wharf(&[], &["config", "check", "--tls-key", "key.pem", "--data", ""]),
        "error: the configuration is not valid
  server.tls_certificate must be set together with server.tls_key
  storage.data must name a directory
hint: correct these; `wharf config schema` says what each key may be
[exit 2]
"
    );
}

#[test]
fn what_show_prints_is_a_file_that_shows_the_same() {
    let args = ["config", "show", "--listen", "127.0.0.1:1,[::1]:2", "--set", "registry.blob_size_max=20 GiB"];
    let shown = wharf(&[], &args);
    let shown = shown.strip_suffix("[exit 0]\n").unwrap();
    assert!(shown.contains("\nlisten = [\"127.0.0.1:1\", \"[::1]:2\"] # from --listen\n"), "{shown}");

    let (_directory, path) = file(shown);
    let again = wharf(&[], &["config", "show", "--config", &path]);
    let values =
        |text: &str| text.lines().map(|line| line.split(" # from").next().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(values(again.strip_suffix("[exit 0]\n").unwrap()), values(shown));
}

#[test]
fn schema_prints_a_json_schema() {
    let text = wharf(&[], &["config", "schema"]);
    let schema: serde_json::Value = serde_json::from_str(text.strip_suffix("[exit 0]\n").unwrap()).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["storage"]["properties"]["data"]["default"], "./wharf-data");
}
