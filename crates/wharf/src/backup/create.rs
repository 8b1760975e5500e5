use std::collections::VecDeque;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use wharf_base::failpoint::reach;
use wharf_base::{ByteSize, Clock, SystemClock};
use wharf_meta::{Content, Snapshot};
use wharf_oci::Digest;
use wharf_store::{ArchiveError, ContentArchive, Staged};

use super::generation::{self, About, List, Part};
use super::pace::Pace;
use super::source::{Blob, Taken};
use super::{BackupPlace, Generation, Source, failed, of_database};
use crate::error::{CommandError, Exit};
use crate::progress::Progress;

/// How many contents are copied at the same time.
const COPIES: usize = 4;

/// How often one is tried.
const TRIES: usize = 3;

/// How much shares a sync: this many files, or this many bytes. Larger batches would let those who push to the same disk wait
/// longer.
const BATCH_FILES: usize = 256;
const BATCH_BYTES: u64 = 16 << 20;

/// How a backup shall be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// A backup without content that the registry has lost is better than none.
    pub(crate) allow_damaged: bool,
    /// The directory may hold backups of another store.
    pub(crate) allow_other_store: bool,
    /// How many bytes a second may be copied; as many as it goes without.
    pub(crate) rate: Option<ByteSize>,
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub(crate) struct Created {
    pub(crate) generation: Generation,
    pub(crate) about: About,
    /// What had to be copied.
    pub(crate) copied: Copied,
}

/// How much was copied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copied {
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
}

/// Makes a generation. It is told through `taken` when the snapshot is there: what was acknowledged before is in it.
///
/// # Errors
///
/// [`CommandError`]; there is no new generation then, and what was copied need not be copied again.
pub(crate) async fn create(
    place: &dyn BackupPlace,
    source: Arc<dyn Source>,
    wish: Wish,
    taken: impl FnOnce(&Taken) -> Result<(), CommandError>,
) -> Result<Created, CommandError> {
    let made = holding(&source, make(place, &source, wish, taken)).await;
    // If it cannot be told that this is the end, it is the end all the same: the session ends by itself.
    if source.end().await.is_ok() {
        place.forget_session().await;
    }
    made.map_err(|error| error.with_lines(["no generation was made; the next attempt goes on from here".into()]))
}

/// Does `work`, unless the hold of `source` is lost or somebody wants this to stop.
pub(crate) async fn holding<T>(
    source: &Arc<dyn Source>,
    work: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    // A task of its own: the check of a large database blocks for longer than a hold stands.
    let mut renewing = JoinSet::new();
    let renewed = Arc::clone(source);
    renewing.spawn(async move { renewed.hold_lost().await });
    let done = tokio::select! {
        done = work => done,
        Some(lost) = renewing.join_next() => {
            Err(lost.unwrap_or_else(|error| CommandError::unexpected("renewing the hold", error)))
        }
        error = stopped() => Err(error),
    };
    renewing.shutdown().await;
    done
}

/// Resolves when somebody wants this to stop: then the registry should not wait for it.
async fn stopped() -> CommandError {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
    CommandError::new(Exit::Unexpected, "told to stop")
}

