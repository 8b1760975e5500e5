//! Collection: what is due is looked at again, and what nobody needs any more goes, names before bytes
//! (`reliability` §4.3).
//!
//! A review ends an association that no manifest of its repository needs, and with the last one condemns the content: its
//! row says `deleting` and when. Later the row goes and a note of the bytes takes its place, in one transaction; the note
//! is struck when the bytes are gone. So whatever is killed in between is found again, and nothing that is named is
//! ever removed.

use wharf_base::{Location, Timestamp};
use wharf_oci::{Digest, RepositoryName};

use crate::blobs;
use crate::collection_log;
use crate::repositories;
use crate::reviews::{self, Kind};
use crate::sql::{Count, Key, Locks, Micros, OptionalExtension as _, Result, Tx, params, parsed, statements};

/// What some reviews came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reviewed {
    /// How many entries were looked at; fewer than asked for means that no more is due.
    pub looked_at: u32,
    /// Associations that ended.
    pub released: u32,
    /// Blobs that nothing needs any more: they go after the trash period.
    pub condemned: u32,
    /// Their sizes together.
    pub condemned_bytes: u64,
}

/// Content whose row is gone and whose bytes may still be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Its digest.
    pub digest: Digest,
    /// Where it lies.
    pub location: Location,
    /// Its size as it was recorded; 0 if it never was.
    pub size_bytes: u64,
}

/// Why nothing is collected for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What it is released by.
    pub id: String,
    /// For people.
    pub reason: String,
    /// When it ends by itself.
    pub until: Timestamp,
}

/// How much there is to collect. Counting stops at a bound, so that asking costs little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Associations that wait for their time or for the collector.
    pub reviews: u64,
    /// Those of them whose time has come.
    pub reviews_due: u64,
    /// When the first of all reviews is due.
    pub oldest_due: Option<Timestamp>,
    /// Condemned blobs.
    pub condemned: u64,
    /// Their sizes together.
    pub condemned_bytes: u64,
    /// Blobs whose row is gone and whose bytes are about to go.
    pub removals: u64,
}

/// Where a preview goes on: behind this entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewCursor {
    due_at: Timestamp,
    repository: Key,
    digest: String,
}

/// An association that would end if the collector looked at it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Releasable {
    /// Of this repository.
    pub repository: RepositoryName,
    /// With this blob.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size_bytes: u64,
    /// Whether no manifest anywhere holds the content, and every other association of it is due as well: then its bytes
    /// would be freed.
    pub frees: bool,
    /// When it was due.
    pub due_at: Timestamp,
}

/// The most that one count counts.
const COUNT_MAX: u32 = 100_000;

statements! {
    DUE =
        "select repository_id, digest from gc_reviews
          where kind = 'blob' and due_at_us <= $1
          order by due_at_us
          limit $2";
    /// A manifest of this very repository.
    HELD_HERE = "select 1 from manifest_blobs where blob_id = $1 and repository_id = $2 limit 1";
    HELD_ANYWHERE = "select 1 from manifest_blobs where blob_id = $1 limit 1";
    ASSOCIATED_ANYWHERE = "select 1 from repository_blobs where blob_id = $1 limit 1";
    CONDEMN = "update blobs set state = 'deleting', delete_after_us = $1 where id = $2";
    CONDEMNED =
        "select digest from blobs
          where state = 'deleting' and delete_after_us <= $1
          order by delete_after_us
          limit $2";
    IS_CONDEMNED =
        "select id, size_bytes, storage_key from blobs
          where digest = $1 and state = 'deleting' and delete_after_us <= $2";
    FORGET = "delete from blobs where id = $1";
    NOTE_REMOVAL =
        "insert into gc_removals (key, digest, reason, size_bytes, due_at_us)
         values ($1, $2, 'unreferenced', $3, $4)
             on conflict (key) do update
            set size_bytes = excluded.size_bytes, due_at_us = excluded.due_at_us";
    REMOVALS = "select key, digest, size_bytes from gc_removals where due_at_us <= $1 order by due_at_us limit $2";
    STRIKE_REMOVAL = "delete from gc_removals where key = $1";
    IS_NAMED = "select 1 from blobs where digest = $1";
    COUNT_REVIEWS =
        "select count(*) from (select 1 from gc_reviews where kind = 'blob' and due_at_us <= $1 order by due_at_us limit $2) found";
    OLDEST_REVIEW = "select due_at_us from gc_reviews where kind = 'blob' order by due_at_us limit 1";
    COUNT_CONDEMNED =
        "select count(*), cast(coalesce(sum(size_bytes), 0) as bigint)
           from (select size_bytes from blobs where state = 'deleting' and delete_after_us > 0 limit $1) found";
    COUNT_REMOVALS = "select count(*) from (select 1 from gc_removals where due_at_us > 0 order by due_at_us limit $1) found";
    HOLDS = "select id, reason, until_us from gc_holds where id > '' and until_us > $1 order by id";
    HOLD =
        "insert into gc_holds (id, reason, until_us) values ($1, $2, $3)
             on conflict (id) do update
            set reason = excluded.reason, until_us = excluded.until_us";
    FORGET_ENDED_HOLDS = "delete from gc_holds where id > '' and until_us <= $1";
    /// One that has ended is not renewed: something may have been collected since.
    RENEW = "update gc_holds set until_us = $1 where id = $2 and until_us > $3";
    RELEASE = "delete from gc_holds where id = $1";
    IS_HELD = "select 1 from gc_holds where id > '' and until_us > $1 limit 1";
    PREVIEW =
        "select g.repository_id, g.digest, r.name, g.due_at_us, b.id, b.size_bytes,
                exists (select 1 from manifest_blobs x where x.blob_id = b.id and x.repository_id = g.repository_id),
                exists (select 1 from manifest_blobs x where x.blob_id = b.id)
           from gc_reviews g
           join repositories r on r.id = g.repository_id
           join blobs b on b.digest = g.digest
           join repository_blobs a on a.repository_id = g.repository_id and a.blob_id = b.id
          where g.kind = 'blob'
            and (g.due_at_us, g.repository_id, g.digest) > ($1, $2, $3)
            and g.due_at_us <= $4
          order by g.due_at_us, g.repository_id, g.digest
          limit $5";
    /// An association that is not due keeps the content.
    KEPT_ELSEWHERE =
        "select 1
           from repository_blobs a
           left join gc_reviews g on g.repository_id = a.repository_id and g.kind = 'blob' and g.digest = $1
          where a.blob_id = $2 and (g.due_at_us is null or g.due_at_us > $3)
          limit 1";
}

