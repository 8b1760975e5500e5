use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wharf_base::Timestamp;
use wharf_meta::{Content, Snapshot};
use wharf_oci::Digest;
use wharf_store::{ContentArchive, Damage};

use super::directory::write_new;
use super::{BackupPlace, failed, of_database, sync_directory};
use crate::error::{CommandError, Exit};

/// How much of a file is read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// How many rows of a snapshot are read at once.
pub(super) const PORTION: u32 = 1_000;

/// The database as it was.
pub(super) const DATABASE: &str = "wharf.db";
/// The content that it names.
pub(super) const LIST: &str = "content";
/// What the generation says about itself.
pub(super) const ABOUT: &str = "generation.json";
/// The sums of these three.
pub(super) const SUMS: &str = "SHA256SUMS";
/// All files of a generation.
pub(super) const FILES: [&str; 4] = [ABOUT, DATABASE, LIST, SUMS];

/// One state of a registry, kept.
#[derive(Clone, Debug)]
pub(crate) struct Generation {
    path: PathBuf,
    name: String,
}

/// What a generation says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct About {
    /// The version of all this.
    pub(crate) format: u32,
    /// The store that it was taken from.
    pub(crate) store_id: String,
    /// The version of Wharf that ran there.
    pub(crate) wharf_version: String,
    /// Everything that was acknowledged before is in it.
    pub(crate) taken_at: String,
    /// When the last of it was there.
    pub(crate) completed_at: String,
    /// The database.
    pub(crate) database: Part,
    /// Content that the database names.
    pub(crate) content: Contents,
    /// Content that the database names and that the registry had lost already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) damaged: Vec<String>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Part {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// All content of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Contents {
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    /// Of the list.
    pub(crate) list_sha256: String,
}

/// Which generation is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Newest,
    Named(String),
    /// The newest that shows this moment or an earlier one.
    At(Timestamp),
}

impl Choice {
    /// The generation among `all` of `place`, which are sorted.
    pub(crate) async fn among(&self, place: &dyn BackupPlace, all: &[Generation]) -> Result<Generation, CommandError> {
        let found = match self {
            Self::Newest => all.last(),
            Self::Named(name) => all.iter().find(|generation| generation.name == *name),
            Self::At(at) => {
                let mut newest = None;
                for generation in all {
                    let taken_at: Option<Timestamp> = place.about(generation).await?.taken_at.parse().ok();
                    if taken_at.is_some_and(|taken_at| taken_at <= *at) {
                        newest = Some(generation);
                    }
                }
                newest
            }
        };
        found.cloned().ok_or_else(|| {
            let problem = match self {
                Self::Newest => "there is no complete generation".to_owned(),
                Self::Named(name) => format!("there is no generation {name:?}"),
                Self::At(at) => format!("no generation is as old as {at}"),
            };
            CommandError::new(Exit::Refused, problem).with_hint("see what there is with: wharf backup list DIR")
        })
    }
}

impl Generation {
    /// The generation whose files are at `path`.
    pub(super) fn at(path: PathBuf, name: &str) -> Self {
        Self { path, name: name.to_owned() }
    }

    /// `20270131T120000Z`: sorts by time, and is a file name everywhere.
    pub(super) fn name_of(at: Timestamp) -> String {
        let text: String = at.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
        // Without the microseconds that stand behind the point.
        format!("{}Z", text.get(..15).unwrap_or(&text))
    }

    /// The name of a generation of that moment. Of two within a second, the later one is named after the next.
    pub(super) fn free_name(taken_at: Timestamp, is_taken: impl Fn(&str) -> bool) -> String {
        let mut at = taken_at;
        loop {
            let name = Self::name_of(at);
            if !is_taken(&name) {
                return name;
            }
            at = at.plus(Duration::from_secs(1));
        }
    }

    pub(super) fn is_name(text: &str) -> bool {
        text.len() == 16
            && text.bytes().enumerate().all(|(index, byte)| match index {
                8 => byte == b'T',
                15 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            })
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The database's file.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// What it says about itself.
    pub(crate) fn about(&self) -> Result<About, CommandError> {
        let path = self.path.join(ABOUT);
        let damaged = |error: &dyn std::error::Error| {
            CommandError::because(Exit::Broken, format!("reading {}", path.display()), error).with_hint(DAMAGED)
        };
        let text = fs::read(&path).map_err(|error| damaged(&error))?;
        let about: About = serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
        if about.format != 1 {
            let problem = format!("{} has format {}, and 1 is known here", path.display(), about.format);
            return Err(CommandError::new(Exit::WrongStore, problem).with_hint("use a newer version of Wharf"));
        }
        Ok(about)
    }

    /// What is wrong with its own files; nothing if they are as they were written.
    pub(super) fn faults(&self) -> Result<Vec<String>, CommandError> {
        let mut faults = Vec::new();
        let path = self.path.join(SUMS);
        let sums = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => String::new(),
            Err(error) => return Err(failed("reading", &path)(error)),
        };
        let mut expected = String::new();
        for name in [ABOUT, DATABASE, LIST] {
            let path = self.path.join(name);
            match hash(&path) {
                Ok(sha256) => {
                    let line = format!("{sha256}  {name}\n");
                    if !sums.contains(&line) {
                        faults.push(format!("{} is not as it was written", path.display()));
                    }
                    expected += &line;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    faults.push(format!("{} is missing", path.display()));
                }
                Err(error) => return Err(failed("reading", &path)(error)),
            }
        }
        if faults.is_empty() && sums != expected {
            faults.push(format!("{} is not as it was written", path.display()));
        }
        Ok(faults)
    }

