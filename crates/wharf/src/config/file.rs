//! Configuration from a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use crate::config::keys::Keys;
use crate::config::{Complaint, Origin, Setting};

/// A larger file is no configuration.
const FILE_MAX_BYTES: usize = 1 << 20;

/// Reads the settings of `file`, and what is wrong with it.
pub(super) fn read(keys: &Keys, file: &Path) -> (Vec<Setting>, Vec<Complaint>) {
    let whole = |text: String| Complaint::of(Origin::File { path: file.into(), line: None }, text);
    match read_bounded(file) {
        Ok(bytes) if bytes.len() > FILE_MAX_BYTES => (vec![], vec![whole("is larger than 1 MiB".into())]),
        Ok(bytes) => parse(keys, file, &bytes),
        Err(error) => (vec![], vec![whole(format!("cannot be read: {error}"))]),
    }
}

fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(FILE_MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn parse(keys: &Keys, file: &Path, bytes: &[u8]) -> (Vec<Setting>, Vec<Complaint>) {
    let mut reader = Reader { keys, file, bytes, settings: Vec::new(), complaints: Vec::new() };
    match str::from_utf8(bytes) {
        Ok(text) => reader.document(text),
        Err(error) => reader.complain(error.valid_up_to(), "is not UTF-8"),
    }
    (reader.settings, reader.complaints)
}

struct Reader<'a> {
    keys: &'a Keys,
    file: &'a Path,
    bytes: &'a [u8],
    settings: Vec<Setting>,
    complaints: Vec<Complaint>,
}

impl Reader<'_> {
    /// Parses twice: once for the values, once for the places they stand at.
    fn document(&mut self, text: &str) {
        match text.parse::<Table>().and_then(|values| Ok((values, DeTable::parse(text)?))) {
            Ok((values, places)) => self.table("", &values, places.get_ref()),
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start);
                self.complain(offset, &error.message().trim().replace('\n', ", "));
            }
        }
    }

    fn table(&mut self, prefix: &str, values: &Table, places: &DeTable<'_>) {
        for (name, place) in places {
            let (offset, name) = (name.span().start, name.get_ref().as_ref());
            // A dot inside a quoted name is no section, and no key of ours has one.
            let path = if name.contains('.') { format!("{prefix}{name:?}") } else { format!("{prefix}{name}") };
            match values.get(name) {
                Some(value) => self.entry(offset, path, value, place),
                None => self.complain(offset, &format!("{path} cannot be read")),
            }
        }
    }

    fn entry(&mut self, offset: usize, path: String, value: &Value, place: &Spanned<DeValue<'_>>) {
        match (value, place.get_ref()) {
            (Value::Table(values), DeValue::Table(places)) if self.keys.is_section(&path) => {
                self.table(&format!("{path}."), values, places);
            }
            _ if self.keys.is_section(&path) => {
                self.complain(offset, &format!("{path} is a section; write [{path}]"));
            }
            _ if self.keys.contains(&path) => {
                self.settings.push(Setting { key: path, value: value.clone(), origin: self.origin(offset) });
            }
            _ => self.complain(offset, &self.keys.unknown(&path, value.is_table())),
        }
    }

    fn complain(&mut self, offset: usize, text: &str) {
        let complaint = Complaint::of(self.origin(offset), text);
        self.complaints.push(complaint);
    }

    fn origin(&self, offset: usize) -> Origin {
        let before = self.bytes.get(..offset).unwrap_or(self.bytes);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Origin::File { path: PathBuf::from(self.file), line: Some(line) }
    }
}
