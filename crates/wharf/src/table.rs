//! What commands print: tables for people, JSON for programs.

use std::io::IsTerminal;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// A column: its heading, and the member that stands in it.
pub(crate) type Column = (&'static str, &'static str);

/// `items` as a table, as wide as the terminal.
pub(crate) fn render(columns: &[Column], items: &[Value]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for item in items {
        table.add_row(columns.iter().map(|(_, member)| text(&item[*member])));
    }
    let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.push(String::new());
    lines.join("\n")
}

/// A member as people read it: a list with commas, nothing for what is not there.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => crate::text::visible(text).to_string(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::render;

    #[test]
    fn a_table_has_a_line_for_each_item() {
        let items = [
            json!({ "name": "alice", "roles": ["dev", "ops"], "enabled": true }),
            json!({ "name": "ci", "enabled": false }),
        ];
        let shown = render(&[("NAME", "name"), ("ROLES", "roles"), ("ENABLED", "enabled")], &items);
        let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines, [vec!["NAME", "ROLES", "ENABLED"], vec!["alice", "dev,", "ops", "yes"], vec!["ci", "no"]]);
    }
}
