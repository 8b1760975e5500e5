//! What is measured, who may see it, and the page that describes it (S-075, S-018, B-122).
//!
//! `WHARF_UPDATE_DOCS=1` writes the table in `docs/metrics.md` anew.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use crate::harness::{Client, Image, Request, Wharf};

async fn scrape(client: &mut Client) -> String {
    let reply = client.get("/metrics").await.expect(200);
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"), "{reply}");
    String::from_utf8(reply.body).unwrap()
}

/// The value of the sample that is spelled like this.
#[track_caller]
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find(|line| line.strip_prefix(sample).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no sample {sample} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn requests_commits_and_space_are_counted_and_no_name_is_shown() {
    let server = Wharf::with_accounts();
    let mut client = server.client();
    let mut admin = server.client().authorized(crate::harness::basic("admin", crate::harness::ADMIN_PASSWORD));
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut admin, "very-secret/project", "tag-of-nobody").await;
    admin.get("/v2/very-secret/project/manifests/tag-of-nobody").await.expect(200);
    admin.get("/v2/very-secret/project/manifests/missing").await.expect(404);
    let text = scrape(&mut client).await;
    for (sample, least) in [
        ("wharf_requests_total{class=\"commit\",status=\"201\"}", 1.0),
        ("wharf_requests_total{class=\"upload\",status=\"201\"}", 2.0),
        ("wharf_requests_total{class=\"read\",status=\"404\"}", 1.0),
        ("wharf_request_seconds_count{class=\"upload\"}", 4.0),
        ("wharf_received_bytes_total", 5_000.0),
        ("wharf_commit_seconds_count", 5.0),
        ("wharf_commit_changes_sum", 5.0),
        ("wharf_sync_seconds_count", 4.0),
        ("wharf_gc_reviews", 2.0),
        ("wharf_connections", 1.0),
        ("wharf_storage_free_bytes", 1.0),
        ("wharf_database_log_bytes", 1.0),
    ] {
        // A bucket acknowledges once what a disk syncs twice, and nobody knows how much room it has; PostgreSQL's log is its own.
        let least = match sample {
            "wharf_sync_seconds_count" if server.kept().is_in_a_bucket() => least / 2.0,
            "wharf_storage_free_bytes" if server.kept().is_in_a_bucket() => continue,
            "wharf_database_log_bytes" if server.is_on_postgres() => continue,
            _ => least,
        };
        assert!(value(&text, sample) >= least, "{sample}\n{text}");
    }
    for sample in ["wharf_write_protected", "wharf_uploads_open", "wharf_audit_lost_total", "wharf_gc_pressure"] {
        assert!(value(&text, sample).abs() < f64::EPSILON, "{sample}\n{text}");
    }
    for name in ["secret", "project", "tag-of-nobody", "sha256"] {
        assert!(!text.contains(name), "{name} is shown:\n{text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn b122_metrics_are_for_this_machine_or_on_their_own_address() {
    let server = Wharf::start();
    let by_proxy = Request::new("GET", "/metrics").header("X-Forwarded-For", "203.0.113.9");
    server.client().send(by_proxy).await.expect(404);

    let server = Wharf::builder().set("server.metrics_listen", "127.0.0.1:0").start();
    server.client().get("/metrics").await.expect(404);
    server.wait_for_log("metrics are on ");
    let log = server.log_text();
    let (_, address) = log.split_once("metrics are on ").unwrap();
    let end = address.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).unwrap_or(address.len());
    let mut watcher = Client::new(address[..end].parse::<SocketAddr>().unwrap());
    scrape(&mut watcher).await;
    assert_eq!(watcher.get("/readyz?verbose").await.expect(200).json()["writes"], "taken");
    for path in ["/v2/", "/api/v1/gc", "/v2/_catalog"] {
        watcher.get(path).await.expect(404);
    }
}

#[tokio::test]
async fn the_page_of_metrics_lists_what_a_scrape_shows() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let table = wharf_http::metrics_reference();
    let begin = page.find("| metric |").expect("a table");
    if std::env::var_os("WHARF_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{}{table}", &page[..begin])).unwrap();
    } else {
        assert_eq!(&page[begin..], table, "run this test with WHARF_UPDATE_DOCS=1");
    }
    let server = Wharf::with_accounts();
    let text = scrape(&mut server.client()).await;
    let shown: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let listed = table.lines().skip(2).map(|line| line.split('`').nth(1).unwrap());
    let listed: BTreeSet<_> = listed.map(|name| name.strip_suffix("_total").unwrap_or(name)).collect();
    assert_eq!(shown, listed);
}
