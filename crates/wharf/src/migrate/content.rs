use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt as _;
use tokio::task::JoinSet;
use wharf_base::failpoint::reach;
use wharf_base::{Location, SystemClock, SystemRng, UploadId};
use wharf_meta::{Content, Snapshot};
use wharf_oci::Digest;
use wharf_store::{BlobStore, Place};

use super::journal::Journal;
use crate::backup::{Blob, Source, portions};
use crate::error::{CommandError, Exit};
use crate::progress::Progress;

/// How many contents are copied at the same time.
const COPIES: usize = 8;

/// What became of the content.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copied {
    /// How much there is.
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
    /// How much of it had to be copied this time.
    pub(crate) copied_blobs: u64,
    pub(crate) copied_bytes: u64,
    /// What the source does not have as it should be.
    pub(crate) lost: Vec<Digest>,
    /// Where all the rest lies in the target.
    pub(super) locations: Vec<(Digest, Location)>,
}

/// How one content got there.
enum Done {
    WasThere(Location),
    Copied(Location),
    Lost,
}

/// Brings everything that `snapshot` names into `target`. What is there from an earlier attempt stays; whatever is copied is
/// hashed on its way.
pub(super) async fn copy(
    source: &Arc<dyn Source>,
    target: &Arc<dyn BlobStore>,
    snapshot: &Snapshot,
    journal: &mut Journal,
) -> Result<Copied, CommandError> {
    let wanted = portions(snapshot).collect::<Result<Vec<_>, _>>()?;
    let mut wanted: VecDeque<Content> = wanted.into_iter().flatten().collect();
    let progress = Progress::new("moving", wanted.iter().map(|content| content.size_bytes).sum());
    let mut result = Copied::default();
    let mut running = JoinSet::new();
    loop {
        while running.len() < COPIES
            && let Some(content) = wanted.pop_front()
        {
            let known = match target.is_by_digest() {
                true => Some(Location::BY_DIGEST),
                false => journal.location(&content.digest).cloned(),
            };
            let (source, target, progress) = (Arc::clone(source), Arc::clone(target), progress.clone());
            running.spawn(async move {
                let done = bring(&*source, &*target, &content, known, &progress).await;
                (content, done)
            });
        }
        let Some(done) = running.join_next().await else { break };
        let (content, done) = done.map_err(|error| CommandError::unexpected("copying content", error))?;
        result.blobs += 1;
        result.bytes += content.size_bytes;
        let location = match done? {
            Done::WasThere(location) => location,
            Done::Copied(location) => {
                result.copied_blobs += 1;
                result.copied_bytes += content.size_bytes;
                journal.copied(content.digest, location.clone())?;
                reach("migrate.copied");
                location
            }
            Done::Lost => {
                result.lost.push(content.digest);
                continue;
            }
        };
        result.locations.push((content.digest, location));
    }
    progress.finish();
    result.lost.sort();
    Ok(result)
}

async fn bring(
    source: &dyn Source,
    target: &dyn BlobStore,
    content: &Content,
    known: Option<Location>,
    progress: &Progress,
) -> Result<Done, CommandError> {
    if let Some(location) = known {
        let place = Place { digest: content.digest, location };
        // What has its name or key is whole: it was hashed before it got it.
        if matches!(target.stat(&place).await, Ok(Some(found)) if found == content.size_bytes) {
            progress.add(content.size_bytes);
            return Ok(Done::WasThere(place.location));
        }
    }
    let Blob::Bytes(mut bytes) = source.blob(&content.digest, content.size_bytes).await? else {
        return Ok(Done::Lost);
    };
    let upload = UploadId::generate(&SystemClock::new(), &SystemRng);
    let failed = |error: wharf_store::Error| {
        let doing = format!("writing {}", content.digest);
        CommandError::because(exit_of(&error), doing, &error)
            .with_hint("see that the target can be written to, and run the same command again: it goes on from here")
    };
    let writer = target.writer(upload, content.digest.algorithm(), None, Some(content.size_bytes)).await;
    let mut writer = writer.map_err(failed)?;
    let mut arrived_bytes = 0;
    while let Some(chunk) = bytes.next().await {
        let chunk = chunk.map_err(|error| {
            CommandError::because(Exit::Unreachable, format!("reading {}", content.digest), &error)
                .with_hint("run the same command again: it goes on from here")
        })?;
        arrived_bytes += chunk.len() as u64;
        progress.add(chunk.len() as u64);
        writer.write(chunk).await.map_err(failed)?;
    }
    if arrived_bytes != content.size_bytes {
        drop(writer);
        target.discard(upload).await.map_err(failed)?;
        return Ok(Done::Lost);
    }
    match writer.commit(&content.digest).await {
        Ok(placed) => {
            let (location, leaves_staged) = (placed.location().clone(), placed.leaves_staged());
            drop(placed);
            // Nobody else goes on with an upload of ours.
            if leaves_staged {
                target.discard(upload).await.map_err(failed)?;
            }
            Ok(Done::Copied(location))
        }
        Err(wharf_store::Error::DigestMismatch { .. }) => {
            target.discard(upload).await.map_err(failed)?;
            Ok(Done::Lost)
        }
        Err(error) => Err(failed(error)),
    }
}

fn exit_of(error: &wharf_store::Error) -> Exit {
    match error {
        wharf_store::Error::Unavailable { .. } => Exit::Unreachable,
        wharf_store::Error::NoSpace => Exit::NotSynced,
        _ => Exit::Unexpected,
    }
}
