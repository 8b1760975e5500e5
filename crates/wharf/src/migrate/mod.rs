//! A registry moves: from the embedded database to PostgreSQL, from a directory to a bucket, and back.
//!
//! ```text
//! source serves    --ahead: content, which never changes, is copied over the administration API
//! source stopped   1 the rest of the content
//!                  2 its database, as a file beside the target's     <data>/wharf.db.migrating
//!                  3 the same, changed to belong to the target: store id, and where content lies
//!                  4 one commit or one rename: from here on the target is a registry
//!                  5 wharf check
//! ```
//!
//! The source is stopped for the last part rather than made read-only: what it would still write then (logins, audit records, dates of
//! collection) would be lost, and stopping is a state that its lock proves. It is short, because content is there already.
//!
//! Until step 4 the target is content without a database, which `wharf serve` refuses. It may be killed anywhere: a journal in the
//! target's data directory says what was copied, because a bucket cannot be asked where content lies. The source is not changed.
//! Only if the content stays where it is, and just the database moves, the source's database is given up after step 4: two databases
//! over the same content would each remove what the other needs.

mod content;
mod journal;
mod target;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use wharf_base::failpoint::reach;
use wharf_base::{Clock, StoreId, SystemClock};
use wharf_meta::{Moved, MovedContent, Snapshot, Tally};
use wharf_store::BlobStore;

use self::journal::Journal;
use self::target::Target;
use crate::app;
use crate::backup::{self, Offline, Pace, Server, Source, failed, of_database};
use crate::client::Api;
use crate::config::Config;
use crate::error::{CommandError, Exit};

pub(crate) use self::content::Copied;

/// The database that is being made, in the target's data directory.
const DRAFT: &str = "wharf.db.migrating";

/// What was moved.
#[derive(Debug)]
pub(crate) struct Migrated {
    /// Nothing if an earlier attempt had come so far that only the end was left.
    pub(crate) content: Option<Copied>,
    /// How many rows the target's database has.
    pub(crate) rows: Option<u64>,
    /// Whether content stayed where it was.
    pub(crate) content_stays: bool,
}

/// Copies content of a registry that serves. Nothing else changes.
///
/// # Errors
///
/// [`CommandError`]; what was copied need not be copied again.
pub(crate) async fn ahead(from: &Config, to: &Config, api: Api) -> Result<Copied, CommandError> {
    target::check_places(from, to)?;
    if target::same_directory(from, to) {
        return Err(nothing_ahead());
    }
    let source: Arc<dyn Source> = Arc::new(Server::new(api));
    let copied = backup::holding(&source, copy_ahead(&source, to)).await;
    // If it does not hear of it, it ends by itself.
    let _ = source.end().await;
    copied
}

async fn copy_ahead(source: &Arc<dyn Source>, to: &Config) -> Result<Copied, CommandError> {
    let store = target::open_store(to).await?;
    let taken = source.begin(None).await?;
    let draft = to.storage.data.join(DRAFT);
    remove_draft(&draft)?;
    backup::fetch_database(&**source, &draft, &taken, &Pace::new(None)).await?;
    let snapshot = Snapshot::open(&draft).map_err(of_database)?;
    let from_store = snapshot.store_id().map_err(of_database)?.ok_or_else(no_store)?;
    if store.store_id() == from_store {
        remove_draft(&draft)?;
        return Err(nothing_ahead());
    }
    let mut journal = open_journal(to, &store, from_store).await?;
    if journal.is_whole() {
        return Err(CommandError::new(Exit::Refused, "everything has moved already").with_hint("leave out --ahead"));
    }
    let copied = content::copy(source, &store, &snapshot, &mut journal).await?;
    drop(snapshot);
    remove_draft(&draft)?;
    Ok(copied)
}

fn nothing_ahead() -> CommandError {
    CommandError::new(Exit::Usage, "the content stays where it is; there is nothing to copy ahead")
        .with_hint("leave out --ahead")
}

fn no_store() -> CommandError {
    CommandError::new(Exit::WrongStore, "the source's database does not say whose it is")
}

/// Moves a registry that does not run.
///
/// # Errors
///
/// [`CommandError`]; the source is as it was, and the same again goes on from where this has ended.
pub(crate) async fn migrate(from: &Config, to: &Config, allow_damaged: bool) -> Result<Migrated, CommandError> {
    target::check_places(from, to)?;
    if let Some(journal) = Journal::find(&to.storage.data)?.filter(Journal::is_whole) {
        return finish(from, to, journal, None, None).await;
    }
    let source = open_source(from).await?;
    let store = match target::same_directory(from, to) {
        true => Arc::clone(&source.opened().store),
        false => target::open_store(to).await?,
    };
    let from_store = source.opened().store.store_id();
    let mut journal = open_journal(to, &store, from_store).await?;
    let source = Arc::new(source);
    let mut database = target::open_database(to).await?;
    let tally = source.opened().meta.tally().await.map_err(of_database)?;
    let is_new = match database.store_id().await? {
        None => true,
        // Killed between the commit and the note of it.
        Some(found) if found == store.store_id() && journal.tally() == Some(tally.to_string().as_str()) => false,
        Some(_) => return Err(target::not_empty(to)),
    };
    let (mut content, mut rows) = (None, None);
    if is_new {
        let (copied, moved) = make(&source, &store, &mut database, to, &tally, &mut journal, allow_damaged).await?;
        (content, rows) = (copied, Some(moved.rows()));
        reach("migrate.committed");
    }
    journal.note_whole()?;
    reach("migrate.whole");
    database.close(source.opened().was_clean()).await?;
    source.opened().close().await?;
    drop((source, store));
    finish(from, to, journal, content, rows).await
}

