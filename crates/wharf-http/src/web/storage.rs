//! How much there is, what waits to be freed, and freeing it.

use std::time::Duration;

use askama::Template;
use wharf_policy::{Authorized, GcManage};
use wharf_registry::{CollectionStatus, LargeRepository, StorageSample};

use super::chart::{Chart, Line};
use super::home::{self, Sum};
use super::page::{self, Frame};
use super::text::{self, Time};
use super::{Answer, Visit};
use crate::api::Problem;

/// How many lines of each list are shown.
const LINES_SHOWN: usize = 20;

/// How many days are told one by one.
const DAYS_TOLD: usize = 31;

/// The longest reason of a hold, in characters, and its longest time, in hours.
const REASON_MAX: usize = 200;
const HOURS_MAX: u64 = 8_760;

#[derive(Template)]
#[template(path = "storage.html")]
struct StoragePage {
    f: Frame,
    /// `None` while it is being counted.
    sum: Option<Sum>,
    reclaimable: String,
    condemned: String,
    disk: Option<Disk>,
    /// Drawn from the second day on.
    growth: Option<Chart>,
    days: Vec<DayLine>,
    largest: Vec<LargeLine>,
    collection: Collection,
    preview: Vec<PreviewLine>,
    is_preview_whole: bool,
    removed: Vec<RemovedLine>,
    collect_path: String,
    hold_path: String,
    release_path: String,
}

struct DayLine {
    day: String,
    bytes: String,
    unshared: String,
    ratio: String,
    condemned: String,
    blobs: String,
    repositories: String,
}

struct LargeLine {
    repository: String,
    href: String,
    blobs: String,
    bytes: String,
    /// Of the largest.
    permille: u64,
}

struct Disk {
    free: String,
    total: String,
    kept_free: String,
    used_permille: u64,
    is_low: bool,
}

struct Collection {
    is_enabled: bool,
    is_running: bool,
    runs: String,
    last_run: Option<Time>,
    last_error: Option<String>,
    waiting: String,
    due: String,
    removed: String,
    removed_bytes: String,
    holds: Vec<HoldLine>,
}

struct HoldLine {
    id: String,
    reason: String,
    until: Time,
}

struct PreviewLine {
    repository: String,
    href: String,
    links: String,
    bytes: String,
    /// Of the largest, for a bar that is 1,000 units wide.
    permille: u64,
}

struct RemovedLine {
    digest: String,
    size: String,
    repository: String,
    reason: String,
    at: Time,
}

/// The page; while a run is under way it keeps itself up to date.
pub(super) async fn show(ok: Authorized<GcManage>, visit: Visit) -> Answer {
    let registry = &visit.app.parts.registry;
    let sum = registry.content_sum(&ok).await;
    let status = registry.collection_status(&ok).await?;
    let mut preview = registry.preview_collection(&ok).await?;
    preview.repositories.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.repository.cmp(&b.repository)));
    let most = preview.repositories.first().map_or(0, |line| line.bytes);
    let samples = registry.storage_samples(&ok).await?;
    let largest = registry.largest_repositories(&ok).await?;
    let removed = registry.removed_blobs(&ok, None, None, u32::try_from(LINES_SHOWN).unwrap_or(u32::MAX)).await?;
    let room = registry.health().room;
    let view = StoragePage {
        f: Frame::of(&visit, "Storage"),
        sum: sum.map(Sum::from),
        reclaimable: text::size(preview.bytes),
        condemned: text::size(status.backlog.condemned_bytes),
        disk: room.map(|room| Disk {
            free: text::size(room.free_bytes),
            total: text::size(room.total_bytes),
            kept_free: text::size(room.min_free_bytes),
            used_permille: permille(room.total_bytes.saturating_sub(room.free_bytes), room.total_bytes),
            is_low: room.is_low,
        }),
        growth: growth(&samples),
        days: told_days(&samples).map(day_line).collect(),
        largest: largest_lines(&visit, &largest),
        preview: preview
            .repositories
            .iter()
            .take(LINES_SHOWN)
            .map(|line| PreviewLine {
                repository: line.repository.to_string(),
                href: visit.href("/repository", &[("repository", line.repository.as_str())]),
                links: text::counted(line.associations, "blob", "blobs"),
                bytes: text::size(line.bytes),
                permille: permille(line.bytes, most),
            })
            .collect(),
        is_preview_whole: preview.complete && preview.repositories.len() <= LINES_SHOWN,
        removed: removed
            .iter()
            .map(|removed| RemovedLine {
                digest: text::short(&removed.digest),
                size: text::size(removed.size_bytes),
                repository: removed.repository.clone().unwrap_or_else(|| "–".to_owned()),
                reason: text::shown(&removed.reason),
                at: visit.time(removed.removed_at),
            })
            .collect(),
        collection: collection(&visit, status),
        collect_path: visit.href("/storage/collect", &[]),
        hold_path: visit.href("/storage/hold", &[]),
        release_path: visit.href("/storage/release", &[]),
    };
    page::ok(&view)
}

/// How much there was from the first day to the last, and what it would have been without sharing.
fn growth(samples: &[StorageSample]) -> Option<Chart> {
    let (last, first) = (samples.first()?, samples.last().filter(|_| samples.len() > 1)?);
    let points = |of: fn(&StorageSample) -> u64| -> Vec<(u64, u64)> {
        samples.iter().rev().map(|sample| (sample.day.unsigned_abs(), of(sample))).collect()
    };
    let lines = vec![
        Line::new("own", "stored", points(|sample| sample.bytes)),
        Line::new("shared", "if nothing were shared", points(|sample| sample.unshared_bytes)),
    ];
    let highest = lines.iter().map(Line::highest).max().unwrap_or(0);
    Some(Chart {
        id: "growth",
        title: "What is stored, day by day",
        description: format!(
            "From {} on {} to {} on {}; without sharing it would be {}.",
            text::size(first.bytes),
            text::date(first.sampled_at),
            text::size(last.bytes),
            text::date(last.sampled_at),
            text::size(last.unshared_bytes)
        ),
        top: text::size(highest),
        from: text::date(first.sampled_at),
        to: text::date(last.sampled_at),
        lines,
    })
}

