//! What PostgreSQL's errors mean for whoever asked.

use tokio_postgres::error::SqlState;

use crate::sql::Error;

fn code(error: &Error) -> Option<&SqlState> {
    match error {
        Error::Postgres(error) => error.code(),
        _ => None,
    }
}

/// The server has found its own files damaged.
pub(crate) fn is_damage(error: &Error) -> bool {
    code(error).is_some_and(|code| [SqlState::DATA_CORRUPTED, SqlState::INDEX_CORRUPTED].contains(code))
}

/// The server's disk has no room.
pub(crate) fn is_full(error: &Error) -> bool {
    code(error).is_some_and(|code| [SqlState::DISK_FULL].contains(code))
}

/// Another transaction came between, and this one was taken back as a whole: run anew it will see what the other has done
/// . A key that is taken or gone is of that kind as well, because no statement of ours writes one that it has not
/// just looked for.
pub(super) fn gave_way(error: &Error) -> bool {
    let kinds = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::UNIQUE_VIOLATION,
        SqlState::FOREIGN_KEY_VIOLATION,
    ];
    code(error).is_some_and(|code| kinds.contains(code))
}

/// A lock was not to be had in the time that there was.
pub(super) fn is_locked(error: &Error) -> bool {
    code(error).is_some_and(|code| [SqlState::LOCK_NOT_AVAILABLE].contains(code))
}

/// The connection is of no use any more, and another one may be: the server went away, or is just coming back.
pub(super) fn is_lost(error: &Error) -> bool {
    let kinds = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::CONNECTION_EXCEPTION,
        SqlState::CONNECTION_FAILURE,
        SqlState::CONNECTION_DOES_NOT_EXIST,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    match error {
        Error::Postgres(error) => match error.code() {
            Some(code) => kinds.contains(code),
            // No word of the server's: the connection itself.
            None => true,
        },
        Error::Server(_) => true,
        _ => false,
    }
}
