//! The database's file before SQLite sees it. SQLite would take an empty file for a new database and somebody else's
//! for ours, and would replay whatever log lies beside it; here the header is read first, and a file that is not ours
//! stays as it was (B-137).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use wharf_base::failpoint;

use super::connection::{self, APPLICATION_ID};
use super::schema;
use crate::{Error, Result, sql};

/// What is at the database's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// A database of ours.
    Database {
        /// The random number that it and its log carry from the beginning, to notice that they do not belong together.
        identity: i32,
    },
}

/// The header of an SQLite database is its first hundred bytes.
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Looks at the file without changing it.
pub(super) fn inspect(path: &Path) -> Result<Found> {
    let doing = "reading the header of the database file";
    let refused = |reason: String| Error::Refused { path: path.to_owned(), reason };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return nothing(path),
        Err(error) => return Err(Error::unavailable(doing, error)),
    };
    if !metadata.is_file() {
        return Err(refused("it is not a regular file".to_owned()));
    }
    if metadata.len() == 0 {
        return Err(refused("it is empty; restore it from a backup, or remove it to begin anew".to_owned()));
    }
    let mut header = [0; HEADER_BYTES];
    match File::open(path).and_then(|mut file| file.read_exact(&mut header)) {
        Ok(()) if header.starts_with(MAGIC) => {}
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(Error::unavailable(doing, error)),
        _ => return Err(refused("it is not an SQLite database; restore it from a backup".to_owned())),
    }
    let application = number(&header, 68);
    if application.cast_signed() != APPLICATION_ID {
        return Err(refused(format!(
            "it belongs to another application (its application id is {application:#010x}); name another file"
        )));
    }
    if let Some(missing) = missing_bytes(path, &header, metadata.len()) {
        return Err(refused(format!("its last {missing} bytes are missing; restore it from a backup")));
    }
    Ok(Found::Database { identity: number(&header, 60).cast_signed() })
}

/// A log without its database is all that is left of somebody's data; a new database must not be put in its place.
fn nothing(path: &Path) -> Result<Found> {
    if log_bytes(path) == 0 {
        return Ok(Found::Nothing);
    }
    let reason = format!(
        "it is missing, but its log {} is there; bring the file back, or remove the log to begin anew",
        beside(path, "-wal").display()
    );
    Err(Error::Refused { path: path.to_owned(), reason })
}

/// How much shorter the file is than its header says; not to be told while a log holds the rest.
fn missing_bytes(path: &Path, header: &[u8; HEADER_BYTES], len: u64) -> Option<u64> {
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    let size_is_valid = number(header, 24) == number(header, 92);
    let expected = u64::from(number(header, 28)) * page_bytes;
    if size_is_valid && log_bytes(path) == 0 && len < expected { Some(expected - len) } else { None }
}

fn number(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// The size of the log's file.
pub(super) fn log_bytes(path: &Path) -> u64 {
    fs::metadata(beside(path, "-wal")).map_or(0, |metadata| metadata.len())
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes a database with the newest schema under another name and gives it its own when it is complete: a crash leaves
/// either nothing or all of it, and an empty file is never taken for a beginning.
pub(super) fn create(path: &Path) -> Result<()> {
    let doing = "creating the database";
    let draft = beside(path, ".new");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(beside(&draft, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::unavailable(doing, error)),
            _ => {}
        }
    }
    // SQLite gives the log the mode of the database; nobody else may read either (S-083).
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    options.map_err(|error| Error::unavailable(doing, error))?;
    failpoint::reach("meta.draft-created");
    fill(&draft, SYNC_ALL).map_err(|error| Error::sql(doing, error))?;
    failpoint::reach("meta.draft-filled");
    fs::rename(&draft, path).and_then(|()| sync_parent(path)).map_err(|error| Error::unavailable(doing, error))
}

/// SQLite's `synchronous`: everything; or nothing, for what is thrown away if it is cut off.
const SYNC_ALL: i64 = 2;
pub(super) const SYNC_NOTHING: i64 = 0;

pub(super) fn fill(draft: &Path, synchronous: i64) -> sql::Result<()> {
    let connection = Connection::open_with_flags(draft, OpenFlags::SQLITE_OPEN_READ_WRITE | connection::COMMON)?;
    connection::set(&connection, "synchronous", synchronous)?;
    connection::set(&connection, "application_id", i64::from(APPLICATION_ID))?;
    let identity: i32 = connection.query_row("select random() & 2147483647", [], |row| row.get(0))?;
    connection::set(&connection, "user_version", i64::from(identity))?;
    schema::migrate(&connection, schema::MIGRATIONS)?;
    connection::set(&connection, "journal_mode", "wal".to_owned())?;
    // The last connection moves what the log holds into the file, syncs it, and removes the log.
    connection.close().map_err(|(_, error)| error.into())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    failpoint::reach("meta.placed");
    if !failpoint::skips("meta.sync-directory") {
        File::open(parent)?.sync_all()?;
    }
    failpoint::reach("meta.sync-directory");
    Ok(())
}
