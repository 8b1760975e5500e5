//! What all commands that speak to a server have in common.

use std::io::Read;
use std::path::Path;

use serde_json::Value;
use wharf_base::Secret;

use super::print;
use crate::cli::OutputArgs;
use crate::client::Api;
use crate::error::{CommandError, Exit};
use crate::table::{self, Column};

/// The longest text that is read from standard input or a file, in bytes.
const INPUT_MAX_BYTES: u64 = 1 << 20;

/// Prints `value` as it is, or as a table of one line.
pub(super) fn show(value: &Value, columns: &[Column], output: &OutputArgs) -> Result<(), CommandError> {
    if output.json { print_json(value) } else { list(vec![value.clone()], columns, output) }
}

/// Prints what was done: `value` for programs, `line` for people.
pub(super) fn say(output: &OutputArgs, value: &Value, line: &str) -> Result<(), CommandError> {
    match (output.json, output.quiet) {
        (true, _) => print_json(value),
        (false, true) => Ok(()),
        (false, false) => print(line),
    }
}

/// Prints JSON that people can read as well.
pub(super) fn print_json(value: &Value) -> Result<(), CommandError> {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| CommandError::unexpected("writing the answer", error))?;
    print(&format!("{text}\n"))
}

/// All pages of a list; `path` may have a query.
pub(super) fn pages(api: &Api, path: &str, limit: Option<u32>) -> Result<Vec<Value>, CommandError> {
    let mut items = Vec::new();
    let mut after = String::new();
    loop {
        let left = limit
            .map_or(1_000, |limit| limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX)).min(1_000));
        if left == 0 {
            return Ok(items);
        }
        let join = if path.contains('?') { '&' } else { '?' };
        let page = api.get(&format!("{path}{join}limit={left}{after}"))?.json()?;
        items.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", crate::client::escape(next)),
            None => return Ok(items),
        }
    }
}

/// Prints a list; of the first column, which names the items, if it has to be short.
pub(super) fn list(items: Vec<Value>, columns: &[Column], output: &OutputArgs) -> Result<(), CommandError> {
    match (output.json, output.quiet) {
        (true, _) => print_json(&Value::Array(items)),
        (false, true) => print(&table::names(columns, &items)),
        (false, false) => print(&table::render(columns, &items)),
    }
}

/// A secret from standard input, or asked for; the line's end is not part of it.
pub(super) fn secret(question: &str, from_stdin: bool) -> Result<Secret<String>, CommandError> {
    let failed = |error| CommandError::unexpected("reading the password", error);
    if !from_stdin {
        let text = rpassword::prompt_password(format!("{question}: ")).map_err(|error| {
            failed(error).with_hint("without a terminal, give it on standard input with --password-stdin")
        })?;
        return Ok(text.into());
    }
    let mut text = String::new();
    std::io::stdin().take(INPUT_MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    let text = Secret::new(text);
    let line = text.expose().trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(CommandError::new(Exit::Usage, "there is nothing on standard input"));
    }
    Ok(line.into())
}

/// A new password, asked for twice.
pub(super) fn new_password(from_stdin: bool) -> Result<Secret<String>, CommandError> {
    let password = secret("New password", from_stdin)?;
    if !from_stdin && secret("The same again", false)? != password {
        return Err(CommandError::new(Exit::Usage, "the two are not the same").with_hint("run the command again"));
    }
    Ok(password)
}

/// JSON from a file; `-` is standard input.
pub(super) fn json_file(path: &Path) -> Result<Value, CommandError> {
    let failed = |error| CommandError::unexpected(format!("reading {}", path.display()), error);
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(INPUT_MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(INPUT_MAX_BYTES).read_to_string(&mut text))
            .map_err(failed)?;
    }
    serde_json::from_str(&text)
        .map_err(|error| CommandError::new(Exit::Usage, format!("{} is not JSON: {error}", path.display())))
}
