//! `/api/v1/gc`: collection of what nobody needs any more.

use std::time::Duration;

use http::StatusCode;
use wharf_oci::Digest;
use wharf_policy::{Authorized, GcManage};
use wharf_registry::{CollectionStatus, Listing, Preview, RemovedBlob, Sweep, SweepWish, Totals};

use super::forms::{CursorForm, DigestForm, PageLengthForm};
use super::types::{
    Collection, CollectionBacklog, CollectionHold, CollectionPreview, CollectionPreviewLine, CollectionRemoval,
    CollectionRun, CollectionSweep, CollectionTotals, NewCollectionRun, NewHold, Page,
};
use super::{Answer, Call, Problem, done, json, ok};

/// The longest reason of a hold, in characters.
const REASON_MAX: usize = 200;

/// A year.
const HOURS_MAX: u32 = 8_760;

impl From<Totals> for CollectionTotals {
    fn from(totals: Totals) -> Self {
        Self {
            reviewed: totals.reviewed,
            released: totals.released,
            condemned: totals.condemned,
            condemned_bytes: totals.condemned_bytes,
            removed: totals.removed,
            removed_bytes: totals.removed_bytes,
            retired: totals.retired,
            forgotten: totals.forgotten,
            reconciled: totals.reconciled,
            orphans: totals.orphans,
            orphan_bytes: totals.orphan_bytes,
        }
    }
}

impl From<wharf_registry::Hold> for CollectionHold {
    fn from(hold: wharf_registry::Hold) -> Self {
        Self { id: hold.id, reason: hold.reason, until: hold.until.to_string() }
    }
}

impl From<Sweep> for CollectionSweep {
    fn from(sweep: Sweep) -> Self {
        Self {
            at: sweep.at.to_string(),
            files: sweep.files,
            orphans: sweep.orphans,
            orphan_bytes: sweep.orphan_bytes,
            stopped: sweep.stopped,
        }
    }
}

impl From<CollectionStatus> for Collection {
    fn from(status: CollectionStatus) -> Self {
        let backlog = status.backlog;
        Self {
            enabled: status.enabled,
            running: status.running,
            completed_runs: status.completed_runs,
            last_run_at: status.last_run_at.map(|at| at.to_string()),
            last_error: status.last_error,
            totals: status.totals.into(),
            last_sweep: status.last_sweep.map(CollectionSweep::from),
            backlog: CollectionBacklog {
                reviews: backlog.reviews,
                reviews_due: backlog.reviews_due,
                oldest_due: backlog.oldest_due.map(|at| at.to_string()),
                condemned: backlog.condemned,
                condemned_bytes: backlog.condemned_bytes,
                removals: backlog.removals,
            },
            holds: status.holds.into_iter().map(CollectionHold::from).collect(),
        }
    }
}

impl From<Preview> for CollectionPreview {
    fn from(preview: Preview) -> Self {
        let lines = preview.repositories.into_iter().map(|line| CollectionPreviewLine {
            repository: line.repository.to_string(),
            links: line.associations,
            bytes: line.bytes,
            oldest_due: line.oldest_due.to_string(),
        });
        Self { repositories: lines.collect(), blobs: preview.blobs, bytes: preview.bytes, complete: preview.complete }
    }
}

/// What the collector is doing and what waits for it.
#[utoipa::path(get, path = "/api/v1/gc", operation_id = "getCollection", tag = "gc", responses((status = 200, body = Collection)))]
pub(crate) async fn status(proof: Authorized<GcManage>, call: Call) -> Answer {
    ok(&Collection::from(call.app.parts.registry.collection_status(&proof).await?))
}

/// What would go if everything whose time has come were looked at now. Nothing goes.
#[utoipa::path(get, path = "/api/v1/gc/preview", operation_id = "previewCollection", tag = "gc", responses((status = 200, body = CollectionPreview)))]
pub(crate) async fn preview(proof: Authorized<GcManage>, call: Call) -> Answer {
    ok(&CollectionPreview::from(call.app.parts.registry.preview_collection(&proof).await?))
}