    /// Whether its list of content is as it was written.
    pub(super) fn check_list(&self) -> Result<(), CommandError> {
        let path = self.path.join(LIST);
        let found = hash(&path).map_err(failed("reading", &path))?;
        if found == self.about()?.content.list_sha256 {
            return Ok(());
        }
        let hint = format!("nothing was removed; if it is of no use, remove {} by hand first", self.path.display());
        Err(CommandError::new(Exit::Broken, format!("{} is damaged", path.display())).with_hint(hint))
    }

    /// What is wrong with the content that it names, as far as it can be seen without reading it: handed to `each`, in order.
    pub(super) async fn look(
        &self,
        content: &dyn ContentArchive,
        mut each: impl FnMut(&Content, Option<Damage>),
    ) -> Result<(), CommandError> {
        let mut contents = self.contents()?;
        loop {
            let portion = contents.by_ref().take(PORTION as usize).collect::<Result<Vec<_>, _>>()?;
            if portion.is_empty() {
                return Ok(());
            }
            for (one, damage) in portion.iter().zip(look(content, &portion).await?) {
                each(one, damage);
            }
        }
    }

    /// Every content that it names, in order.
    pub(super) fn contents(&self) -> Result<impl Iterator<Item = Result<Content, CommandError>> + use<>, CommandError> {
        let path = self.path.join(LIST);
        let file = File::open(&path).map_err(failed("reading", &path))?;
        let lines = BufReader::new(file).lines();
        Ok(lines.map(move |line| {
            let line = line.map_err(failed("reading", &path))?;
            let parsed = line.split_once(' ').and_then(|(digest, size)| {
                let digest: Digest = digest.parse().ok()?;
                Some(Content { digest, size_bytes: size.parse().ok()? })
            });
            parsed.ok_or_else(|| {
                CommandError::new(Exit::Broken, format!("{} is damaged", path.display())).with_hint(DAMAGED)
            })
        }))
    }
}

/// What to do about a generation that cannot be used.
const DAMAGED: &str = "use another generation: wharf backup list DIR; wharf backup verify DIR says what is wrong";

/// The list of the content that a snapshot names, written to a draft as it is read.
pub(super) struct List {
    path: PathBuf,
    out: BufWriter<File>,
    hash: Sha256,
    totals: Contents,
}

impl List {
    pub(super) fn begin(draft: &Path) -> Result<Self, CommandError> {
        let path = draft.join(LIST);
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let out = BufWriter::new(file.map_err(failed("writing", &path))?);
        let totals = Contents { blobs: 0, bytes: 0, list_sha256: String::new() };
        Ok(Self { path, out, hash: Sha256::new(), totals })
    }

    pub(super) fn add(&mut self, content: &Content) -> Result<(), CommandError> {
        let line = format!("{} {}\n", content.digest, content.size_bytes);
        self.hash.update(&line);
        self.totals.blobs += 1;
        self.totals.bytes += content.size_bytes;
        self.out.write_all(line.as_bytes()).map_err(failed("writing", &self.path))
    }

    pub(super) fn finish(self) -> Result<Contents, CommandError> {
        let file = self.out.into_inner().map_err(|error| failed("writing", &self.path)(error.into_error()))?;
        file.sync_all().map_err(failed("syncing", &self.path))?;
        Ok(Contents { list_sha256: hex::encode(self.hash.finalize()), ..self.totals })
    }
}

/// What is wrong with each of `portion`, as far as it can be seen without reading it.
pub(super) async fn look(
    content: &dyn ContentArchive,
    portion: &[Content],
) -> Result<Vec<Option<Damage>>, CommandError> {
    let portion: Vec<_> = portion.iter().map(|one| (one.digest, one.size_bytes)).collect();
    Ok(content.look(&portion).await?)
}

/// Where a draft's database goes.
pub(super) fn draft_database(draft: &Path) -> PathBuf {
    draft.join(DATABASE)
}

/// Writes what the draft says about itself. After this it lacks only its name.
pub(super) fn complete(draft: &Path, about: &About) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(about)
        .map_err(|error| CommandError::unexpected("describing the generation", error))?
        + "\n";
    write_new(&draft.join(ABOUT), text.as_bytes())?;
    let sums = format!(
        "{}  {ABOUT}\n{}  {DATABASE}\n{}  {LIST}\n",
        hex::encode(Sha256::digest(&text)),
        about.database.sha256,
        about.content.list_sha256
    );
    write_new(&draft.join(SUMS), sums.as_bytes())?;
    sync_directory(draft)
}

/// The SHA-256 of a file in hexadecimal.
pub(super) fn hash(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex::encode(hash.finalize())),
            Ok(read) => hash.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// All content that a snapshot names, in order and in portions.
pub(crate) fn portions(snapshot: &Snapshot) -> impl Iterator<Item = Result<Vec<Content>, CommandError>> {
    let mut after = None;
    std::iter::from_fn(move || {
        let page = match snapshot.contents(after.as_ref(), PORTION) {
            Ok(page) => page,
            Err(error) => return Some(Err(of_database(error))),
        };
        after = Some(page.last()?.digest);
        Some(Ok(page))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Generation;

    #[test]
    fn a_generation_is_named_after_its_second() {
        let name = Generation::name_of("2027-01-31T12:03:04.567891Z".parse().unwrap());
        assert_eq!(name, "20270131T120304Z");
        assert!(Generation::is_name(&name));
        for other in ["", "20270131T120304", "20270131T12030Z4", "2027013xT120304Z", "../../../../etc/Z"] {
            assert!(!Generation::is_name(other), "{other}");
        }
    }
}