async fn open_source(from: &Config) -> Result<Offline, CommandError> {
    if from.storage.url.is_none() || from.metadata.postgres.url.is_none() {
        return Offline::open(from).await;
    }
    Ok(Offline::of(app::open_offline(from, Arc::new(SystemClock::new())).await?))
}

/// The journal of this move, begun if there is none and the target has nothing yet.
async fn open_journal(to: &Config, store: &Arc<dyn BlobStore>, from: StoreId) -> Result<Journal, CommandError> {
    let data = &to.storage.data;
    if let Some(journal) = Journal::find(data)? {
        if journal.stores() == (from, store.store_id()) {
            return Ok(journal);
        }
        return Err(CommandError::new(
            Exit::WrongStore,
            format!("another registry was being moved to {}", data.display()),
        )
        .with_hint("name another target, or empty this one: its bucket or layers, and its data directory"));
    }
    let is_foreign = store.store_id() != from;
    let has_content = app::has_content(&**store).await;
    if is_foreign && has_content.map_err(|error| CommandError::from_source(Exit::Unexpected, error))? {
        return Err(target::not_empty(to));
    }
    Journal::begin(data, from, store.store_id())
}

/// Steps 1 to 4.
async fn make(
    source: &Arc<Offline>,
    store: &Arc<dyn BlobStore>,
    database: &mut Target,
    to: &Config,
    tally: &Tally,
    journal: &mut Journal,
    allow_damaged: bool,
) -> Result<(Option<Copied>, Tally), CommandError> {
    let opened = source.opened();
    let snapshot = opened.meta.take_everything().await.map_err(of_database)?;
    let differences = tally.differences(&snapshot.tally().map_err(of_database)?);
    if !differences.is_empty() {
        return Err(differs("the copy of the source's database is not what it has", differences));
    }
    let (copied, content) = if store.store_id() == opened.store.store_id() {
        (None, MovedContent::Stays)
    } else {
        let reader: Arc<dyn Source> = Arc::clone(source) as Arc<dyn Source>;
        let mut copied = content::copy(&reader, store, &snapshot, journal).await?;
        if !copied.lost.is_empty() && !allow_damaged {
            return Err(lost(&copied));
        }
        let locations = std::mem::take(&mut copied.locations);
        let content = MovedContent::Elsewhere { locations, lost: copied.lost.clone() };
        (Some(copied), content)
    };
    reach("migrate.content");

    let draft = to.storage.data.join(DRAFT);
    write_draft(&snapshot, &draft)?;
    drop(snapshot);
    let record = backup::record(SystemClock::new().now(), "registry.migrate", to.storage.place().display());
    let record = record.with(serde_json::json!({ "from": opened.store.store_id().to_string() }));
    let moved = Moved { store_id: store.store_id(), content, was_clean: opened.was_clean(), record };
    let wanted = Snapshot::move_to(&draft, &moved).map_err(of_database)?;
    sync(&draft)?;
    reach("migrate.drafted");
    journal.note_tally(&tally.to_string())?;
    let found = database.commit(&draft, to).await?;
    let differences = found.map_or_else(Vec::new, |found| wanted.differences(&found));
    if !differences.is_empty() {
        return Err(differs("the target's database does not have what it should", differences));
    }
    Ok((copied, wanted))
}

fn differs(problem: &str, differences: Vec<String>) -> CommandError {
    CommandError::new(Exit::Broken, problem)
        .with_lines(differences)
        .with_hint("do not use the target; the source is as it was")
}

fn lost(copied: &Copied) -> CommandError {
    let lines = copied.lost.iter().take(20).map(ToString::to_string);
    let problem = format!("{} of the blobs that the source has are damaged or missing", copied.lost.len());
    CommandError::new(Exit::Broken, problem)
        .with_lines(lines)
        .with_hint("push them again to the source, or move without them: --allow-damaged")
}

fn write_draft(snapshot: &Snapshot, draft: &Path) -> Result<(), CommandError> {
    remove_draft(draft)?;
    let mut from = snapshot.file().map_err(of_database)?;
    let options = File::options().write(true).create_new(true).mode(0o600).open(draft);
    let mut file = options.map_err(failed("writing", draft))?;
    io::Seek::rewind(&mut from).map_err(failed("reading", draft))?;
    io::copy(&mut from, &mut file).map_err(failed("writing", draft))?;
    file.sync_all().map_err(failed("syncing", draft))
}

fn sync(path: &Path) -> Result<(), CommandError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(failed("syncing", path))
}

/// Removes what is left of a draft.
fn remove_draft(draft: &Path) -> Result<(), CommandError> {
    for suffix in ["", "-wal", "-shm", "-journal", ".snapshot"] {
        let mut path = draft.as_os_str().to_owned();
        path.push(suffix);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("removing", draft)(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Everything is in the target: what is left is to give up a database whose content another one has now, and to look at it all.
async fn finish(
    from: &Config,
    to: &Config,
    journal: Journal,
    content: Option<Copied>,
    rows: Option<u64>,
) -> Result<Migrated, CommandError> {
    let (from_store, to_store) = journal.stores();
    let content_stays = from_store == to_store;
    if content_stays {
        target::give_up(from, from_store).await?;
        reach("migrate.given-up");
    }
    remove_draft(&to.storage.data.join(DRAFT))?;
    Ok(Migrated { content, rows, content_stays })
}

/// The target was looked at: the move is over.
pub(crate) fn conclude(to: &Config) -> Result<(), CommandError> {
    reach("migrate.checked");
    match Journal::find(&to.storage.data)? {
        Some(journal) => journal.remove(),
        None => Ok(()),
    }
}
