//! `/api/v1/audit`: what happened.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use wharf_base::Timestamp;
use wharf_policy::{AuditRead, Authorized};
use wharf_registry::{AuditEntry, AuditFilter, Listing};

use super::forms::{CursorForm, PageLengthForm, TimeForm};
use super::types::{AuditRecord, Page, Verification};
use super::{Answer, Call, Problem, ok};
use crate::reply::{Payload, Reply, header_value};

/// How many records one answer of an export holds.
const EXPORT_PAGE: u32 = 10_000;

impl From<AuditEntry> for AuditRecord {
    fn from(entry: AuditEntry) -> Self {
        Self {
            sequence: entry.sequence,
            at: entry.at.to_string(),
            request_id: entry.request_id,
            principal: entry.principal,
            account_type: entry.account_type,
            source: Some(entry.source).filter(|source| !source.is_empty()),
            action: entry.action,
            repository: entry.repository,
            target: entry.target,
            outcome: entry.outcome,
            rule: entry.rule_id,
            detail: entry.detail.and_then(|detail| serde_json::from_str(&detail).ok()),
            sha256: entry.sha256.map(|hash| hash.to_string()),
        }
    }
}

/// The records, the newest first.
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "listAudit", tag = "audit", params(("principal" = Option<String>, Query), ("repository" = Option<String>, Query), ("action" = Option<String>, Query), ("outcome" = Option<String>, Query), ("request_id" = Option<String>, Query), ("since" = inline(Option<TimeForm>), Query), ("until" = inline(Option<TimeForm>), Query), ("limit" = inline(Option<PageLengthForm>), Query), ("after" = inline(Option<CursorForm>), Query)), responses((status = 200, body = Page<AuditRecord>)))]
pub(crate) async fn list(proof: Authorized<AuditRead>, call: Call) -> Answer {
    let limit = call.limit()?;
    let text = |name: &str| call.query.first(name).map(str::to_owned);
    let filter = AuditFilter {
        principal: text("principal"),
        repository: text("repository"),
        action: text("action"),
        outcome: text("outcome"),
        request_id: text("request_id"),
        since: time(&call, "since")?,
        until: time(&call, "until")?,
    };
    let found = call.app.parts.registry.audit(&proof, &filter, call.after()?, limit + 1).await?;
    let found = Listing::cut(found, limit);
    let next = found.next(|entry| entry.sequence.to_string());
    ok(&Page { items: found.items.into_iter().map(AuditRecord::from).collect(), next })
}

fn time(call: &Call, name: &'static str) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = call.query.first(name) else { return Ok(None) };
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| Problem::field(name, "must be a time such as 2027-01-31T12:00:00Z"))
}

/// Whether the log is as it was sealed.
#[utoipa::path(get, path = "/api/v1/audit/verify", operation_id = "verifyAudit", tag = "audit", responses((status = 200, body = Verification)))]
pub(crate) async fn verify(proof: Authorized<AuditRead>, call: Call) -> Answer {
    let verification = match call.app.parts.registry.verify_audit(&proof).await? {
        Ok(intact) => Verification {
            intact: true,
            records: intact.records,
            last_sequence: Some(intact.last_sequence),
            head: Some(intact.head.to_string()),
            bad_sequence: None,
            problem: None,
        },
        Err(broken) => Verification {
            intact: false,
            records: 0,
            last_sequence: None,
            head: None,
            bad_sequence: Some(broken.sequence),
            problem: Some(broken.problem.to_owned()),
        },
    };
    ok(&verification)
}

/// The records in their order, one JSON object a line, at most 10,000 of them; `X-Next` says where to go on.
#[utoipa::path(get, path = "/api/v1/audit/export", operation_id = "exportAudit", tag = "audit", params(("after" = inline(Option<CursorForm>), Query)), responses((status = 200, content_type = "application/x-ndjson", body = String, headers(("X-Next" = Option<i64>, description = "What `after` has to be for the records that follow")))))]
pub(crate) async fn export(proof: Authorized<AuditRead>, call: Call) -> Answer {
    let after = call.after()?.unwrap_or(i64::MIN);
    let found = call.app.parts.registry.audit_in_order(&proof, after, EXPORT_PAGE).await?;
    let next = found.last().filter(|_| found.len() == EXPORT_PAGE as usize).map(|entry| entry.sequence);
    let mut lines = Vec::new();
    for entry in found {
        let line = serde_json::to_vec(&AuditRecord::from(entry)).map_err(|_| Problem::internal())?;
        lines.extend_from_slice(&line);
        lines.push(b'\n');
    }
    let reply =
        Reply::of(StatusCode::OK, HeaderValue::from_static("application/x-ndjson"), Payload::Bytes(Bytes::from(lines)));
    Ok(match next {
        Some(next) => reply.with(http::HeaderName::from_static("x-next"), header_value(&next.to_string())),
        None => reply,
    })
}
