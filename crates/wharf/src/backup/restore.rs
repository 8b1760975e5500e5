use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use wharf_base::failpoint::reach;
use wharf_base::{Clock, StoreId, SystemClock, SystemRng, Timestamp, UploadId};
use wharf_meta::{Content, Hold, Restored, Snapshot};
use wharf_oci::Digest;
use wharf_store::{Archive, ArchiveError, Claim, ContentArchive, Damage, OpenError, RestoreTargetError, Restoring};

use super::create::Batch;
use super::generation::FILES;
use super::verify::compare_with_database;
use super::{BackupPlace, Generation, failed, of_database, record};
use crate::app::{self, DATABASE};
use crate::config::Config;
use crate::error::{CommandError, Exit};
use crate::progress::Progress;

/// How long nothing is collected after a restore: time to see whether it is what was wanted.
const HOLD: Duration = Duration::from_secs(7 * 24 * 3600);

/// Where a registry is made.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// What is there is moved aside.
    pub(crate) force: bool,
    /// A registry without content that the backup has lost is better than none.
    pub(crate) allow_damaged: bool,
}

/// A registry that was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) store_id: StoreId,
    /// Content that could not be brought back.
    pub(crate) lost: Vec<Digest>,
    /// Where what was in the way is now.
    pub(crate) moved_to: Option<PathBuf>,
    /// Until when nothing is collected.
    pub(crate) held_until: Timestamp,
}

/// Makes a data directory of a generation. Broken off, it is no data directory, and can be done again.
///
/// # Errors
///
/// [`CommandError`]; what was in the target is there, or has been moved aside.
pub(crate) async fn restore(
    place: &dyn BackupPlace,
    generation: &Generation,
    target: &Target,
) -> Result<Made, CommandError> {
    place.bring(generation, &FILES).await?;
    let backup = place.content();
    let lost = check(&*backup, generation, target.allow_damaged).await?;
    let moved_to = if target.force { move_aside(&target.data)? } else { None };
    let filled = fill(&*backup, generation, target, lost).await;
    let (life, lost) = filled.map_err(|error| match &moved_to {
        Some(aside) => error.with_lines([format!("what was there is in {} now", aside.display())]),
        None => error,
    })?;
    Ok(Made { store_id: life.store_id, lost, moved_to, held_until: life.hold.until })
}

/// Everything in its place, and then the sign that it is.
async fn fill(
    backup: &dyn ContentArchive,
    generation: &Generation,
    target: &Target,
    lost: Vec<Digest>,
) -> Result<(Restored, Vec<Digest>), CommandError> {
    let about = generation.about()?;
    let clock = SystemClock::new();
    let restoring = Restoring::begin(&target.data, &clock, &SystemRng).map_err(|error| refused(error, target))?;
    let lost = copy(backup, restoring.archive(), generation, lost, target.allow_damaged).await?;
    reach("restore.content");

    let path = target.data.join(DATABASE);
    copy_database(&generation.database(), &path, &about.database.sha256)?;
    let life = new_life(restoring.store_id(), clock.now(), generation.name(), lost.clone());
    Snapshot::restore(&path, &life).map_err(of_database)?;
    File::open(&path).and_then(|file| file.sync_all()).map_err(failed("syncing", &path))?;
    reach("restore.database");
    restoring.finish().map_err(|error| refused(error, target))?;
    Ok((life, lost))
}

/// What changes in a database when a registry begins anew with it.
pub(super) fn new_life(store_id: StoreId, now: Timestamp, generation: &str, lost: Vec<Digest>) -> Restored {
    let reason = format!("restored from the backup of {generation}; look first, then release");
    let hold = Hold { id: "restored".to_owned(), reason, until: now.plus(HOLD) };
    let detail = serde_json::json!({ "store": store_id.to_string(), "lost": lost.len() });
    let record = record(now, "backup.restore", generation).with(detail);
    Restored { store_id, hold, lost, record }
}

/// Looks at everything that can be looked at without reading all content, before anything is touched. Content that is not
/// there is lost.
async fn check(
    backup: &dyn ContentArchive,
    generation: &Generation,
    allow_damaged: bool,
) -> Result<Vec<Digest>, CommandError> {
    let mut faults = generation.faults()?;
    if faults.is_empty() {
        faults = compare_with_database(generation)?;
    }
    if !faults.is_empty() {
        let problem = format!("generation {} is damaged", generation.name());
        return Err(CommandError::new(Exit::Broken, problem)
            .with_lines(faults)
            .with_hint("restore another generation: wharf backup list DIR, then --generation"));
    }
    let mut lost = Vec::new();
    let note = |content: &Content, damage: Option<Damage>| lost.extend(damage.map(|_| content.digest));
    generation.look(backup, note).await?;
    if lost.is_empty() || allow_damaged {
        return Ok(lost);
    }
    Err(damaged(backup, &lost))
}

