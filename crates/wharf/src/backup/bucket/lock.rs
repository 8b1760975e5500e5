//! One process at a time in a bucket.
//!
//! Who holds the lock is the holder of the highest number: `wharf-backup.lock/<number>`. A number is taken by creating its
//! object, which the bucket lets one process do; only whoever created it writes to it, every ten seconds something new. A
//! holder who writes nothing new for half a minute is gone, and the next number may be taken; whoever was only asleep sees the
//! higher number before doing anything that matters. No clock of any machine is compared with another's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wharf_base::{BackupId, SystemClock, SystemRng};
use wharf_store::BucketArchive;

use super::refused;
use crate::error::{CommandError, Exit};

/// The folder of the lock's objects.
pub(super) const LOCK: &str = "wharf-backup.lock";

/// What a holder writes who needs it no more.
const RELEASED: &str = "released";

const RENEWED_EVERY: Duration = Duration::from_secs(10);

/// A holder who has not renewed the lock for so long gives up …
const GIVEN_UP_AFTER: Duration = Duration::from_secs(20);

/// … and whoever sees nothing new for so long takes it.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// How often somebody who waits looks.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(2);

/// The lock, held.
pub(super) struct Lock {
    shared: Arc<Shared>,
    renewing: JoinHandle<()>,
    is_lost: watch::Receiver<bool>,
}

struct Shared {
    archive: BucketArchive,
    number: u64,
    holder: BackupId,
}

impl Lock {
    /// Takes the lock. Somebody who holds it and is alive is an error; of somebody who does not seem to be it is waited for
    /// a sign of life, unless `at_once`.
    pub(super) async fn take(archive: &BucketArchive, at_once: bool) -> Result<Self, CommandError> {
        let place = archive.place().to_owned();
        let held = highest(archive).await?;
        if let Some(number) = held {
            wait_until_free(archive, number, at_once).await?;
        }
        let number = held.map_or(0, |number| number + 1);
        let holder = BackupId::generate(&SystemClock::new(), &SystemRng);
        let shared = Shared { archive: archive.clone(), number, holder };
        let body = || shared.body(0).into();
        if !archive.create(&object(number), body()).await.map_err(refused(&place))? {
            return Err(in_use(&place));
        }
        if archive.create(&object(number), body()).await.map_err(refused(&place))? {
            let problem = format!("{place} ignores `If-None-Match`: two processes could work there at once");
            return Err(CommandError::new(Exit::Usage, problem).with_hint("use a server that knows it"));
        }
        shared.confirm().await?;
        for older in numbers(archive).await?.into_iter().filter(|older| *older < number) {
            archive.remove(&object(older)).await.map_err(refused(&place))?;
        }
        let (tell, is_lost) = watch::channel(false);
        let shared = Arc::new(shared);
        let renewed = Arc::clone(&shared);
        let renewing = tokio::spawn(async move {
            renewed.renew_as_long_as_possible().await;
            let _ = tell.send(true);
        });
        Ok(Self { shared, renewing, is_lost })
    }

    /// Whether the lock is still ours, as the bucket knows it now.
    pub(super) async fn confirm(&self) -> Result<(), CommandError> {
        if *self.is_lost.borrow() {
            return Err(self.shared.overtaken());
        }
        self.shared.confirm().await
    }

    /// Resolves when it is not ours any more, or may not be.
    pub(super) async fn lost(&self) -> CommandError {
        // It ends when the task has told, or is gone.
        let _ = self.is_lost.clone().wait_for(|is_lost| *is_lost).await;
        self.shared.overtaken()
    }

    /// Somebody else may take it at once. If that cannot be said, they wait.
    pub(super) async fn release(&self) {
        self.renewing.abort();
        if !*self.is_lost.borrow() {
            let _ = self.shared.archive.put(&object(self.shared.number), RELEASED.into()).await;
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl Shared {
    /// Something that nobody else writes, new each time.
    fn body(&self, renewal: u64) -> String {
        format!("held by {} of process {} ({renewal})\n", self.holder, std::process::id())
    }

    async fn confirm(&self) -> Result<(), CommandError> {
        if highest(&self.archive).await? == Some(self.number) { Ok(()) } else { Err(self.overtaken()) }
    }

    async fn renew_as_long_as_possible(&self) {
        let (mut renewed, mut renewal) = (Instant::now(), 0);
        while renewed.elapsed() < GIVEN_UP_AFTER {
            tokio::time::sleep(RENEWED_EVERY).await;
            renewal += 1;
            let begun = Instant::now();
            if begun - renewed >= STALE_AFTER {
                // Asleep for so long that somebody else may have it.
                return;
            }
            match tokio::time::timeout(RENEWED_EVERY, self.renew(renewal)).await {
                Ok(Ok(())) => renewed = begun,
                Ok(Err(error)) if error.exit() == Exit::InUse => return,
                // The bucket may answer again in time.
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    async fn renew(&self, renewal: u64) -> Result<(), CommandError> {
        self.confirm().await?;
        let put = self.archive.put(&object(self.number), self.body(renewal).into()).await;
        put.map_err(refused(self.archive.place()))
    }

    fn overtaken(&self) -> CommandError {
        let place = self.archive.place();
        CommandError::new(
            Exit::InUse,
            format!("the lock of {place} was lost to another process, or could not be renewed"),
        )
        .with_hint("try again; what was copied need not be copied again")
    }
}

fn object(number: u64) -> String {
    format!("{LOCK}/{number:012}")
}

async fn numbers(archive: &BucketArchive) -> Result<Vec<u64>, CommandError> {
    let names = archive.names(LOCK).await.map_err(refused(archive.place()))?;
    Ok(names.iter().filter_map(|name| name.rsplit_once('/')?.1.parse().ok()).collect())
}

async fn highest(archive: &BucketArchive) -> Result<Option<u64>, CommandError> {
    Ok(numbers(archive).await?.into_iter().max())
}

async fn wait_until_free(archive: &BucketArchive, number: u64, at_once: bool) -> Result<(), CommandError> {
    let look = async || archive.get(&object(number)).await.map_err(refused(archive.place()));
    let first = look().await?;
    let is_free = first.as_ref().is_none_or(|body| body == RELEASED);
    if is_free || at_once {
        return Ok(());
    }
    let begun = Instant::now();
    while begun.elapsed() < STALE_AFTER {
        tokio::time::sleep(LOOKED_AT_EVERY).await;
        match look().await? {
            Some(body) if body == RELEASED => return Ok(()),
            None => return Ok(()),
            body if body != first => return Err(in_use(archive.place())),
            _ => {}
        }
    }
    Ok(())
}

fn in_use(place: &str) -> CommandError {
    CommandError::new(Exit::InUse, format!("another process is at work in {place}"))
        .with_hint("wait for its end and try again")
}
