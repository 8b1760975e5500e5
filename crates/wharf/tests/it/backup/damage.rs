//! Damaged backups are found, and never taken for sound; damaged registries are told.

use std::path::{Path, PathBuf};

use super::desk::{Desk, contents, text};
use super::*;
use crate::harness::Kept;

/// What can happen to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip,
    Cut,
    Lose,
}

const HARMS: [Harm; 3] = [Harm::Flip, Harm::Cut, Harm::Lose];

impl Harm {
    fn befall(self, path: &Path) {
        let mut bytes = std::fs::read(path).unwrap();
        match self {
            Self::Flip => {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 0x10;
                std::fs::write(path, bytes).unwrap();
            }
            Self::Cut => std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap(),
            Self::Lose => std::fs::remove_file(path).unwrap(),
        }
    }

    /// The same, to content of a registry.
    fn befall_kept(self, kept: &Kept<'_>, digest: &str) {
        let mut bytes = kept.read(digest).unwrap();
        match self {
            Self::Flip => kept.flip_bit(digest, bytes.len() as u64 * 4),
            Self::Cut => {
                bytes.pop();
                kept.write(digest, &bytes);
            }
            Self::Lose => kept.remove(digest),
        }
    }
}

fn path_of(content: &Path, digest: &str) -> PathBuf {
    let hex = digest.strip_prefix("sha256:").unwrap();
    content.join("sha256").join(&hex[..2]).join(hex)
}

#[tokio::test]
async fn r066_damage_of_any_file_is_found_and_nothing_is_restored_from_it() {
    damage_of_any_file(Desk::new()).await;
}

#[tokio::test]
async fn r066_damage_of_any_file_is_found_and_nothing_is_restored_from_it_in_a_bucket() {
    damage_of_any_file(Desk::with_bucket()).await;
}

async fn damage_of_any_file(desk: Desk) {
    let server = Wharf::start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "a/b", "v1").await;
    let made = desk.backup(&server);
    let generation = desk.backups().join("generations").join(made["generation"].as_str().unwrap());
    let mut files: Vec<PathBuf> =
        ["wharf.db", "content", "generation.json", "SHA256SUMS"].iter().map(|name| generation.join(name)).collect();
    let content = desk.backups().join("content");
    files.extend(contents(&content).iter().map(|digest| path_of(&content, digest)));
    assert_eq!(files.len(), 6);
    let backups = desk.at();
    for file in &files {
        for harm in HARMS {
            let is_content = file.starts_with(&content);
            if desk.has_bucket() && file.ends_with("generation.json") && matches!(harm, Harm::Lose) {
                // Without it there is no generation in a bucket.
                continue;
            }
            let whole = std::fs::read(file).unwrap();
            harm.befall(file);
            let deep = ["backup", "verify", backups.as_str(), "--deep", "--json"];
            let found = desk.run(&deep);
            assert_eq!(found.exit, Some(8), "{harm:?} of {}: {found:?}", file.display());
            if !(is_content && matches!(harm, Harm::Flip)) {
                let found = desk.run(&["backup", "verify", &backups]);
                assert_eq!(found.exit, Some(8), "{harm:?} of {}: {found:?}", file.display());
            }
            let target = desk.path("target");
            let refused = desk.run(&["restore", "--from", &backups, "--data", &text(&target)]);
            assert_eq!(refused.exit, Some(8), "{harm:?} of {}: {refused:?}", file.display());
            if target.exists() {
                let said = serve_expecting_failure(&target);
                assert_eq!(said.status.code(), Some(2), "{harm:?} of {}: {said:?}", file.display());
                std::fs::remove_dir_all(&target).unwrap();
            }
            if is_content {
                // The next backup brings back what it can see to be wrong.
                let copied = &desk.backup(&server)["copied"]["blobs"];
                assert_eq!(*copied, i32::from(!matches!(harm, Harm::Flip)), "{harm:?} of {}", file.display());
            }
            std::fs::write(file, whole).unwrap();
            desk.verify_deeply();
        }
    }
}

/// A list that lacks a line would let content go that is needed.
#[tokio::test]
async fn nothing_is_pruned_by_a_damaged_list() {
    a_damaged_list(Desk::new()).await;
}

#[tokio::test]
async fn nothing_is_pruned_by_a_damaged_list_in_a_bucket() {
    a_damaged_list(Desk::with_bucket()).await;
}

