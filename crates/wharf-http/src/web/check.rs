//! Whether what is stored is as it should be.

use askama::Template;
use wharf_policy::{Authorized, CheckManage};
use wharf_registry::{CheckOrder, CheckStatus, Depth, Finding};

use super::page::{self, Frame};
use super::text::{self, Time};
use super::{Answer, Visit};
use crate::api::Problem;

/// How many findings are shown.
const FINDINGS_SHOWN: usize = 100;

#[derive(Template)]
#[template(path = "check.html")]
struct CheckPage {
    f: Frame,
    set_aside: String,
    scrub_period: String,
    verified_since: Option<Time>,
    scrubbed: String,
    check: Option<Check>,
    findings: Vec<FindingLine>,
    start_path: String,
    stop_path: String,
}

struct Check {
    mode: &'static str,
    begun: Time,
    ended: Option<Time>,
    error: Option<String>,
    stage: &'static str,
    figures: Vec<(&'static str, String)>,
    is_clean: bool,
    found: String,
    notes: String,
}

struct FindingLine {
    class: &'static str,
    severity: &'static str,
    subject: String,
    problem: String,
    affected: String,
    advice: String,
}

/// The page; while a check is under way it keeps itself up to date.
pub(super) async fn show(ok: Authorized<CheckManage>, visit: Visit) -> Answer {
    let registry = &visit.app.parts.registry;
    let health = registry.stored_health(&ok).await?;
    let findings = registry.check_findings(&ok, 0, FINDINGS_SHOWN);
    let view = CheckPage {
        f: Frame::of(&visit, "Check"),
        set_aside: text::counted(health.set_aside, "blob", "blobs"),
        scrub_period: health.scrub_period.to_string(),
        verified_since: health.verified_since.map(|at| visit.time(at)),
        scrubbed: text::size(health.scrub.bytes),
        check: health.check.map(|check| of_status(&visit, &check)),
        findings: findings.into_iter().map(finding).collect(),
        start_path: visit.href("/check/start", &[]),
        stop_path: visit.href("/check/stop", &[]),
    };
    page::ok(&view)
}

fn of_status(visit: &Visit, status: &CheckStatus) -> Check {
    let progress = status.progress;
    Check {
        mode: match status.order.depth {
            Depth::Fast => "fast",
            Depth::Deep => "deep",
        },
        begun: visit.time(status.begun_at),
        ended: status.ended_at.map(|at| visit.time(at)),
        error: status.error.as_deref().map(text::shown),
        stage: progress.stage.as_str(),
        figures: vec![
            ("Blobs", text::number(progress.blobs)),
            ("Bytes read", text::size(progress.bytes)),
            ("Manifests", text::number(progress.manifests)),
            ("Rows", text::number(progress.rows)),
            ("Files", text::number(progress.files)),
        ],
        is_clean: status.report.is_clean(),
        found: text::counted(status.report.found(), "finding", "findings"),
        notes: text::counted(status.report.notes, "note", "notes"),
    }
}

fn finding(finding: Finding) -> FindingLine {
    FindingLine {
        class: finding.class.as_str(),
        severity: finding.severity.as_str(),
        subject: text::shown(&finding.subject),
        problem: text::shown(&finding.problem),
        affected: text::shown(&finding.affected.join(", ")),
        advice: text::shown(&finding.advice),
    }
}

/// Begins a check of everything.
pub(super) async fn start(ok: Authorized<CheckManage>, visit: Visit) -> Answer {
    let depth = match visit.form.text("mode") {
        "fast" => Depth::Fast,
        "deep" => Depth::Deep,
        _ => return Err(Problem::field("mode", "must be fast or deep").into()),
    };
    let order = CheckOrder { by: ok.attribution(), ..CheckOrder::of(depth) };
    visit.app.parts.registry.start_check(&ok, order)?;
    Ok(visit.see("/check", &[("done", "started")]))
}

/// Stops the check that runs.
pub(super) async fn stop(ok: Authorized<CheckManage>, visit: Visit) -> Answer {
    if visit.app.parts.registry.stop_check(&ok) {
        Ok(visit.see("/check", &[("done", "stopped")]))
    } else {
        Err(Problem::conflict("no check is running").into())
    }
}
