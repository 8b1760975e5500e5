//! Repository names.

use crate::limits::{NAME_COMPONENT_MAX_BYTES, NAME_COMPONENTS_MAX, NAME_MAX_BYTES};
use crate::text::text_value;

text_value! {
    /// The name of a repository: lower-case components between slashes, `team/app`.
    ///
    /// At most 255 bytes, 32 components and 128 bytes a component. No component starts with `_`, so a name never
    /// collides with `_catalog` or `_oci` (P-039).
    ///
    /// # Errors
    ///
    /// `parse` answers with a [`NameError`]: the first rule that the text breaks.
    ///
    /// # Source
    ///
    /// distribution-spec "Pulling manifests"; P-036 … P-039.
    RepositoryName, NameError, check
}

/// Why a text is not a repository name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no text.
    #[error("the repository name is empty")]
    Empty,
    /// More than 255 bytes (P-038).
    #[error("the repository name has {length_bytes} bytes; at most {NAME_MAX_BYTES} are allowed")]
    TooLong {
        /// What it has.
        length_bytes: usize,
    },
    /// More than 32 components.
    #[error("the repository name has more than {NAME_COMPONENTS_MAX} components")]
    TooManyComponents,
    /// A component of more than 128 bytes.
    #[error("a component of the repository name has more than {NAME_COMPONENT_MAX_BYTES} bytes")]
    ComponentTooLong,
    /// A component breaks the grammar of P-036.
    #[error("component {component} of the repository name {reason}")]
    Grammar {
        /// Which one, counted from 1.
        component: usize,
        /// What is wrong with it, as the rest of a sentence.
        reason: &'static str,
    },
}

fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_MAX_BYTES {
        return Err(NameError::TooLong { length_bytes: name.len() });
    }
    if name.split('/').count() > NAME_COMPONENTS_MAX {
        return Err(NameError::TooManyComponents);
    }
    for (index, component) in name.split('/').enumerate() {
        if component.len() > NAME_COMPONENT_MAX_BYTES {
            return Err(NameError::ComponentTooLong);
        }
        check_component(component).map_err(|reason| NameError::Grammar { component: index + 1, reason })?;
    }
    Ok(())
}

/// Letters and digits in runs, with one separator between two runs: `.`, `_`, `__`, or any number of `-`.
fn check_component(component: &str) -> Result<(), &'static str> {
    let mut rest = component.as_bytes();
    loop {
        let after_run = skip(rest, is_letter_or_digit);
        if after_run.len() == rest.len() {
            return Err(no_run_here(component, rest));
        }
        if after_run.is_empty() {
            return Ok(());
        }
        rest = skip(after_run, is_separator);
        let separator = &after_run[..after_run.len() - rest.len()];
        if !matches!(separator, b"" | b"." | b"_" | b"__") && separator.iter().any(|byte| *byte != b'-') {
            return Err("has two separators side by side; only __ and any number of - may stand together");
        }
    }
}

fn no_run_here(component: &str, rest: &[u8]) -> &'static str {
    match rest.first() {
        _ if component.is_empty() => "is empty; slashes only stand between components",
        None => "ends with a separator",
        Some(byte) if is_separator(*byte) => "starts with a separator",
        Some(_) => "has a character other than a-z, 0-9, '.', '_' and '-'",
    }
}

fn skip(bytes: &[u8], wanted: fn(u8) -> bool) -> &[u8] {
    let end = bytes.iter().position(|byte| !wanted(*byte)).unwrap_or(bytes.len());
    &bytes[end..]
}

fn is_letter_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b'.' | b'_' | b'-')
}
