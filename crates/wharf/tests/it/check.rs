//! `wharf check`: what was planted is found, what is sound is not complained of, what is damaged is never served and
//! comes back by a push.

mod load;
mod orphans;
mod races;
mod reads;
mod rot;
mod rows;
mod states;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Client, Image, Reply, Request, Wharf, binary, engines};

/// What a check printed, and its exit code.
#[derive(Debug)]
pub struct Outcome {
    exit: i32,
    found: Value,
    err: String,
}

impl Outcome {
    /// How many findings of each class are left.
    fn counts(&self) -> BTreeMap<String, u64> {
        serde_json::from_value(self.found["counts"].clone()).unwrap_or_else(|_| panic!("{self:#?}"))
    }

    /// Nothing was found.
    #[track_caller]
    pub fn is_clean(&self) {
        assert_eq!((self.exit, self.counts()), (0, BTreeMap::new()), "{self:#?}");
    }

    /// Exactly these classes were found, each that often.
    #[track_caller]
    fn finds(&self, expected: &[(&str, u64)]) {
        let expected: BTreeMap<String, u64> = expected.iter().map(|(class, n)| ((*class).to_owned(), *n)).collect();
        assert_eq!((self.exit, self.counts()), (8, expected), "{self:#?}");
    }

    /// The findings of a class, notes too.
    fn of(&self, class: &str) -> Vec<&Value> {
        let all = self.found["findings"].as_array().unwrap_or_else(|| panic!("{self:#?}"));
        all.iter().filter(|finding| finding["class"] == class).collect()
    }
}

/// `wharf check` with these words and `--json`.
fn wharf_check(words: &[&str]) -> Outcome {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary());
    command.arg("check").args(words).arg("--json");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WHARF_")) {
        command.env_remove(name);
    }
    if let Some(data) = words.iter().position(|word| *word == "--data").and_then(|at| words.get(at + 1)) {
        command.envs(engines::of(Path::new(data)).environment());
    }
    let output = command.env("HOME", home.path()).env_remove("XDG_CONFIG_HOME").output().unwrap();
    Outcome {
        exit: output.status.code().unwrap(),
        found: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Asks the running server.
fn online(server: &Wharf, words: &[&str]) -> Outcome {
    let url = format!("http://{}", server.address());
    wharf_check(&[&["--server", &url], words].concat())
}

/// A deep check of the running server finds nothing.
#[track_caller]
pub fn sound(server: &Wharf) {
    online(server, &["--deep"]).is_clean();
}

/// What a deep check of the running server found, if anything.
pub fn findings(server: &Wharf) -> Result<(), String> {
    let outcome = online(server, &["--deep"]);
    if outcome.exit == 0 { Ok(()) } else { Err(format!("check: {:?} {}", outcome.counts(), outcome.err)) }
}

/// Looks at the data directory of a server that was stopped.
pub fn offline(data: &Path, words: &[&str]) -> Outcome {
    wharf_check(&[&["--data", data.to_str().unwrap()], words].concat())
}

async fn put_manifest(client: &mut Client, repository: &str, tag: &str, image: &Image) -> Reply {
    let target = format!("/v2/{repository}/manifests/{tag}");
    let request = Request::new("PUT", target).header("Content-Type", crate::harness::OCI_MANIFEST);
    client.send(request.body(image.manifest.clone())).await
}
