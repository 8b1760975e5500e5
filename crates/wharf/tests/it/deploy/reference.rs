//! `docs/configuration.md`: every key, from the schema that the binary prints.

use std::fmt::Write as _;

use serde_json::Value;

use super::{compare, wharf};

const HEAD: &str = "\
# All keys of the configuration

Made from `wharf config schema` by a test; `wharf config show` says what is in force on a registry, and where each value comes
from. A key `listen` of the section `[server]` is also the variable `WHARF_SERVER__LISTEN` and the flag `--set server.listen=…`.
Durations are texts such as `\"30s\"`, `\"24h\"` or `\"90days\"`, sizes are texts such as `\"64 MiB\"` or numbers of bytes. A key
without a default is not set, unless its description says what holds then.
";

#[tokio::test]
async fn the_reference_of_the_configuration_lists_what_there_is() {
    let schema = wharf(&[]).args("config schema").ok().await;
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut page = HEAD.to_owned();
    for (name, section) in schema["properties"].as_object().unwrap() {
        write_section(&mut page, name, section);
    }
    compare("docs/configuration.md", &page);
}

fn write_section(page: &mut String, name: &str, section: &Value) {
    write!(page, "\n## `[{name}]`\n\n").unwrap();
    if let Some(about) = section["description"].as_str() {
        write!(page, "{}\n\n", flow(about)).unwrap();
    }
    page.push_str("| key | default | meaning |\n|---|---|---|\n");
    let keys = section["properties"].as_object().unwrap();
    let (sections, plain): (Vec<_>, Vec<_>) = keys.iter().partition(|(_, key)| key.get("properties").is_some());
    for (key, about) in plain {
        write_row(page, key, about);
        // A list of tables: its keys stand below it.
        for (inner, about) in about["items"]["properties"].as_object().into_iter().flatten() {
            write_row(page, &format!("{key}[].{inner}"), about);
        }
    }
    for (inner, section) in sections {
        write_section(page, &format!("{name}.{inner}"), section);
    }
}

fn write_row(page: &mut String, key: &str, about: &Value) {
    let default = match &about["default"] {
        Value::Null => String::new(),
        value => format!("`{}`", toml_of(value)),
    };
    writeln!(page, "| `{key}` | {default} | {} |", flow(about["description"].as_str().unwrap_or_default())).unwrap();
}

/// As it would stand in the file.
fn toml_of(value: &Value) -> String {
    match value {
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string().replace("\",\"", "\", \""),
    }
}

/// One paragraph, in a cell of a table.
fn flow(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
