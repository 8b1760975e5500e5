//! The unit for systemd: known words only, little exposed, and nothing forbidden that Wharf does.

use std::collections::BTreeSet;

use tempfile::TempDir;

use super::{file, read, wharf};
use crate::harness::{ADMIN_PASSWORD, Image, Request, Strace, Tool, Wharf, basic, binary};

/// The most that `systemd-analyze security` may find exposed, in tenths.
const EXPOSURE_MAX: &str = "20";

#[tokio::test]
async fn the_unit_is_sound_and_exposes_little() {
    let place = TempDir::new().unwrap();
    let unit = place.path().join("wharf.service");
    let text = read("deploy/systemd/wharf.service").replace("/usr/bin/wharf", binary().to_str().unwrap());
    std::fs::write(&unit, text).unwrap();
    let said = Tool::new("systemd-analyze").args("verify").arg(&unit).run().await;
    // It says what it does not know, and succeeds.
    let about_ours = said.stderr.lines().filter(|line| line.contains("wharf.service")).collect::<Vec<_>>();
    assert!(said.success && about_ours.is_empty(), "{said:?}");
    let security = format!("security --offline=true --threshold={EXPOSURE_MAX} --no-pager");
    Tool::new("systemd-analyze").args(&security).arg(&unit).ok().await;
    let users = Tool::new("systemd-sysusers").arg("--dry-run").arg(file("deploy/systemd/wharf.sysusers"));
    let users = users.run().await;
    assert!(users.success, "{users:?}");
    wharf(&[]).args("config check --config").arg(file("deploy/systemd/wharf.toml")).ok().await;
}

/// What a group of `SystemCallFilter=` allows.
async fn calls_of(group: &str) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    let mut groups = vec![group.to_owned()];
    while let Some(group) = groups.pop() {
        let said = Tool::new("systemd-analyze").args("syscall-filter --no-pager").arg(&group).ok().await;
        for line in said.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if line.starts_with('@') { groups.push(line.to_owned()) } else { _ = calls.insert(line.to_owned()) }
        }
    }
    calls
}

#[tokio::test]
async fn the_unit_allows_every_call_that_wharf_makes() {
    let text = read("deploy/systemd/wharf.service");
    assert!(text.contains("\nSystemCallFilter=@system-service\nSystemCallFilter=~@privileged @resources\n"));
    let mut allowed = calls_of("@system-service").await;
    for group in ["@privileged", "@resources"] {
        allowed = &allowed - &calls_of(group).await;
    }
    let trace = Strace::of("all");
    let mut server = trace.around(Wharf::builder().accounts()).start();
    let place = TempDir::new().unwrap();
    Image::small(1, "amd64", 3_000_000).write_layout(&place.path().join("image"));
    let at = format!("docker://{}/a/b:1", server.address());
    let copy = |words: String| {
        let copy = format!("copy --insecure-policy --src-tls-verify=false --dest-tls-verify=false {words}");
        Tool::new("skopeo").args(&copy).inside(place.path())
    };
    copy(format!("--dest-creds admin:{ADMIN_PASSWORD} oci:image {at}")).ok().await;
    copy(format!("--src-creds admin:{ADMIN_PASSWORD} {at} oci:pulled")).ok().await;
    let collect = Request::new("POST", "/api/v1/gc/run").header("Authorization", basic("admin", ADMIN_PASSWORD));
    server.client().send(collect.header("Content-Type", "application/json").body(&b"{}"[..])).await.expect(202);
    server.client().get("/readyz?verbose").await.expect(200);
    server.stop();
    let made: BTreeSet<String> = trace.calls().into_iter().map(|call| call.name).collect();
    assert!(made.contains("openat2") && made.len() > 30, "{made:?}");
    // Before Wharf is Wharf: what runs it. SQLite gives its files to the owner of the database, as root only.
    let others = ["execve", "fchown"].map(str::to_owned).into();
    let forbidden: Vec<_> = (&(&made - &allowed) - &others).into_iter().collect();
    assert_eq!(forbidden, Vec::<String>::new());
}
