//! R-001, seen from the kernel: what a real server does between a request and its answer, and in which order.
//!
//! The text that a test compares is also the figure: so many syncs a push costs.

use std::fmt::Write as _;

use crate::backup::eventually;
use crate::collection::{collect_all, eager_with};
use crate::harness::{Call, Client, Image, OCI_MANIFEST, Request, Strace, Wharf, content, sha256};
use crate::only_in_the_embedded_run;

/// Everything that reads requests, writes answers, or changes what is stored.
const CALLS: &str = "read,recvfrom,readv,write,writev,sendto,sendmsg,pwrite64,pwritev,pwritev2,fsync,fdatasync,rename,\
                     renameat,renameat2,unlink,unlinkat";

/// What a call is in the write protocol; calls that are nothing in it have no step.
fn step(call: &Call) -> Option<&'static str> {
    let about = |text: &str| call.arguments.contains(text);
    let file = call.arguments.split_once('>').map_or("", |(file, _)| file);
    let on = |text: &str| file.contains(text);
    let in_log = call.thread == "wharf-writer" && on("/wharf.db-wal");
    match call.name.as_str() {
        "pwrite64" | "pwritev" | "pwritev2" | "write" | "writev" if on("/uploads/") => Some("write staged"),
        // The log begins anew when a checkpoint has emptied it: 32 bytes at its start, a sync of their own.
        "pwrite64" if in_log && call.arguments.ends_with(", 32, 0)") => Some("begin log"),
        "pwrite64" if in_log => Some("write log"),
        // As `.cargo/config.toml` has it; `fsync` would work as well, and cost more.
        "fdatasync" if in_log => Some("sync log"),
        "fsync" | "fdatasync" if on("/uploads/") => Some("sync staged"),
        "fsync" | "fdatasync" if on("/layers/") => Some("sync directory"),
        "rename" | "renameat" | "renameat2" if about("/layers/") => Some("place"),
        "unlink" | "unlinkat" if on("/layers/") => Some("remove"),
        "unlink" | "unlinkat" if on("/uploads") => Some("discard"),
        "write" | "writev" | "sendto" | "sendmsg" if about("\"HTTP/1.1 2") => Some("answer"),
        _ => None,
    }
}

/// The steps of `calls` up to the first answer, each of which must have ended before the next one began. Several
/// writes one after the other are one step.
fn steps(calls: &[Call]) -> String {
    let mut text = String::new();
    let mut last: Option<(&'static str, &Call)> = None;
    for call in calls {
        let Some(step) = step(call) else { continue };
        if let Some((_, before)) = last.filter(|(last, _)| *last != step) {
            assert!(before.ended < call.begun, "{call:?} began before {before:?} had ended");
        }
        let is_more = last.is_some_and(|(last, _)| last == step && step.starts_with("write"));
        if !is_more {
            let comma = if last.is_some() { ", " } else { "" };
            write!(text, "{comma}{step}").unwrap();
        }
        last = Some((step, call));
        if step == "answer" {
            break;
        }
    }
    text.replace("begin log, sync log, ", "")
}

/// The calls from the one that read the first request which begins like `head`.
#[track_caller]
fn from_request<'a>(calls: &'a [Call], head: &str) -> &'a [Call] {
    let wanted = format!("\"{head}");
    let read = |call: &Call| ["read", "readv", "recvfrom"].contains(&call.name.as_str());
    let found = calls.iter().position(|call| read(call) && call.arguments.contains(&wanted));
    &calls[found.unwrap_or_else(|| panic!("no request began with `{head}`"))..]
}

/// What is done for the first request that begins like `head`, and the calls behind it.
#[track_caller]
fn check<'a>(calls: &'a [Call], head: &str, expected: &str) -> &'a [Call] {
    let calls = from_request(calls, head);
    assert_eq!(steps(calls), expected, "{head}");
    &calls[1..]
}

async fn push_monolithic(client: &mut Client, blob: &[u8]) {
    let target = format!("/v2/t/one/blobs/uploads/?digest={}", sha256(blob));
    client.send(Request::new("POST", target).body(blob.to_vec())).await.expect(201);
}

async fn push_chunked(client: &mut Client, blob: &[u8]) {
    let location = client.begin_upload("t/two").await;
    let (first, second) = blob.split_at(blob.len() / 2);
    client.append(&location, 0, first.to_vec()).await.expect(202);
    client.finish_upload(&location, &sha256(blob), second.to_vec()).await.expect(201);
}

async fn put_manifest(client: &mut Client, tag: &str, image: &Image) {
    client.put_manifest("t/three", tag, OCI_MANIFEST, image.manifest.clone()).await;
}

