//! What is stored, over time and by repository, and what of it is pulled. All of it is written in the background: nobody who
//! pulls waits for it, and what is lost when the process dies is a minute of it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wharf_base::{Shutdown, Timestamp};
use wharf_meta::{LargeRepository, Pull as PullRecord, StorageSample};
use wharf_oci::{Digest, RepositoryName};
use wharf_policy::{Authorized, GcManage, Pull};

use crate::{Error, Registry};

/// How often what was pulled is written down; so a manifest costs at most that many changes.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// How many manifests are remembered until then. Pulls of more are not noted.
const PULLED_MAX: usize = 20_000;

/// How many are written in one transaction.
const PULLS_AT_ONCE: usize = 500;

/// How often on a day the content is counted, for how many days that is kept, and how many repositories are named.
const SAMPLE_EVERY: Duration = Duration::from_secs(3_600);
const SAMPLES_KEPT: u32 = 400;
const LARGEST_KEPT: u32 = 20;

/// How many repositories are added up at a time.
const SIZES_PORTION: u32 = 200;

const DAY_MICROS: i64 = 86_400_000_000;

/// Manifests that were pulled and are not written down yet.
#[derive(Debug, Default)]
pub(crate) struct Pulls(Mutex<Pulled>);

#[derive(Debug, Default)]
struct Pulled {
    at: HashMap<RepositoryName, HashMap<Digest, Timestamp>>,
    manifests: usize,
}

impl Pulls {
    fn note(&self, repository: &RepositoryName, digest: &Digest, now: Timestamp) {
        let mut pulled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = pulled.at.get_mut(repository).and_then(|manifests| manifests.get_mut(digest)) {
            *at = now;
            return;
        }
        if pulled.manifests < PULLED_MAX {
            pulled.manifests += 1;
            pulled.at.entry(repository.clone()).or_default().insert(*digest, now);
        }
    }

    fn take(&self) -> Vec<PullRecord> {
        let Pulled { at, .. } = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let of_repository = |(repository, manifests): (RepositoryName, HashMap<Digest, Timestamp>)| {
            manifests.into_iter().map(move |(digest, at)| PullRecord { repository: repository.clone(), digest, at })
        };
        at.into_iter().flat_map(of_repository).collect()
    }
}

impl Registry {
    /// A manifest was pulled. This only remembers it; [`keep_usage`](Self::keep_usage) writes it down.
    pub fn note_pull(&self, ok: &Authorized<Pull>, digest: &Digest) {
        self.pulls.note(ok.repository(), digest, self.now());
    }

