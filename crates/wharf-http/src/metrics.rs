//! What is measured: every metric with its name, its unit and its meaning, in one table. The reference page in the documents
//! is made from it.
//!
//! Labels are of this room's making and few: a class of work, a status. No repository and nobody's name is one (S-018).

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use wharf_base::{Distribution, DistributionSnapshot};
use wharf_registry::Figures;

use crate::App;
use crate::class::Class;
use crate::recent::Recent;
use crate::reply::{Payload, Reply};

/// What requests have come to; one a process.
pub(crate) struct Requests {
    /// By class and status. Statuses are those that we answer with, so there are few.
    answered: Mutex<Vec<(Class, StatusCode, u64)>>,
    seconds: [Distribution; Class::ALL.len()],
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    pub(crate) recent: Recent,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self {
            answered: Mutex::default(),
            seconds: std::array::from_fn(|_| Distribution::new(Distribution::SECONDS)),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            recent: Recent::new(),
        }
    }

    /// One more, to the end of its answer.
    pub(crate) fn count(&self, class: Class, status: StatusCode, took: Duration, received_bytes: u64, sent_bytes: u64) {
        self.received_bytes.fetch_add(received_bytes, Ordering::Relaxed);
        self.sent_bytes.fetch_add(sent_bytes, Ordering::Relaxed);
        self.seconds[class as usize].observe(took);
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        match answered.iter_mut().find(|(known, answer, _)| (*known, *answer) == (class, status)) {
            Some((_, _, count)) => *count += 1,
            None => answered.push((class, status, 1)),
        }
    }
}

