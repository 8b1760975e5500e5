//! `/api/v1/check`: whether what is stored is as it should be.

use std::collections::BTreeMap;

use http::StatusCode;
use wharf_policy::{Authorized, CheckManage, Pattern, PatternError};
use wharf_registry::{CheckOrder, CheckStatus, Class, Depth, Finding, UnknownClass};

use super::forms::{CursorForm, PageLengthForm};
use super::types::{Check, CheckFinding, CheckFindings, CheckRun, CheckTotals, NewCheck, ScrubStatus, StoredHealth};
use super::{Answer, Call, Problem, done, json, ok};

impl From<CheckStatus> for Check {
    fn from(status: CheckStatus) -> Self {
        let progress = status.progress;
        Self {
            number: status.number,
            mode: match status.order.depth {
                Depth::Fast => "fast",
                Depth::Deep => "deep",
            },
            repository: status.order.repositories.map(|pattern| pattern.as_str().to_owned()),
            running: status.ended_at.is_none(),
            begun_at: status.begun_at.to_string(),
            ended_at: status.ended_at.map(|at| at.to_string()),
            error: status.error,
            stage: progress.stage.as_str(),
            totals: CheckTotals {
                blobs: progress.blobs,
                bytes: progress.bytes,
                manifests: progress.manifests,
                rows: progress.rows,
                files: progress.files,
            },
            clean: status.report.is_clean(),
            counts: status
                .report
                .counts
                .iter()
                .map(|(class, count)| (class.as_str(), *count))
                .collect::<BTreeMap<_, _>>(),
            notes: status.report.notes,
            repaired: status.report.repaired,
        }
    }
}

impl From<Finding> for CheckFinding {
    fn from(finding: Finding) -> Self {
        Self {
            class: finding.class.as_str(),
            severity: finding.severity.as_str(),
            subject: finding.subject,
            problem: finding.problem,
            affected: finding.affected,
            advice: finding.advice,
            repair: finding.repair,
            repaired: finding.repaired,
        }
    }
}

/// The check that runs or ran last since the start, the scrub, and how much is damaged.
#[utoipa::path(get, path = "/api/v1/check", operation_id = "getCheck", tag = "check", responses((status = 200, body = StoredHealth)))]
pub(crate) async fn status(proof: Authorized<CheckManage>, call: Call) -> Answer {
    let health = call.app.parts.registry.stored_health(&proof).await?;
    ok(&StoredHealth {
        check: health.check.map(Check::from),
        set_aside: health.set_aside,
        scrub: ScrubStatus {
            period: health.scrub_period.to_string(),
            verified_since: health.verified_since.map(|at| at.to_string()),
            blobs: health.scrub.blobs,
            bytes: health.scrub.bytes,
            set_aside: health.scrub.set_aside,
        },
    })
}

/// Begins a check. 409 while another one runs.
#[utoipa::path(post, path = "/api/v1/check", operation_id = "startCheck", tag = "check", request_body = NewCheck, responses((status = 202, body = CheckRun), (status = 409)))]
pub(crate) async fn start(proof: Authorized<CheckManage>, mut call: Call) -> Answer {
    let new: NewCheck = call.json().await?;
    let depth = match new.mode.as_str() {
        "fast" => Depth::Fast,
        "deep" => Depth::Deep,
        _ => return Err(Problem::field("mode", "must be fast or deep")),
    };
    let repositories = new.repository.map(|text| text.parse::<Pattern>()).transpose();
    let repositories = repositories.map_err(|error: PatternError| Problem::field("repository", error.to_string()))?;
    let repair = new.repair.iter().map(|text| class(text)).collect::<Result<_, _>>()?;
    let by = proof.attribution();
    let order = CheckOrder { depth, repositories, offline: false, repair, dry_run: new.dry_run, by };
    let number = call.app.parts.registry.start_check(&proof, order)?;
    json(StatusCode::ACCEPTED, &CheckRun { number })
}

/// What that check has found, in the order in which it was found. Ten thousand findings are kept.
#[utoipa::path(get, path = "/api/v1/check/findings", operation_id = "listCheckFindings", tag = "check", params(("after" = inline(Option<CursorForm>), Query), ("limit" = inline(Option<PageLengthForm>), Query)), responses((status = 200, body = CheckFindings)))]
pub(crate) async fn findings(proof: Authorized<CheckManage>, call: Call) -> Answer {
    let (limit, from) = (call.limit()? as usize, call.after::<usize>()?.unwrap_or(0));
    let found = call.app.parts.registry.check_findings(&proof, from, limit);
    let next = (found.len() == limit).then(|| (from + limit).to_string());
    ok(&CheckFindings { items: found.into_iter().map(CheckFinding::from).collect(), next })
}

/// Stops the check that runs. 404 if none does.
#[utoipa::path(delete, path = "/api/v1/check", operation_id = "stopCheck", tag = "check", responses((status = 204), (status = 404)))]
pub(crate) async fn stop(proof: Authorized<CheckManage>, call: Call) -> Answer {
    if call.app.parts.registry.stop_check(&proof) { done() } else { Err(Problem::not_found("running check")) }
}

fn class(text: &str) -> Result<Class, Problem> {
    let class: Class = text.parse().map_err(|error: UnknownClass| Problem::field("repair", error.to_string()))?;
    class.repairable().map_err(|error| Problem::field("repair", error.to_string()))
}
