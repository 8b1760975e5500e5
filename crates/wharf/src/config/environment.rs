//! Configuration from the environment: `WHARF_SECTION__KEY`, and `WHARF_DATA` and the like for what has a flag.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use wharf_base::failpoint;

use crate::config::flag::SHORT;
use crate::config::keys::{Keys, did_you_mean, nearest};
use crate::config::{Complaint, Origin, Setting};

const PREFIX: &str = "WHARF_";

/// Names the configuration file.
const CONFIG: &str = "WHARF_CONFIG";

/// Secrets that are no part of the configuration, and what the command line's other commands read: read elsewhere.
const ELSEWHERE: [&str; 6] = [
    "WHARF_ADMIN_PASSWORD",
    "WHARF_ADMIN_PASSWORD_FILE",
    "WHARF_SERVER",
    "WHARF_TOKEN",
    "WHARF_CREDENTIALS",
    "WHARF_CA_CERTIFICATE",
];

/// What the environment says.
#[derive(Debug, Default)]
pub(super) struct Environment {
    pub(super) file: Option<PathBuf>,
    pub(super) settings: Vec<Setting>,
    pub(super) complaints: Vec<Complaint>,
}

/// Reads the variables whose name begins with `WHARF_`, in any case. An empty one counts as not set.
pub(super) fn read(keys: &Keys, mut variables: Vec<(OsString, OsString)>) -> Environment {
    variables.sort();
    let mut environment = Environment::default();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        let canonical = name.to_ascii_uppercase();
        if !canonical.starts_with(PREFIX)
            || value.is_empty()
            || ELSEWHERE.contains(&&*canonical)
            || failpoint::VARIABLES.contains(&&*canonical)
            || is_service_link(&canonical, &value)
        {
            continue;
        }
        if canonical == CONFIG {
            environment.file = Some(value.into());
            continue;
        }
        match variable(keys, &name, &canonical, value) {
            Ok(setting) => environment.settings.push(setting),
            Err(complaint) => environment.complaints.push(complaint),
        }
    }
    environment
}

fn variable(keys: &Keys, name: &str, canonical: &str, value: OsString) -> Result<Setting, Complaint> {
    let origin = Origin::Variable(name.into());
    let Some(key) = names(keys).find(|(known, _)| known == canonical).map(|(_, key)| key) else {
        return Err(Complaint::of(origin, unknown(keys, canonical)));
    };
    match value.into_string() {
        Ok(text) => Ok(Setting { value: keys.read(&key, &text), key, origin }),
        Err(_) => Err(Complaint::of(origin, "is not UTF-8")),
    }
}

/// Every name there is, with its key.
fn names(keys: &Keys) -> impl Iterator<Item = (String, String)> {
    let short = SHORT.iter().map(|(flag, key)| (flag.replace('-', "_"), *key));
    let long = keys.names().map(|key| (key.replace('.', "__"), key));
    short.chain(long).map(|(name, key)| (format!("{PREFIX}{}", name.to_ascii_uppercase()), key.to_owned()))
}

fn unknown(keys: &Keys, canonical: &str) -> String {
    let known: Vec<_> = names(keys).map(|(name, _)| name).collect();
    did_you_mean("unknown variable", nearest(canonical, known.iter().map(String::as_str)))
}

/// Whether Kubernetes or Docker put the variable there because a service is called `wharf`: `WHARF_SERVICE_HOST`,
/// `WHARF_PORT=tcp://…`, `WHARF_PORT_5000_TCP_ADDR`. Nobody meant it for us.
fn is_service_link(canonical: &str, value: &OsStr) -> bool {
    if canonical.contains("__") {
        return false;
    }
    let Some((_, port)) = canonical.rsplit_once("_PORT") else {
        return canonical.ends_with("_SERVICE_HOST");
    };
    let is_address = port.is_empty() && value.to_string_lossy().contains("://");
    let is_of_protocol = ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| port.contains(protocol));
    is_address || is_of_protocol || canonical.contains("_SERVICE_PORT")
}
