//! FT-02 once more, on a disk that no file system is as bad as ([`disk`]): each sync is shown to be needed, also those
//! that a journal would hide.
//!
//! A server works under strace; its trace is played to the disk up to a moment, what is left is written down, a server
//! started on it, and everything asked for that had been acknowledged by then. For every place that the server syncs
//! the trace is played again as if those syncs had not been there, and then something must be missing.

mod backups;
mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::json;
use wharf_base::SeededRng;

use super::kills::draw;
use super::setting;
use crate::check;
use crate::collection::{collect_all, eager_with, post};
use crate::harness::{Call, Client, Image, OCI_MANIFEST, Request, Strace, Wharf, content, sha256};
use crate::only_in_the_embedded_run;
use disk::{ForgetfulDisk, Unsynced};

/// Everything that changes files, and the requests and answers between.
const CALLS: &str = "open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,\
                     truncate,ftruncate,fallocate,write,writev,pwrite64,pwritev,pwritev2,copy_file_range,syncfs,fsync,\
                     fdatasync,read,recvfrom,sendto,sendmsg";

/// What a client knows of a path: its content, or that there is none.
type Facts = BTreeMap<String, Option<Vec<u8>>>;

/// Longer than it takes to delete something and to think better of it.
const GRACE: &str = "3s";

/// A trace, and what was known at which moment of it.
struct Story {
    directory: PathBuf,
    calls: Vec<Call>,
    /// For each step the place in `calls` of its last answer, and what was known then.
    moments: Vec<(usize, Facts)>,
}

/// The places whose syncs promises depend on.
const NEEDED: &[&str] = &[
    ".",
    "data",
    "data/layers",
    "data/layers/sha256",
    "data/layers/sha256/*",
    "data/uploads/*",
    "data/wharf.db",
    "data/wharf.db-wal",
    "data/wharf.db.new",
    "data/wharf.id.new",
];

