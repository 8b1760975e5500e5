//! Backups of a running registry. The client pulls; what is here is a session that makes it safe:
//!
//! 1. A hold on collection is committed. From then on nothing goes that is named.
//! 2. The database is copied, as it is at one moment after that.
//! 3. The client reads the copy, and content that it names. As long as it attends to the session, the hold is renewed; if
//!    the hold was ever gone, the client is told, and what it has is no backup.
//! 4. The session ends: by the client, by itself when nobody renews it in time, or with the process. The copy goes, and
//!    the hold.
//!
//! Nothing is written where a request says, and nothing is kept over a restart but the hold, which runs out.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::Notify;
use wharf_base::failpoint::arrive;
use wharf_base::{BackupId, Shutdown, Timestamp};
use wharf_meta::{AuditRecord, Hold, Snapshot};
use wharf_oci::Digest;
use wharf_policy::{Authorized, BackupCreate};

use crate::{Error, OpenBlob, Registry};

/// How much of a snapshot is read at once.
const CHUNK_BYTES: u64 = 512 << 10;

/// How long to wait when there is no session to look after.
const LONG: Duration = Duration::from_secs(3600);

/// A backup that is being made.
#[derive(Clone, Debug)]
pub struct Backup {
    /// The session's id.
    pub id: BackupId,
    /// It ends by itself if it is not renewed within this time.
    pub renewed_within: Duration,
    /// The copied database, when it is there.
    pub snapshot: Option<BackupSnapshot>,
}

/// The database that belongs to a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupSnapshot {
    /// Everything that was acknowledged before this moment is in it.
    pub taken_at: Timestamp,
    /// How many bytes it has.
    pub size_bytes: u64,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

/// The session, of which there is at most one: each has a copy of the database.
#[derive(Debug, Default)]
pub(crate) struct Backups {
    current: Mutex<Option<Session>>,
    changed: Notify,
}

#[derive(Debug)]
struct Session {
    id: BackupId,
    renewed_within: Duration,
    /// On the monotonic clock.
    ends_at: Duration,
    state: State,
    ended: Shutdown,
}

#[derive(Clone, Debug)]
enum State {
    Copying,
    Copied(Arc<Copied>),
    Failed(String),
}

#[derive(Debug)]
struct Copied {
    snapshot: Snapshot,
    taken_at: Timestamp,
}

impl Drop for Session {
    /// Whoever copies for it stops.
    fn drop(&mut self) {
        self.ended.start();
    }
}

impl Session {
    fn describe(&self) -> Result<Backup, Error> {
        let snapshot = match &self.state {
            State::Copying => None,
            State::Copied(copied) => Some(BackupSnapshot {
                taken_at: copied.taken_at,
                size_bytes: copied.snapshot.size_bytes(),
                sha256: copied.snapshot.sha256(),
            }),
            State::Failed(reason) => return Err(Error::NoSnapshot(reason.clone())),
        };
        Ok(Backup { id: self.id, renewed_within: self.renewed_within, snapshot })
    }
}

impl Backups {
    fn lock(&self) -> MutexGuard<'_, Option<Session>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, session: Session) -> Result<(), Error> {
        let mut current = self.lock();
        if let Some(running) = &*current {
            return Err(Error::BackupRunning { renewed_within: running.renewed_within });
        }
        *current = Some(session);
        drop(current);
        self.changed.notify_one();
        Ok(())
    }

    fn with<T>(&self, id: BackupId, work: impl FnOnce(&mut Session) -> T) -> Result<T, Error> {
        let mut current = self.lock();
        let session = current.as_mut().filter(|session| session.id == id).ok_or(Error::BackupUnknown)?;
        Ok(work(session))
    }

    fn close(&self, id: BackupId) -> bool {
        self.lock().take_if(|session| session.id == id).is_some()
    }

    /// The session, if `is_over` says so of the time at which it ends.
    fn close_if(&self, is_over: impl FnOnce(Duration) -> bool) -> Option<BackupId> {
        self.lock().take_if(|session| is_over(session.ends_at)).map(|session| session.id)
    }

    fn ends_at(&self) -> Option<Duration> {
        self.lock().as_ref().map(|session| session.ends_at)
    }
}

/// What the hold of a session is released by.
fn hold_id(id: BackupId) -> String {
    format!("backup-{id}")
}

