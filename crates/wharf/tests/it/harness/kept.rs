//! The content that a registry keeps, as files or as objects, for those who look at it or damage it behind the registry's back.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::bucket::Shelf;
use super::server::look;
use super::{engines, sha256};

/// The content of the registry of one data directory.
pub struct Kept<'a> {
    data: &'a Path,
    engines: engines::Engines,
}

impl<'a> Kept<'a> {
    /// That of the server which has begun there.
    pub fn by(data: &'a Path) -> Self {
        Self { data, engines: engines::of(data) }
    }

    /// What the bytes of all files or objects are: those that no row names as well.
    pub fn digests(&self) -> BTreeSet<String> {
        let Some(shelf) = &self.engines.content else { return self.file_names() };
        // One that is collected meanwhile is not there.
        shelf
            .list("blobs")
            .iter()
            .filter_map(|name| shelf.get(&format!("blobs/{name}")))
            .map(|bytes| sha256(&bytes))
            .collect()
    }

    /// The bytes that are kept as `digest`, if there are any.
    pub fn read(&self, digest: &str) -> Option<Vec<u8>> {
        match self.shelf_and_name(digest) {
            Some((shelf, name)) => shelf.get(&name),
            None => fs::read(self.file(digest)).ok(),
        }
    }

    /// Puts other bytes in their place.
    pub fn write(&self, digest: &str, bytes: &[u8]) {
        match self.shelf_and_name(digest) {
            Some((shelf, name)) => shelf.put(&name, bytes.to_vec()),
            None => write_file(&self.file(digest), bytes),
        }
    }

    /// Takes them away.
    pub fn remove(&self, digest: &str) {
        match self.shelf_and_name(digest) {
            Some((shelf, name)) => shelf.delete(&name),
            None => fs::remove_file(self.file(digest)).unwrap(),
        }
    }

    /// Turns over one bit, as a disk does that is about to fail.
    pub fn flip_bit(&self, digest: &str, bit: u64) {
        match self.shelf_and_name(digest) {
            Some((shelf, name)) => flip_in(shelf, &name, bit),
            None => flip_on_disk(&self.file(digest), bit),
        }
    }

    /// The same to much content: a digest, and which of its bits.
    pub fn flip_bits<'d>(&self, bits: impl Iterator<Item = (&'d String, u64)>) {
        let Some(shelf) = &self.engines.content else {
            return bits.for_each(|(digest, bit)| self.flip_bit(digest, bit));
        };
        let rows =
            look(self.data, &self.engines, "select digest, storage_key from blobs where storage_key is not null");
        let keys: HashMap<&String, &String> = rows.iter().map(|row| (&row[0], &row[1])).collect();
        for (digest, bit) in bits {
            flip_in(shelf, &format!("blobs/{}", keys[digest]), bit);
        }
    }

    /// Keeps content that no row names, and says how a note of its removal would name it.
    pub fn leave(&self, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        match &self.engines.content {
            Some(shelf) => {
                let key = unnamed(&digest);
                shelf.put(&format!("blobs/{key}"), bytes.to_vec());
                key
            }
            None => {
                write_file(&self.file(&digest), bytes);
                digest
            }
        }
    }

    /// Whether it is in a bucket, where a push of content that is there makes another object, and the one before goes later.
    pub fn is_in_a_bucket(&self) -> bool {
        self.engines.content.is_some()
    }

    /// How much content is set aside.
    pub fn set_aside(&self) -> usize {
        match &self.engines.content {
            Some(shelf) => shelf.list("quarantine").len(),
            None => fs::read_dir(self.data.join("quarantine")).map_or(0, Iterator::count),
        }
    }

    /// The file that the content of a digest is in, in a data directory.
    pub fn file(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        self.data.join("layers/sha256").join(&hex[..2]).join(hex)
    }

    fn file_names(&self) -> BTreeSet<String> {
        let prefixes = fs::read_dir(self.data.join("layers/sha256")).unwrap();
        let files = prefixes.flat_map(|prefix| fs::read_dir(prefix.unwrap().path()).unwrap());
        files.map(|file| format!("sha256:{}", file.unwrap().file_name().to_str().unwrap())).collect()
    }

    /// The object of a digest: its row says which one it is, or the note by which it was set aside.
    fn shelf_and_name(&self, digest: &str) -> Option<(&Shelf, String)> {
        let shelf = self.engines.content.as_ref()?;
        let key = format!("select storage_key from blobs where digest = '{digest}' and storage_key is not null");
        let named = look(self.data, &self.engines, &key).pop().map(|mut row| row.remove(0));
        let key = named.or_else(|| {
            let of_digest = format!("{}.", &digest[7..]);
            shelf.list("quarantine").iter().find_map(|note| note.strip_prefix(&of_digest).map(str::to_owned))
        });
        Some((shelf, format!("blobs/{}", key.unwrap_or_else(|| panic!("nothing says where {digest} is")))))
    }
}

/// Under the same name, and where it was.
pub fn flip_on_disk(path: &Path, bit: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit / 8).unwrap();
}

/// Objects are only replaced.
fn flip_in(shelf: &Shelf, name: &str, bit: u64) {
    let mut bytes = shelf.get(name).expect("an object to damage");
    bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
    shelf.put(name, bytes);
}

/// As a push does: another file under the same name, for the registry alone.
fn write_file(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

/// The key of an object that is like others and that nobody has named, always the same for the same content.
fn unnamed(digest: &str) -> String {
    let hex = &digest[7..];
    format!("01a20d6b-{}-7{}-8{}-{}", &hex[..4], &hex[4..7], &hex[7..10], &hex[10..22])
}