/// The places that are synced though nothing would be lost otherwise: probes of the disk, and a database that is thrown
/// away if it is not made whole.
const NOT_NEEDED: &[&str] = &["data/uploads", "data/uploads/probe", "data/wharf.db.new-journal"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft02_what_was_acknowledged_is_on_the_most_forgetful_disk() {
    only_in_the_embedded_run!("plays a trace of the data directory to a disk that forgets");
    let story = tell().await;
    let mut cuts = 0;
    for (moment, facts) in &story.moments {
        for unsynced in [Unsynced::Lost, Unsynced::Kept] {
            story.expect(*moment, unsynced, facts, None).await.unwrap_or_else(|wrong| panic!("at {moment}: {wrong}"));
            cuts += 1;
        }
    }
    let rng = SeededRng::new(setting("WHARF_PROOF_FIRST_SEED", 1));
    for seed in 0..setting("WHARF_PROOF_FORGETFUL", 20) {
        let moment = usize::try_from(draw(&rng, story.calls.len() as u64)).expect("a place in the trace");
        let facts = story.certain_at(moment);
        story.expect(moment, Unsynced::Random(seed), &facts, None).await.unwrap_or_else(|wrong| {
            panic!("at {moment} with seed {seed}: {wrong}");
        });
        cuts += 1;
    }
    println!("{cuts} cuts at {} calls", story.calls.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ft02_without_any_one_sync_something_is_lost() {
    only_in_the_embedded_run!("plays a trace of the data directory to a disk that forgets");
    let story = tell().await;
    let expected: BTreeSet<String> = NEEDED.iter().chain(NOT_NEEDED).map(|place| (*place).to_owned()).collect();
    assert_eq!(synced_places(&story.directory, &story.calls), expected);
    for place in NEEDED {
        let loss = story.missed_without(place).await;
        println!(
            "without syncs of {place}: {}",
            loss.unwrap_or_else(|| panic!("without syncs of {place} all is there"))
        );
    }
}

impl Story {
    /// What is left at `moment` has all of `facts`; else what is wrong.
    async fn expect(
        &self,
        moment: usize,
        unsynced: Unsynced,
        facts: &Facts,
        without: Option<&str>,
    ) -> Result<(), String> {
        let calls = self.calls.iter().filter(|call| call.ended <= self.calls[moment].begun);
        let left = ForgetfulDisk::left_after(calls, &self.directory, without, unsynced);
        agrees(&left.path().join("data"), facts).await
    }

    /// What is known at `moment`, whatever becomes of the request that is under way.
    fn certain_at(&self, moment: usize) -> Facts {
        let begun = self.moments.iter().rposition(|(answered, _)| *answered <= moment);
        let Some(begun) = begun else { return Facts::new() };
        let mut facts = self.moments[begun].1.clone();
        if let Some((_, next)) = self.moments.get(begun + 1) {
            facts.retain(|path, known| next.get(path) == Some(known));
        }
        facts
    }

    /// How it shows that nobody syncs `place`.
    async fn missed_without(&self, place: &str) -> Option<String> {
        for (moment, facts) in &self.moments {
            for unsynced in [Unsynced::Lost, Unsynced::Random(1), Unsynced::Random(2)] {
                if let Err(wrong) = self.expect(*moment, unsynced, facts, Some(place)).await {
                    return Some(wrong.lines().next_back().unwrap_or_default().to_owned());
                }
            }
        }
        None
    }
}

/// A server on `data` starts, answers what is known of it, and is sound; else what is wrong.
async fn agrees(data: &Path, facts: &Facts) -> Result<(), String> {
    // Collection would go on where it stood.
    let server = Wharf::builder().set("gc.enabled", "false").data_at(data).try_start();
    let server = server.map_err(|ended| format!("no start: {}", ended.log))?;
    let mut client = server.client();
    for (path, expected) in facts {
        let found = client.get(path).await;
        let matches = match expected {
            Some(bytes) => found.status == 200 && &found.body[..] == bytes.as_slice(),
            None => found.status == 404,
        };
        if !matches {
            return Err(format!("{path}: {} instead of {}", found.status, expected.as_ref().map_or(404, |_| 200)));
        }
    }
    check::findings(&server)
}

/// What kinds of places were synced below `directory`.
fn synced_places(directory: &Path, calls: &[Call]) -> BTreeSet<String> {
    let mut disk = ForgetfulDisk::new(directory, None);
    calls.iter().filter_map(|call| disk.apply(call)).collect()
}

/// A client that does one thing after the other and remembers what it was told.
struct Teller {
    client: Client,
    facts: Facts,
    steps: Vec<Facts>,
}

impl Teller {
    /// What was asked for since the last step has been answered.
    async fn step(&mut self) {
        let mark = format!("/v2/mark/{}/tags/list", self.steps.len());
        self.client.get(&mark).await.expect(404);
        self.steps.push(self.facts.clone());
    }

    /// The blob is there from now on.
    async fn has(&mut self, repository: &str, blob: &[u8]) {
        self.facts.insert(path_of(repository, blob), Some(blob.to_vec()));
        self.step().await;
    }

    async fn blob(&mut self, repository: &str, blob: &[u8]) {
        self.client.put_blob(repository, blob.to_vec()).await;
        self.has(repository, blob).await;
    }

    async fn chunks(&mut self, repository: &str, blob: &[u8]) {
        let location = self.client.begin_upload(repository).await;
        let (first, second) = blob.split_at(blob.len() / 2);
        self.client.append(&location, 0, first.to_vec()).await.expect(202);
        self.step().await;
        self.client.finish_upload(&location, &sha256(blob), second.to_vec()).await.expect(201);
        self.has(repository, blob).await;
    }

    async fn image(&mut self, repository: &str, tag: &str, image: &Image) {
        for blob in image.blobs() {
            self.blob(repository, blob).await;
        }
        self.client.put_manifest(repository, tag, OCI_MANIFEST, image.manifest.clone()).await;
        for reference in [tag, &image.digest()] {
            self.facts.insert(format!("/v2/{repository}/manifests/{reference}"), Some(image.manifest.clone()));
        }
        self.step().await;
    }

    async fn mount(&mut self, from: &str, to: &str, blob: &[u8]) {
        let target = format!("/v2/{to}/blobs/uploads/?mount={}&from={from}", sha256(blob));
        self.client.send(Request::new("POST", target)).await.expect(201);
        self.has(to, blob).await;
    }

    /// By tag, or by digest with the tags that point at it.
    async fn delete(&mut self, repository: &str, reference: &str, tags: &[&str]) {
        self.client.delete(&format!("/v2/{repository}/manifests/{reference}")).await.expect(202);
        for gone in tags.iter().chain([&reference]) {
            self.facts.insert(format!("/v2/{repository}/manifests/{gone}"), None);
        }
        self.step().await;
    }

    async fn restore(&mut self, repository: &str, image: &Image) {
        let wish = json!({ "digest": image.digest() });
        post(&mut self.client, &format!("/restore?repository={repository}"), &wish).await.expect(200);
        self.facts.insert(format!("/v2/{repository}/manifests/{}", image.digest()), Some(image.manifest.clone()));
        self.step().await;
    }

    /// What no manifest holds is gone afterwards.
    async fn collect(&mut self, gone: &[(&str, &[u8])]) {
        for (repository, blob) in gone {
            self.facts.remove(&path_of(repository, blob));
        }
        // From the first request on it may go.
        self.step().await;
        collect_all(&mut self.client).await;
        for (repository, blob) in gone {
            self.facts.insert(path_of(repository, blob), None);
        }
        self.step().await;
    }
}

fn path_of(repository: &str, blob: &[u8]) -> String {
    format!("/v2/{repository}/blobs/{}", sha256(blob))
}

/// Two lives of a server, with all that can be done to a registry.
async fn tell() -> Story {
    let directory = tempfile::tempdir().expect("a directory");
    let strace = Strace::of(CALLS).whole();
    let builder = eager_with(GRACE)
        .set("registry.delete_tags", "true")
        .set("gc.enabled", "false")
        .data_at(&directory.path().join("data"));
    let mut server = strace.around(builder.clone()).start();
    let mut teller = Teller { client: server.client(), facts: Facts::new(), steps: Vec::new() };
    teller.step().await;
    let (one, two, orphan) = (Image::small(1, "amd64", 600), Image::small(2, "amd64", 600), content(3, 900));
    teller.blob("t/one", &orphan).await;
    teller.chunks("t/one", &content(4, 3_000)).await;
    teller.image("t/one", "v1", &one).await;
    teller.image("t/one", "v2", &two).await;
    teller.mount("t/one", "t/two", &two.layers[0]).await;
    let mut calls = ended(&mut server, &strace);

    // The database begins a new log in its second life.
    server = strace.around(builder).start();
    teller.client = server.client();
    teller.image("t/one", "v1", &two).await;
    teller.delete("t/one", "v1", &[]).await;
    teller.delete("t/one", &one.digest(), &[]).await;
    teller.restore("t/one", &one).await;
    let chunked = content(4, 3_000);
    teller.collect(&[("t/one", &orphan), ("t/one", &chunked), ("t/two", &two.layers[0])]).await;
    teller.blob("t/three", &orphan).await;
    let later = ended(&mut server, &strace);
    let lines = calls.iter().map(|call| call.ended).max().unwrap_or(0) + 1;
    calls.extend(later.into_iter().map(|call| Call { begun: call.begun + lines, ended: call.ended + lines, ..call }));
    Story { moments: moments(&calls, teller.steps), calls, directory: directory.path().to_owned() }
}

/// The trace of a life that is over.
fn ended(server: &mut Wharf, strace: &Strace) -> Vec<Call> {
    server.stop();
    in_order(strace)
}

/// The calls that have ended, in that order: only then have they done anything.
fn in_order(strace: &Strace) -> Vec<Call> {
    let mut calls = strace.calls();
    calls.retain(|call| call.ended < usize::MAX);
    calls.sort_by_key(|call| call.ended);
    calls
}

/// The last good answer before each mark: what it acknowledged has to be there from then on.
fn moments(calls: &[Call], steps: Vec<Facts>) -> Vec<(usize, Facts)> {
    let find = |step: usize| {
        let mark = format!("GET /v2/mark/{step}/");
        let read = |call: &Call| ["read", "recvfrom"].contains(&call.name.as_str());
        let marked =
            calls.iter().position(|call| read(call) && disk::bytes(&call.arguments).starts_with(mark.as_bytes()));
        let marked = marked.unwrap_or_else(|| panic!("the trace has no mark {step}"));
        let answer = |call: &Call| disk::bytes(&call.arguments).starts_with(b"HTTP/1.1 2");
        calls[..marked].iter().rposition(answer).unwrap_or(marked)
    };
    steps.into_iter().enumerate().map(|(step, facts)| (find(step), facts)).collect()
}

/// The disk itself: that it forgets.
#[test]
fn only_what_was_synced_is_kept() {
    let call = |name: &str, arguments: &str, result: &str| Call {
        thread_id: 1,
        thread: String::new(),
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        result: result.to_owned(),
        begun: 0,
        ended: 0,
    };
    let hex = |text: &str| text.bytes().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
    let mut disk = ForgetfulDisk::new(Path::new("/r"), None);
    let (root, file) = (format!("3<{}>", hex("/r")), format!("4<{}>", hex("/r/a")));
    disk.apply(&call("openat", &format!("{root}, \"{}\", O_WRONLY|O_CREAT, 0600", hex("a")), &file));
    disk.apply(&call("write", &format!("{file}, \"{}\", 3", hex("one")), "3"));
    assert_eq!(disk.apply(&call("fsync", &file, "0")).as_deref(), Some("a"));
    disk.apply(&call("write", &format!("{file}, \"{}\", 3", hex("two")), "3"));
    let left = |disk: &ForgetfulDisk, unsynced| {
        let directory = tempfile::tempdir().unwrap();
        disk.after_a_power_cut(unsynced, directory.path());
        std::fs::read_to_string(directory.path().join("a")).ok()
    };
    assert_eq!(left(&disk, Unsynced::Lost), None, "a name that was not synced");
    assert_eq!(left(&disk, Unsynced::Kept).as_deref(), Some("onetwo"));
    disk.apply(&call("fsync", &root, "0"));
    assert_eq!(left(&disk, Unsynced::Lost).as_deref(), Some("one"));
    disk.apply(&call("renameat", &format!("{root}, \"{}\", {root}, \"{}\"", hex("a"), hex("b")), "0"));
    assert_eq!(left(&disk, Unsynced::Lost).as_deref(), Some("one"), "a new name that was not synced");
    assert_eq!(left(&disk, Unsynced::Kept), None);
    disk.apply(&call("fsync", &format!("4<{}>", hex("/r/b")), "-1 EIO"));
    assert_eq!(left(&disk, Unsynced::Lost).as_deref(), Some("one"), "a sync that failed");
}
