use std::error::Error;
use std::fmt::{self, Debug, Write};
use std::ops::Range;

use tracing::field::{Field, Visit};

/// At most as much of one value is logged; what follows is cut.
pub(super) const VALUE_MAX_BYTES: usize = 4 * 1024;

/// Name of the field that holds an event's sentence.
const MESSAGE: &str = "message";

/// The fields of an event or a span, each name once, in the order they came. Their texts stand one behind the other in
/// one piece of memory, because there is an event for every request.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    name: &'static str,
    kind: Kind,
    range: Range<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Plain,
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// At most [`VALUE_MAX_BYTES`] and a mark if it was cut; not escaped.
    Text(&'a str),
    /// A number or a truth value, as JSON writes it.
    Plain(&'a str),
}

impl Fields {
    /// Sets those of `others`, which win.
    pub(super) fn extend(&mut self, others: &Self) {
        for part in &others.parts {
            let from = self.text.len();
            self.text.push_str(&others.text[part.range.clone()]);
            self.set(part.name, part.kind, from);
        }
    }

    /// The event's sentence.
    pub(super) fn message(&self) -> &str {
        self.parts.iter().find(|part| part.name == MESSAGE).map_or("", |part| &self.text[part.range.clone()])
    }

    /// All but the message.
    pub(super) fn others(&self) -> impl Iterator<Item = (&'static str, Value<'_>)> {
        self.parts.iter().filter(|part| part.name != MESSAGE).map(|part| {
            let text = &self.text[part.range.clone()];
            let value = match part.kind {
                Kind::Text => Value::Text(text),
                Kind::Plain => Value::Plain(text),
            };
            (part.name, value)
        })
    }

    /// What has been written since `from` is the value of `name`.
    fn set(&mut self, name: &'static str, kind: Kind, from: usize) {
        let part = Part { name, kind, range: from..self.text.len() };
        match self.parts.iter_mut().find(|known| known.name == name) {
            Some(old) => *old = part,
            None => self.parts.push(part),
        }
    }

    pub(super) fn set_text(&mut self, name: &'static str, text: fmt::Arguments<'_>) {
        let from = self.text.len();
        // An error says that the rest was cut.
        let _ = Capped { text: &mut self.text, free_bytes: VALUE_MAX_BYTES }.write_fmt(text);
        self.set(name, Kind::Text, from);
    }

    pub(super) fn set_plain(&mut self, name: &'static str, value: impl fmt::Display) {
        let from = self.text.len();
        write!(self.text, "{value}").expect("a string takes everything");
        self.set(name, Kind::Plain, from);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set_text(field.name(), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set_text(field.name(), format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set_text(field.name(), format_args!("{}", Chain(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set_plain(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set_plain(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set_plain(field.name(), value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.set_plain(field.name(), value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.set_plain(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.set_plain(field.name(), value);
        } else {
            self.set_text(field.name(), format_args!("{value}"));
        }
    }
}

/// An error and everything beneath it.
struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        for cause in std::iter::successors(self.0.source(), |&cause| cause.source()) {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

/// Text that grows by [`VALUE_MAX_BYTES`] at most.
struct Capped<'a> {
    text: &'a mut String,
    free_bytes: usize,
}

impl Write for Capped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() <= self.free_bytes {
            self.text.push_str(text);
            self.free_bytes -= text.len();
            return Ok(());
        }
        self.text.push_str(&text[..text.floor_char_boundary(self.free_bytes)]);
        self.text.push('…');
        Err(fmt::Error)
    }
}
