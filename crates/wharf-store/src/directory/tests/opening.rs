//! Opening a directory: what is made, what is refused (B-135, B-136, B-138).

use std::fs;
use std::os::unix::fs::symlink;

use rustix::io::Errno;

use super::faulty::{Fault, Faulty, Pretence, When};
use super::*;

#[test]
fn a_new_directory_gets_the_whole_layout() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("data");
    let store = open(&path).unwrap();
    assert_eq!(fs::read_dir(path.join("layers/sha256")).unwrap().count(), 256);
    assert_eq!(fs::read_to_string(path.join("wharf.id")).unwrap(), format!("layout 1\nstore {}\n", store.store_id()));
    assert_eq!(fs::read_to_string(path.join("wharf.lock")).unwrap(), format!("{}\n", std::process::id()));
    let mut names: Vec<_> =
        fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["layers", "uploads", "wharf.id", "wharf.lock"]);
}

#[test]
fn an_empty_directory_is_as_good_as_none() {
    let parent = TempDir::new().unwrap();
    open(parent.path()).unwrap();
    open(&parent.path().join(".")).unwrap();
}

#[test]
fn b136_a_second_process_is_told_who_has_it() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("data");
    let store = open(&path).unwrap();
    let ours = Some(std::process::id());
    let second = open(&path);
    assert!(matches!(&second, Err(OpenError::InUse { pid, .. }) if *pid == ours), "{second:?}");
    let message = second.unwrap_err().to_string();
    assert!(message.ends_with(&format!("is already in use by process {}", std::process::id())), "{message}");

    fs::write(path.join("wharf.lock"), "who knows").unwrap();
    assert!(matches!(open(&path), Err(OpenError::InUse { pid: None, .. })));
    drop(store);
    open(&path).unwrap();
}

#[test]
fn b135_a_directory_is_not_made_without_its_parent() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("missing/data");
    assert!(matches!(open(&path), Err(OpenError::NoParent { .. })));
    assert!(!parent.path().join("missing").exists());
}

#[test]
fn b135_what_is_no_directory_is_refused() {
    let parent = TempDir::new().unwrap();
    let real = parent.path().join("real");
    fs::create_dir(&real).unwrap();
    let link = parent.path().join("link");
    symlink(&real, &link).unwrap();
    let file = parent.path().join("file");
    fs::write(&file, b"").unwrap();
    for path in [link.clone(), link.join(""), link.join("."), file] {
        let opened = open(&path);
        assert!(matches!(opened, Err(OpenError::NotADirectory { .. })), "{}: {opened:?}", path.display());
    }
    assert_eq!(fs::read_dir(&real).unwrap().count(), 0);
}

#[test]
fn an_identity_that_cannot_be_read_stops_the_start_and_is_left_alone() {
    let id = "018bcfe5-6800-7000-8000-000000000000";
    for (text, what) in [
        (String::new(), "empty"),
        ("layout 1\n".into(), "no store"),
        (format!("layout 1\nstore {id}"), "cut by one byte"),
        (format!("layout 1\nstore {id}\nmore\n"), "longer"),
        (format!("store {id}\nlayout 1\n"), "another order"),
        ("layout one\nstore x\n".into(), "no number"),
        ("\u{0}\u{1}\u{2}".into(), "bytes"),
    ] {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("data");
        drop(open(&path).unwrap());
        fs::write(path.join("wharf.id"), &text).unwrap();
        let opened = open(&path);
        assert!(matches!(opened, Err(OpenError::BadId { .. })), "{what}: {opened:?}");
        assert_eq!(fs::read_to_string(path.join("wharf.id")).unwrap(), text);
    }
}

#[test]
fn a_newer_layout_is_refused_whatever_else_it_says() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("data");
    drop(open(&path).unwrap());
    fs::write(path.join("wharf.id"), "layout 2\nsomething new\n").unwrap();
    let opened = open(&path);
    assert!(matches!(opened, Err(OpenError::NewerLayout { found: 2, known: 1, .. })), "{opened:?}");
}

#[test]
fn s068_a_linked_identity_or_lock_is_refused() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("data");
    drop(open(&path).unwrap());
    fs::rename(path.join("wharf.id"), parent.path().join("id")).unwrap();
    symlink(parent.path().join("id"), path.join("wharf.id")).unwrap();
    assert!(matches!(open(&path), Err(OpenError::BadId { .. })));

    fs::remove_file(path.join("wharf.lock")).unwrap();
    symlink(parent.path().join("lock"), path.join("wharf.lock")).unwrap();
    assert!(matches!(open(&path), Err(OpenError::Io { .. })));
    assert!(!parent.path().join("lock").exists());
}

#[test]
fn a_part_that_is_missing_is_not_made_up() {
    for name in ["uploads", "layers"] {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("data");
        drop(open(&path).unwrap());
        fs::rename(path.join(name), parent.path().join("away")).unwrap();
        let opened = open(&path);
        assert!(matches!(&opened, Err(OpenError::Incomplete { name: missing, .. }) if *missing == name), "{opened:?}");
    }
}

/// Opens a directory that exists and is empty, and that is not what it seems.
fn open_pretending(pretence: Pretence) -> Result<DirectoryStore, OpenError> {
    let parent = TempDir::new().unwrap();
    let opened = open_with(Arc::new(Faulty::pretending(pretence)), parent.path());
    if opened.is_err() {
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "it was refused, but written to");
    }
    opened
}

#[test]
fn s083_a_directory_of_another_user_is_refused() {
    let theirs = open_pretending(Pretence { owner: Some(4711), ..Pretence::default() });
    assert!(matches!(theirs, Err(OpenError::OtherOwner { owner: 4711, .. })), "{theirs:?}");
}

#[test]
fn r007_a_network_file_system_is_refused() {
    let nfs = open_pretending(Pretence { file_system: Some(0x6969), ..Pretence::default() });
    assert!(matches!(nfs, Err(OpenError::NetworkFileSystem { kind: "NFS", .. })), "{nfs:?}");
}

#[test]
fn r005_another_file_system_inside_is_refused() {
    for name in ["uploads", "layers", "sha256"] {
        let parent = TempDir::new().unwrap();
        drop(open(parent.path()).unwrap());
        // A mount, which the kernel notices, and another device without one, as a subvolume is.
        let mount = Faulty::new();
        mount.set(When::About(format!("open {name}"), Fault::Errno(Errno::XDEV)));
        let subvolume = Faulty::pretending(Pretence { other_device: Some(name), ..Pretence::default() });
        for files in [mount, subvolume] {
            let refused = open_with(Arc::new(files), parent.path());
            assert!(
                matches!(&refused, Err(OpenError::SplitFileSystem { name: part, .. }) if part.ends_with(name)),
                "{name}: {refused:?}"
            );
        }
    }
}