/// The days that the table tells: each of the last month, and of the months before the last day.
fn told_days(samples: &[StorageSample]) -> impl Iterator<Item = &StorageSample> {
    let month = |sample: &StorageSample| text::date(sample.sampled_at).chars().take(7).collect::<String>();
    let is_told =
        move |index: &usize| *index < DAYS_TOLD || month(&samples[*index]) != month(&samples[index.saturating_sub(1)]);
    (0..samples.len()).filter(is_told).map(|index| &samples[index])
}

fn day_line(sample: &StorageSample) -> DayLine {
    DayLine {
        day: text::date(sample.sampled_at),
        bytes: text::size(sample.bytes),
        unshared: text::size(sample.unshared_bytes),
        ratio: home::ratio(sample.unshared_bytes, sample.bytes),
        condemned: text::size(sample.condemned_bytes),
        blobs: text::number(sample.blobs),
        repositories: text::number(sample.repositories),
    }
}

fn largest_lines(visit: &Visit, largest: &[LargeRepository]) -> Vec<LargeLine> {
    let most = largest.first().map_or(0, |large| large.bytes);
    let line = |large: &LargeRepository| LargeLine {
        repository: large.name.to_string(),
        href: visit.href("/repository", &[("repository", large.name.as_str())]),
        blobs: text::counted(large.blobs, "blob", "blobs"),
        bytes: text::size(large.bytes),
        permille: permille(large.bytes, most),
    };
    largest.iter().map(line).collect()
}

fn permille(part: u64, whole: u64) -> u64 {
    u64::try_from((u128::from(part) * 1_000).checked_div(u128::from(whole)).unwrap_or(0)).unwrap_or(1_000)
}

fn collection(visit: &Visit, status: CollectionStatus) -> Collection {
    Collection {
        is_enabled: status.enabled,
        is_running: status.running,
        runs: text::counted(status.completed_runs, "run", "runs"),
        last_run: status.last_run_at.map(|at| visit.time(at)),
        last_error: status.last_error.as_deref().map(text::shown),
        waiting: text::number(status.backlog.reviews),
        due: text::number(status.backlog.reviews_due),
        removed: text::counted(status.totals.removed, "blob", "blobs"),
        removed_bytes: text::size(status.totals.removed_bytes),
        holds: status
            .holds
            .into_iter()
            .map(|hold| HoldLine { id: hold.id, reason: text::shown(&hold.reason), until: visit.time(hold.until) })
            .collect(),
    }
}

/// Collects what is due, now.
pub(super) async fn collect(ok: Authorized<GcManage>, visit: Visit) -> Answer {
    visit.app.parts.registry.ask_for_collection(&ok, None).await?;
    Ok(visit.see("/storage", &[("done", "started")]))
}

/// Lets nothing be collected for some hours.
pub(super) async fn hold(ok: Authorized<GcManage>, visit: Visit) -> Answer {
    let reason = visit.form.text("reason");
    if reason.is_empty() || reason.chars().count() > REASON_MAX {
        return Err(Problem::field("reason", format!("must have 1 to {REASON_MAX} characters")).into());
    }
    let hours = visit.form.text("hours").parse::<u64>().ok().filter(|hours| (1..=HOURS_MAX).contains(hours));
    let hours = hours.ok_or_else(|| Problem::field("hours", format!("must be from 1 to {HOURS_MAX}")))?;
    visit.app.parts.registry.hold_collection(&ok, reason, Duration::from_secs(hours * 3_600)).await?;
    Ok(visit.see("/storage", &[("done", "saved")]))
}

/// Ends a hold.
pub(super) async fn release(ok: Authorized<GcManage>, visit: Visit) -> Answer {
    if visit.app.parts.registry.release_collection(&ok, visit.form.text("id")).await? {
        Ok(visit.see("/storage", &[("done", "removed")]))
    } else {
        Err(Problem::not_found("hold").into())
    }
}

#[cfg(test)]
mod tests {
    use wharf_base::Timestamp;
    use wharf_registry::StorageSample;

    use super::{DAYS_TOLD, told_days};
    use crate::web::text;

    #[test]
    fn four_hundred_days_are_told_in_a_few_lines() {
        let last: Timestamp = "2027-03-15T12:00:00Z".parse().expect("a time");
        let day = |ago: i64| StorageSample {
            day: 1_000 - ago,
            sampled_at: Timestamp::from_micros(last.as_micros() - ago * 86_400_000_000),
            repositories: 1,
            blobs: 1,
            bytes: 1,
            unshared_bytes: 1,
            condemned_bytes: 0,
        };
        let samples: Vec<StorageSample> = (0..400).map(day).collect();
        let told: Vec<String> = told_days(&samples).map(|sample| text::date(sample.sampled_at)).collect();
        assert_eq!(told.len(), DAYS_TOLD + 12);
        assert_eq!(told[..2], ["2027-03-15", "2027-03-14"]);
        assert_eq!(told[DAYS_TOLD - 1..=DAYS_TOLD + 1], ["2027-02-13", "2027-01-31", "2026-12-31"]);
        assert_eq!(told.last().expect("a day"), "2026-02-28");
        assert_eq!(told_days(&samples[..1]).count(), 1);
        assert_eq!(told_days(&[]).count(), 0);
    }
}
