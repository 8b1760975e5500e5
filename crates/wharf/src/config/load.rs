//! From all sources to one configuration, or to everything that is wrong with it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::Deserialize;
use toml::{Table, Value};

use crate::config::keys::Keys;
use crate::config::{Complaint, Config, Flag, Invalid, Origin, Setting, environment, file};

/// A longer value is cut in a complaint.
const SHOWN_MAX_CHARS: usize = 80;

/// Everything that configuration is read from.
#[derive(Debug, Default)]
pub struct Sources {
    /// The file that the command line names; wins over `WHARF_CONFIG`.
    pub file: Option<PathBuf>,
    /// All environment variables of the process.
    pub environment: Vec<(OsString, OsString)>,
    /// The other flags of the command line.
    pub flags: Vec<Flag>,
}

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Where each value was said that did not come from the defaults, by key (`server.listen`).
    pub origins: BTreeMap<String, Origin>,
}

impl Sources {
    /// Reads them all; flags win over the environment, the environment over the file.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with every complaint; relations between keys are looked at when all keys are right by themselves.
    pub fn load(self) -> Result<Loaded, Invalid> {
        let keys = Keys::new();
        let environment = environment::read(&keys, self.environment);
        let file = self.file.or(environment.file);
        let (in_file, mut complaints) = file.as_deref().map(|path| file::read(&keys, path)).unwrap_or_default();
        complaints.extend(environment.complaints);
        let mut on_line = Vec::new();
        for flag in self.flags {
            match flag.read(&keys) {
                Ok(setting) => on_line.push(setting),
                Err(complaint) => complaints.push(complaint),
            }
        }
        let mut merged = BTreeMap::new();
        for layer in [in_file, environment.settings, on_line] {
            merged.extend(layer_of(&keys, layer, &mut complaints));
        }
        complaints.sort_by_key(Complaint::place);
        let config = if complaints.is_empty() { together(&merged) } else { Err(complaints) };
        let config = config.map_err(Invalid)?;
        Ok(Loaded { config, file, origins: merged.into_iter().map(|(key, setting)| (key, setting.origin)).collect() })
    }
}

/// The settings of one source by key; complains of values that are not right and of keys that are said twice.
fn layer_of(keys: &Keys, settings: Vec<Setting>, complaints: &mut Vec<Complaint>) -> BTreeMap<String, Setting> {
    let mut layer: BTreeMap<String, Setting> = BTreeMap::new();
    for setting in settings {
        if let Some(first) = layer.get(&setting.key) {
            complaints
                .push(Complaint::of(setting.origin, format!("{} is already set by {}", setting.key, first.origin)));
        } else if let Err(reason) = alone(keys, &setting) {
            complaints.push(Complaint::of(setting.origin, reason));
        } else {
            layer.insert(setting.key.clone(), setting);
        }
    }
    layer
}

/// Whether the value is right by itself: with the default for everything else, it must make a configuration.
fn alone(keys: &Keys, setting: &Setting) -> Result<(), String> {
    let mut table = Table::new();
    insert(&mut table, &setting.key, setting.value.clone());
    let Err(error) = Config::deserialize(table) else { return Ok(()) };
    let Setting { key, value, .. } = setting;
    let (reason, shown) = (in_plain_words(error.message()), value.to_string());
    // A part of it may be a password.
    if keys.is_secret(key) || reason.starts_with(&shown) {
        return Err(format!("{key}: {reason}"));
    }
    let cut: String = shown.chars().take(SHOWN_MAX_CHARS).collect();
    let dots = if cut.len() < shown.len() { "…" } else { "" };
    Err(format!("{key} = {cut}{dots}: {reason}"))
}

fn together(merged: &BTreeMap<String, Setting>) -> Result<Config, Vec<Complaint>> {
    let mut table = Table::new();
    for (key, setting) in merged {
        insert(&mut table, key, setting.value.clone());
    }
    let config = Config::deserialize(table).map_err(|error| vec![Complaint::of_all(error.message())])?;
    let complaints = config.check();
    if complaints.is_empty() { Ok(config) } else { Err(complaints) }
}

/// Puts a value under `section.key`.
fn insert(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.into(), value);
        }
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// What serde says about a value of the wrong type, for people who have never heard of `u32`.
fn in_plain_words(reason: &str) -> String {
    let is_of_serde =
        ["invalid type: ", "invalid value: ", "unknown variant "].iter().any(|start| reason.starts_with(start));
    match reason.rsplit_once(", expected ") {
        Some((_, expected)) if is_of_serde => format!("expected {}", type_in_plain_words(expected)),
        _ => reason.into(),
    }
}

fn type_in_plain_words(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a sequence" => "a list, such as [\"a\", \"b\"]",
        "a string" | "path string" => "a text in quotes",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number of at least 0",
        "a nonzero usize" | "a nonzero u32" | "a nonzero u64" => "a whole number of at least 1",
        other => other,
    }
}
