//! What changes make untrue that is kept in memory.
//!
//! Triggers of the writing connection alone tell of each row that a change takes away or makes another, whatever statement
//! does it and also in cascades; so no change can forget to say so. They are temporary and stand in no file.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, Result};

use crate::memory::{Changing, Memory};

/// Each names the repository that lost something, or null for all of them. What is only added is not kept in memory, and
/// makes nothing untrue.
const TRIGGERS: &str = "
create temp trigger tag_moved after update of repository_id, name, manifest_id on main.tags
    begin select wharf_forget((select name from main.repositories where id = old.repository_id)); end;
create temp trigger tag_removed after delete on main.tags
    begin select wharf_forget((select name from main.repositories where id = old.repository_id)); end;
create temp trigger manifest_changed
    after update of id, repository_id, digest, media_type, body on main.manifests
    begin select wharf_forget((select name from main.repositories where id = old.repository_id)); end;
create temp trigger manifest_removed after delete on main.manifests
    begin select wharf_forget((select name from main.repositories where id = old.repository_id)); end;
create temp trigger association_changed after update of repository_id, blob_id on main.repository_blobs
    begin select wharf_forget(null); end;
create temp trigger association_removed after delete on main.repository_blobs
    begin select wharf_forget((select name from main.repositories where id = old.repository_id)); end;
create temp trigger blob_changed after update of id, digest, size_bytes, state on main.blobs
    when old.state = 'live' and (new.state, new.size_bytes, new.digest, new.id)
        is not (old.state, old.size_bytes, old.digest, old.id)
    begin select wharf_forget(null); end;
create temp trigger blob_removed after delete on main.blobs when old.state = 'live'
    begin select wharf_forget(null); end;
create temp trigger repository_renamed after update of id, name on main.repositories
    begin select wharf_forget(null); end;
create temp trigger repository_removed after delete on main.repositories
    begin select wharf_forget(null); end;
";

/// More names than this, and everything is forgotten.
const NAMES_MAX: usize = 1024;

/// What the open transaction makes untrue.
#[derive(Debug)]
pub(super) struct Forgetting {
    memory: Arc<Memory>,
    untrue: Arc<Mutex<Untrue>>,
}

#[derive(Debug, Default)]
struct Untrue {
    names: Vec<String>,
    all: bool,
}

impl Untrue {
    fn add(&mut self, name: Option<String>) {
        match name {
            Some(name) if self.names.last() == Some(&name) => {}
            Some(name) if self.names.len() < NAMES_MAX => self.names.push(name),
            _ => self.all = true,
        }
    }
}

impl Forgetting {
    /// From now on the changes of `writer` are followed.
    pub(super) fn follow(writer: &Connection, memory: Arc<Memory>) -> Result<Self> {
        let untrue = Arc::<Mutex<Untrue>>::default();
        let told = Arc::clone(&untrue);
        writer.create_scalar_function("wharf_forget", 1, FunctionFlags::SQLITE_UTF8, move |call| {
            told.lock().unwrap_or_else(PoisonError::into_inner).add(call.get(0)?);
            Ok(0)
        })?;
        writer.execute_batch(TRIGGERS)?;
        Ok(Self { memory, untrue })
    }

    /// The open transaction is about to be committed; what it makes untrue is not remembered until the result is dropped.
    pub(super) fn before_commit(&self) -> Changing<'_> {
        let Untrue { names, all } = self.take();
        self.memory.changing((!all).then_some(names.as_slice()))
    }

    /// The open transaction has made nothing untrue, because it was taken back.
    pub(super) fn taken_back(&self) {
        self.take();
    }

    fn take(&self) -> Untrue {
        std::mem::take(&mut *self.untrue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
