//! The password that the first account shall have: from the environment, or from a file that it names (S-080).

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use wharf_base::Secret;

use crate::error::{CommandError, Exit};

const VARIABLE: &str = "WHARF_ADMIN_PASSWORD";
const FILE: &str = "WHARF_ADMIN_PASSWORD_FILE";

/// The longest file that is read, in bytes.
const FILE_MAX_BYTES: u64 = 4 << 10;

/// Takes the password out of the environment, so that no process started later inherits it.
///
/// # Errors
///
/// Both variables are set; the file cannot be read, or others than its owner can read it.
pub(crate) fn take() -> Result<Option<Secret<String>>, CommandError> {
    let value = env::var_os(VARIABLE).filter(|value| !value.is_empty());
    let file = env::var_os(FILE).filter(|value| !value.is_empty()).map(PathBuf::from);
    forget();
    match (value, file) {
        (Some(_), Some(_)) => Err(usage(format!("both {VARIABLE} and {FILE} are set"), "set one of them")),
        (Some(value), None) => match value.into_string() {
            Ok(text) => Ok(Some(text.into())),
            Err(_) => Err(usage(format!("{VARIABLE} is not UTF-8"), "set it to text")),
        },
        (None, Some(path)) => read(&path).map(Some),
        (None, None) => Ok(None),
    }
}

/// A trailing line end belongs to the file, not to the password.
fn read(path: &Path) -> Result<Secret<String>, CommandError> {
    let failed = |error: std::io::Error| {
        CommandError::unexpected(format!("reading {}, which {FILE} names", path.display()), error)
    };
    let about = fs::metadata(path).map_err(failed)?;
    if !about.is_file() || about.len() > FILE_MAX_BYTES {
        return Err(usage(
            format!("{} is not a small file", path.display()),
            "name a file that holds only the password",
        ));
    }
    if about.mode() & 0o077 != 0 {
        let problem = format!("{} can be read by others than its owner", path.display());
        return Err(usage(problem, &format!("run `chmod 600 {}`", path.display())));
    }
    let text = Secret::new(fs::read_to_string(path).map_err(failed)?);
    let password = text.expose().trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(usage(format!("{} is empty", path.display()), "put the password into it"));
    }
    Ok(password.into())
}

fn usage(problem: String, hint: &str) -> CommandError {
    CommandError::new(Exit::Usage, problem).with_hint(hint)
}

/// Removing a variable is only safe while no other thread reads the environment.
#[allow(unsafe_code)]
fn forget() {
    for name in [VARIABLE, FILE] {
        // SAFETY: `serve` calls this before it starts the runtime; the only other thread there may be is that of the
        // log, which never reads the environment.
        unsafe { env::remove_var(name) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::read;

    #[test]
    fn s081_a_password_file_is_its_owners_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("password");
        fs::write(&path, "correct horse battery\n").expect("writing");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode");
        assert!(read(&path).expect_err("others can read it").to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        assert_eq!(read(&path).expect("a password").expose(), "correct horse battery");
        fs::write(&path, "\n").expect("writing");
        assert!(read(&path).is_err());
        assert!(read(directory.path()).is_err());
    }
}
