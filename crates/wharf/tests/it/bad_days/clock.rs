//! Clocks that are wrong (R-050, FT-10), and databases that are damaged. What a jump does to a running registry is
//! tested in its room, where a clock can be set.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use rusqlite::Connection as Database;

use super::{pulls, wait_for_writes};
use crate::harness::{Client, Image, Wharf};
use crate::only_in_the_embedded_run;

fn database(data: &Path) -> Database {
    Database::open(data.join("wharf.db")).unwrap()
}

async fn holds(client: &mut Client) -> Vec<String> {
    let found = client.get("/api/v1/gc").await.expect(200).json();
    found["holds"].as_array().unwrap().iter().map(|hold| hold["id"].as_str().unwrap().to_owned()).collect()
}

/// The mark is what a run at that time would have left behind.
#[tokio::test]
async fn ft10_a_start_far_from_the_last_run_collects_nothing_for_an_hour() {
    const DAY_US: i64 = 86_400_000_000;
    let mut server = Wharf::start();
    assert_eq!(holds(&mut server.client()).await, [""; 0]);
    for (moved_us, expected) in [(-8 * DAY_US, true), (DAY_US, true), (-6 * DAY_US, false)] {
        server.stop();
        server.tamper(&format!("update meta set clock_high_us = clock_high_us + ({moved_us})"));
        server.restart();
        let mut client = server.client();
        assert_eq!(holds(&mut client).await, if expected { vec!["clock-jump"] } else { vec![] }, "{moved_us}");
        assert_eq!(client.get("/readyz").await.status, 200);
        if expected {
            server.wait_for_log("collection and expiry of uploads and deletions wait for an hour");
            client.delete("/api/v1/gc/holds/clock-jump").await.expect(204);
        }
    }
}

/// A page that a quick check finds and that reads do not need.
#[tokio::test]
async fn r012_after_an_unclean_stop_a_damaged_database_takes_no_writes() {
    only_in_the_embedded_run!("damages the file of the embedded database");
    let mut server = Wharf::start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "t/a", "v1").await;
    // So that everything is in the file, and the file says that it is not.
    server.stop();
    let page: u32 = {
        let database = database(server.data());
        database.execute("update meta set clean_shutdown = 0", []).unwrap();
        database
            .query_row("select rootpage from sqlite_schema where name = 'deleted_manifests'", [], |row| row.get(0))
            .unwrap()
    };
    let mut file = std::fs::OpenOptions::new().write(true).open(server.data().join("wharf.db")).unwrap();
    file.seek(SeekFrom::Start(u64::from(page - 1) * 4096)).unwrap();
    let mut garbage = vec![0xAA; 4096];
    // Still the root of a table, but for its cells.
    garbage[..8].copy_from_slice(&[0x0d, 0, 0, 0, 9, 0x0f, 0, 0]);
    file.write_all(&garbage).unwrap();
    file.sync_all().unwrap();

    server.restart();
    let mut client = server.client();
    let said = wait_for_writes(&mut client, "refused").await;
    assert_eq!(said["trouble"]["what"], "its metadata database is damaged", "{said:#}");
    assert!(said["trouble"]["remedy"].as_str().unwrap().contains("restore the database from a backup"), "{said:#}");
    super::protected::takes_no_writes(&mut client, &image, "its metadata database is damaged").await;
    pulls(&mut client, "t/a", &image).await;
    assert_eq!(holds(&mut client).await, ["unclean-stop"]);
}

#[tokio::test]
async fn r012_a_sound_database_is_found_sound_after_an_unclean_stop() {
    only_in_the_embedded_run!("looks at the file of the embedded database, as a start does after an unclean stop");
    let mut server = Wharf::start();
    Image::small(1, "amd64", 5_000).push(&mut server.client(), "t/a", "v1").await;
    server.kill9();
    server.restart();
    server.wait_for_log("the metadata database has no damage that a quick check sees");
    Image::small(2, "amd64", 5_000).push(&mut server.client(), "t/a", "v2").await;
}
