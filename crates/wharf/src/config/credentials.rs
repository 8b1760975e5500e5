//! The key of a bucket, from the file that Amazon's tools keep it in. What comes from the environment, from a web identity or
//! from the machine's own role is left to the client library, which renews it, too.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use wharf_base::Secret;

/// Larger files are none of credentials.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// Set, these give credentials that come before any file but a configured one.
const BEFORE_FILES: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// Why there are no credentials in a file.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It cannot be read.
    #[error("the file of credentials {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The section is not there, or lacks one of the two.
    #[error("the file of credentials {} has no {missing} in section [{profile}]", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The section.
        profile: String,
        /// What is not there.
        missing: &'static str,
    },
}

/// Key and secret from the configured file, or from where Amazon's tools keep one; `None`: from somewhere else.
pub(super) fn find(
    configured: Option<&Path>,
    profile: Option<&str>,
) -> Result<Option<(String, Secret<String>)>, Unreadable> {
    let profile = profile.map(str::to_owned).or_else(|| text("AWS_PROFILE")).unwrap_or_else(|| "default".to_owned());
    if let Some(path) = configured {
        return read(path, &profile).map(Some);
    }
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if BEFORE_FILES.iter().any(is_set) {
        return Ok(None);
    }
    let Some(path) = usual_place() else { return Ok(None) };
    if path.exists() { read(&path, &profile).map(Some) } else { Ok(None) }
}

fn text(name: impl AsRef<OsStr>) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn usual_place() -> Option<PathBuf> {
    let named = text("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    named.or_else(|| text("HOME").map(|home| Path::new(&home).join(".aws").join("credentials")))
}

fn read(path: &Path, profile: &str) -> Result<(String, Secret<String>), Unreadable> {
    let unreadable = |source| Unreadable::File { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut content = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, FILE_MAX_BYTES), &mut content).map_err(unreadable)?;
    let mut values = section(&content, profile);
    let mut take = |missing: &'static str| {
        let found = values.remove(missing);
        found.ok_or_else(|| Unreadable::Missing { path: path.to_owned(), profile: profile.to_owned(), missing })
    };
    let key = take("aws_access_key_id")?;
    Ok((key, Secret::new(take("aws_secret_access_key")?)))
}

/// The values of one section.
fn section(content: &str, profile: &str) -> BTreeMap<String, String> {
    let mut is_wanted = false;
    let mut values = BTreeMap::new();
    for line in content.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_wanted = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_wanted && !line.starts_with(['#', ';']))
        {
            values.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
    values
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_section_of_the_file_is_read_and_what_is_missing_is_named() {
        let place = tempfile::TempDir::new().unwrap();
        let path = place.path().join("credentials");
        let content = "[default]\naws_access_key_id = AKIA1\n# aws_secret_access_key = no\n\n[ci]\naws_access_key_id=AKIA2\n\
                       aws_secret_access_key = a+b/c==\nregion = x\n[other]\naws_secret_access_key = no\n";
        std::fs::write(&path, content).unwrap();
        let (key, secret) = find(Some(&path), Some("ci")).unwrap().unwrap();
        assert_eq!((key.as_str(), secret.expose().as_str()), ("AKIA2", "a+b/c=="));
        let missing = find(Some(&path), Some("default")).unwrap_err();
        assert!(missing.to_string().contains("aws_secret_access_key in section [default]"), "{missing}");
        assert!(find(Some(&path), Some("none")).is_err());
        assert!(matches!(find(Some(&place.path().join("none")), None), Err(Unreadable::File { .. })));
    }
}