impl Registry {
    /// Begins a backup: holds collection, and has the database copied. The session ends by itself if it is not renewed
    /// within `renewed_within`.
    ///
    /// # Errors
    ///
    /// [`Error::BackupRunning`]; [`Error::Meta`]: nothing is held for longer than `renewed_within`.
    pub async fn begin_backup(
        self: &Arc<Self>,
        ok: &Authorized<BackupCreate>,
        renewed_within: Duration,
    ) -> Result<Backup, Error> {
        let id = BackupId::generate(&*self.parts.clock, &*self.parts.rng);
        let ended = Shutdown::new();
        let ends_at = self.parts.clock.monotonic() + renewed_within;
        let session = Session { id, renewed_within, ends_at, state: State::Copying, ended: ended.clone() };
        self.backups.open(session)?;
        if let Err(error) = self.hold_for_backup(ok, id, renewed_within).await {
            self.backups.close(id);
            return Err(error);
        }
        arrive("backup.held").await;
        let registry = Arc::clone(self);
        self.parts.spawner.spawn("take a snapshot", async move {
            tokio::select! {
                () = ended.started() => {}
                () = registry.take_snapshot(id) => {}
            }
        });
        self.backups.with(id, |session| session.describe())?
    }

    async fn hold_for_backup(
        &self,
        ok: &Authorized<BackupCreate>,
        id: BackupId,
        renewed_within: Duration,
    ) -> Result<(), Error> {
        let (now, by) = (self.now(), ok.attribution());
        let reason = format!("backup by {}", by.principal.name());
        let hold = Hold { id: hold_id(id), reason, until: now.plus(renewed_within) };
        let held = self.parts.meta.hold(&hold, Some(&by), now).await;
        held.map_err(Error::meta("holding collection for a backup"))?;
        let record = AuditRecord::done(&by, now, "backup.begin").to(id);
        let recorded = self.parts.meta.append_audit(vec![record]).await;
        recorded.map_err(Error::meta("recording that a backup begins"))
    }

    async fn take_snapshot(&self, id: BackupId) {
        let taken_at = self.now();
        let state = match self.parts.meta.take_snapshot().await {
            Ok(snapshot) => State::Copied(Arc::new(Copied { snapshot, taken_at })),
            Err(error) => {
                tracing::error!(backup.id = %id, error = &error as &dyn std::error::Error, "no snapshot for backup {id}");
                State::Failed(crate::error::with_causes(&error))
            }
        };
        arrive("backup.copied").await;
        // If the session has ended meanwhile, the copy goes here.
        let _ = self.backups.with(id, |session| session.state = state);
    }

    /// The client attends to the backup: it lives on, and so does its hold.
    ///
    /// # Errors
    ///
    /// - [`Error::BackupUnknown`]: it has ended.
    /// - [`Error::BackupHoldGone`]: it ends here, and what was copied may lack content.
    /// - [`Error::NoSnapshot`]: the database could not be copied.
    /// - [`Error::Meta`].
    pub async fn renew_backup(&self, _ok: &Authorized<BackupCreate>, id: BackupId) -> Result<Backup, Error> {
        let renewed_within = self.backups.with(id, |session| session.renewed_within)?;
        self.renew_backup_hold(id, renewed_within).await?;
        let ends_at = self.parts.clock.monotonic() + renewed_within;
        self.backups.with(id, |session| {
            session.ends_at = ends_at;
            session.describe()
        })?
    }

    async fn renew_backup_hold(&self, id: BackupId, renewed_within: Duration) -> Result<(), Error> {
        let now = self.now();
        let stands = self.parts.meta.renew_hold(&hold_id(id), now.plus(renewed_within), now).await;
        if stands.map_err(Error::meta("renewing the hold of a backup"))? {
            return Ok(());
        }
        self.backups.close(id);
        tracing::warn!(backup.id = %id, "backup {id} failed: its hold on collection is gone");
        Err(Error::BackupHoldGone)
    }

    /// The copied database.
    ///
    /// # Errors
    ///
    /// [`Error::BackupUnknown`], [`Error::NoSnapshot`], [`Error::Meta`].
    pub fn backup_database(&self, _ok: &Authorized<BackupCreate>, id: BackupId) -> Result<SnapshotFile, Error> {
        let copied = self.copied(id)?;
        let file = copied.snapshot.file().map_err(Error::meta("opening a snapshot"))?;
        Ok(SnapshotFile { file: Arc::new(file), size_bytes: copied.snapshot.size_bytes() })
    }

