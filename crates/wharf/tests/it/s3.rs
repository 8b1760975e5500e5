//! Content in a bucket, as clients and operators see it (docs/s3.md). The whole suite runs over one, too:
//! `WHARF_TEST_STORAGE=s3`.

use std::path::Path;

use wharf_testkit::{Mood, Proxy};

use crate::harness::{Builder, Client, Image, PATIENCE, Request, Wharf, binary, bucket, content, sha256};
use crate::only_in_the_embedded_run;

/// Beyond what is passed on in any case.
const LARGE: usize = 1_500_000;

/// A server over a bucket, whatever the suite runs over.
fn builder() -> Builder {
    let builder = Wharf::builder();
    let environment = bucket::environment_of(builder.data());
    environment.into_iter().fold(builder, |builder, (name, value)| builder.env(name, value))
}

#[tokio::test]
async fn clients_are_sent_to_the_bucket_for_what_is_large() {
    let server = builder().set("storage.redirect", "always").set("storage.redirect_lifetime", "30s").start();
    let mut client = server.client();
    let (large, small) = (content(1, LARGE), content(2, 5_000));
    let digest = client.put_blob("a/b", large.clone()).await;
    let little = client.put_blob("a/b", small.clone()).await;

    let target = format!("/v2/a/b/blobs/{digest}");
    let sent = client.get(&target).await.expect(307);
    assert_eq!(sent.header("cache-control"), Some("no-store"), "{sent}");
    assert_eq!(sent.header("docker-content-digest"), Some(digest.as_str()), "{sent}");
    let link = sent.header("location").unwrap().to_owned();
    let http = reqwest::Client::new();
    assert!(http.get(&link).send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap() == large);
    let part = http.get(&link).header("range", "bytes=10-19").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert!(part.bytes().await.unwrap() == large[10..20]);

    client.head(&target).await.expect(200);
    assert!(client.get(&format!("/v2/a/b/blobs/{little}")).await.expect(200).body == small);
    client.get(&format!("/v2/a/other/blobs/{digest}")).await.expect(404);
    assert!(!server.log_text().contains("X-Amz-Signature"), "the log opens the blob to whoever reads it");
}

#[tokio::test]
async fn only_clients_of_some_networks_are_sent_there() {
    for (networks, status) in [("192.0.2.0/24", 200), ("192.0.2.0/24,127.0.0.0/8", 307)] {
        let server = builder().set("storage.redirect", "always").set("storage.redirect_networks", networks).start();
        let mut client = server.client();
        let digest = client.put_blob("a/b", content(1, LARGE)).await;
        client.get(&format!("/v2/a/b/blobs/{digest}")).await.expect(status);
    }
}

/// each upload needs memory for a part that is gathered and one that is on its way. There is enough for two; the
/// others wait for it, and their clients notice nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r081_a_crowd_of_uploads_shares_the_memory_that_there_is() {
    const MIB: u64 = 1 << 20;
    let server = builder().set("registry.memory", "32MiB").start();
    let idle_bytes = server.memory().resident_bytes;
    let crowd: Vec<_> = (0..10)
        .map(|seed| {
            let client = server.client();
            // Who has waited too long for memory is cut off in the middle of the body, and tries again.
            tokio::spawn(async move {
                for _ in 0..10 {
                    let mut client = client.another();
                    let push = tokio::spawn(async move { client.put_blob("a/b", content(seed, 18 << 20)).await });
                    if push.await.is_ok() {
                        return;
                    }
                }
                panic!("there was never any memory");
            })
        })
        .collect();
    for upload in crowd {
        upload.await.unwrap();
    }
    let most_bytes = server.memory().high_water_bytes;
    println!("{} MiB idle, {} MiB at most", idle_bytes / MIB, most_bytes / MIB);
    assert!(most_bytes < idle_bytes + 32 * MIB + 40 * MIB, "{} MiB", most_bytes / MIB);
}

