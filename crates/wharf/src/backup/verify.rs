use std::collections::BTreeMap;
use std::path::Path;

use wharf_base::{Clock, StoreId, SystemClock, SystemRng};
use wharf_meta::{Metadata as _, Snapshot, SqliteConfig, SqliteMetadata};
use wharf_oci::Digest;

use super::restore::new_life;
use super::scratch::Scratch;
use super::{BackupPlace, Generation, failed, generation, of_database};
use crate::error::{CommandError, Exit};
use crate::progress::Progress;

/// How thoroughly a backup is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The files of the generations byte by byte, content by its size.
    Sizes,
    /// All of it byte by byte, and each database as a registry would open it.
    Bytes,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verified {
    /// What is wrong; nothing if all is well.
    pub(crate) faults: Vec<String>,
    /// Content that was looked at, each once.
    pub(crate) blobs: u64,
    /// Its size.
    pub(crate) bytes: u64,
}

/// How many faults are told.
const FAULTS_MAX: usize = 100;

/// Looks whether `generations` are as they were made. `scratch` is where databases are restored to for a while.
///
/// # Errors
///
/// [`CommandError`]: it could not be looked at, which says nothing about the backup.
pub(crate) async fn verify(
    place: &dyn BackupPlace,
    generations: &[Generation],
    depth: Depth,
    scratch: &Path,
) -> Result<Verified, CommandError> {
    let mut verified = Verified::default();
    let mut contents: BTreeMap<Digest, u64> = BTreeMap::new();
    for generation in generations {
        place.bring(generation, &generation::FILES).await?;
        let faults = faults(generation, &mut contents)?;
        let is_sound = faults.is_empty();
        let name = generation.name();
        verified.faults.extend(faults.into_iter().map(|fault| format!("generation {name}: {fault}")));
        if is_sound && depth == Depth::Bytes {
            let faults = try_out(generation, scratch).await?;
            verified.faults.extend(faults.into_iter().map(|fault| format!("generation {name}: {fault}")));
        }
    }
    examine(place, &contents, depth, &mut verified).await?;
    verified.faults.truncate(FAULTS_MAX);
    Ok(verified)
}

/// What is wrong with a generation's own files; what it names is added to `contents`.
fn faults(generation: &Generation, contents: &mut BTreeMap<Digest, u64>) -> Result<Vec<String>, CommandError> {
    let faults = generation.faults()?;
    if !faults.is_empty() {
        return Ok(faults);
    }
    let about = generation.about()?;
    for content in generation.contents()? {
        let content = content?;
        if !about.damaged.contains(&content.digest.to_string()) {
            contents.insert(content.digest, content.size_bytes);
        }
    }
    compare_with_database(generation)
}

/// The list of content is that of the database, and the database is sound.
pub(super) fn compare_with_database(generation: &Generation) -> Result<Vec<String>, CommandError> {
    let snapshot = Snapshot::open(&generation.database()).map_err(of_database)?;
    let mut faults = snapshot.faults().map_err(of_database)?;
    if !faults.is_empty() {
        return Ok(faults);
    }
    let mut listed = generation.contents()?;
    for portion in generation::portions(&snapshot) {
        for content in portion? {
            if listed.next().transpose()?.as_ref() != Some(&content) && faults.is_empty() {
                faults.push(format!("the list of content lacks {}, which the database names", content.digest));
            }
        }
    }
    if faults.is_empty() && listed.next().is_some() {
        faults.push("the list of content has more than the database names".to_owned());
    }
    Ok(faults)
}

async fn examine(
    place: &dyn BackupPlace,
    contents: &BTreeMap<Digest, u64>,
    depth: Depth,
    verified: &mut Verified,
) -> Result<(), CommandError> {
    let archive = place.content();
    let progress = Progress::new("reading", contents.values().sum());
    let contents: Vec<_> = contents.iter().map(|(digest, size_bytes)| (*digest, *size_bytes)).collect();
    for portion in contents.chunks(generation::PORTION as usize) {
        let looks = archive.look(portion).await?;
        for ((digest, size_bytes), mut damage) in portion.iter().zip(looks) {
            verified.blobs += 1;
            verified.bytes += size_bytes;
            if depth == Depth::Bytes && damage.is_none() {
                damage = archive.examine(digest, *size_bytes).await?;
            }
            progress.add(*size_bytes);
            if let Some(damage) = damage {
                verified.faults.push(format!("{} is {damage}", archive.name_of(digest)));
            }
        }
    }
    progress.finish();
    Ok(())
}

/// Makes a database of the generation's and opens it as a registry would.
async fn try_out(generation: &Generation, scratch: &Path) -> Result<Vec<String>, CommandError> {
    let scratch = Scratch::make(scratch)?;
    let path = scratch.path().join("wharf.db");
    std::fs::copy(generation.database(), &path).map_err(failed("writing", &path))?;
    let clock = SystemClock::new();
    let store_id = StoreId::generate(&clock, &SystemRng);
    let tried = async {
        Snapshot::restore(&path, &new_life(store_id, clock.now(), generation.name(), Vec::new()))?;
        let meta = SqliteMetadata::open(&path, &SqliteConfig::default())?;
        meta.ping().await?;
        meta.close().await?;
        Snapshot::open(&path)?.faults()
    };
    match tried.await {
        Ok(faults) => Ok(faults),
        Err(error) => Ok(vec![CommandError::from_source(Exit::Broken, error).to_string()]),
    }
}