async fn a_damaged_list(desk: Desk) {
    let server = Wharf::start();
    let mut client = server.client();
    let mut made = Vec::new();
    for seed in 0..2 {
        Image::small(seed, "amd64", 5_000).push(&mut client, "a/b", "v1").await;
        made.push(desk.backup(&server));
    }
    let newest = desk.backups().join("generations").join(made[1]["generation"].as_str().unwrap());
    let list = newest.join("content");
    let whole = std::fs::read_to_string(&list).unwrap();
    let before = contents(&desk.backups().join("content"));
    let shorter = whole.split_once('\n').unwrap().1;
    std::fs::write(&list, shorter).unwrap();
    desk.fails(&["backup", "prune", &desk.at(), "--keep", "1"], 8, "nothing was removed");
    assert_eq!(desk.generations().len(), 2);
    assert_eq!(contents(&desk.backups().join("content")), before);
    std::fs::write(&list, whole).unwrap();
    // That which goes may be as damaged as it likes.
    std::fs::remove_file(
        desk.backups().join("generations").join(made[0]["generation"].as_str().unwrap()).join("content"),
    )
    .unwrap();
    desk.ok(&["backup", "prune", &desk.at(), "--keep", "1"]);
    desk.verify_deeply();
}

#[tokio::test]
async fn all_that_is_sound_can_be_restored_and_the_rest_pushed_again() {
    what_is_sound(Desk::new()).await;
}

#[tokio::test]
async fn all_that_is_sound_can_be_restored_and_the_rest_pushed_again_in_a_bucket() {
    what_is_sound(Desk::with_bucket()).await;
}

async fn what_is_sound(desk: Desk) {
    let server = Wharf::start();
    let mut client = server.client();
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "a/b", "v1").await;
    desk.backup(&server);
    let lost = sha256(&image.layers[0]);
    for harm in HARMS {
        let file = path_of(&desk.backups().join("content"), &lost);
        let whole = std::fs::read(&file).unwrap();
        harm.befall(&file);
        let builder = Wharf::builder();
        let words = ["restore", "--from", &desk.at(), "--data", &text(builder.data()), "--allow-damaged"];
        let said = desk.ok(&words);
        assert!(said.contains("1 blobs could not be brought back; push them again"), "{said}");
        std::fs::write(&file, whole).unwrap();
        let restored = builder.start();
        let mut client = restored.client();
        client.head(&format!("/v2/a/b/blobs/{lost}")).await.expect(404);
        client.get("/v2/a/b/manifests/v1").await.expect(200);
        image.push(&mut client, "a/b", "v1").await;
        assert_eq!(nothing_dangles(&restored, &mut client).await, 1);
    }
}

#[tokio::test]
async fn a_registry_that_has_lost_content_is_backed_up_only_knowingly_and_healed_from_a_backup() {
    let mut server = Wharf::start();
    let (mut client, desk) = (server.client(), Desk::new());
    let image = Image::small(1, "amd64", 5_000);
    image.push(&mut client, "a/b", "v1").await;
    let made = desk.backup(&server);
    let good = desk.path("good");
    std::fs::rename(desk.backups(), &good).unwrap();
    let lost = sha256(&image.layers[0]);
    for harm in HARMS {
        harm.befall_kept(&server.kept(), &lost);
        let words = desk.backup_words(&server);
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        desk.fails(&words, 8, &lost);
        let before = desk.generations().len();
        words.push("--allow-damaged");
        let knowing: Value = serde_json::from_str(&desk.ok(&words)).unwrap();
        assert_eq!(knowing["damaged"], json!([lost]));
        assert_eq!(desk.generations().len(), before + 1);
        desk.verify_deeply();

        // One content, put back where it belongs, from a backup that has it.
        server.stop();
        let (data, backups) = (text(server.data()), desk.at());
        desk.fails(&["restore", &lost, "--from", &backups, "--data", &data], 8, "is missing");
        let heal = ["restore", lost.as_str(), "--from", &text(&good), "--data", &data];
        assert_eq!(desk.ok(&heal), format!("{lost} is restored\n"));
        assert_eq!(desk.ok(&heal), format!("{lost} was sound\n"));
        let stranger = sha256(b"nobody's");
        desk.fails(&["restore", &stranger, "--from", &text(&good), "--data", &data], 9, "knows no content");
        server.restart();
        assert_eq!(nothing_dangles(&server, &mut server.client()).await, 1, "{harm:?}");
    }
    assert_eq!(made["damaged"], Value::Null);
}
