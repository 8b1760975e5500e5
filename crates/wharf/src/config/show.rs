use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::config::keys::Keys;
use crate::config::{Config, Loaded};

impl Loaded {
    /// The configuration in force as a file that makes the same configuration again: every key, with a comment for each
    /// value that was said somewhere.
    pub fn show(&self) -> String {
        show(&self.config, |key| self.origins.get(key).map(ToString::to_string))
    }
}

impl Config {
    /// The same without saying where each value comes from.
    pub fn show(&self) -> String {
        show(self, |_| None)
    }
}

fn show(config: &Config, origin: impl Fn(&str) -> Option<String>) -> String {
    let keys = Keys::new();
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for key in keys.names() {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        sections.entry(section).or_default().push(name);
    }
    let values = Table::try_from(config).expect("a configuration is a table of TOML values");
    let sections = sections.into_iter().map(|(section, names)| {
        let lines = names.into_iter().map(|name| line(&values, section, name, &origin));
        format!("[{section}]\n{}", lines.collect::<String>())
    });
    sections.collect::<Vec<_>>().join("\n")
}

fn line(values: &Table, section: &str, name: &str, origin: impl Fn(&str) -> Option<String>) -> String {
    let key = format!("{section}.{name}");
    let Some(value) = at(values, &key) else { return format!("# {name} is not set\n") };
    match origin(&key) {
        Some(origin) => format!("{name} = {value} # from {origin}\n"),
        None => format!("{name} = {value}\n"),
    }
}

fn at<'a>(values: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => values.get(path),
        Some((section, rest)) => at(values.get(section)?.as_table()?, rest),
    }
}
