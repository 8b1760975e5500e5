//! How much is stored, over time and by repository, and what of it is pulled. Written in the background; nobody waits for it.

use std::fmt::Debug;

use async_trait::async_trait;
use wharf_base::Timestamp;
use wharf_oci::{Digest, RepositoryName};

use crate::repositories;
use crate::sql::{Count, Key, Micros, Result, Tx, params, parsed, statements};

/// How much there was on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageSample {
    /// The day, counted from 1970-01-01.
    pub day: i64,
    /// When on that day it was counted last.
    pub sampled_at: Timestamp,
    /// Repositories, also empty ones.
    pub repositories: u64,
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes that they would have if each repository kept its own.
    pub unshared_bytes: u64,
    /// The bytes of those that go after the trash period.
    pub condemned_bytes: u64,
}

/// What a repository has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeRepository {
    /// Its name.
    pub name: RepositoryName,
    /// Its blobs.
    pub blobs: u64,
    /// Their bytes, whether or not it shares them with others.
    pub bytes: u64,
}

/// The last pull of a manifest within a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// From which repository.
    pub repository: RepositoryName,
    /// Which manifest.
    pub digest: Digest,
    /// When.
    pub at: Timestamp,
}

/// How much is stored and what is pulled. As with [`Metadata`](crate::Metadata), each method is one transaction.
#[async_trait]
pub trait Usage: Send + Sync + Debug {
    /// At most `limit` repositories by name with what they have, strictly after `after`.
    async fn repository_sizes(&self, after: Option<&RepositoryName>, limit: u32)
    -> crate::Result<Vec<LargeRepository>>;

    /// Puts the sample in the place of its day's, and `largest` in the place of those of before; forgets samples of days before
    /// `since`.
    async fn keep_storage_sample(
        &self,
        sample: &StorageSample,
        largest: &[LargeRepository],
        since: i64,
    ) -> crate::Result<()>;

    /// At most `limit` samples, the latest first.
    async fn storage_samples(&self, limit: u32) -> crate::Result<Vec<StorageSample>>;

    /// The largest repositories of the last sample, the largest first.
    async fn largest_repositories(&self, limit: u32) -> crate::Result<Vec<LargeRepository>>;

    /// Notes when manifests were last pulled; an earlier time than is known changes nothing, nor does a manifest that is gone.
    async fn note_pulls(&self, pulls: Vec<Pull>) -> crate::Result<()>;
}

statements! {
    NAMES = "select id, name from repositories where name > $1 order by name limit $2";
    SIZE =
        "select count(*), coalesce(sum(b.size_bytes), 0)
           from repository_blobs a
           join blobs b on b.id = a.blob_id
          where a.repository_id = $1",
    postgres:
        "select count(*), coalesce(sum(b.size_bytes), 0)::bigint
           from repository_blobs a
           join blobs b on b.id = a.blob_id
          where a.repository_id = $1";
    KEEP =
        "insert into storage_samples (day, sampled_at_us, repositories, blobs, bytes, unshared_bytes, condemned_bytes)
         values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (day) do update
                set sampled_at_us = excluded.sampled_at_us, repositories = excluded.repositories, blobs = excluded.blobs,
                    bytes = excluded.bytes, unshared_bytes = excluded.unshared_bytes,
                    condemned_bytes = excluded.condemned_bytes";
    FORGET = "delete from storage_samples where day < $1";
    SAMPLES =
        "select day, sampled_at_us, repositories, blobs, bytes, unshared_bytes, condemned_bytes
           from storage_samples
          where day > -1
          order by day desc
          limit $1";
    REPLACE_LARGEST = "delete from largest_repositories where rank > 0";
    KEEP_LARGE = "insert into largest_repositories (rank, repository, blobs, bytes) values ($1, $2, $3, $4)";
    LARGEST = "select repository, blobs, bytes from largest_repositories where rank > 0 order by rank limit $1";
    PULLED =
        "update manifests set last_pulled_at_us = $1
          where repository_id = $2 and digest = $3 and coalesce(last_pulled_at_us, -1) < $1";
}

pub(crate) fn sizes(tx: &Tx<'_>, after: Option<&RepositoryName>, limit: u32) -> Result<Vec<LargeRepository>> {
    let names: Vec<(Key, RepositoryName)> = tx
        .prepare_cached(NAMES)?
        .query_map(params![after.map_or("", RepositoryName::as_str), limit], |row| Ok((row.get(0)?, parsed(row, 1)?)))?
        .collect::<Result<_>>()?;
    let size = |(key, name): (Key, RepositoryName)| {
        let (blobs, bytes) =
            tx.prepare_cached(SIZE)?.query_row([key], |row| Ok((row.get::<Count>(0)?.0, row.get::<Count>(1)?.0)))?;
        Ok(LargeRepository { name, blobs, bytes })
    };
    names.into_iter().map(size).collect()
}

pub(crate) fn keep(tx: &Tx<'_>, sample: &StorageSample, largest: &[LargeRepository], since: i64) -> Result<()> {
    tx.lock(crate::sql::Locks::settings)?;
    tx.prepare_cached(KEEP)?.execute(params![
        sample.day,
        Micros(sample.sampled_at),
        Count(sample.repositories),
        Count(sample.blobs),
        Count(sample.bytes),
        Count(sample.unshared_bytes),
        Count(sample.condemned_bytes),
    ])?;
    tx.prepare_cached(FORGET)?.execute([since])?;
    tx.prepare_cached(REPLACE_LARGEST)?.execute(())?;
    for (rank, large) in (1_i64..).zip(largest) {
        let (blobs, bytes) = (Count(large.blobs), Count(large.bytes));
        tx.prepare_cached(KEEP_LARGE)?.execute(params![rank, large.name.as_str(), blobs, bytes])?;
    }
    Ok(())
}

pub(crate) fn samples(tx: &Tx<'_>, limit: u32) -> Result<Vec<StorageSample>> {
    tx.prepare_cached(SAMPLES)?
        .query_map([limit], |row| {
            Ok(StorageSample {
                day: row.get(0)?,
                sampled_at: row.get::<Micros>(1)?.0,
                repositories: row.get::<Count>(2)?.0,
                blobs: row.get::<Count>(3)?.0,
                bytes: row.get::<Count>(4)?.0,
                unshared_bytes: row.get::<Count>(5)?.0,
                condemned_bytes: row.get::<Count>(6)?.0,
            })
        })?
        .collect()
}

pub(crate) fn largest(tx: &Tx<'_>, limit: u32) -> Result<Vec<LargeRepository>> {
    tx.prepare_cached(LARGEST)?
        .query_map([limit], |row| {
            Ok(LargeRepository { name: parsed(row, 0)?, blobs: row.get::<Count>(1)?.0, bytes: row.get::<Count>(2)?.0 })
        })?
        .collect()
}

pub(crate) fn note_pulls(tx: &Tx<'_>, pulls: &[Pull]) -> Result<()> {
    for pull in pulls {
        let Some(repository) = repositories::find(tx, &pull.repository)? else { continue };
        tx.prepare_cached(PULLED)?.execute(params![Micros(pull.at), repository, pull.digest.to_string()])?;
    }
    Ok(())
}
