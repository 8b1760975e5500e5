use std::sync::Arc;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;
use wharf_base::{Clock, SystemClock};

use crate::logging::fields::Fields;
use crate::logging::line::{Line, Style};
use crate::logging::queue::{Queue, Urgency};

/// Makes a line of each event, with its own fields and those of the spans around it.
pub(super) struct Lines {
    style: Style,
    queue: Arc<Queue>,
    clock: SystemClock,
}

impl Lines {
    pub(super) fn new(style: Style, queue: Arc<Queue>) -> Self {
        Self { style, queue, clock: SystemClock::new() }
    }
}

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.extend(of_span);
            }
        }
        event.record(&mut fields);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let urgency = if level <= Level::WARN { Urgency::AtOnce } else { Urgency::CanWait };
        self.queue.push(&Line { now: self.clock.now(), level, target, fields: &fields }.render(self.style), urgency);
    }
}
