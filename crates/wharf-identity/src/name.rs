use std::fmt;
use std::str::FromStr;

/// The longest account name, in bytes.
const NAME_MAX_BYTES: usize = 128;

/// The name of a local account: lower-case letters, digits, `.`, `_`, `-`, beginning with a letter or digit. There is no
/// colon in it, so it never looks like the name of somebody whom another provider vouches for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);

/// The text is no account name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 128 lower-case letters, digits, '.', '_' and '-', and begin with a letter or digit")]
pub struct NameError;

impl AccountName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if begins && text.len() <= NAME_MAX_BYTES && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError)
        }
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
