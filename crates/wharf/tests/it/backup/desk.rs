//! Where somebody sits who makes backups: a home directory, a backup directory, and the command line.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Client, Wharf, binary, bucket, engines, hex_sha256, sha256};

pub struct Desk {
    place: TempDir,
    token: Option<String>,
    bucket: Option<InBucket>,
}

/// Backups in a bucket.
struct InBucket {
    url: String,
    reached: Vec<String>,
    objects: PathBuf,
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ran {
    /// `None` for a process that was killed.
    pub exit: Option<i32>,
    pub killed: bool,
    pub out: String,
    pub err: String,
}

impl Desk {
    pub fn new() -> Self {
        Self { place: tempfile::tempdir().unwrap(), token: None, bucket: None }
    }

    /// With an API token for the server.
    pub fn with_token(token: String) -> Self {
        Self { token: Some(token), ..Self::new() }
    }

    /// Keeps its backups in a bucket, whose objects are files that tests can look at.
    pub fn with_bucket() -> Self {
        let mut desk = Self::new();
        let (url, reached, objects) = bucket::of_backups(desk.place.path());
        desk.bucket = Some(InBucket { url, reached, objects });
        desk
    }

    pub fn has_bucket(&self) -> bool {
        self.bucket.is_some()
    }

    /// What commands are told about where the backups are.
    pub fn at(&self) -> String {
        self.bucket.as_ref().map_or_else(|| text(&self.path("backups")), |bucket| bucket.url.clone())
    }

    /// A path of this desk.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The directory with the backups, or with the objects that they consist of.
    pub fn backups(&self) -> PathBuf {
        self.bucket.as_ref().map_or_else(|| self.path("backups"), |bucket| bucket.objects.clone())
    }

    pub fn command(&self, words: &[&str]) -> Command {
        self.command_under(&[], words)
    }

    /// The command line behind another one, such as that of a trace.
    pub fn command_under(&self, under: &[OsString], words: &[&str]) -> Command {
        let mut line = under.iter().cloned().chain([binary().into_os_string()]);
        let mut command = Command::new(line.next().expect("at least wharf"));
        command.args(line).args(words);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WHARF_")) {
            command.env_remove(name);
        }
        command.env("HOME", self.place.path()).env("XDG_CONFIG_HOME", self.path("config"));
        if let Some(data) = words.iter().position(|word| *word == "--data").and_then(|at| words.get(at + 1)) {
            command.envs(engines::of(Path::new(data)).environment());
        }
        if words.first() == Some(&"migrate") {
            command.envs(bucket::credentials());
        }
        if let Some(bucket) = &self.bucket {
            command.envs(bucket::credentials());
            if words.contains(&bucket.url.as_str()) {
                command.args(&bucket.reached);
            }
        }
        if let Some(token) = &self.token {
            command.env("WHARF_TOKEN", token);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        finish(self.command(words).spawn().unwrap())
    }

    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!(ran.exit, Some(0), "wharf {words:?}\n{}\n{}", ran.out, ran.err);
        ran.out
    }

    #[track_caller]
    pub fn fails(&self, words: &[&str], exit: i32, says: &str) {
        let ran = self.run(words);
        assert_eq!(ran.exit, Some(exit), "wharf {words:?}\n{}\n{}", ran.out, ran.err);
        assert!(ran.err.contains(says), "wharf {words:?}\n{}", ran.err);
    }

    /// The command reaches `failpoint` for the n-th time and is gone.
    #[track_caller]
    pub fn killed_at(&self, failpoint: &str, words: &[&str]) {
        let (name, nth) = failpoint.split_once('@').unwrap_or((failpoint, "1"));
        let mut command = self.command(words);
        let ran = finish(command.env("WHARF_FAILPOINT", format!("{name}=kill@{nth}")).spawn().unwrap());
        assert!(ran.killed, "wharf {words:?} never came to {failpoint}: {ran:?}");
    }

    /// Makes a backup of `server`; what it says of itself.
    #[track_caller]
    pub fn backup(&self, server: &Wharf) -> Value {
        let said = self.ok(&self.backup_words(server).iter().map(String::as_str).collect::<Vec<_>>());
        serde_json::from_str(&said).unwrap()
    }

    pub fn backup_words(&self, server: &Wharf) -> Vec<String> {
        let url = format!("http://{}", server.address());
        ["backup".to_owned(), self.at(), "--json".to_owned(), "--server".to_owned(), url].into()
    }

    /// The same, by somebody who is certain that whoever was at work has been killed.
    pub fn certain_words(&self, server: &Wharf) -> Vec<String> {
        let mut words = self.backup_words(server);
        words.push("--break-lock".to_owned());
        words
    }