    /// How much there was on each day, the latest first, at most 400.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn storage_samples(&self, _ok: &Authorized<GcManage>) -> Result<Vec<StorageSample>, Error> {
        self.parts.meta.storage_samples(SAMPLES_KEPT).await.map_err(Error::meta("reading how much there was"))
    }

    /// The largest repositories when content was counted last, the largest first, at most 20.
    ///
    /// # Errors
    ///
    /// [`Error::Meta`].
    pub async fn largest_repositories(&self, _ok: &Authorized<GcManage>) -> Result<Vec<LargeRepository>, Error> {
        let found = self.parts.meta.largest_repositories(LARGEST_KEPT).await;
        found.map_err(Error::meta("reading which repositories are large"))
    }

    /// Writes down what was pulled, counts what is stored, and forgets answers nobody will ask for again, until shutdown.
    pub async fn keep_usage(self: Arc<Self>, shutdown: Shutdown) {
        while !shutdown.has_started() {
            if self.guard.writable().is_ok()
                && let Err(error) = self.note_usage().await
            {
                tracing::warn!(error = &error as &dyn std::error::Error, "what is used could not be written down");
            }
            tokio::select! {
                () = shutdown.started() => {}
                () = tokio::time::sleep(WRITE_EVERY) => {}
            }
        }
        if let Err(error) = self.write_pulls().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the last pulls could not be written down");
        }
    }

    async fn note_usage(&self) -> Result<(), Error> {
        self.write_pulls().await?;
        self.forget_answers(self.now()).await?;
        if self.is_sample_due().await? {
            self.as_the_one("count of content", self.sample_if_due()).await?;
        }
        Ok(())
    }

    /// Another replica may have counted while this one was waiting for its turn.
    async fn sample_if_due(&self) -> Result<(), Error> {
        if self.is_sample_due().await? { self.sample_storage().await } else { Ok(()) }
    }

    async fn is_sample_due(&self) -> Result<bool, Error> {
        let last = self.parts.meta.storage_samples(1).await.map_err(Error::meta("reading how much there was"))?;
        Ok(last.first().is_none_or(|last| is_due(last.sampled_at, self.now())))
    }

    pub(crate) async fn write_pulls(&self) -> Result<(), Error> {
        let pulls = self.pulls.take();
        for portion in pulls.chunks(PULLS_AT_ONCE) {
            self.parts.meta.note_pulls(portion.to_vec()).await.map_err(Error::meta("noting pulls"))?;
        }
        Ok(())
    }

    pub(crate) async fn sample_storage(&self) -> Result<(), Error> {
        let sum = self.count_content().await?;
        let (repositories, largest) = self.add_up_repositories().await?;
        let now = self.now();
        let backlog =
            self.parts.meta.backlog(now).await.map_err(Error::meta("counting what waits for the collector"))?;
        let day = day(now);
        let sample = StorageSample {
            day,
            sampled_at: now,
            repositories,
            blobs: sum.blobs,
            bytes: sum.bytes,
            unshared_bytes: sum.unshared_bytes,
            condemned_bytes: backlog.condemned_bytes,
        };
        let since = day.saturating_sub(i64::from(SAMPLES_KEPT) - 1);
        let kept = self.parts.meta.keep_storage_sample(&sample, &largest, since).await;
        kept.map_err(Error::meta("noting how much there is"))?;
        tracing::info!(
            repositories,
            blobs = sum.blobs,
            size_bytes = sum.bytes,
            "there are {} blobs in {repositories} repositories",
            sum.blobs
        );
        Ok(())
    }

    /// How many repositories there are, and the largest of them.
    async fn add_up_repositories(&self) -> Result<(u64, Vec<LargeRepository>), Error> {
        let (mut count, mut after) = (0, None);
        let mut largest = BinaryHeap::new();
        loop {
            let portion = self.parts.meta.repository_sizes(after.as_ref(), SIZES_PORTION).await;
            let portion = portion.map_err(Error::meta("adding up repositories"))?;
            count += portion.len() as u64;
            let is_last = portion.len() < SIZES_PORTION as usize;
            after = portion.last().map(|last| last.name.clone());
            for large in portion {
                largest.push(Reverse((large.bytes, Reverse(large.name), large.blobs)));
                if largest.len() > LARGEST_KEPT as usize {
                    largest.pop();
                }
            }
            if is_last {
                break;
            }
        }
        let in_order = largest.into_sorted_vec();
        let named = |Reverse((bytes, Reverse(name), blobs))| LargeRepository { name, blobs, bytes };
        Ok((count, in_order.into_iter().map(named).collect()))
    }
}

/// The day, counted from 1970-01-01.
fn day(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(DAY_MICROS)
}

fn is_due(sampled_at: Timestamp, now: Timestamp) -> bool {
    day(sampled_at) != day(now) || now >= sampled_at.plus(SAMPLE_EVERY)
}

#[cfg(test)]
mod tests {
    use wharf_base::Timestamp;
    use wharf_oci::{Algorithm, Digest};

    use super::{DAY_MICROS, PULLED_MAX, Pulls, is_due};

    #[test]
    fn a_manifest_that_is_pulled_often_is_written_once() {
        let pulls = Pulls::default();
        let digest = Digest::of(Algorithm::Sha256, b"x");
        for (repository, at) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
            pulls.note(&repository.parse().expect("a name"), &digest, Timestamp::from_micros(at));
        }
        let mut taken: Vec<_> =
            pulls.take().into_iter().map(|pull| (pull.repository.to_string(), pull.at.as_micros())).collect();
        taken.sort();
        assert_eq!(taken, [("a".to_owned(), 4), ("b".to_owned(), 3)]);
        assert!(pulls.take().is_empty());
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let pulls = Pulls::default();
        let repository = "a".parse().expect("a name");
        for number in 0..=PULLED_MAX {
            let digest = Digest::of(Algorithm::Sha256, &number.to_be_bytes());
            pulls.note(&repository, &digest, Timestamp::from_micros(1));
        }
        assert_eq!(pulls.take().len(), PULLED_MAX);
    }

    #[test]
    fn content_is_counted_every_hour_and_on_every_day() {
        let at = |micros| Timestamp::from_micros(micros);
        let noon = DAY_MICROS * 100 + DAY_MICROS / 2;
        assert!(!is_due(at(noon), at(noon + 3_599_000_000)));
        assert!(is_due(at(noon), at(noon + 3_600_000_000)));
        assert!(is_due(at(DAY_MICROS - 1), at(DAY_MICROS)));
        assert!(!is_due(at(noon), at(noon - 1)), "a clock that was put back");
    }
}