async fn make(
    place: &dyn BackupPlace,
    source: &Arc<dyn Source>,
    wish: Wish,
    tell: impl FnOnce(&Taken) -> Result<(), CommandError>,
) -> Result<Created, CommandError> {
    let archive = place.content();
    let pace = Arc::new(Pace::new(wish.rate));
    let taken = source.begin(Some(place)).await?;
    tell(&taken)?;
    let draft = place.draft().await?;
    let database = generation::draft_database(&draft);
    fetch_database(&**source, &database, &taken, &pace).await?;
    reach("backup.database");
    let snapshot = Snapshot::open(&database).map_err(of_database)?;
    let store_id = check_store(place, &snapshot, wish).await?;
    check_database(&snapshot)?;

    let (mut list, mut wanted) = (List::begin(&draft)?, Vec::new());
    for portion in generation::portions(&snapshot) {
        let portion = portion?;
        for (content, damage) in portion.iter().zip(generation::look(&*archive, &portion).await?) {
            if damage.is_some() {
                wanted.push(*content);
            }
            list.add(content)?;
        }
    }
    let contents = list.finish()?;
    let (copied, lost) = copy(&archive, source, wanted, &pace).await?;
    if !lost.is_empty() {
        // What went because nothing held it is not damaged.
        source.confirm_hold().await?;
    }
    if !lost.is_empty() && !wish.allow_damaged {
        let lines = lost.iter().take(20).map(ToString::to_string);
        let problem = format!("{} of the blobs that the registry has are damaged or missing", lost.len());
        return Err(CommandError::new(Exit::Broken, problem)
            .with_lines(lines)
            .with_hint("push them again, or make a backup without them: --allow-damaged"));
    }
    archive.sync().await?;
    reach("backup.content");
    source.confirm_hold().await?;

    let about = About {
        format: 1,
        store_id: store_id.to_string(),
        wharf_version: taken.wharf_version,
        taken_at: taken.taken_at.to_string(),
        completed_at: SystemClock::new().now().to_string(),
        database: Part { bytes: taken.bytes, sha256: taken.sha256 },
        content: contents,
        damaged: lost.iter().map(ToString::to_string).collect(),
    };
    generation::complete(&draft, &about)?;
    reach("backup.complete");
    let generation = place.keep(&draft, taken.taken_at).await?;
    Ok(Created { generation, about, copied })
}

/// Copies the database, and compares it with what the registry says that it is.
pub(crate) async fn fetch_database(
    source: &dyn Source,
    path: &Path,
    taken: &Taken,
    pace: &Pace,
) -> Result<(), CommandError> {
    let options = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    let mut file = options.map_err(failed("writing", path))?;
    let (mut hash, mut bytes) = (Sha256::new(), source.database().await?);
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|error| CommandError::because(Exit::Unreachable, "reading the database", &error))?;
        hash.update(&chunk);
        file.write_all(&chunk).map_err(failed("writing", path))?;
        pace.take(chunk.len()).await;
    }
    file.sync_all().map_err(failed("syncing", path))?;
    if hex::encode(hash.finalize()) == taken.sha256 {
        return Ok(());
    }
    Err(CommandError::new(Exit::Broken, "the database did not arrive as the registry sent it").with_hint("try again"))
}

/// Backups of two registries in one directory would be pruned together.
async fn check_store(
    place: &dyn BackupPlace,
    snapshot: &Snapshot,
    wish: Wish,
) -> Result<wharf_base::StoreId, CommandError> {
    let found = snapshot.store_id().map_err(of_database)?;
    let found = found.ok_or_else(|| CommandError::new(Exit::WrongStore, "the database does not say whose it is"))?;
    match place.store_id().await? {
        Some(known) if known == found => {}
        Some(known) if !wish.allow_other_store => {
            let problem = format!("{} holds backups of store {known}, and this is store {found}", place.name());
            return Err(CommandError::new(Exit::WrongStore, problem).with_hint(
                "name another place; or, if this registry was restored from there, say --allow-other-store",
            ));
        }
        _ => place.belongs_to(found).await?,
    }
    Ok(found)
}

/// What is damaged is not worth keeping, and must be known before it is needed.
fn check_database(snapshot: &Snapshot) -> Result<(), CommandError> {
    let faults = snapshot.faults().map_err(of_database)?;
    if faults.is_empty() {
        return Ok(());
    }
    Err(CommandError::new(Exit::Broken, "the registry's database is damaged")
        .with_lines(faults)
        .with_hint("restore an older generation: wharf backup list DIR"))
}

