//! What happened: searched, and verified.

use askama::Template;
use wharf_base::Timestamp;
use wharf_policy::{AuditRead, Authorized};
use wharf_registry::{AuditEntry, AuditFilter, Listing};

use super::page::{self, Frame};
use super::text::{self, Time};
use super::{Answer, Visit};
use crate::api::Problem;

/// How many records are on a page.
const PAGE: u32 = 100;

/// What became of what was recorded.
const OUTCOMES: [&str; 3] = ["done", "denied", "failed"];

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    f: Frame,
    path: String,
    verify_path: String,
    principal: String,
    repository: String,
    action: String,
    since: String,
    outcomes: Vec<(&'static str, bool)>,
    lines: Vec<Line>,
    next: Option<String>,
    verdict: Option<Verdict>,
}

struct Line {
    at: Time,
    who: String,
    source: String,
    action: String,
    what: String,
    outcome: String,
    detail: Option<String>,
}

struct Verdict {
    is_intact: bool,
    told: String,
}

/// The records, the newest first.
pub(super) async fn show(ok: Authorized<AuditRead>, visit: Visit) -> Answer {
    render(&ok, &visit, None).await
}

/// Follows the chain of seals from its beginning to its end.
pub(super) async fn verify(ok: Authorized<AuditRead>, visit: Visit) -> Answer {
    let verdict = match visit.app.parts.registry.verify_audit(&ok).await? {
        Ok(intact) => Verdict {
            is_intact: true,
            told: format!(
                "The log is as it was sealed: {}, up to number {}. Head of the chain: {}.",
                text::counted(intact.records, "record", "records"),
                intact.last_sequence,
                intact.head
            ),
        },
        Err(broken) => Verdict { is_intact: false, told: format!("The log was changed: {broken}.") },
    };
    render(&ok, &visit, Some(verdict)).await
}

async fn render(ok: &Authorized<AuditRead>, visit: &Visit, verdict: Option<Verdict>) -> Answer {
    let wanted = |name: &str| Some(visit.parameter(name)).filter(|text| !text.is_empty()).map(str::to_owned);
    let filter = AuditFilter {
        principal: wanted("principal"),
        repository: wanted("repository"),
        action: wanted("action"),
        outcome: wanted("outcome"),
        request_id: wanted("request_id"),
        since: wanted("since").map(|text| day(&text)).transpose()?,
        until: None,
    };
    let before: Option<i64> = visit.after_as()?;
    let found = visit.app.parts.registry.audit(ok, &filter, before, PAGE + 1).await?;
    let found = Listing::cut(found, PAGE);
    let next = found.next(|entry| entry.sequence.to_string());
    let shown = |name: &str| text::shown(visit.parameter(name));
    let parameters =
        ["principal", "repository", "action", "outcome", "since"].map(|name| (name, visit.parameter(name)));
    let view = AuditPage {
        f: Frame::of(visit, "Audit"),
        path: visit.href("/audit", &[]),
        verify_path: visit.href("/audit/verify", &[]),
        principal: shown("principal"),
        repository: shown("repository"),
        action: shown("action"),
        since: shown("since"),
        outcomes: OUTCOMES.iter().map(|outcome| (*outcome, visit.parameter("outcome") == *outcome)).collect(),
        lines: found.items.iter().map(|entry| line(visit, entry)).collect(),
        next: page::next_page(visit, "/audit", &parameters, next.as_deref()),
        verdict,
    };
    page::ok(&view)
}

/// The beginning of a day, as a browser's field for dates sends it, or a moment.
fn day(text: &str) -> Result<Timestamp, Problem> {
    let moment = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    moment.parse().map_err(|_| Problem::field("since", "must be a day such as 2027-01-31"))
}

fn line(visit: &Visit, entry: &AuditEntry) -> Line {
    let what = entry.repository.iter().cloned().chain(entry.target.as_deref().map(shortened));
    let what: Vec<String> = what.collect();
    Line {
        at: visit.time(entry.at),
        who: if entry.principal.is_empty() { "anonymous".to_owned() } else { text::shown(&entry.principal) },
        source: text::shown(&entry.source),
        action: text::shown(&entry.action),
        what: text::shown(&what.join(" ")),
        outcome: text::shown(&entry.outcome),
        detail: entry.detail.as_deref().and_then(detail),
    }
}

/// A digest is told by its beginning, anything else as it is.
fn shortened(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), |digest| text::short(&digest))
}

/// What more is recorded, but for the roles, which were those of whoever asked, and what is empty.
fn detail(json: &str) -> Option<String> {
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json).ok()?;
    let told: Vec<String> = members
        .iter()
        .filter(|(name, _)| *name != "roles")
        .filter_map(|(name, value)| {
            let value = match value {
                serde_json::Value::Null => return None,
                serde_json::Value::Array(items) if items.is_empty() => return None,
                serde_json::Value::String(text) => shortened(text),
                value => value.to_string(),
            };
            Some(format!("{}: {value}", name.replace('_', " ")))
        })
        .collect();
    (!told.is_empty()).then(|| text::shown(&told.join(", ")))
}
