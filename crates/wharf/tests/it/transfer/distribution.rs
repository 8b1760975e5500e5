//! The storage of Debian's docker-registry, taken over without it.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::{Old, REPOSITORIES, assert_complete, copied, manifest, open_terminal, partly_copied, tags};
use crate::harness::{Gate, Image, sha256};

#[tokio::test]
async fn a_debian_registry_moves_in_by_its_storage_and_again_after_a_kill() {
    let mut old = Old::populated().await;
    let expected = tags(old.registry.address(), &REPOSITORIES).await;
    old.registry.stop();
    let terminal = open_terminal();
    let import = format!("import --distribution-dir {}", old.registry.storage().display());

    let gate = Gate::before(terminal.server.address(), 400_000);
    let mut killed =
        terminal.command(&format!("{import} --jobs 1 --server http://{}", gate.address())).spawn().unwrap();
    gate.wait_until_closed();
    killed.kill().unwrap();
    assert!(!killed.wait().unwrap().success());

    let report = copied(&terminal, &import);
    assert_eq!(report["tags"], 6, "{report}");
    assert!(report["manifests_there"].as_u64() > Some(0), "{report}");
    assert_eq!(tags(terminal.server.address(), &REPOSITORIES).await, expected);
    assert_complete(terminal.server.address(), &expected).await;
    // What no tag leads to is there as well.
    assert_eq!(sha256(&manifest(&mut terminal.server.client(), "base", &old.untagged).await), old.untagged);

    let report = copied(&terminal, &import);
    assert_eq!((&report["blobs_copied"], &report["manifests_copied"]), (&json!(0), &json!(0)), "{report}");
    // The directory below is taken as well, and one that is none is not.
    let below = old.registry.storage().join("docker/registry/v2");
    copied(&terminal, &format!("import --distribution-dir {} --tag '[0-9]*'", below.display()));
    let at = format!("--server {}", terminal.url());
    terminal.fails(&format!("import --distribution-dir /proc {at}"), 2, "holds no storage of distribution");
}

/// Each kind of damage is reported by its name; everything else is taken over.
#[tokio::test]
async fn damaged_storage_is_reported_by_name() {
    let mut old = Old::populated().await;
    let mut client = old.registry.client();
    for (number, name) in
        ["short", "gone", "linked", "tampered", "unlinked", "badlink", "longlink", "sound"].iter().enumerate()
    {
        Image::small(100 + number as u64, "amd64", 2_000).push(&mut client, &format!("hurt/{name}"), "1").await;
    }
    old.registry.stop();
    let storage = &old.registry;
    let image = |number: u64| Image::small(100 + number, "amd64", 2_000);
    let layer = |number: u64| sha256(&image(number).layers[0]);
    let content = |number: u64| storage.content(&layer(number));
    // A layer that is cut, one that is gone, one that is a link to another file, one that is something else.
    fs::write(content(0), b"short").unwrap();
    fs::remove_file(content(1)).unwrap();
    let kept = content(2).with_extension("kept");
    fs::rename(content(2), &kept).unwrap();
    symlink(&kept, content(2)).unwrap();
    let mut bytes = fs::read(content(3)).unwrap();
    bytes[0] ^= 1;
    fs::write(content(3), bytes).unwrap();
    // A layer that was deleted from the repository, and links that hold no digest.
    let hex = layer(4).replace("sha256:", "");
    fs::remove_file(storage.in_repository("hurt/unlinked", &format!("_layers/sha256/{hex}/link"))).unwrap();
    fs::write(storage.in_repository("hurt/badlink", "_manifests/tags/1/current/link"), "../../etc/passwd").unwrap();
    fs::write(storage.in_repository("hurt/longlink", "_manifests/tags/1/current/link"), vec![b'a'; 100_000]).unwrap();
    // A repository whose name Wharf does not keep, and a revision that is none.
    fs::create_dir_all(storage.in_repository("Hurt/UPPER", "_manifests/tags")).unwrap();
    fs::create_dir_all(storage.in_repository("hurt/sound", "_manifests/revisions/sha256/xyz")).unwrap();
    fs::write(storage.in_repository("hurt/sound", "_manifests/revisions/sha256/xyz/link"), "x").unwrap();

    let terminal = open_terminal();
    let (report, said) =
        partly_copied(&terminal, &format!("import --distribution-dir {}", storage.storage().display()));
    let problem = |what: &str| -> String {
        let problems = report["problems"].as_array().unwrap();
        let found: Vec<&Value> = problems.iter().filter(|problem| problem["what"] == what).collect();
        assert_eq!(found.len(), 1, "{what} in {report:#}");
        found[0]["why"].as_str().unwrap().to_owned()
    };
    for (what, why) in [
        ("hurt/short:1", "it has 5 bytes, and the manifest says"),
        ("hurt/gone:1", "it is linked, and its content is not there"),
        ("hurt/linked:1", "symbolic link"),
        ("hurt/tampered:1", "the content that arrived is sha256:"),
        ("hurt/unlinked:1", "is not there"),
        ("hurt/badlink:1", "its link holds no digest"),
        ("hurt/longlink:1", "its link has 100000 bytes"),
        ("Hurt/UPPER", "not a name that Wharf can keep"),
        ("hurt/sound@sha256:xyz", "digest"),
    ] {
        assert!(problem(what).contains(why), "{what}: {}", problem(what));
        assert!(said.contains(&format!("not copied: {what}: ")), "{said}");
    }
    let sound = [&REPOSITORIES[..], &["hurt/sound"]].concat();
    let there = tags(terminal.server.address(), &sound).await;
    assert_eq!(there.len(), 7);
    assert_complete(terminal.server.address(), &there).await;
    super::assert_untagged(terminal.server.address(), "hurt/tampered").await;
}