/// `/metrics`, in the text form of OpenMetrics.
pub(crate) async fn answer(app: &App) -> Reply {
    let scrape = Scrape {
        requests: by_class_and_status(&app.requests),
        seconds: Class::ALL.map(|class| app.requests.seconds[class as usize].snapshot()),
        working: Class::ALL.map(|class| app.gates.working(class)),
        refused: Class::ALL.map(|class| app.gates.refused(class)),
        connections: u64::from(app.connections.open()),
        received_bytes: app.requests.received_bytes.load(Ordering::Relaxed),
        sent_bytes: app.requests.sent_bytes.load(Ordering::Relaxed),
        audit_lost: app.parts.identity.as_ref().map(|identity| identity.audit_records_lost()),
        figures: app.parts.registry.figures().await,
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Reply::of(StatusCode::OK, kind, Payload::Bytes(text.into()))
}

fn by_class_and_status(requests: &Requests) -> Vec<(Class, StatusCode, u64)> {
    let mut answered = requests.answered.lock().unwrap_or_else(PoisonError::into_inner).clone();
    answered.sort_by_key(|(class, status, _)| (*class as usize, status.as_u16()));
    answered
}

/// The reference page of all metrics, in Markdown.
pub fn metrics_reference() -> String {
    let mut page = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for metric in METRICS {
        let suffix = if matches!(metric.kind, MetricType::Counter) { "_total" } else { "" };
        let labels = if metric.labels.is_empty() { "–" } else { metric.labels };
        page += &format!(
            "| `wharf_{}{suffix}` | {} | {labels} | {} |\n",
            metric.name,
            metric.kind.as_str(),
            metric.meaning
        );
    }
    page
}

/// Everything that a scrape shows, at one moment.
#[derive(Debug)]
struct Scrape {
    requests: Vec<(Class, StatusCode, u64)>,
    seconds: [DistributionSnapshot; Class::ALL.len()],
    working: [Option<u64>; Class::ALL.len()],
    refused: [Option<u64>; Class::ALL.len()],
    connections: u64,
    received_bytes: u64,
    sent_bytes: u64,
    audit_lost: Option<u64>,
    figures: Figures,
}

/// A line of the table.
struct Metric {
    /// Without `wharf_`; the unit, where there is one, is its end.
    name: &'static str,
    kind: MetricType,
    labels: &'static str,
    meaning: &'static str,
    read: fn(&Scrape) -> Vec<Sample>,
}

struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

enum Value {
    Count(u64),
    Gauge(f64),
    Distribution(DistributionSnapshot),
}

const fn counter(name: &'static str, meaning: &'static str, read: fn(&Scrape) -> Vec<Sample>) -> Metric {
    Metric { name, kind: MetricType::Counter, labels: "", meaning, read }
}

const fn gauge(name: &'static str, meaning: &'static str, read: fn(&Scrape) -> Vec<Sample>) -> Metric {
    Metric { name, kind: MetricType::Gauge, labels: "", meaning, read }
}

const fn histogram(name: &'static str, meaning: &'static str, read: fn(&Scrape) -> Vec<Sample>) -> Metric {
    Metric { name, kind: MetricType::Histogram, labels: "", meaning, read }
}

impl Metric {
    const fn by(mut self, labels: &'static str) -> Self {
        self.labels = labels;
        self
    }
}

const METRICS: &[Metric] = &[
    gauge("build_info", "1; the label is the version", |_| {
        vec![Sample { labels: vec![("version", env!("CARGO_PKG_VERSION").to_owned())], value: Value::Gauge(1.0) }]
    })
    .by("`version`"),
    counter("requests", "requests answered, to the end of the answer", |scrape| {
        let samples = scrape.requests.iter().map(|(class, status, count)| Sample {
            labels: vec![("class", class.to_string()), ("status", status.as_u16().to_string())],
            value: Value::Count(*count),
        });
        samples.collect()
    })
    .by("`class`, `status`"),
    histogram(
        "request_seconds",
        "how long requests took, from the end of their head to the end of the answer",
        |scrape| {
            let samples = Class::ALL.iter().zip(&scrape.seconds).map(|(class, seconds)| Sample {
                labels: vec![("class", class.to_string())],
                value: Value::Distribution(seconds.clone()),
            });
            samples.collect()
        },
    )
    .by("`class`"),
    gauge("requests_working", "requests that have a place at work", |scrape| by_class(&scrape.working, gauge_of))
        .by("`class`"),
    counter("requests_refused", "requests answered 429 because all places of their class were taken", |scrape| {
        by_class(&scrape.refused, Value::Count)
    })
    .by("`class`"),
    gauge("connections", "open connections", |scrape| one(gauge_of(scrape.connections))),
    counter("received_bytes", "bytes of request bodies", |scrape| one(Value::Count(scrape.received_bytes))),
    counter("sent_bytes", "bytes of answers' bodies", |scrape| one(Value::Count(scrape.sent_bytes))),
    gauge("uploads_open", "upload sessions that are open; counted up to 100,000", |scrape| {
        maybe(scrape.figures.uploads_open.map(u64::from))
    }),
    histogram("commit_seconds", "how long a commit of the metadata database took, its sync included", |scrape| {
        one(Value::Distribution(scrape.figures.database.commit_seconds.clone()))
    }),
    histogram("commit_changes", "how many changes shared a commit", |scrape| {
        one(Value::Distribution(scrape.figures.database.commit_changes.clone()))
    }),
    gauge("database_log_bytes", "size of the write-ahead log on the disk", |scrape| {
        maybe(scrape.figures.database.log_bytes)
    }),
    histogram("sync_seconds", "how long a sync of pushed content took: of the file, and of its directory", |scrape| {
        one(Value::Distribution(scrape.figures.sync_seconds.clone()))
    }),
    gauge(
        "write_protected",
        "1 while writes are refused because something is wrong with the disk or the database",
        |scrape| one(flag(scrape.figures.health.protection.is_some())),
    ),
    gauge("storage_free_bytes", "free space where the data directory is", |scrape| {
        maybe(scrape.figures.health.room.map(|room| room.free_bytes))
    }),
    gauge("storage_total_bytes", "size of that file system", |scrape| {
        maybe(scrape.figures.health.room.map(|room| room.total_bytes))
    }),
    gauge("storage_min_free_bytes", "with less free space than this, uploads are refused", |scrape| {
        maybe(scrape.figures.health.room.map(|room| room.min_free_bytes))
    }),
    gauge("storage_low", "1 while uploads are refused for want of space", |scrape| {
        maybe(scrape.figures.health.room.map(|room| u64::from(room.is_low)))
    }),
    gauge("storage_reserve_spent", "1 while the reserve is given back and nothing but deletions is taken", |scrape| {
        maybe(scrape.figures.health.room.map(|room| u64::from(room.is_reserve_spent)))
    }),
    gauge("gc_reviews", "associations that wait for their review; counted up to 100,000", |scrape| {
        maybe(scrape.figures.backlog.map(|backlog| backlog.reviews))
    }),
    gauge("gc_reviews_due", "those of them whose time has come", |scrape| {
        maybe(scrape.figures.backlog.map(|backlog| backlog.reviews_due))
    }),
    gauge("gc_overdue_seconds", "for how long the first of them has been due", |scrape| {
        maybe(scrape.figures.backlog.map(|backlog| {
            let due = backlog.oldest_due.map_or(scrape.figures.now, |due| due);
            let late_us = scrape.figures.now.as_micros().saturating_sub(due.as_micros());
            u64::try_from(late_us).unwrap_or(0) / 1_000_000
        }))
    }),
    gauge("gc_condemned", "blobs that nothing needs and that wait for the end of their trash period", |scrape| {
        maybe(scrape.figures.backlog.map(|backlog| backlog.condemned))
    }),
    gauge("gc_condemned_bytes", "their size", |scrape| {
        maybe(scrape.figures.backlog.map(|backlog| backlog.condemned_bytes))
    }),
    gauge("gc_holds", "holds that keep the collector from working", |scrape| {
        maybe(scrape.figures.holds.map(|holds| holds as u64))
    }),
    gauge("gc_pressure", "1 while the trash period is shortened because the disk is nearly full", |scrape| {
        one(flag(scrape.figures.has_pressure))
    }),
    counter("gc_runs", "runs of the collector", |scrape| one(Value::Count(scrape.figures.collection_runs))),
    counter("gc_errors", "runs that ended with an error and are continued later", |scrape| {
        one(Value::Count(scrape.figures.collection_errors))
    }),
    counter("gc_decisions", "what reviews and removals came to", |scrape| {
        let collected = &scrape.figures.collected;
        let kinds = [
            ("reviewed", collected.reviewed),
            ("released", collected.released),
            ("condemned", collected.condemned),
            ("removed", collected.removed),
            ("forgotten", collected.forgotten),
        ];
        let samples = kinds
            .into_iter()
            .map(|(kind, count)| Sample { labels: vec![("kind", kind.to_owned())], value: Value::Count(count) });
        samples.collect()
    })
    .by("`kind`"),
    counter("gc_marked_bytes", "bytes of blobs that were condemned", |scrape| {
        one(Value::Count(scrape.figures.collected.condemned_bytes))
    }),
    counter("gc_removed_bytes", "bytes that were removed; what was not there any more does not count", |scrape| {
        one(Value::Count(scrape.figures.collected.removed_bytes))
    }),
    counter("audit_lost", "audit records that were lost; changes are never among them", |scrape| {
        scrape.audit_lost.map_or_else(Vec::new, |lost| one(Value::Count(lost)))
    }),
];

fn one(value: Value) -> Vec<Sample> {
    vec![Sample { labels: Vec::new(), value }]
}

/// What nobody could find out is not shown: 0 would be a lie.
fn maybe(value: Option<u64>) -> Vec<Sample> {
    value.map_or_else(Vec::new, |value| one(gauge_of(value)))
}

fn by_class(counts: &[Option<u64>], value: fn(u64) -> Value) -> Vec<Sample> {
    let counted = Class::ALL.iter().zip(counts).filter_map(|(class, count)| Some((class, (*count)?)));
    counted.map(|(class, count)| Sample { labels: vec![("class", class.to_string())], value: value(count) }).collect()
}

fn flag(is_set: bool) -> Value {
    Value::Gauge(f64::from(u8::from(is_set)))
}

fn gauge_of(value: u64) -> Value {
    // Precise up to 8 PiB.
    #[allow(clippy::cast_precision_loss)]
    Value::Gauge(value as f64)
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in METRICS {
            let samples = (metric.read)(self);
            let name = format!("wharf_{}", metric.name);
            let mut family = encoder.encode_descriptor(&name, metric.meaning, None, metric.kind)?;
            for sample in samples {
                if sample.labels.is_empty() {
                    write_value(&mut family, &sample.value)?;
                } else {
                    write_value(&mut family.encode_family(&sample.labels)?, &sample.value)?;
                }
            }
        }
        Ok(())
    }
}

fn write_value(encoder: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Count(count) => encoder.encode_counter::<NoLabelSet, u64, u64>(count, None),
        Value::Gauge(value) => encoder.encode_gauge(value),
        Value::Distribution(seen) => {
            let count = seen.buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_histogram::<NoLabelSet>(seen.sum, count, &seen.buckets, None)
        }
    }
}