/// Collects what is due, now; and lists everything to find files that belong to nothing, if asked to. 409 while something holds collection.
#[utoipa::path(post, path = "/api/v1/gc/run", operation_id = "runCollection", tag = "gc", request_body = NewCollectionRun, responses((status = 202, body = CollectionRun), (status = 409)))]
pub(crate) async fn run(proof: Authorized<GcManage>, mut call: Call) -> Answer {
    let wish: NewCollectionRun = call.json().await?;
    if wish.accept_orphans.is_some() && !wish.orphans {
        return Err(Problem::field("accept_orphans", "goes together with orphans"));
    }
    let sweep = wish.orphans.then_some(SweepWish { accepted: wish.accept_orphans });
    let run = call.app.parts.registry.ask_for_collection(&proof, sweep).await?;
    json(StatusCode::ACCEPTED, &CollectionRun { run })
}

impl From<RemovedBlob> for CollectionRemoval {
    fn from(removed: RemovedBlob) -> Self {
        Self {
            digest: removed.digest.to_string(),
            size_bytes: removed.size_bytes,
            repository: removed.repository,
            reason: removed.reason,
            condemned_at: removed.condemned_at.to_string(),
            removed_at: removed.removed_at.to_string(),
        }
    }
}

/// What was removed in the last 30 days, the latest first.
#[utoipa::path(get, path = "/api/v1/gc/log", operation_id = "listRemovals", tag = "gc", params(("digest" = inline(Option<DigestForm>), Query), ("limit" = inline(Option<PageLengthForm>), Query), ("after" = inline(Option<CursorForm>), Query)), responses((status = 200, body = Page<CollectionRemoval>)))]
pub(crate) async fn log(proof: Authorized<GcManage>, call: Call) -> Answer {
    let limit = call.limit()?;
    let digest = call.query.first("digest").map(str::parse::<Digest>).transpose();
    let digest = digest.map_err(|error| Problem::field("digest", format!("is not a digest: {error}")))?;
    let found = call.app.parts.registry.removed_blobs(&proof, digest.as_ref(), call.after()?, limit + 1).await?;
    let found = Listing::cut(found, limit);
    let next = found.next(|removed| removed.cursor.to_string());
    ok(&Page { items: found.items.into_iter().map(CollectionRemoval::from).collect(), next })
}

/// Lets nothing be collected for some hours; again changes how long.
#[utoipa::path(post, path = "/api/v1/gc/holds", operation_id = "holdCollection", tag = "gc", request_body = NewHold, responses((status = 201, body = CollectionHold)))]
pub(crate) async fn hold(proof: Authorized<GcManage>, mut call: Call) -> Answer {
    let new: NewHold = call.json().await?;
    if new.reason.trim().is_empty() || new.reason.chars().count() > REASON_MAX {
        return Err(Problem::field("reason", format!("must have 1 to {REASON_MAX} characters")));
    }
    if !(1..=HOURS_MAX).contains(&new.hours) {
        return Err(Problem::field("hours", format!("must be from 1 to {HOURS_MAX}")));
    }
    let how_long = Duration::from_secs(u64::from(new.hours) * 3600);
    let held = call.app.parts.registry.hold_collection(&proof, &new.reason, how_long).await?;
    json(StatusCode::CREATED, &CollectionHold::from(held))
}

/// Ends a hold.
#[utoipa::path(delete, path = "/api/v1/gc/holds/{id}", operation_id = "releaseCollection", tag = "gc", params(("id" = String, Path)), responses((status = 204)))]
pub(crate) async fn release(proof: Authorized<GcManage>, call: Call) -> Answer {
    if call.app.parts.registry.release_collection(&proof, call.parameter(0)).await? {
        done()
    } else {
        Err(Problem::not_found("hold"))
    }
}
