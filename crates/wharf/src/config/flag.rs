use crate::config::keys::Keys;
use crate::config::{Complaint, Origin, Setting};

/// The keys that a person sets often: name of the flag (`--data`) and, with `WHARF_` before it, of the variable.
pub(super) const SHORT: [(&str, &str); 7] = [
    ("data", "storage.data"),
    ("listen", "server.listen"),
    ("tls-certificate", "server.tls_certificate"),
    ("tls-key", "server.tls_key"),
    ("read-only", "registry.read_only"),
    ("log-format", "log.format"),
    ("log-level", "log.level"),
];

/// A key's value from the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As it was typed, for complaints.
    shown: String,
    key: String,
    text: String,
}

impl Flag {
    /// `--set key=text`.
    pub fn set(key: &str, text: &str) -> Self {
        Self { shown: format!("--set {key}"), key: key.into(), text: text.into() }
    }

    /// `--name text`, where `name` is a flag that stands for a key.
    ///
    /// # Panics
    ///
    /// If there is no such flag.
    pub fn short(name: &str, text: String) -> Self {
        let key = SHORT.into_iter().find(|(short, _)| *short == name).map(|(_, key)| key);
        Self { shown: format!("--{name}"), key: key.expect("a flag of the table SHORT").into(), text }
    }

    pub(super) fn read(self, keys: &Keys) -> Result<Setting, Complaint> {
        let origin = Origin::Flag(self.shown);
        if !keys.contains(&self.key) {
            return Err(Complaint::of(origin, keys.unknown(&self.key, false)));
        }
        Ok(Setting { value: keys.read(&self.key, &self.text), key: self.key, origin })
    }
}
