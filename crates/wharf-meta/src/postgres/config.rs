use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wharf_base::HumanDuration;

/// `[metadata]`, as far as it is about a PostgreSQL server in place of the embedded database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub struct PostgresConfig {
    /// Where the metadata is kept: "postgres://user@host/database" for a PostgreSQL server (14 or newer). Default: in the data
    /// directory, in the embedded database. TLS with a verified certificate unless it ends in "?sslmode=disable" or names the
    /// directory of a socket ("?host=/run/postgresql").
    pub url: Option<DatabaseUrl>,

    /// A file with the password of the URL's user, so that it need not stand in the URL. A line end at its end does not count.
    pub password_file: Option<PathBuf>,

    /// Certificates in PEM of the authorities to trust, in place of the system's.
    pub ca_certificate: Option<PathBuf>,

    /// How many connections to PostgreSQL each replica opens at most. Default 16; 2 to 256. All replicas together need fewer
    /// than the server's `max_connections`.
    #[schemars(range(min = 2, max = 256))]
    pub connections: NonZeroUsize,

    /// How long connecting to PostgreSQL may take. Default 5s.
    pub connect_timeout: HumanDuration,

    /// How long PostgreSQL may work on one statement. Default 10s.
    pub statement_timeout: HumanDuration,

    /// How long a statement waits for what another transaction has locked. Default 2s.
    pub lock_timeout: HumanDuration,
}

const CONNECTIONS_MIN: usize = 2;
const CONNECTIONS_MAX: usize = 256;

impl Default for PostgresConfig {
    fn default() -> Self {
        let seconds = HumanDuration::secs;
        Self {
            url: None,
            password_file: None,
            ca_certificate: None,
            connections: NonZeroUsize::MIN.saturating_add(15),
            connect_timeout: seconds(5),
            statement_timeout: seconds(10),
            lock_timeout: seconds(2),
        }
    }
}

impl PostgresConfig {
    pub(super) fn connections(&self) -> usize {
        self.connections.get().clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
    }

    /// Relations between keys that cannot hold.
    pub fn check(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        if !(CONNECTIONS_MIN..=CONNECTIONS_MAX).contains(&self.connections.get()) {
            complaints.push(format!("metadata.connections must be {CONNECTIONS_MIN} to {CONNECTIONS_MAX}"));
        }
        for (key, timeout) in [
            ("connect_timeout", self.connect_timeout),
            ("statement_timeout", self.statement_timeout),
            ("lock_timeout", self.lock_timeout),
        ] {
            if timeout.get() < Duration::from_millis(1) {
                complaints.push(format!("metadata.{key} must be at least 1ms"));
            }
        }
        if self.url.is_none() {
            for (key, is_set) in
                [("password_file", self.password_file.is_some()), ("ca_certificate", self.ca_certificate.is_some())]
            {
                if is_set {
                    complaints
                        .push(format!("metadata.{key} is for PostgreSQL; set metadata.url as well, or remove it"));
                }
            }
        }
        if self.password_file.is_some() && self.url.as_ref().is_some_and(DatabaseUrl::has_password) {
            complaints
                .push("metadata.url has a password, and metadata.password_file names another; keep one".to_owned());
        }
        complaints
    }
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// TLS, the certificate verified for the host's name.
    Tls,
    /// None: a socket of this machine, or a network that its operator trusts.
    Plain,
}

/// The URL of a PostgreSQL database. Its password is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    shown: String,
    config: tokio_postgres::Config,
    protection: Protection,
}

/// The text is no URL of a PostgreSQL database that can be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ParseDatabaseUrlError(String);

impl DatabaseUrl {
    pub(super) fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    pub(super) fn protection(&self) -> Protection {
        self.protection
    }

    fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }
}

