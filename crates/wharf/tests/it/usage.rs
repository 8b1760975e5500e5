//! How much is stored and what is pulled: written in the background, and seen by people.

use crate::harness::{ADMIN_PASSWORD, Client, Image, Request, Wharf, basic};

/// The text of a page, for whoever has signed in.
async fn page(server: &Wharf, path: &str) -> String {
    let form = format!("username=admin&password={ADMIN_PASSWORD}");
    let request = Request::new("POST", "/login").header("Content-Type", "application/x-www-form-urlencoded");
    let reply = server.client().send(request.header("Sec-Fetch-Site", "same-origin").body(form)).await.expect(303);
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let request = Request::new("GET", path).header("Cookie", cookie).header("Accept", "text/html");
    let reply = server.client().send(request).await.expect(200);
    String::from_utf8_lossy(&reply.body).into_owned()
}

/// A pull is noted after it was answered, and written down before the process ends; a look at it is none, nor is a page.
#[tokio::test]
async fn the_last_pull_of_a_tag_is_seen() {
    let mut server = Wharf::with_accounts();
    let mut client: Client = server.client().authorized(basic("admin", ADMIN_PASSWORD));
    let digest = Image::small(1, "amd64", 1_000).push(&mut client, "team/app", "v1").await;
    Image::small(2, "amd64", 1_000).push(&mut client, "team/app", "v2").await;
    client.head("/v2/team/app/manifests/v2").await.expect(200);
    page(&server, "/image?repository=team/app&reference=v2").await;
    client.get("/v2/team/app/manifests/v1").await.expect(200);
    server.stop();
    let noted = "select digest from manifests where last_pulled_at_us is not null";
    server.restart();
    assert_eq!(server.look(noted), [[digest.clone()]]);
    let told = page(&server, "/repository?repository=team/app").await;
    assert_eq!(told.matches(r#"<td data-label="Last pulled"><time"#).count(), 1, "{told}");
    assert_eq!(told.matches(r#"<td data-label="Last pulled"><span class="sub">never"#).count(), 1, "{told}");

    // What is known in memory of the repository is not read anew because of it, and the manifest is as it was.
    let mut client = server.client().authorized(basic("admin", ADMIN_PASSWORD));
    client.get(&format!("/v2/team/app/manifests/{digest}")).await.expect(200);
}

/// What there is on a day is counted and kept, and drawn from the second day on.
#[tokio::test]
async fn what_is_stored_is_counted_day_by_day() {
    let mut server = Wharf::with_accounts();
    let mut client = server.client().authorized(basic("admin", ADMIN_PASSWORD));
    Image::small(1, "amd64", 5_000).push(&mut client, "team/app", "v1").await;
    Image::small(1, "amd64", 5_000).push(&mut client, "team/copy", "v1").await;
    Image::small(2, "amd64", 90_000).push(&mut client, "team/large", "v1").await;
    server.wait_for_log("there are 0 blobs in 0 repositories");
    let told = page(&server, "/storage").await;
    assert!(told.contains("There is one day so far."), "{told}");

    // Yesterday there was half of it.
    server.stop();
    server.tamper(
        "update storage_samples set day = day - 1, sampled_at_us = sampled_at_us - 86400000000, bytes = 50000,
                                    unshared_bytes = 60000",
    );
    server.restart();
    server.wait_for_log("blobs in 3 repositories");
    let counted = server.look("select cast(repositories as text) from storage_samples order by day");
    assert_eq!(counted, [["0"], ["3"]]);
    let last = "from storage_samples order by day desc limit 1";
    let saved = server.look(&format!("select cast(unshared_bytes - bytes as text) {last}"));
    assert!(saved[0][0].parse::<u64>().unwrap() >= 5_000, "what two repositories have is counted once: {saved:?}");
    let most = server.look("select cast(max(bytes) as text) from largest_repositories");
    assert!(most[0][0].parse::<u64>().unwrap() >= 90_000, "{most:?}");
    let largest = server.look("select repository from largest_repositories order by rank");
    assert_eq!(largest, [["team/large"], ["team/app"], ["team/copy"]]);
    let told = page(&server, "/storage").await;
    assert!(told.contains(r#"<polyline class="own" points="0,"#), "{told}");
    assert!(told.contains("From 48.8 KiB on "), "the drawing is told in words: {told}");
    let at = |text: &str| told.find(text).unwrap_or_else(|| panic!("{text} is not in {told}"));
    assert!(at("repository=team/large\">team/large") < at("repository=team/app\">team/app"));

    let told = page(&server, "/system").await;
    assert!(told.contains("requests in the last hour, at most"), "{told}");
    assert_eq!(told.matches("<figure class=\"chart\">").count(), 3);
}