/// Copies content; what the registry has lost is told.
async fn copy(
    archive: &Arc<dyn ContentArchive>,
    source: &Arc<dyn Source>,
    wanted: Vec<Content>,
    pace: &Arc<Pace>,
) -> Result<(Copied, Vec<Digest>), CommandError> {
    let progress = Progress::new("copying", wanted.iter().map(|content| content.size_bytes).sum());
    let mut wanted = VecDeque::from(wanted);
    let (mut copied, mut lost, mut batch) = (Copied::default(), Vec::new(), Batch::new(pace.batch_bytes(BATCH_BYTES)));
    let mut running = JoinSet::new();
    loop {
        while running.len() < COPIES
            && let Some(content) = wanted.pop_front()
        {
            let (archive, source) = (Arc::clone(archive), Arc::clone(source));
            let (progress, pace) = (progress.clone(), Arc::clone(pace));
            running.spawn(
                async move { (content.digest, copy_one(&*archive, &*source, &content, &progress, &pace).await) },
            );
        }
        let Some(done) = running.join_next().await else { break };
        let (digest, done) = done.map_err(|error| CommandError::unexpected("copying content", error))?;
        match done? {
            Some(staged) => {
                copied.blobs += 1;
                copied.bytes += staged.size_bytes();
                if let Some(full) = batch.add(staged) {
                    archive.place(full).await?;
                }
            }
            None => lost.push(digest),
        }
    }
    archive.place(batch.staged).await?;
    progress.finish();
    lost.sort();
    Ok((copied, lost))
}

/// Content that shares a sync.
pub(super) struct Batch {
    pub(super) staged: Vec<Staged>,
    bytes: u64,
    most_bytes: u64,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new(BATCH_BYTES)
    }
}

impl Batch {
    fn new(most_bytes: u64) -> Self {
        Self { staged: Vec::new(), bytes: 0, most_bytes }
    }

    /// Adds to the batch; all of it when it is full.
    pub(super) fn add(&mut self, staged: Staged) -> Option<Vec<Staged>> {
        self.bytes += staged.size_bytes();
        self.staged.push(staged);
        if self.staged.len() < BATCH_FILES && self.bytes < self.most_bytes {
            return None;
        }
        self.bytes = 0;
        Some(std::mem::take(&mut self.staged))
    }
}

/// Copies one content; `None`: the registry does not have it, or not as it should be.
///
/// Bytes are hashed and written where they arrive: each piece takes less time than handing it to another thread would.
async fn copy_one(
    archive: &dyn ContentArchive,
    source: &dyn Source,
    content: &Content,
    progress: &Progress,
    pace: &Pace,
) -> Result<Option<Staged>, CommandError> {
    let mut left = TRIES;
    loop {
        left -= 1;
        match try_copy(archive, source, content, progress, pace).await {
            Ok(done) => return Ok(done),
            // What is damaged there is damaged the next time, too; what was broken on the way is not.
            Err(Failure::OtherBytes) if left == 0 => return Ok(None),
            Err(Failure::Other(error)) if left == 0 || error.exit() != Exit::Unreachable => return Err(error),
            Err(_) => {}
        }
    }
}

enum Failure {
    /// What came is not what the digest names.
    OtherBytes,
    Other(CommandError),
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::OtherBytes { .. } => Self::OtherBytes,
            error @ (ArchiveError::Io { .. } | ArchiveError::Bucket(_)) => Self::Other(error.into()),
        }
    }
}

async fn try_copy(
    archive: &dyn ContentArchive,
    source: &dyn Source,
    content: &Content,
    progress: &Progress,
    pace: &Pace,
) -> Result<Option<Staged>, Failure> {
    let blob = source.blob(&content.digest, content.size_bytes).await.map_err(Failure::Other)?;
    let Blob::Bytes(mut bytes) = blob else { return Ok(None) };
    let mut writer = archive.stage(&content.digest, content.size_bytes).await?;
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|error| {
            let doing = format!("reading {}", content.digest);
            Failure::Other(CommandError::because(Exit::Unreachable, doing, &error))
        })?;
        writer.write(&chunk).await?;
        progress.add(chunk.len() as u64);
        pace.take(chunk.len()).await;
    }
    Ok(Some(writer.finish().await?))
}
