//! The registry as a process: version, health, configuration.

use askama::Template;
use wharf_policy::{Authorized, CheckManage};

use super::chart::{Chart, Line};
use super::page::{self, Frame};
use super::text::{self, Time};
use super::{Answer, Visit};
use crate::recent::{MINUTES, Minute};

#[derive(Template)]
#[template(path = "system.html")]
struct SystemPage {
    f: Frame,
    version: &'static str,
    is_ready: bool,
    trouble: Option<Trouble>,
    uploads: Option<String>,
    is_encrypted: bool,
    has_accounts: bool,
    records_lost: u64,
    charts: Vec<Chart>,
    minutes: Vec<MinuteLine>,
    configuration: String,
}

struct MinuteLine {
    ago: usize,
    requests: String,
    bytes: String,
    errors: String,
}

struct Trouble {
    what: String,
    details: String,
    remedy: &'static str,
    since: Time,
}

/// The page.
pub(super) async fn show(_ok: Authorized<CheckManage>, visit: Visit) -> Answer {
    let parts = &visit.app.parts;
    let figures = parts.registry.figures().await;
    let minutes = visit.app.requests.recent.until(parts.clock.monotonic());
    let view = SystemPage {
        f: Frame::of(&visit, "System"),
        version: parts.about.version,
        is_ready: parts.registry.ready().await.is_ok(),
        trouble: figures.health.protection.map(|protection| Trouble {
            what: protection.trouble.to_string(),
            details: text::shown(&protection.details),
            remedy: protection.trouble.remedy(),
            since: visit.time(protection.since),
        }),
        uploads: figures.uploads_open.map(|count| text::number(u64::from(count))),
        is_encrypted: visit.is_secure(),
        has_accounts: parts.identity.is_some(),
        records_lost: parts.identity.as_ref().map_or(0, |identity| identity.audit_records_lost()),
        charts: charts(&minutes),
        minutes: lines(&minutes),
        configuration: parts.about.configuration.to_string(),
    };
    page::ok(&view)
}

/// What the last hour has come to, in three drawings.
fn charts(minutes: &[Minute; MINUTES]) -> Vec<Chart> {
    let one = |id, title, class, of: fn(&Minute) -> u64, shown: fn(u64) -> String, what: &str| {
        let line = Line::new(class, title, (0..).zip(minutes.iter().map(of)).collect());
        let (sum, highest) = (minutes.iter().map(of).fold(0, u64::saturating_add), line.highest());
        Chart {
            id,
            title,
            description: format!("{} {what} in the last hour, at most {} in a minute.", shown(sum), shown(highest)),
            top: format!("{} a minute", shown(highest)),
            from: "an hour ago".to_owned(),
            to: "now".to_owned(),
            lines: vec![line],
        }
    };
    vec![
        one("requests", "Requests", "own", |minute| minute.requests, text::number, "requests"),
        one("bytes", "Bytes in both directions", "own", |minute| minute.bytes, text::size, "were moved"),
        one("errors", "Errors of the registry", "bad", |minute| minute.errors, text::number, "errors"),
    ]
}

/// The minutes in which something was asked, the latest first.
fn lines(minutes: &[Minute; MINUTES]) -> Vec<MinuteLine> {
    let line = |(ago, minute): (usize, &Minute)| MinuteLine {
        ago,
        requests: text::number(minute.requests),
        bytes: text::size(minute.bytes),
        errors: text::number(minute.errors),
    };
    minutes.iter().rev().enumerate().filter(|(_, minute)| minute.requests > 0).map(line).collect()
}