fn damaged(backup: &dyn ContentArchive, lost: &[Digest]) -> CommandError {
    let lines = lost.iter().take(20).map(|digest| backup.name_of(digest));
    CommandError::new(Exit::Broken, format!("{} contents are missing from the backup or damaged", lost.len()))
        .with_lines(lines)
        .with_hint(
            "restore another generation, or all that is sound: --allow-damaged (what is lost can be pushed again)",
        )
}

/// Moves what is at the target to a name beside it. Never deletes.
fn move_aside(data: &Path) -> Result<Option<PathBuf>, CommandError> {
    let data: PathBuf = data.components().collect();
    let is_empty = match fs::read_dir(&data) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(failed("reading", &data)(error)),
    };
    if is_empty {
        return Ok(None);
    }
    let claim = Claim::take(&data).map_err(|error| {
        let hint = "stop the registry that runs on it first";
        let exit = if let OpenError::InUse { .. } = error { Exit::InUse } else { Exit::Usage };
        CommandError::from_source(exit, error).with_hint(hint)
    })?;
    let mut aside = data.as_os_str().to_owned();
    aside.push(format!(".before-{}", Generation::name_of(SystemClock::new().now())));
    let aside = PathBuf::from(aside);
    if aside.exists() {
        return Err(CommandError::new(Exit::Refused, format!("{} is there already", aside.display()))
            .with_hint("try again in a second"));
    }
    fs::rename(&data, &aside).map_err(|error| {
        failed("moving aside", &data)(error).with_hint("if it is a mount point, move what is in it away by hand")
    })?;
    reach("restore.moved");
    drop(claim);
    Ok(Some(aside))
}

/// Copies all content but what is lost already, and looks at every byte of it. What is lost in the end.
async fn copy(
    backup: &dyn ContentArchive,
    target: &Archive,
    generation: &Generation,
    mut lost: Vec<Digest>,
    allow_damaged: bool,
) -> Result<Vec<Digest>, CommandError> {
    let named: std::collections::HashMap<Digest, u64> = generation
        .contents()?
        .map(|content| content.map(|content| (content.digest, content.size_bytes)))
        .collect::<Result<_, _>>()?;
    // What an attempt that was broken off has brought here for another generation.
    target.sweep(|digest| named.contains_key(digest))?;
    let progress = Progress::new("restoring", named.values().sum());
    let mut batch = Batch::default();
    let known_lost: std::collections::HashSet<Digest> = lost.iter().copied().collect();
    for content in generation.contents()? {
        let content = content?;
        progress.add(content.size_bytes);
        if known_lost.contains(&content.digest) || target.has(&content.digest, content.size_bytes)? {
            continue;
        }
        match copy_one(backup, target, &content).await? {
            Some(staged) => {
                if let Some(full) = batch.add(staged) {
                    target.place(full)?;
                }
            }
            None => lost.push(content.digest),
        }
    }
    target.place(batch.staged)?;
    progress.finish();
    if lost.is_empty() || allow_damaged { Ok(lost) } else { Err(damaged(backup, &lost)) }
}

/// `None`: the backup does not have it as it should be.
async fn copy_one(
    backup: &dyn ContentArchive,
    target: &Archive,
    content: &Content,
) -> Result<Option<wharf_store::Staged>, CommandError> {
    let Some(mut bytes) = backup.read(&content.digest, content.size_bytes).await? else { return Ok(None) };
    let mut writer = target.stage(&content.digest, content.size_bytes)?;
    while let Some(piece) = bytes.try_next().await.map_err(unread(backup, &content.digest))? {
        match writer.write(&piece) {
            Err(ArchiveError::OtherBytes { .. }) => return Ok(None),
            written => written?,
        }
    }
    match writer.finish() {
        Err(ArchiveError::OtherBytes { .. }) => Ok(None),
        staged => Ok(Some(staged?)),
    }
}

fn unread(backup: &dyn ContentArchive, digest: &Digest) -> impl FnOnce(io::Error) -> CommandError + use<> {
    let name = backup.name_of(digest);
    move |error| failed("reading", Path::new(&name))(error)
}

