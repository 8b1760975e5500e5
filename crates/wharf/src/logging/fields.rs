use std::error::Error;
use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};

/// At most as much of one value is logged; what follows is cut.
pub(super) const VALUE_MAX_BYTES: usize = 4 * 1024;

/// Name of the field that holds an event's sentence.
const MESSAGE: &str = "message";

/// The fields of an event or a span, each name once, in the order they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields(Vec<(&'static str, Value)>);

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// At most [`VALUE_MAX_BYTES`] and a mark if it was cut; not escaped.
    Text(String),
    /// A number or a truth value, as JSON writes it.
    Plain(String),
}

impl Fields {
    pub(super) fn of(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self(fields.into_iter().collect())
    }

    /// Sets those of `others`, which win.
    pub(super) fn extend(&mut self, others: &Self) {
        for (name, value) in &others.0 {
            self.set(name, value.clone());
        }
    }

    /// The event's sentence.
    pub(super) fn message(&self) -> &str {
        match self.0.iter().find(|(name, _)| *name == MESSAGE) {
            Some((_, Value::Text(text) | Value::Plain(text))) => text,
            None => "",
        }
    }

    /// All but the message.
    pub(super) fn others(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().filter(|(name, _)| *name != MESSAGE).map(|(name, value)| (*name, value))
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    fn set_text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        let mut capped = Capped(String::new());
        // An error says that the rest was cut.
        let _ = capped.write_fmt(text);
        self.set(field.name(), Value::Text(capped.0));
    }

    fn set_plain(&mut self, field: &Field, value: impl ToString) {
        self.set(field.name(), Value::Plain(value.to_string()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set_text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set_text(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set_text(field, format_args!("{}", Chain(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set_plain(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set_plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set_plain(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.set_plain(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.set_plain(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.set_plain(field, value);
        } else {
            self.set_text(field, format_args!("{value}"));
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

/// Text that stops to grow at [`VALUE_MAX_BYTES`].
struct Capped(String);

impl Write for Capped {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = VALUE_MAX_BYTES.saturating_sub(self.0.len());
        if text.len() <= free {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(free)]);
        self.0.push('…');
        Err(fmt::Error)
    }
}