impl FromStr for DatabaseUrl {
    type Err = ParseDatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, ParseDatabaseUrlError> {
        let refused = |reason: &str| ParseDatabaseUrlError(reason.to_owned());
        if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(refused("must be a URL such as \"postgres://wharf@db.example.com/wharf\""));
        }
        if text.contains(REDACTED) {
            return Err(refused(
                "its password has been left out where it was shown; put it in again, or name a password_file",
            ));
        }
        let (mode, rest) = without_sslmode(text);
        // The library's own words may repeat a piece of the text.
        let config: tokio_postgres::Config =
            rest.parse().map_err(|_| refused("is no URL of a PostgreSQL database that can be read"))?;
        let is_socket = config.get_hosts().iter().all(|host| matches!(host, tokio_postgres::config::Host::Unix(_)));
        if config.get_hosts().is_empty() {
            return Err(refused("must name a host"));
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err(refused("must name a user: \"postgres://user@host/database\""));
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(refused("must name a database: \"postgres://user@host/database\""));
        }
        let protection = match mode {
            Some("disable") => Protection::Plain,
            None if is_socket => Protection::Plain,
            None | Some("require" | "verify-ca" | "verify-full") => Protection::Tls,
            Some(_) => {
                return Err(refused(
                    "its sslmode must be verify-full, which is the default, or disable: the others protect from nobody",
                ));
            }
        };
        Ok(Self { shown: shown(text), config, protection })
    }
}

const REDACTED: &str = "[redacted]";

/// The URL without its `sslmode`, of which the library knows fewer than everybody else.
fn without_sslmode(text: &str) -> (Option<&str>, String) {
    let Some((base, query)) = text.split_once('?') else { return (None, text.to_owned()) };
    let mut mode = None;
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.strip_prefix("sslmode=") {
            Some(value) => mode = Some(value),
            None => kept.push(pair),
        }
    }
    (mode, if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) })
}

/// As it may be shown.
fn shown(text: &str) -> String {
    let (base, query) = text.split_once('?').map_or((text, None), |(base, query)| (base, Some(query)));
    let base = match base.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (user, host))) => match user.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:{REDACTED}@{host}"),
            None => base.to_owned(),
        },
        None => base.to_owned(),
    };
    let Some(query) = query else { return base };
    let pairs: Vec<_> = query
        .split('&')
        .map(|pair| if pair.starts_with("password=") { format!("password={REDACTED}") } else { pair.to_owned() })
        .collect();
    format!("{base}?{}", pairs.join("&"))
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown)
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for DatabaseUrl {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DatabaseUrl".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^postgres(ql)?://", "writeOnly": true })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> DatabaseUrl {
        text.parse().unwrap()
    }

    #[test]
    fn s070_a_password_is_shown_to_nobody() {
        for text in [
            "postgres://wharf:swordfish@db/wharf",
            "postgres://wharf:sword%40fish@db,other:5433/wharf?application_name=x",
            "postgres://wharf:sword@fish@db/wharf",
            "postgres://wharf@db/wharf?password=swordfish&sslmode=verify-full",
        ] {
            let Ok(url) = text.parse::<DatabaseUrl>() else { continue };
            let told = format!("{url} {url:?} {}", serde_json::to_string(&url).unwrap());
            assert!(!told.contains("fish"), "{told}");
            assert!(told.contains("wharf:[redacted]@") || told.contains("password=[redacted]"), "{told}");
        }
        for text in ["postgres://wharf:swordfish@", "postgres://:swordfish@db", "mysql://a:swordfish@b/c"] {
            let refused = text.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(!refused.contains("fish"), "{refused}");
        }
    }

    #[test]
    fn only_verified_tls_is_tls() {
        assert_eq!(parsed("postgres://w@db/w").protection(), Protection::Tls);
        assert_eq!(parsed("postgres://w@db/w?sslmode=require&connect_timeout=3").protection(), Protection::Tls);
        assert_eq!(parsed("postgres://w@db/w?sslmode=disable").protection(), Protection::Plain);
        assert_eq!(parsed("postgres://w@/w?host=/run/postgresql").protection(), Protection::Plain);
        for mode in ["prefer", "allow", "yes"] {
            assert!(format!("postgres://w@db/w?sslmode={mode}").parse::<DatabaseUrl>().is_err(), "{mode}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, missing) in [
            ("postgres://db/wharf", "user"),
            ("postgres://wharf@db", "database"),
            ("db.example.com", "postgres://"),
            ("postgres://wharf:[redacted]@db/wharf", "password"),
        ] {
            let refused = text.parse::<DatabaseUrl>().unwrap_err().to_string();
            assert!(refused.contains(missing), "{text}: {refused}");
        }
    }
}