fn copy_database(from: &Path, to: &Path, sha256: &str) -> Result<(), CommandError> {
    let mut source = File::open(from).map_err(failed("reading", from))?;
    let target = File::options().write(true).create(true).truncate(true).mode(0o600).open(to);
    let mut target = target.map_err(failed("writing", to))?;
    io::copy(&mut source, &mut target).map_err(failed("writing", to))?;
    target.sync_all().map_err(failed("syncing", to))?;
    if super::generation::hash(to).map_err(failed("reading", to))? == sha256 {
        return Ok(());
    }
    Err(CommandError::new(Exit::Broken, format!("{} did not arrive as it is in the backup", to.display()))
        .with_hint("try again; if it stays so, check the disk"))
}

fn refused(error: RestoreTargetError, target: &Target) -> CommandError {
    let data = target.data.display();
    match &error {
        RestoreTargetError::NotEmpty(_) => CommandError::from_source(Exit::Refused, error)
            .with_hint("name an empty directory, or say --force: what is there is moved aside, never deleted"),
        RestoreTargetError::Open(OpenError::InUse { .. }) => CommandError::from_source(Exit::InUse, error)
            .with_hint(format!("stop the other process, or name another directory than {data}")),
        RestoreTargetError::Open(_) => CommandError::from_source(Exit::Usage, error)
            .with_hint("name a directory of your own on a local disk with --data"),
        RestoreTargetError::Archive(_) | RestoreTargetError::Io { .. } => {
            CommandError::from_source(Exit::Unexpected, error)
        }
    }
}

/// Puts one content back into a registry that does not run. Whether it was missing or damaged; `false`: it was sound.
///
/// # Errors
///
/// [`CommandError`]: the backup does not have it, or not as it should be; the registry does not know it.
pub(crate) async fn return_blob(
    place: &dyn BackupPlace,
    digest: &Digest,
    config: &Config,
) -> Result<bool, CommandError> {
    app::check_data(config)?;
    let unexpected = |error: &dyn std::error::Error| CommandError::because(Exit::Unexpected, "restoring it", error);
    let clock = Arc::new(SystemClock::new());
    let opened = app::open_offline(config, clock.clone()).await?;
    let (store, meta) = (&*opened.store, &*opened.meta);
    let size = meta.content_size(digest).await.map_err(|error| unexpected(&error))?;
    let size_bytes = size.ok_or_else(|| {
        CommandError::new(Exit::Refused, format!("the registry knows no content {digest}"))
            .with_hint("a registry takes back only what it has a place for; push it instead")
    })?;
    let backup = place.content();
    if let Some(damage) = backup.examine(digest, size_bytes).await? {
        let problem = format!("{} is {damage}", backup.name_of(digest));
        return Err(CommandError::new(Exit::Broken, problem).with_hint("nothing was changed; try another backup"));
    }
    let was_sound =
        is_sound(store, &opened.place(digest).await?, size_bytes).await.map_err(|error| unexpected(&error))?;
    if !was_sound {
        let upload = UploadId::generate(&*clock, &SystemRng);
        let writer = store.writer(upload, digest.algorithm(), None, Some(size_bytes)).await;
        let mut writer = writer.map_err(|error| unexpected(&error))?;
        let mut bytes = backup.read(digest, size_bytes).await?.unwrap_or_else(|| stream::empty().boxed());
        while let Some(piece) = bytes.try_next().await.map_err(unread(&*backup, digest))? {
            writer.write(piece).await.map_err(|error| unexpected(&error))?;
        }
        // What is there is of no use to anybody, and content that is there would be kept.
        let place = opened.place(digest).await?;
        store.delete(&place).await.map_err(|error| unexpected(&error))?;
        let placed = writer.commit(digest).await.map_err(|error| unexpected(&error))?;
        meta.content_returned(digest, placed.location(), size_bytes).await.map_err(|error| unexpected(&error))?;
        drop(placed);
        let record = record(clock.now(), "blob.restore", digest);
        meta.append_audit(vec![record]).await.map_err(|error| unexpected(&error))?;
    }
    opened.close().await?;
    Ok(!was_sound)
}

/// Whether the registry has it as it should be.
async fn is_sound(
    store: &dyn wharf_store::BlobStore,
    place: &wharf_store::Place,
    size_bytes: u64,
) -> Result<bool, wharf_store::Error> {
    let digest = &place.digest;
    let content = match store.open(place, size_bytes).await {
        Ok(Some(content)) => content,
        Ok(None) | Err(wharf_store::Error::Damaged { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut hash = wharf_store::Hasher::new(digest.algorithm());
    let mut bytes = content.stream(0..size_bytes);
    loop {
        match bytes.try_next().await {
            Ok(Some(chunk)) => hash.update(&chunk),
            Ok(None) => return Ok(hash.finish() == *digest),
            // What cannot be read is not sound.
            Err(_) => return Ok(false),
        }
    }
}