/// Waits for what a registry writes by itself when it has started: the sum of what it has.
async fn settle(server: &Wharf) {
    eventually("the first sum", async || !server.look("select 'counted' from storage_samples").is_empty()).await;
}

const BLOB: &str = "write staged, sync staged, place, sync directory, write log, sync log, answer";
const ONLY_FACTS: &str = "write log, sync log, answer";

#[tokio::test]
async fn r001_bytes_before_names_and_the_answer_last() {
    only_in_the_embedded_run!("traces the system calls of files");
    let strace = Strace::of(CALLS);
    let mut server = strace.around(eager_with("1s").set("gc.enabled", "false")).start();
    settle(&server).await;
    let mut client = server.client();
    // The first head of a connection is read in two pieces, to find out which HTTP it is.
    client.get("/v2/").await.expect(200);
    push_monolithic(&mut client, &content(1, 40_000)).await;
    push_chunked(&mut client, &content(2, 40_000)).await;
    let (one, two) = (Image::small(3, "amd64", 100), Image::small(4, "amd64", 100));
    for blob in one.blobs().chain(two.blobs()) {
        client.put_blob("t/three", blob.clone()).await;
    }
    put_manifest(&mut client, "one", &one).await;
    put_manifest(&mut client, "two", &two).await;
    put_manifest(&mut client, "one", &two).await;
    client.delete(&format!("/v2/t/three/manifests/{}", two.digest())).await.expect(202);
    drop(client);
    server.stop();

    let calls = strace.calls();
    // The session, and the blob with the end of its session.
    check(&calls, "POST /v2/t/one/blobs/uploads/?digest=", &format!("write log, sync log, {BLOB}"));
    let rest = check(&calls, "POST /v2/t/two/blobs/uploads/", ONLY_FACTS);
    // A chunk survives the process, not a power cut; so it costs one sync, that of its offset.
    let rest = check(rest, "PATCH ", &format!("write staged, {ONLY_FACTS}"));
    check(rest, "PUT /v2/t/two/blobs/uploads/", BLOB);
    let rest = check(&calls, "PUT /v2/t/three/manifests/one", ONLY_FACTS);
    // The tag moves.
    check(rest, "PUT /v2/t/three/manifests/one", ONLY_FACTS);
    check(rest, "DELETE /v2/t/three/manifests/", ONLY_FACTS);
}

#[tokio::test]
async fn r001_names_before_bytes_when_content_goes() {
    only_in_the_embedded_run!("traces the system calls of files");
    let strace = Strace::of(CALLS);
    let mut server = strace.around(eager_with("1s").set("gc.enabled", "false")).start();
    let mut client = server.client();
    client.put_blob("t/a", content(1, 4_000)).await;
    collect_all(&mut client).await;
    drop(client);
    server.stop();

    let calls = strace.calls();
    // Earlier runs may have found nothing due; the one that counts is the last before the content went.
    let removed = calls.iter().position(|call| step(call) == Some("remove")).expect("a removal");
    let is_answer = |call: &Call| step(call) == Some("answer");
    let before: Vec<Call> = calls[..removed].iter().filter(|call| !is_answer(call)).cloned().collect();
    let all = steps(&before);
    // One transaction for the review, one that takes the row and leaves the note.
    assert!(all.ends_with("write log, sync log, write log, sync log"), "{all}");
    let after: Vec<Call> = calls[removed..].iter().filter(|call| !is_answer(call)).cloned().collect();
    // The note is struck last.
    assert!(steps(&after).starts_with("remove, sync directory, write log, sync log"), "{}", steps(&after));
}

/// What these tests would say of a build that lacks a sync.
#[tokio::test]
async fn a_sync_that_is_left_out_is_missed() {
    only_in_the_embedded_run!("traces the system calls of files");
    for (failpoint, missing) in [
        ("store.sync-file", "sync staged, "),
        ("store.sync-directory", "sync directory, "),
        ("meta.sync", "sync log, "),
    ] {
        let strace = Strace::of(CALLS);
        let server = eager_with("1s").set("gc.enabled", "false").failpoints(&format!("{failpoint}=skip"));
        let mut server = strace.around(server).start();
        settle(&server).await;
        let mut client = server.client();
        client.get("/v2/").await.expect(200);
        push_monolithic(&mut client, &content(1, 4_000)).await;
        drop(client);
        server.stop();
        let found = steps(from_request(&strace.calls(), "POST /v2/t/one/blobs/uploads/?digest="));
        assert_eq!(found, format!("write log, sync log, {BLOB}").replace(missing, ""), "{failpoint}");
    }
}
