//! The front page: what has changed lately, and how much there is.

use askama::Template;
use wharf_policy::{Action, Authorized, Catalog, GcManage, VersionCheck};
use wharf_registry::{AuditEntry, ContentSum};

use super::page::{self, Frame};
use super::text::{self, Time};
use super::{Answer, Failure, Visit};

/// How many changes are shown.
const CHANGES_SHOWN: usize = 20;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    f: Frame,
    changes: Vec<ChangeLine>,
    storage: Option<Storage>,
    can_browse: bool,
    host: String,
    trouble: Option<String>,
}

struct ChangeLine {
    at: Time,
    by: String,
    what: &'static str,
    repository: String,
    repository_href: String,
    target: String,
    target_href: Option<String>,
}

struct Storage {
    /// `None` while it is being counted.
    sum: Option<Sum>,
    condemned: String,
    free: Option<Free>,
}

/// All content.
pub(super) struct Sum {
    pub(super) bytes: String,
    pub(super) blobs: String,
    pub(super) saved: String,
    /// How often each byte is used.
    pub(super) ratio: String,
}

impl From<ContentSum> for Sum {
    fn from(sum: ContentSum) -> Self {
        Self {
            bytes: text::size(sum.bytes),
            blobs: text::counted(sum.blobs, "blob", "blobs"),
            saved: text::size(sum.unshared_bytes.saturating_sub(sum.bytes)),
            ratio: ratio(sum.unshared_bytes, sum.bytes),
        }
    }
}

/// How often each byte is used, with two places: `1.25`.
pub(super) fn ratio(unshared_bytes: u64, bytes: u64) -> String {
    let hundredths = (u128::from(unshared_bytes) * 100).checked_div(u128::from(bytes)).unwrap_or(100);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

struct Free {
    free: String,
    total: String,
    used_permille: u64,
}

pub(super) async fn show(_ok: Authorized<VersionCheck>, visit: Visit) -> Answer {
    let catalog = visit.also::<Catalog>(());
    if catalog.is_none() && visit.asker.principal.is_anonymous() && visit.app.parts.identity.is_some() {
        return Err(Failure::SignIn);
    }
    let registry = &visit.app.parts.registry;
    let changes = match &catalog {
        Some(ok) => registry.recent_changes(ok, CHANGES_SHOWN).await?,
        None => Vec::new(),
    };
    let storage = match visit.also::<GcManage>(()) {
        Some(ok) => Some(storage(&visit, &ok).await?),
        None => None,
    };
    let protection = registry.health().protection;
    let view = HomePage {
        f: Frame::of(&visit, "Overview"),
        changes: changes
            .iter()
            .filter(|entry| !is_told_by_tag(entry, &changes))
            .map(|entry| line(&visit, entry))
            .collect(),
        storage,
        can_browse: catalog.is_some(),
        host: visit.inbound.host(&visit.app.origins).unwrap_or_default(),
        trouble: protection
            .filter(|_| visit.may(Action::GcManage, None))
            .map(|protection| protection.trouble.to_string()),
    };
    page::ok(&view)
}

/// Whether a tag that the same request has made tells of it already.
fn is_told_by_tag(entry: &AuditEntry, all: &[AuditEntry]) -> bool {
    let told_by: &[&str] = match entry.action.as_str() {
        "manifest.push" => &["tag.create", "tag.move"],
        "tag.delete" => &["manifest.delete"],
        _ => return false,
    };
    all.iter().any(|other| other.request_id == entry.request_id && told_by.contains(&other.action.as_str()))
}

fn line(visit: &Visit, entry: &AuditEntry) -> ChangeLine {
    let repository = entry.repository.clone().unwrap_or_default();
    let target = entry.target.clone().unwrap_or_default();
    let (what, is_there) = match entry.action.as_str() {
        "manifest.push" => ("pushed an image", true),
        "manifest.delete" => ("deleted an image", false),
        "manifest.restore" => ("restored an image", true),
        "tag.create" => ("made the tag", true),
        "tag.move" => ("moved the tag", true),
        "tag.delete" => ("deleted the tag", false),
        _ => ("took out a blob", false),
    };
    let short = target.parse().map_or_else(|_| target.clone(), |digest| text::short(&digest));
    ChangeLine {
        at: visit.time(entry.at),
        by: if entry.principal.is_empty() { "anonymous".to_owned() } else { text::shown(&entry.principal) },
        what,
        repository_href: visit.href("/repository", &[("repository", &repository)]),
        target_href: is_there.then(|| visit.href("/image", &[("repository", &repository), ("reference", &target)])),
        target: short,
        repository,
    }
}

async fn storage(visit: &Visit, ok: &Authorized<GcManage>) -> Result<Storage, Failure> {
    let registry = &visit.app.parts.registry;
    let sum = registry.content_sum(ok).await;
    let backlog = registry.collection_status(ok).await?.backlog;
    let room = registry.health().room;
    Ok(Storage {
        sum: sum.map(Sum::from),
        condemned: text::size(backlog.condemned_bytes),
        free: room.map(|room| Free {
            free: text::size(room.free_bytes),
            total: text::size(room.total_bytes),
            used_permille: room
                .total_bytes
                .saturating_sub(room.free_bytes)
                .saturating_mul(1_000)
                .checked_div(room.total_bytes)
                .unwrap_or(0),
        }),
    })
}
