//! What `wharf login` keeps: contexts, each a server with an API token, in a file that only its owner can read.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{CommandError, Exit};

/// The file's variable.
const VARIABLE: &str = "WHARF_CREDENTIALS";

/// The longest file that is read, in bytes.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// The longest name of a context, in bytes.
const NAME_MAX_BYTES: usize = 128;

/// All contexts.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// The context of commands that name neither a context nor a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Entry>,
}

impl Credentials {
    /// The context called `name`.
    ///
    /// # Errors
    ///
    /// There is none; says what to do.
    pub(crate) fn context(&self, name: &str) -> Result<&Entry, CommandError> {
        self.contexts.get(name).ok_or_else(|| {
            CommandError::new(Exit::Usage, format!("there is no context {name}"))
                .with_hint("`wharf context ls` lists them; `wharf login SERVER --context NAME` makes one")
        })
    }

    /// The context that a server is meant with: the current one if it is of that server, or else the first by name.
    pub(crate) fn of_server(&self, server: &str) -> Option<(&String, &Entry)> {
        let current = self.current.as_ref().and_then(|name| self.contexts.get_key_value(name));
        let mut all = current.into_iter().chain(&self.contexts);
        all.find(|(_, entry)| entry.server == server)
    }

    /// Forgets a context; whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.current = self.current.take().filter(|current| current != name);
        self.contexts.remove(name).is_some()
    }
}

/// A name that a context can have.
///
/// # Errors
///
/// It has characters that would need quotes somewhere.
pub(crate) fn check_name(name: &str) -> Result<(), CommandError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '[' | ']' | '/');
    if !name.is_empty() && name.len() <= NAME_MAX_BYTES && name.chars().all(is_plain) && !name.starts_with('-') {
        return Ok(());
    }
    Err(CommandError::new(Exit::Usage, format!("{name:?} is not the name of a context"))
        .with_hint("use letters, digits, '.', '_', '-', ':' and '/'"))
}

/// One context.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The server's URL.
    pub(crate) server: String,
    /// Who one is there.
    pub(crate) account: String,
    /// The token.
    pub(crate) token: String,
    /// Its id, to delete it by; absent for one that was made elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_id: Option<String>,
    /// Certificates of the authorities to trust, in place of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_certificate: Option<PathBuf>,
}

/// The token does not print.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("account", &self.account).finish_non_exhaustive()
    }
}

/// Where the file is.
pub(crate) fn path() -> Result<PathBuf, CommandError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = || set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let path = set(VARIABLE).or_else(|| directory().map(|directory| directory.join("wharf/credentials.toml")));
    path.ok_or_else(|| {
        CommandError::new(Exit::Usage, "there is no place for credentials: HOME is not set")
            .with_hint(format!("name a file with {VARIABLE}"))
    })
}

/// Reads the file; empty if there is none.
///
/// # Errors
///
/// It is none of ours, or others than its owner can read it.
pub(crate) fn read(path: &Path) -> Result<Credentials, CommandError> {
    let failed = |error| CommandError::unexpected(format!("reading {}", path.display()), error);
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Credentials::default()),
        Err(error) => return Err(failed(error)),
    };
    if about.mode() & 0o077 != 0 {
        let problem = format!("{} can be read by others than its owner", path.display());
        let hint = format!("run `chmod 600 {}`, and make new tokens if somebody may have read it", path.display());
        return Err(CommandError::new(Exit::Usage, problem).with_hint(hint));
    }
    if about.len() > FILE_MAX_BYTES {
        return Err(CommandError::new(Exit::Usage, format!("{} is too large to be ours", path.display())));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    toml::from_str(&text).map_err(|error| {
        CommandError::new(
            Exit::Usage,
            format!("{} is not what `wharf login` writes: {}", path.display(), error.message()),
        )
        .with_hint("remove it and log in again")
    })
}

/// Writes the file in whole, readable by its owner only.
pub(crate) fn write(path: &Path, credentials: &Credentials) -> Result<(), CommandError> {
    let failed = |error| CommandError::unexpected(format!("writing {}", path.display()), error);
    let text = toml::to_string(credentials)
        .map_err(|error| CommandError::unexpected(format!("writing {}", path.display()), error))?;
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    let staged = path.with_extension(format!("new-{}", std::process::id()));
    let _ = fs::remove_file(&staged);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&staged, path).map_err(failed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::{Credentials, Entry, check_name, read, write};

    fn some() -> Credentials {
        let entry = |server: &str, account: &str| Entry {
            server: server.to_owned(),
            account: account.to_owned(),
            token: "canary-token".to_owned(),
            token_id: Some("id".to_owned()),
            ca_certificate: None,
        };
        Credentials {
            current: Some("work".to_owned()),
            contexts: [
                ("admin".to_owned(), entry("https://a.example", "admin")),
                ("here".to_owned(), entry("http://127.0.0.1:5000", "bob")),
                ("work".to_owned(), entry("https://a.example", "alice")),
            ]
            .into(),
        }
    }

    #[test]
    fn credentials_are_kept_for_their_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wharf/credentials.toml");
        assert_eq!(read(&path).unwrap(), Credentials::default());
        write(&path, &some()).unwrap();
        assert_eq!(read(&path).unwrap(), some());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        write(&path, &Credentials::default()).unwrap();
        assert_eq!(read(&path).unwrap(), Credentials::default());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left over");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn a_server_is_meant_with_the_current_context_first() {
        let mut kept = some();
        let account = |kept: &Credentials, server| kept.of_server(server).map(|(_, entry)| entry.account.clone());
        assert_eq!(account(&kept, "https://a.example").as_deref(), Some("alice"));
        assert_eq!(account(&kept, "http://127.0.0.1:5000").as_deref(), Some("bob"));
        assert_eq!(account(&kept, "https://b.example"), None);
        assert!(kept.remove("work") && !kept.remove("work"));
        assert_eq!(kept.current, None);
        assert_eq!(account(&kept, "https://a.example").as_deref(), Some("admin"));
        assert!(kept.context("work").unwrap_err().to_string().contains("wharf context ls"));
    }

    #[test]
    fn the_name_of_a_context_needs_no_quotes() {
        for name in ["work", "registry.example.org:5000", "[::1]:5000", "team/prod"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "--force", "a\u{1b}", &"x".repeat(129)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_token_does_not_print() {
        assert!(!format!("{:?}", some()).contains("canary"));
    }
}
