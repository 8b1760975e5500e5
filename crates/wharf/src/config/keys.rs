//! Which keys there are, from the schema of [`Config`].

use std::collections::BTreeMap;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value as Json;
use toml::Value;

use crate::config::Config;

/// Names less alike than this (1 is equal) are not suggested for each other.
const LIKENESS_MIN: f64 = 0.7;

/// JSON schema (2020-12) of the configuration file.
pub fn schema() -> Json {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let settings = settings.with_transform(RecursiveTransform(refuse_unknown));
    settings.into_generator().into_root_schema_for::<Config>().to_value()
}

/// What the loader refuses, an editor that reads the schema should mark.
fn refuse_unknown(schema: &mut Schema) {
    if schema.get("properties").is_some() {
        schema.insert("additionalProperties".into(), Json::Bool(false));
    }
}

/// Every key with its sections (`server.listen`) and its schema.
#[derive(Debug)]
pub(super) struct Keys(BTreeMap<String, Json>);

impl Keys {
    pub(super) fn new() -> Self {
        let mut keys = BTreeMap::new();
        collect("", &schema(), &mut keys);
        Self(keys)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Whether the value may not be repeated.
    pub(super) fn is_secret(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|schema| schema.to_string().contains("\"writeOnly\":true"))
    }

    pub(super) fn is_section(&self, path: &str) -> bool {
        self.sections().any(|section| section == path)
    }

    /// The value that `text`, from a variable or a flag, means for `key`: TOML where that fits, else a list with commas
    /// where a list is wanted, else the text as it is.
    pub(super) fn read(&self, key: &str, text: &str) -> Value {
        self.0.get(key).map_or_else(|| Value::String(text.into()), |schema| read(text, schema))
    }

    /// What is wrong with a key or section that is not there, with the nearest one that is.
    pub(super) fn unknown(&self, path: &str, is_section: bool) -> String {
        let (kind, near) = if is_section {
            ("section", nearest(path, self.sections()))
        } else {
            ("key", nearest(path, self.names()).or_else(|| self.elsewhere(path)))
        };
        did_you_mean(&format!("unknown {kind} {path}"), near)
    }

    /// The key of that name in another section.
    fn elsewhere(&self, path: &str) -> Option<&str> {
        let last = path.rsplit('.').next();
        self.names().find(|name| name.rsplit('.').next() == last)
    }

    fn sections(&self) -> impl Iterator<Item = &str> {
        self.names().flat_map(|name| name.match_indices('.').map(|(end, _)| &name[..end]))
    }
}

fn collect(prefix: &str, schema: &Json, keys: &mut BTreeMap<String, Json>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{name}");
        if schema.get("properties").is_some() {
            collect(&format!("{path}."), schema, keys);
        } else {
            keys.insert(path, schema.clone());
        }
    }
}

fn read(text: &str, schema: &Json) -> Value {
    let allows = |wanted: &str| allows(schema, wanted);
    match text.trim().parse::<Value>() {
        Ok(value) if allows(type_of(&value)) => value,
        _ if allows("array") => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| read(item, &schema["items"])).collect())
        }
        _ => Value::String(text.into()),
    }
}

/// Whether a value of this JSON type can be right.
fn allows(schema: &Json, wanted: &str) -> bool {
    let direct = match &schema["type"] {
        Json::String(one) => one == wanted,
        Json::Array(several) => several.iter().any(|one| one == wanted),
        _ => false,
    };
    let alternatives = ["anyOf", "oneOf"].into_iter().filter_map(|word| schema[word].as_array());
    direct || alternatives.flatten().any(|schema| allows(schema, wanted))
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Integer(_) => "integer",
        Value::Float(_) => "number",
        Value::Boolean(_) => "boolean",
        Value::Array(_) => "array",
        Value::Table(_) => "object",
        Value::Datetime(_) => "date",
    }
}

/// The most similar of `known`, if any is similar at all.
pub(super) fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let rated = known.map(|name| (strsim::normalized_damerau_levenshtein(wanted, name), name));
    let alike = rated.filter(|(likeness, _)| *likeness >= LIKENESS_MIN);
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

pub(super) fn did_you_mean(complaint: &str, near: Option<&str>) -> String {
    match near {
        Some(near) => format!("{complaint}; did you mean {near}?"),
        None => complaint.into(),
    }
}
