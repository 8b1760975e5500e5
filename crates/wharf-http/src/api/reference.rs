//! The reference page of this API, in Markdown, made from its document.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::document::DOCUMENT;

/// Schemas of this ending say what a text or a number looks like; they are told where they are used.
const FORM: &str = "Form";

/// The page behind its introduction: the operations by what they are about, then what they take and give.
pub fn api_reference() -> String {
    let mut page = String::new();
    for (tag, operations) in by_tag() {
        let _ = writeln!(page, "## {tag}\n");
        for (method, path, operation) in operations {
            tell_operation(&mut page, method, path, operation);
        }
    }
    page.push_str("## What is sent and answered\n\n");
    for (name, schema) in members(&DOCUMENT["components"]["schemas"]).filter(|(name, _)| !name.ends_with(FORM)) {
        tell_schema(&mut page, name, schema);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn by_tag() -> BTreeMap<&'static str, Vec<(&'static String, &'static String, &'static Value)>> {
    let mut tags: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (path, operations) in members(&DOCUMENT["paths"]) {
        for (method, operation) in members(operations) {
            tags.entry(operation["tags"][0].as_str().unwrap_or_default()).or_default().push((method, path, operation));
        }
    }
    tags
}

fn tell_operation(page: &mut String, method: &str, path: &str, operation: &Value) {
    let _ =
        writeln!(page, "### {} {path}\n\n{}\n", method.to_uppercase(), words(operation, &["summary", "description"]));
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        page.push_str("| parameter | in | form | meaning |\n|---|---|---|---|\n");
        for parameter in parameters {
            let name = parameter["name"].as_str().unwrap_or_default();
            let place = parameter["in"].as_str().unwrap_or_default();
            let needed = if place == "query" && parameter["required"] == true { ", needed" } else { "" };
            let meaning = match words(parameter, &["description"]) {
                none if none.is_empty() => words(&parameter["schema"], &["description"]),
                said => said,
            };
            let _ = writeln!(page, "| `{name}` | {place}{needed} | {} | {meaning} |", form(&parameter["schema"]));
        }
        page.push('\n');
    }
    if let Some(body) = operation["requestBody"]["content"].as_object().and_then(|content| content.values().next()) {
        let _ = writeln!(page, "Takes {}.\n", form(&body["schema"]));
    }
    let mut refusals = Vec::new();
    for (status, response) in members(&operation["responses"]) {
        if status.starts_with('2') {
            let _ = writeln!(page, "{status}: {}.\n", gives(response));
        } else {
            refusals.push(status.as_str());
        }
    }
    let _ = writeln!(page, "Refusals: {}.\n", refusals.join(", "));
}

fn gives(response: &Value) -> String {
    let headers: Vec<String> = members(&response["headers"]).map(|(name, _)| format!("`{name}`")).collect();
    let headers = if headers.is_empty() { String::new() } else { format!(", with {}", headers.join(", ")) };
    let content = response["content"].as_object().and_then(|content| content.iter().next());
    match content {
        Some((kind, content)) if kind == "application/json" => format!("{}{headers}", form(&content["schema"])),
        Some((kind, _)) => format!("`{kind}`{headers}"),
        None => format!("nothing{headers}"),
    }
}

fn tell_schema(page: &mut String, name: &str, schema: &Value) {
    let _ = writeln!(page, "### {name}\n\n{}\n", words(schema, &["description"]));
    let parts = std::iter::once(schema).chain(schema["allOf"].as_array().into_iter().flatten());
    let required =
        |part: &Value, name: &str| part["required"].as_array().is_some_and(|names| names.iter().any(|n| n == name));
    let mut lines = String::new();
    for part in parts {
        if part.get("$ref").is_some() {
            let _ = writeln!(lines, "| … | | and what {} has |", form(part));
        }
        for (name, member) in members(&part["properties"]) {
            let optional = if required(part, name) { "" } else { ", optional" };
            let meaning = words(member, &["description"]);
            let _ = writeln!(lines, "| `{name}` | {}{optional} | {meaning} |", form(member));
        }
    }
    if !lines.is_empty() {
        let _ = writeln!(page, "| member | form | meaning |\n|---|---|---|\n{lines}");
    }
    if let Some(example) = schema.get("example") {
        let _ = writeln!(page, "```json\n{}\n```\n", serde_json::to_string_pretty(example).unwrap_or_default());
    }
}

/// What something says about itself, in one line.
fn words(value: &Value, names: &[&str]) -> String {
    let said: Vec<&str> = names.iter().filter_map(|name| value[name].as_str()).collect();
    said.join(" ").split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// What a value looks like.
fn form(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        let known = &DOCUMENT["components"]["schemas"][name];
        return if name.ends_with(FORM) && !known.is_null() {
            form(known)
        } else {
            format!("[{name}](#{})", name.to_lowercase())
        };
    }
    let something = |schemas: &Value| -> Option<String> {
        let forms: Vec<String> = schemas.as_array()?.iter().filter(|form| form["type"] != "null").map(form).collect();
        Some(forms.join(" or "))
    };
    if let Some(text) = something(&schema["oneOf"]).or_else(|| something(&schema["anyOf"])) {
        return text;
    }
    if let Some(values) = schema["enum"].as_array() {
        return values
            .iter()
            .map(|value| format!("`{}`", value.as_str().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("array") => format!("list of {}", form(&schema["items"])),
        Some("string") => match (&schema["format"], &schema["pattern"]) {
            (Value::String(format), _) => format.clone(),
            (_, Value::String(pattern)) => format!("`{}`", pattern.replace('|', "\\|")),
            _ => "text".to_owned(),
        },
        Some("integer") => "number".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        _ => "object".to_owned(),
    }
}
