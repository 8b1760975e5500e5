//! What a line looks like. Whatever the values hold, it stays one line and commands no terminal (B-119).

use std::fmt::Write;

use clap::builder::styling::{AnsiColor, Style as Colour};
use tracing::Level;
use wharf_base::{Clock, SystemClock, Timestamp};

use crate::logging::fields::{Fields, Value};
use crate::text::{is_obeyed, visible};

/// For whom a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// For people.
    Human { has_colour: bool },
    /// For programs.
    Json,
}

/// One event.
pub(super) struct Line<'a> {
    pub(super) now: Timestamp,
    pub(super) level: Level,
    /// The module or the name that the event is filtered by.
    pub(super) target: &'a str,
    pub(super) fields: &'a Fields,
}

impl Line<'_> {
    /// The line with its end.
    pub(super) fn render(&self, style: Style) -> String {
        let mut text = String::with_capacity(256);
        match style {
            Style::Human { has_colour } => self.human(&mut text, has_colour),
            Style::Json => self.json(&mut text),
        }
        text.push('\n');
        text
    }

    fn human(&self, text: &mut String, has_colour: bool) {
        let paint = |colour: Colour| if has_colour { colour } else { Colour::new() };
        let (dim, bright) = (paint(Colour::new().dimmed()), paint(colour_of(self.level).on_default()));
        put(text, format_args!("{dim}{}{dim:#} {bright}{:>5}{bright:#} ", self.now, self.level));
        put(text, format_args!("{}", visible(self.fields.message())));
        for (name, value) in self.fields.others() {
            put(text, format_args!(" {dim}{name}={dim:#}"));
            match value {
                Value::Text(value) => word(text, value),
                Value::Plain(value) => text.push_str(value),
            }
        }
    }

    fn json(&self, text: &mut String) {
        put(text, format_args!(r#"{{"timestamp":"{}","level":"{}","target":"#, self.now, self.level));
        string(text, self.target);
        text.push_str(r#","message":"#);
        string(text, self.fields.message());
        for (name, value) in self.fields.others() {
            text.push(',');
            string(text, name);
            text.push(':');
            match value {
                Value::Text(value) => string(text, value),
                Value::Plain(value) => text.push_str(value),
            }
        }
        text.push('}');
    }
}

/// The line that stands where others should.
pub(super) fn lost(style: Style, lost_lines: u64) -> String {
    let mut fields = Fields::default();
    let message = format_args!("{lost_lines} log lines were lost here, because what reads the log was too slow");
    fields.set_text("message", message);
    fields.set_plain("log.lost_lines", lost_lines);
    let now = SystemClock::new().now();
    Line { now, level: Level::WARN, target: module_path!(), fields: &fields }.render(style)
}

fn colour_of(level: Level) -> AnsiColor {
    match level {
        Level::ERROR => AnsiColor::Red,
        Level::WARN => AnsiColor::Yellow,
        Level::INFO => AnsiColor::Green,
        Level::DEBUG => AnsiColor::Blue,
        Level::TRACE => AnsiColor::Magenta,
    }
}

/// A value as one word, in quotes if it would not be one.
fn word(text: &mut String, value: &str) {
    let is_plain = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\\' | '='));
    if is_plain {
        put(text, format_args!("{}", visible(value)));
    } else {
        put(text, format_args!("\"{}\"", visible(&value.replace('\\', r"\\").replace('"', "\\\""))));
    }
}

/// A JSON string, with everything escaped that a terminal would obey, of which JSON itself demands only a part.
fn string(text: &mut String, value: &str) {
    let mut rest = value;
    text.push('"');
    while let Some(at) = rest.find(|c| matches!(c, '"' | '\\') || is_obeyed(c)) {
        text.push_str(&rest[..at]);
        let mut from_here = rest[at..].chars();
        match from_here.next() {
            Some('\n') => text.push_str(r"\n"),
            Some(c @ ('"' | '\\')) => text.extend(['\\', c]),
            // All of them are in the basic plane: one escape is enough.
            c => put(text, format_args!(r"\u{:04x}", c.map_or(0, u32::from))),
        }
        rest = from_here.as_str();
    }
    text.push_str(rest);
    text.push('"');
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes everything");
}