    /// Content that the copied database names, from whatever repository.
    ///
    /// # Errors
    ///
    /// - [`Error::BackupUnknown`], [`Error::NoSnapshot`].
    /// - [`Error::BlobUnknown`]: the copied database does not name it.
    /// - [`Error::Damaged`]: it is lost, or not as long as it should be.
    /// - [`Error::Meta`], [`Error::Store`].
    pub async fn backup_blob(
        self: &Arc<Self>,
        _ok: &Authorized<BackupCreate>,
        id: BackupId,
        digest: &Digest,
    ) -> Result<OpenBlob, Error> {
        let size = self.copied(id)?.snapshot.content_size(digest);
        let size_bytes = size.map_err(Error::meta("looking up content in a snapshot"))?;
        self.open_known(digest, size_bytes.ok_or(Error::BlobUnknown(*digest))?).await
    }

    fn copied(&self, id: BackupId) -> Result<Arc<Copied>, Error> {
        match self.backups.with(id, |session| session.state.clone())? {
            State::Copied(copied) => Ok(copied),
            State::Copying => Err(Error::NoSnapshot("it is being taken".to_owned())),
            State::Failed(reason) => Err(Error::NoSnapshot(reason)),
        }
    }

    /// The client is done: copy and hold go.
    ///
    /// # Errors
    ///
    /// As [`renew_backup`](Self::renew_backup).
    pub async fn end_backup(&self, ok: &Authorized<BackupCreate>, id: BackupId) -> Result<(), Error> {
        let renewed_within = self.backups.with(id, |session| session.renewed_within)?;
        self.renew_backup_hold(id, renewed_within).await?;
        self.backups.close(id);
        self.release_backup_hold(id).await?;
        let record = AuditRecord::done(&ok.attribution(), self.now(), "backup.end").to(id);
        let recorded = self.parts.meta.append_audit(vec![record]).await;
        recorded.map_err(Error::meta("recording that a backup has ended"))
    }

    async fn release_backup_hold(&self, id: BackupId) -> Result<(), Error> {
        let released = self.parts.meta.release_hold(&hold_id(id), None, self.now()).await;
        released.map(|_| ()).map_err(Error::meta("releasing the hold of a backup"))
    }

    /// Ends backups that nobody attends to, until shutdown, and then the one that is left.
    pub async fn keep_ending_backups(self: Arc<Self>, shutdown: Shutdown) {
        while !shutdown.has_started() {
            let now = self.parts.clock.monotonic();
            let left = self.backups.ends_at().map_or(LONG, |ends_at| ends_at.saturating_sub(now));
            tokio::select! {
                () = shutdown.started() => {}
                () = self.backups.changed.notified() => {}
                () = tokio::time::sleep(left) => {}
            }
            let now = self.parts.clock.monotonic();
            let stopping = shutdown.has_started();
            let Some(id) = self.backups.close_if(|ends_at| stopping || ends_at <= now) else { continue };
            tracing::warn!(backup.id = %id, "backup {id} was given up: its client does not attend to it, or the registry stops");
            if let Err(error) = self.release_backup_hold(id).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the hold of backup {id} runs out by itself");
            }
        }
    }
}

/// A copied database, to be read.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    file: Arc<File>,
    size_bytes: u64,
}

impl SnapshotFile {
    /// How many bytes it has.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Its bytes in order, in chunks of at most 512 KiB. They can be read to their end even when the backup ends.
    pub fn stream(&self) -> BoxStream<'static, io::Result<Bytes>> {
        let file = self.clone();
        stream::try_unfold(0, move |offset| {
            let file = file.clone();
            async move {
                let left = file.size_bytes.saturating_sub(offset).min(CHUNK_BYTES);
                if left == 0 {
                    return Ok(None);
                }
                let reading = tokio::task::spawn_blocking(move || file.read(offset, left));
                let bytes = reading.await.map_err(io::Error::other)??;
                Ok(Some((bytes, offset + left)))
            }
        })
        .boxed()
    }

    fn read(&self, offset_bytes: u64, len_bytes: u64) -> io::Result<Bytes> {
        let mut buffer = vec![0; usize::try_from(len_bytes).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut buffer, offset_bytes)?;
        Ok(buffer.into())
    }
}
