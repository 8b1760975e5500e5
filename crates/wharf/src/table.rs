//! What commands print: tables for people, JSON for programs.

use std::io::IsTerminal;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;

/// A column: its heading, and the member that stands in it.
pub(crate) type Column = (&'static str, &'static str);

/// `items` as a table; or on a terminal that is too narrow for it, each item as lines of its own.
pub(crate) fn render(columns: &[Column], items: &[Value]) -> String {
    let lines = lines(columns, items);
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
    match terminal_width() {
        Some(columns_max) if width > columns_max => records(columns, items, columns_max),
        _ => lines.join("\n") + "\n",
    }
}

/// How many characters fit side by side; `None` where nobody looks.
fn terminal_width() -> Option<usize> {
    if std::io::stdout().is_terminal() { Table::new().width().map(usize::from) } else { None }
}

fn lines(columns: &[Column], items: &[Value]) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(heading, _)| *heading));
    for item in items {
        table.add_row(columns.iter().map(|(_, member)| text(&item[*member])));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// A line for each member that has something in it, broken between words only: digests and names can be copied.
fn records(columns: &[Column], items: &[Value], columns_max: usize) -> String {
    let label_width = columns.iter().map(|(heading, _)| heading.chars().count()).max().unwrap_or_default() + 2;
    let mut records = Vec::new();
    for item in items {
        let mut record = String::new();
        for (heading, member) in columns {
            let mut label = *heading;
            for line in wrapped(&text(&item[*member]), columns_max.saturating_sub(label_width + 1)) {
                record += &format!(" {label:<label_width$}{line}\n");
                label = "";
            }
        }
        records.push(record);
    }
    records.join("\n")
}

/// `text` in lines of at most `columns_max` characters, but for words that are longer by themselves.
fn wrapped(text: &str, columns_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns_max => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The first column of `items`, a line each.
pub(crate) fn names(columns: &[Column], items: &[Value]) -> String {
    let member = columns.first().map_or("", |(_, member)| member);
    items.iter().map(|item| text(&item[member]) + "\n").collect()
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

/// A number of bytes as people read it, with one decimal: `1.5 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    let mut unit = 1_u64;
    let mut name = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if bytes / unit < 1024 {
            break;
        }
        unit *= 1024;
        name = larger;
    }
    if unit == 1 {
        return format!("{bytes} B");
    }
    let tenths = bytes / unit * 10 + bytes % unit * 10 / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{records, render, size};

    #[test]
    fn a_size_has_the_largest_unit_that_fits() {
        let sizes = [0, 1023, 1024, 1536, (1 << 30) - 1, 3 << 40, u64::MAX];
        let shown: Vec<String> = sizes.into_iter().map(size).collect();
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1023.9 MiB", "3.0 TiB", "16383.9 PiB"]);
    }

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

    #[test]
    fn a_narrow_terminal_gets_a_line_for_each_member() {
        let items = [
            json!({ "name": "alice", "note": "more than fits side by side", "enabled": true }),
            json!({ "name": "a-name-that-is-longer-than-the-line", "enabled": false }),
        ];
        let columns = [("NAME", "name"), ("NOTE", "note"), ("ENABLED", "enabled")];
        let expected = "\
\x20NAME     alice
 NOTE     more than
          fits side
          by side
 ENABLED  yes

 NAME     a-name-that-is-longer-than-the-line
 ENABLED  no
";
        assert_eq!(records(&columns, &items, 20), expected);
    }
}