/// Looks at associations whose time has come, at most `limit`; condemned content goes at `remove_at`.
pub(crate) fn review_blobs(tx: &Tx<'_>, now: Timestamp, remove_at: Timestamp, limit: u32) -> Result<Reviewed> {
    let mut reviewed = Reviewed::default();
    let mut due_now = due(tx, now, limit)?;
    if tx.lock(|locks| locks.change_contents(due_now.iter().map(|(_, digest)| digest)))? {
        // An entry that has moved meanwhile is not due, and one that is gone was looked at by somebody else.
        let still = due(tx, now, limit)?;
        due_now.retain(|entry| still.contains(entry));
    }
    for (repository, digest) in due_now {
        reviewed.looked_at += 1;
        review_blob(tx, repository, &digest, Dates { now, remove_at }, &mut reviewed)?;
        reviews::strike(tx, repository, Kind::Blob, &digest)?;
    }
    Ok(reviewed)
}

fn due(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<(Key, Digest)>> {
    tx.prepare_cached(DUE)?.query_map(params![Micros(now), limit], |row| Ok((row.get(0)?, parsed(row, 1)?)))?.collect()
}

/// Of a review: when it is, and when what it condemns goes.
#[derive(Clone, Copy)]
struct Dates {
    now: Timestamp,
    remove_at: Timestamp,
}

/// Whether a manifest of this repository holds the blob.
pub(crate) fn is_held_here(tx: &Tx<'_>, blob: Key, repository: Key) -> Result<bool> {
    tx.prepare_cached(HELD_HERE)?.exists([blob, repository])
}

/// Whether any repository may serve the blob, or any manifest holds it.
pub(crate) fn is_needed(tx: &Tx<'_>, blob: Key) -> Result<bool> {
    Ok(tx.prepare_cached(ASSOCIATED_ANYWHERE)?.exists([blob])? || tx.prepare_cached(HELD_ANYWHERE)?.exists([blob])?)
}

/// Each look is a statement of its own, after what it may find has been locked or is the only writer's.
fn review_blob(tx: &Tx<'_>, repository: Key, digest: &Digest, dates: Dates, reviewed: &mut Reviewed) -> Result<()> {
    let Some((blob, state, size_bytes)) = blobs::row(tx, digest)? else { return Ok(()) };
    if is_held_here(tx, blob, repository)? {
        return Ok(());
    }
    if blobs::dissociate(tx, repository, blob)? {
        reviewed.released += 1;
    }
    if is_needed(tx, blob)? || state == "deleting" {
        return Ok(());
    }
    tx.prepare_cached(CONDEMN)?.execute(params![Micros(dates.remove_at), blob])?;
    collection_log::begin(tx, digest, size_bytes.unwrap_or(0), repository, dates.now)?;
    reviewed.condemned += 1;
    reviewed.condemned_bytes += size_bytes.unwrap_or(0);
    Ok(())
}

/// Puts off the entry that is due first, longer with every failure: 5 minutes, 10, … a day.
pub(crate) fn put_off_review(tx: &Tx<'_>, now: Timestamp) -> Result<()> {
    let Some((repository, digest)) = due(tx, now, 1)?.pop() else { return Ok(()) };
    reviews::put_off(tx, repository, Kind::Blob, &digest, now)
}

/// Content whose time has come, at most `limit`.
pub(crate) fn condemned(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<Digest>> {
    tx.prepare_cached(CONDEMNED)?.query_map(params![Micros(now), limit], |row| parsed(row, 0))?.collect()
}

/// Forgets condemned content and notes that its bytes are to go; `None` if it is needed again, not yet due, or held.
///
/// The hold is looked for in this very transaction: whoever has set one knows that nothing goes from then on, whatever
/// step a collector stood at (GR-36).
pub(crate) fn forget(tx: &Tx<'_>, digest: &Digest, due_by: Timestamp, now: Timestamp) -> Result<Option<Removal>> {
    tx.lock(|locks| {
        locks.respect_holds();
        locks.change_contents([digest]);
    })?;
    if tx.prepare_cached(IS_HELD)?.exists([Micros(now)])? {
        return Ok(None);
    }
    let found: Option<(Key, Option<Count>, Option<String>)> = tx
        .prepare_cached(IS_CONDEMNED)?
        .query_row(params![digest.to_string(), Micros(due_by)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((blob, size, location)) = found else { return Ok(None) };
    let size_bytes = size.map_or(0, |size| size.0);
    let location = Location::recorded(&location.unwrap_or_default());
    // Foreign keys refuse this if anything names the row after all; then nothing happens and somebody is told.
    tx.prepare_cached(FORGET)?.execute([blob])?;
    note_removal(tx, digest, &location, size_bytes, now)?;
    collection_log::end(tx, digest, now)?;
    Ok(Some(Removal { digest: *digest, location, size_bytes }))
}

/// Content that no row names is to go, at `due_at`.
pub(crate) fn note_removal(
    tx: &Tx<'_>,
    digest: &Digest,
    location: &Location,
    size_bytes: u64,
    due_at: Timestamp,
) -> Result<()> {
    let (key, digest) = (key_of(digest, location), digest.to_string());
    tx.prepare_cached(NOTE_REMOVAL)?.execute(params![key, digest, Count(size_bytes), Micros(due_at)])?;
    Ok(())
}

/// What a removal is noted under.
fn key_of(digest: &Digest, location: &Location) -> String {
    if location.is_by_digest() { digest.to_string() } else { location.to_string() }
}

/// Removals that were noted and not struck: some process was killed in between.
pub(crate) fn removals(tx: &Tx<'_>, now: Timestamp, limit: u32) -> Result<Vec<Removal>> {
    tx.prepare_cached(REMOVALS)?
        .query_map(params![Micros(now), limit], |row| {
            let (key, digest): (String, String) = (row.get(0)?, row.get(1)?);
            let location = if key == digest { Location::BY_DIGEST } else { Location::recorded(&key) };
            Ok(Removal { digest: parsed(row, 1)?, location, size_bytes: row.get::<Count>(2)?.0 })
        })?
        .collect()
}

/// Whether the bytes may go: nothing names them by now. If something does, the note is struck instead (GR-6).
pub(crate) fn confirm_removal(tx: &Tx<'_>, removal: &Removal) -> Result<bool> {
    tx.lock(|locks| locks.change_contents([&removal.digest]))?;
    let is_named = if removal.location.is_by_digest() {
        tx.prepare_cached(IS_NAMED)?.exists([removal.digest.to_string()])?
    } else {
        blobs::is_located(tx, &removal.location)?
    };
    if is_named {
        strike_removal(tx, removal)?;
    }
    Ok(!is_named)
}

/// The bytes are gone.
pub(crate) fn strike_removal(tx: &Tx<'_>, removal: &Removal) -> Result<()> {
    tx.prepare_cached(STRIKE_REMOVAL)?.execute([key_of(&removal.digest, &removal.location)])?;
    Ok(())
}

pub(crate) fn backlog(tx: &Tx<'_>, now: Timestamp) -> Result<Backlog> {
    let reviews = |until: Timestamp| -> Result<u64> {
        let count: Count =
            tx.prepare_cached(COUNT_REVIEWS)?.query_row(params![Micros(until), COUNT_MAX], |row| row.get(0))?;
        Ok(count.0)
    };
    let oldest: Option<Micros> = tx.prepare_cached(OLDEST_REVIEW)?.query_row((), |row| row.get(0)).optional()?;
    let (condemned, condemned_bytes): (Count, Count) =
        tx.prepare_cached(COUNT_CONDEMNED)?.query_row([COUNT_MAX], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let removals: Count = tx.prepare_cached(COUNT_REMOVALS)?.query_row([COUNT_MAX], |row| row.get(0))?;
    Ok(Backlog {
        reviews: reviews(Timestamp::from_micros(i64::MAX))?,
        reviews_due: reviews(now)?,
        oldest_due: oldest.map(|oldest| oldest.0),
        condemned: condemned.0,
        condemned_bytes: condemned_bytes.0,
        removals: removals.0,
    })
}

/// What is due behind `after`, at most `limit` entries of it, and where the next page begins.
pub(crate) fn preview(
    tx: &Tx<'_>,
    now: Timestamp,
    after: Option<&PreviewCursor>,
    limit: u32,
) -> Result<(Vec<Releasable>, Option<PreviewCursor>)> {
    let first = PreviewCursor { due_at: Timestamp::from_micros(i64::MIN), repository: 0, digest: String::new() };
    let after = after.unwrap_or(&first);
    let mut statement = tx.prepare_cached(PREVIEW)?;
    let behind = params![Micros(after.due_at), after.repository, after.digest, Micros(now), limit];
    let mut rows = statement.query(behind)?;
    let (mut found, mut next, mut seen) = (Vec::new(), None, 0);
    while let Some(row) = rows.next()? {
        seen += 1;
        let due_at = row.get::<Micros>(3)?.0;
        next = Some(PreviewCursor { due_at, repository: row.get(0)?, digest: row.get(1)? });
        let (blob, is_held_here, is_held): (Key, bool, bool) = (row.get(4)?, row.get(6)?, row.get(7)?);
        if is_held_here {
            continue;
        }
        let digest: Digest = parsed(&row, 1)?;
        let kept =
            is_held || tx.prepare_cached(KEPT_ELSEWHERE)?.exists(params![digest.to_string(), blob, Micros(now)])?;
        found.push(Releasable {
            repository: parsed(&row, 2)?,
            digest,
            size_bytes: row.get::<Option<Count>>(5)?.map_or(0, |size| size.0),
            frees: !kept,
            due_at,
        });
    }
    Ok((found, next.filter(|_| seen == limit)))
}

/// Those that stand now.
pub(crate) fn holds(tx: &Tx<'_>, now: Timestamp) -> Result<Vec<Hold>> {
    tx.prepare_cached(HOLDS)?
        .query_map([Micros(now)], |row| {
            Ok(Hold { id: row.get(0)?, reason: row.get(1)?, until: row.get::<Micros>(2)?.0 })
        })?
        .collect()
}

/// Adds a hold, or changes the one of that id.
pub(crate) fn hold(tx: &Tx<'_>, hold: &Hold) -> Result<()> {
    tx.lock(Locks::change_holds)?;
    tx.prepare_cached(HOLD)?.execute(params![hold.id, hold.reason, Micros(hold.until)])?;
    Ok(())
}

/// Forgets holds that nobody released.
pub(crate) fn forget_ended_holds(tx: &Tx<'_>, now: Timestamp) -> Result<()> {
    tx.prepare_cached(FORGET_ENDED_HOLDS)?.execute([Micros(now)])?;
    Ok(())
}

/// Lets a hold that stands end at `until`; `false` if there is none of that id any more.
pub(crate) fn renew(tx: &Tx<'_>, id: &str, until: Timestamp, now: Timestamp) -> Result<bool> {
    Ok(tx.prepare_cached(RENEW)?.execute(params![Micros(until), id, Micros(now)])? == 1)
}

/// Ends a hold; `false` if there is none of that id.
pub(crate) fn release(tx: &Tx<'_>, id: &str) -> Result<bool> {
    Ok(tx.prepare_cached(RELEASE)?.execute([id])? == 1)
}

/// Whether the repository serves the blob, and how long it is. An association that the collector would look at before
/// `not_before` is kept until `review_at`: whoever may push and is told "it is there" will not upload it (L6).
pub(crate) fn keep_blob(
    tx: &Tx<'_>,
    name: &RepositoryName,
    digest: &Digest,
    not_before: Timestamp,
    review_at: Timestamp,
) -> Result<Option<u64>> {
    tx.lock(|locks| locks.use_contents([digest]))?;
    let Some(repository) = repositories::find(tx, name)? else { return Ok(None) };
    let Some(size_bytes) = blobs::size(tx, name, digest)? else { return Ok(None) };
    if reviews::due_at(tx, repository, Kind::Blob, digest)?.is_some_and(|due_at| due_at < not_before) {
        reviews::add(tx, repository, Kind::Blob, digest, review_at)?;
    }
    Ok(Some(size_bytes))
}

/// When the collector will look at the association, if it will.
pub(crate) fn review_due(tx: &Tx<'_>, name: &RepositoryName, digest: &Digest) -> Result<Option<Timestamp>> {
    reviews::due_in(tx, name, Kind::Blob, digest)
}