/// GR-39: what needs the bucket is refused, what does not goes on, nothing acknowledged is lost, and nobody restarts anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_does_not_answer_costs_what_needs_it_and_no_more() {
    let door = Proxy::before(bucket::address()).await;
    let server = builder().env("WHARF_STORAGE__ENDPOINT", format!("http://{}", door.address())).start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "a/b", "v1").await;
    let blob = content(2, LARGE);
    let location = client.begin_upload("a/b").await;
    let half = LARGE / 2;
    client.append(&location, 0, blob[..half].to_vec()).await.expect(202);

    door.shut().await;
    for _ in 0..3 {
        let refused = client.get(&format!("/v2/a/b/blobs/{}", sha256(&image.config))).await.expect(503);
        assert!(refused.header("retry-after").is_some(), "{refused}");
        client.append(&location, half, blob[half..half + 10].to_vec()).await.expect(503);
        client.get("/v2/a/b/manifests/v1").await.expect(200);
        client.head(&format!("/v2/a/b/blobs/{}", sha256(&image.config))).await.expect(200);
    }
    client.get("/readyz").await.expect(200);

    door.be(Mood::Fair);
    let begun = std::time::Instant::now();
    while client.get(&format!("/v2/a/b/blobs/{}", sha256(&image.config))).await.status != 200 {
        assert!(begun.elapsed() < PATIENCE, "it does not recover");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    client.append(&location, half, blob[half..].to_vec()).await.expect(202);
    let digest = sha256(&blob);
    client.finish_upload(&location, &digest, "").await.expect(201);
    assert!(client.get(&format!("/v2/a/b/blobs/{digest}")).await.expect(200).body == blob);
}

#[tokio::test]
async fn a_registry_keeps_the_kind_of_storage_that_it_was_begun_with() {
    only_in_the_embedded_run!("names its engines itself");
    let mut server = builder().start();
    let mut client = server.client();
    client.put_blob("a/b", content(1, 10)).await;
    server.stop();
    let (exit, said) = serve(server.data(), &[]);
    assert_eq!(exit, Some(4), "{said}");
    assert!(said.contains("the content to store"), "{said}");

    let other = tempfile::tempdir().unwrap();
    let (exit, said) = serve(other.path(), &bucket::environment_of(server.data()));
    assert_eq!(exit, Some(4), "a bucket with content, and no database of it\n{said}");
}

#[tokio::test]
async fn what_is_wrong_with_a_bucket_is_said() {
    let place = tempfile::tempdir().unwrap();
    let mut environment = bucket::environment_of(place.path());
    environment.push(("AWS_SECRET_ACCESS_KEY", "canary-wrong-secret".into()));
    let (exit, said) = serve(place.path(), &environment);
    assert_eq!(exit, Some(10), "{said}");
    assert!(said.contains("opening the bucket s3://") && said.contains("storage.endpoint"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    environment.push(("WHARF_STORAGE__URL", "s3://key:canary@bucket".into()));
    let (exit, said) = serve(place.path(), &environment);
    assert_eq!(exit, Some(2), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

/// `wharf serve` where it must refuse to start.
fn serve(data: &Path, environment: &[(&'static str, std::ffi::OsString)]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(binary());
    command.args(["serve", "--open", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WHARF_")) {
        command.env_remove(name);
    }
    command.envs(environment.iter().cloned()).stdin(std::process::Stdio::null());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// What its clients were told is there is there, whoever asks in between.
#[tokio::test]
async fn content_that_is_pushed_again_is_read_to_its_end() {
    let server = builder().start();
    let mut client: Client = server.client();
    let blob = content(3, 3 * LARGE);
    let digest = client.put_blob("a/b", blob.clone()).await;
    let mut reading = client.connect().await.unwrap();
    reading.send(Request::new("GET", format!("/v2/a/b/blobs/{digest}")).head(&client.host()).as_bytes()).await.unwrap();
    reading.final_head().await.unwrap().expect(200);
    client.put_blob("a/b", blob.clone()).await;
    let mut received = Vec::new();
    while received.len() < blob.len() {
        received.extend_from_slice(&reading.some(blob.len() - received.len()).await.unwrap());
    }
    assert!(received == blob);
}