    /// Restores the newest generation to `data`.
    #[track_caller]
    pub fn restore(&self, data: &Path) -> Value {
        let said = self.ok(&["restore", "--json", "--from", &self.at(), "--data", &text(data)]);
        serde_json::from_str(&said).unwrap()
    }

    /// Every generation is what it was made as, to the last byte.
    #[track_caller]
    pub fn verify_deeply(&self) {
        self.ok(&["backup", "verify", &self.at(), "--deep", "--scratch", &text(self.place.path())]);
    }

    #[track_caller]
    pub fn generations(&self) -> Vec<String> {
        let said = self.ok(&["backup", "list", &self.at(), "--json"]);
        let all: Value = serde_json::from_str(&said).unwrap();
        all.as_array().unwrap().iter().map(|one| one["generation"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Waits for the end of a command.
pub fn finish(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran {
        exit: output.status.code(),
        killed: output.status.signal().is_some(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// The digests of all content below a directory of content.
pub fn contents(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for prefix in std::fs::read_dir(directory.join("sha256")).unwrap() {
        for file in std::fs::read_dir(prefix.unwrap().path()).unwrap() {
            found.insert(format!("sha256:{}", file.unwrap().file_name().to_str().unwrap()));
        }
    }
    found
}

/// Pairs that the server's database has.
fn rows(server: &Wharf, sql: &str) -> Vec<(String, String)> {
    server.look(sql).into_iter().map(|row| <[String; 2]>::try_from(row).unwrap().into()).collect()
}

const MANIFESTS: &str =
    "select r.name, m.digest from manifests m join repositories r on r.id = m.repository_id order by 1, 2";
/// Those that somebody deleted by hand are held by their manifest, and not served (P-135).
const BLOBS: &str = "select r.name, b.digest from manifest_blobs x
                       join repositories r on r.id = x.repository_id
                       join blobs b on b.id = x.blob_id
                       join repository_blobs a on a.repository_id = x.repository_id and a.blob_id = x.blob_id
                      group by 1, 2";
const TAGS: &str = "select r.name, t.name from tags t join repositories r on r.id = t.repository_id";

/// Everything that can be asked of the server about names and digests.
pub fn questions(server: &Wharf) -> Vec<String> {
    let mut questions = vec!["/v2/_catalog".to_owned()];
    let manifests = rows(server, MANIFESTS);
    for repository in manifests.iter().map(|(repository, _)| repository).collect::<BTreeSet<_>>() {
        questions.push(format!("/v2/{repository}/tags/list"));
        questions.push(format!("/api/v1/deleted?repository={repository}"));
        questions.push(format!("/api/v1/tags/history?repository={repository}&tag=tag"));
    }
    for (repository, digest) in manifests {
        questions.push(format!("/v2/{repository}/manifests/{digest}"));
        questions.push(format!("/v2/{repository}/referrers/{digest}"));
    }
    questions.extend(rows(server, BLOBS).into_iter().map(|(name, digest)| format!("/v2/{name}/blobs/{digest}")));
    questions.extend(rows(server, TAGS).into_iter().map(|(name, tag)| format!("/v2/{name}/manifests/{tag}")));
    questions
}

/// What of an answer is the same wherever the registry is, and what was asked.
pub async fn answer(client: &mut Client, question: &str) -> String {
    let reply = client.get(question).await;
    let header = |name| format!("{name}: {}", reply.header(name).unwrap_or("none"));
    let headers = ["content-type", "docker-content-digest", "content-length", "etag"].map(header).join(", ");
    format!("GET {question} {} {headers}, body {}", reply.status, sha256(&reply.body))
}

/// Everything that the database names is served as it should be; how many manifests there are.
pub async fn nothing_dangles(server: &Wharf, client: &mut Client) -> usize {
    let manifests = rows(server, MANIFESTS);
    for (repository, digest) in &manifests {
        let reply = client.get(&format!("/v2/{repository}/manifests/{digest}")).await.expect(200);
        assert_eq!(sha256(&reply.body), *digest);
    }
    for (repository, digest) in rows(server, BLOBS) {
        let reply = client.get(&format!("/v2/{repository}/blobs/{digest}")).await.expect(200);
        assert_eq!(format!("sha256:{}", hex_sha256(&reply.body)), digest, "in {repository}");
    }
    for (repository, tag) in rows(server, TAGS) {
        client.head(&format!("/v2/{repository}/manifests/{tag}")).await.expect(200);
    }
    manifests.len()
}
